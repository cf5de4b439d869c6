"""Shape of every tensor of a net, and where it lives in the activation memory.

A tensor takes bank rows that are free: never used, or of a tensor whose last reader has run. The picture's buffers lie
at the bottom, two where there is room; a single one is free too after its last reader, since the next picture comes
only when the program has ended.

**In place.** A layer whose identity residual is the last to read a tensor writes over that tensor. Four facts make it
right:
- Only the residual reads it in this layer, and that reads, for output tile t, word t // parts of the very pixel, never
  a neighbour.
- Codes are written by a tile's final pass, each a fixed time after its token has read; tokens come in one order. So no
  word is written before the final pass has read it, and the passes of the tile before have read it earlier still.
- With parts = 1 no other tile reads the words of this one: what is written in the meantime nobody reads.
- With more parts the tiles of a word read lanes that the tile before has just written. Their weights are 0, but a 0 may
  be made of several passes (code * a[r] + beta * S), all of which have to read the same, and a lane that is being
  written reads as anything. So the codes of the tile before are there first: `compile` has a tile wait where the passes
  in front of its residual are too short for that.
"""
import bisect
import random
from dataclasses import dataclass, replace

import numpy as np

from accel.isa import LONGEST_SIDE
from model.common.errors import UserError
from model.integer.net import PICTURE, PIXEL_MAX, MaxPool, Skip

__all__ = ["DoesNotFit", "MemoryFull", "Placement", "Run", "Tensor", "bands", "is_logits", "place", "place_batch",
           "sources"]

# A batch counts as too large after so many searches for places of its tensors, of so many places each. One that goes on
# from where it is tries the last of many choices first, and the wrong one is often among the first.
SEARCHES, TRIES = 60, 300
SHUFFLED = 0.5                  # of the choices, in all searches but the first


class DoesNotFit(UserError):
    """A net that an accelerator cannot run: which layer, what of it, its need, the limit. What `compile_net` adds: net
    and config, names, and room, a function: which shipped configuration the net fits, in words, or None. It compiles
    the net for several of them, so it is called where the message is read."""

    def __init__(self, layer, what, need, limit):
        super().__init__(layer, what, need, limit)
        self.layer, self.what, self.need, self.limit = layer, what, need, limit
        self.net = self.config = self.room = None

    def __str__(self):
        return (f"{self.net} does not fit {self.config}: layer {self.layer}: {self.what}: needs {self.need}, "
                f"the limit is {self.limit}; it fits {self.room() or 'no shipped configuration'}")


class MemoryFull(DoesNotFit):
    """A program, or what it reads, that overflows its memory."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """Codes (C, H, W) from bank row `base` on; the picture's base counts from its buffer's.

    pitch: bank rows per picture row. largest: the largest code. second: of the picture, bank row of its second buffer,
    0 where there is only one. apart: bank rows to the next picture's, of a batch.
    """
    name: str
    shape: tuple
    pitch: int
    largest: int
    base: int = 0
    second: int = 0
    apart: int = 0

    @property
    def plane(self):
        """Bank rows of one channel tile, or of one digit plane of the picture."""
        return self.shape[1] * self.pitch


@dataclass(frozen=True)
class Run:
    """A layer, by its index, over `pictures` pictures of a batch, from number `first` on, at once."""
    layer: int
    first: int
    pictures: int


@dataclass(frozen=True)
class Placement:
    """Where everything of a batch lies. tensors: of each run {name: `Tensor`}, of what it reads and writes, its base
    that of the run's first picture. releases: of each run, whether a picture is given back before it. waits: likewise,
    whether the next one is waited for."""
    tensors: tuple
    releases: tuple
    waits: tuple


def is_logits(layer):
    return not isinstance(layer, MaxPool) and layer.thresholds is None


def sources(layer):
    """Names of the tensors that a layer reads."""
    return {layer.source} if isinstance(layer, MaxPool) else {term.source for term in layer.terms}


def bands(tensor, config):
    """[(first row, rows)] of the bands in which a tensor is computed, as many rows each as the accumulators hold and
    all alike as far as they go."""
    _, height, width = tensor.shape
    groups = -(-width // config.pixels_per_cycle)
    count = -(-height // (config.accumulator_depth // groups))
    rows = -(-height // count)
    return [(top, min(rows, height - top)) for top in range(0, height, rows)]


def place(net, config):
    """{name: `Tensor`} of the picture and every layer. The logits take no room."""
    tensors, rows, last_reader = _tensors(net, config)
    bases, second = _places(rows, last_reader, _replaced(net, last_reader), config.activation_depth)
    tensors[PICTURE] = replace(tensors[PICTURE], second=second)
    return {name: replace(tensor, base=bases.get(name, 0)) for name, tensor in tensors.items()}


def _tensors(net, config):
    """Of the picture and every layer in order: {name: `Tensor`, without a place}, {name: bank rows}, the logits
    excepted, {name: index of the last layer that reads it}."""
    shape = channels, height, width = tuple(net.input_shape)
    if channels not in (1, 3) or max(height, width) > LONGEST_SIDE:
        raise DoesNotFit(PICTURE, "shape of the picture", shape, (3, LONGEST_SIDE, LONGEST_SIDE))
    tensors = {PICTURE: _tensor(PICTURE, shape, PIXEL_MAX, config)}
    rows, last_reader = {PICTURE: config.a_digits * tensors[PICTURE].plane}, {PICTURE: -1}
    for index, layer in enumerate(net.layers):
        if (not sources(layer) <= tensors.keys() or layer.name in tensors
                or is_logits(layer) != (layer is net.layers[-1])):
            raise UserError(f"layer {layer.name}: not in execution order up to one logits layer")
        if isinstance(layer, MaxPool):
            shape, largest = _max_pool_output(layer, tensors)
        else:
            shape, largest = _output(layer, tensors, config)
        groups = -(-shape[2] // config.pixels_per_cycle)
        if groups > config.accumulator_depth:
            raise DoesNotFit(layer.name, "pixel groups of a row of its feature map", groups, config.accumulator_depth)
        if is_logits(layer) and shape[1] * groups > config.accumulator_depth:
            raise DoesNotFit(layer.name, "pixel groups of its feature map", shape[1] * groups, config.accumulator_depth)
        tensor = tensors[layer.name] = _tensor(layer.name, shape, largest, config)
        last_reader |= dict.fromkeys(sources(layer), index)
        if not is_logits(layer):
            rows[layer.name] = -(-shape[0] // config.rows) * tensor.plane
            last_reader[layer.name] = index
    return tensors, rows, last_reader


def _tensor(name, shape, largest, config):
    return Tensor(name=name, shape=shape, pitch=-(-shape[2] // config.banks), largest=largest)


def _max_pool_output(layer, tensors):
    """Shape and largest code."""
    if layer.source == PICTURE:
        raise DoesNotFit(layer.name, "max-pool", "the picture", "codes")
    _, height, width = tensors[layer.source].shape
    if min(height, width) < 2:
        raise UserError(f"layer {layer.name}: no 2x2 window in {height}x{width} pixels")
    return layer.output_shape(tensors[layer.source].shape), tensors[layer.source].largest


def _output(layer, tensors, config):
    """Shape and largest code."""
    if layer.a_bits > config.a_bits:
        raise DoesNotFit(layer.name, "a_bits", layer.a_bits, config.a_bits)
    shapes = {_term_output(layer.name, term, tensors[term.source], config) for term in layer.terms}
    if len(shapes) != 1:
        raise UserError(f"layer {layer.name}: its terms give outputs of shapes {sorted(shapes)}")
    return shapes.pop(), (1 << layer.a_bits) - 1


def _term_output(layer, term, source, config):
    """Output shape of one term. Refuses what the array's addressing cannot do."""
    channels = source.shape[0]
    weights = len(term.gain) if isinstance(term, Skip) else term.codes.shape[1]
    if weights != channels:
        raise UserError(f"layer {layer}: weights for {weights} channels "
                        f"cannot read {source.name} of {channels}")
    if isinstance(term, Skip):
        if source.name == PICTURE:
            raise DoesNotFit(layer, "residual", "the picture", "codes")
        return term.output_shape(source.shape)
    _, _, *size = term.codes.shape
    if size not in ([1, 1], [3, 3]):
        raise DoesNotFit(layer, "kernel", "x".join(map(str, size)), "1x1 or 3x3")
    if size != [3, 3] and source.name == PICTURE and config.picture_taps == 3:
        raise DoesNotFit(layer, "kernel over the picture", "1x1", "3x3")
    if term.padding != size[0] // 2:
        raise DoesNotFit(layer, "padding", term.padding, size[0] // 2)
    if term.stride not in (1, 2):
        raise DoesNotFit(layer, "stride", term.stride, 2)
    if term.drop and source.name == PICTURE:
        raise DoesNotFit(layer, "low bits dropped of the picture", term.drop, 0)
    if term.drop >= config.a_bits:
        raise DoesNotFit(layer, "low bits dropped", term.drop, config.a_bits - 1)
    if term.alpha not in (1, 2):
        raise DoesNotFit(layer, "alpha", term.alpha, "1 or 2")
    return term.output_shape(source.shape)


def _replaced(net, last_reader):
    """{layer: tensor that it may write over}: its last reader, by a residual alone."""
    replaced = {}
    for index, layer in enumerate(net.layers[:-1]):
        terms = () if isinstance(layer, MaxPool) else layer.terms
        for skip in (term for term in terms if isinstance(term, Skip)):
            if (last_reader[skip.source] == index
                    and all(isinstance(term, Skip) for term in terms if term.source == skip.source)):
                replaced[layer.name] = skip.source
    return replaced


def _places(rows, last_reader, replaced, depth):
    """({name: first bank row}, second): of every tensor, and of the picture's second buffer (0: none).

    rows: {name: bank rows} of the picture and every layer in order. last_reader: {name: index of a layer}.
    replaced: as from `_replaced`.
    """
    picture = rows[PICTURE]
    two = rows | {PICTURE: 2 * picture}
    always = last_reader | {PICTURE: len(rows)}             # the next picture comes meanwhile
    early = list(rows)[1:last_reader[PICTURE] + 2]          # written while the picture is read

    def fitting(depth):
        """Of the ways that fit, the first."""
        for second, bases in ((picture, _allocate(two, always, replaced)), (0, _allocate(rows, last_reader, replaced)),
                              (0, _allocate(rows, last_reader, replaced, early, depth))):
            if all(0 <= base <= depth - rows[name] for name, base in bases.items()):
                return bases, second
        return None

    found = fitting(depth)
    if found is None:
        ends = {name: base + rows[name] for name, base in _allocate(rows, last_reader, replaced).items()}
        need = bisect.bisect_left(range(max(ends.values())), True, lo=depth, key=lambda depth: bool(fitting(depth)))
        first = next(name for name in ends if ends[name] > depth)
        raise DoesNotFit(first, "bank rows of activation memory", need, depth)
    return found


def _allocate(rows, last_reader, replaced, from_top=(), depth=0):
    """First bank row of each tensor: {name: base}, that of what it replaces or the lowest place that is free; of those
    in `from_top` the highest one below `depth`, negative where there is none.

    Rows are free again after the last reader, so a layer never writes over what it reads but in place.
    """
    bases = {}
    for index, (name, size) in enumerate(rows.items(), -1):         # the picture comes before layer 0
        live = sorted((bases[n], bases[n] + rows[n]) for n in bases if last_reader[n] >= index)
        if name in replaced:
            bases[name] = bases[replaced[name]]
        elif name in from_top:
            bases[name] = depth - _lowest([(depth - high, depth - low) for low, high in reversed(live)], size) - size
        else:
            bases[name] = _lowest(live, size)
    return bases


def _lowest(taken, size):
    """The lowest place for so many rows beside those taken, sorted [(first, behind the last)]."""
    base = 0
    for low, high in taken:
        if base + size <= low:
            break
        base = max(base, high)
    return base


def place_batch(net, config, runs):
    """The `Placement` of `runs`, in order; None where there is no room for them, or none was found.

    One picture buffer lies at the bottom. A tensor that several pictures of a batch have at once lies, for all of them,
    in slots one behind the other, upwards or downwards; a slot is taken from its picture's codes on, so that slots of
    pictures still to come are room for others. What a layer writes over what it reads (see above) shares its slots.
    """
    tensors, rows, last_reader = _tensors(net, config)
    whole = _Items(net, rows, _replaced(net, last_reader), runs)
    if max(whole.load()) > config.activation_depth:
        return None
    searches = (_Search(whole, rows[PICTURE], config.activation_depth, number).places() for number in range(SEARCHES))
    places = next((places for places in searches if places), None)
    if places is None:
        return None

    def placed(name, first):
        if name not in rows:                                        # the logits
            return tensors[name]
        item = whole.of[name, first]
        base, apart = places[item]
        return replace(tensors[name], base=base + (first - item.first) * apart, apart=apart)

    located = tuple({name: placed(name, run.first) for name in (*sources(net.layers[run.layer]),
                                                                net.layers[run.layer].name)} for run in runs)
    reads = [PICTURE in sources(net.layers[run.layer]) for run in runs]
    waits = [read and k > 0 and not _read_before(runs, reads, k) for k, read in enumerate(reads)]
    return Placement(located, tuple(_releases(whole, places, rows[PICTURE], runs, reads, waits)), tuple(waits))


def _read_before(runs, reads, k):
    """Whether the picture that run `k` reads has been."""
    return any(reads[j] and runs[j].first == runs[k].first for j in range(k))


def _releases(whole, places, picture_rows, runs, reads, waits):
    """Of each run, and of the end behind them, whether the picture that was read last is given back before it: as early
    as its rows are free until the next one is read."""
    releases = [False] * (len(runs) + 1)
    begins = [k for k in range(len(runs)) if k == 0 or waits[k]]
    for begin, following in zip(begins, [*begins[1:], len(runs)], strict=True):
        earliest = max(k for k in range(begin, following) if reads[k]) + 1
        for item, (base, apart) in places.items():
            if item in whole.pictures:
                continue
            for slot, (birth, death) in enumerate(item.lives):
                if base + slot * apart < picture_rows and birth < following and death >= earliest:
                    earliest = death + 1
        releases[min(earliest, following)] = True
    return releases


@dataclass(frozen=True, eq=False)
class _Item:
    """Tensors that share their slots, for pictures from `first` on. size: bank rows of a slot. lives: of each slot, the
    runs that write it first and read it last."""
    first: int
    size: int
    lives: tuple


class _Items:
    """items: those that are pictures, which lie at bank row 0, then the others in the order in which their first slot
    is written. of: {(name, picture): item}. pictures: the first of them."""

    def __init__(self, net, rows, replaced, runs):
        chain = {name: name for name in rows}
        for name, source in replaced.items():
            chain[name] = chain[source]
        together = dict.fromkeys(chain.values(), 1)                 # pictures that have their slots side by side
        lives = {}                                                  # (chain, picture): [first, last run]
        for index, run in enumerate(runs):
            layer = net.layers[run.layer]
            for name in (layer.name, *sources(layer)):
                if name not in rows:
                    continue
                together[chain[name]] = max(together[chain[name]], run.pictures)
                for picture in range(run.first, run.first + run.pictures):
                    life = lives.setdefault((chain[name], picture), [index, index])
                    life[1] = index
        self.items, self.of, self._rows, self._runs = [], {}, rows, len(runs)
        for name, count in together.items():
            numbers = [picture for one, picture in lives if one == name]
            for first in range(0, max(numbers) + 1, count):
                item = _Item(first, rows[name], tuple(
                    tuple(lives[name, k]) for k in range(first, first + count)))
                for member in (member for member in chain if chain[member] == name):
                    self.of |= {(member, k): item for k in range(first, first + count)}
                self.items.append(item)
        self.pictures = {item for (name, _), item in self.of.items() if name == PICTURE}
        self.items.sort(key=lambda item: (item not in self.pictures, item.lives[0]))

    def load(self):
        """Bank rows that are taken in each run."""
        taken = np.zeros(self._runs + 1, np.int64)
        for item in self.items:
            for birth, death in item.lives:
                taken[birth] += item.size
                taken[death + 1] -= item.size
        return np.cumsum(taken)


class _Search:
    """Depth first, a place for an item after the other. The pictures' is given. number: 0 for the choices that look
    best first, others for some of them in another order."""

    def __init__(self, whole, picture_rows, depth, number):
        self._random, self._shuffled = random.Random(number), SHUFFLED if number else 0
        self._items, self._picture_rows, self._depth = whole.items, picture_rows, depth
        self._pictures = whole.pictures
        self._slots = np.zeros((0, 4), np.int64)                    # first row, behind the last, first run, last run
        self._left = TRIES

    def places(self):
        """{item: (base of its first slot, apart)} or None."""
        chosen = []                                                 # of each item placed: what else there is to try
        places = {}
        while len(chosen) < len(self._items):
            item = self._items[len(chosen)]
            chosen.append(self._candidates(item))
            while not chosen[-1]:
                chosen.pop()
                if not chosen:
                    return None
                self._remove(self._items[len(chosen) - 1])
            self._left -= 1
            if self._left < 0:
                return None
            item = self._items[len(chosen) - 1]
            places[item] = chosen[-1].pop(0)
            self._add(item, *places[item])
        return places

    def _add(self, item, base, apart):
        slots = [(base + k * apart, base + k * apart + item.size, *life) for k, life in enumerate(item.lives)]
        self._slots = np.concatenate([self._slots, slots])

    def _remove(self, item):
        self._slots = self._slots[:-len(item.lives)]

    def _candidates(self, item):
        """[(base, apart)] to try, the best first."""
        if item in self._pictures:
            return [(0, 0)]
        found = []
        for direction in ((1,) if len(item.lives) == 1 else (-1, 1)):
            free = self._free(item, direction)
            span = item.size * (len(item.lives) - 1)
            above = [p for p in free if p >= self._picture_rows]
            lowest, highest = [*above[:1], *free[:1]], free[-1:]
            order = [*lowest, *highest] if len(item.lives) == 1 else [*highest, *lowest]
            found += [(p if direction > 0 else p + span, direction * item.size) for p in order]
        found = list(dict.fromkeys(found))
        if self._random.random() < self._shuffled:
            self._random.shuffle(found)
        return found

    def _free(self, item, direction):
        """Places for all slots of an item, at the ends of what is taken: sorted."""
        count = len(item.lives)
        offsets = [(k if direction > 0 else count - 1 - k) * item.size for k in range(count)]
        low, high = [], []
        for offset, (birth, death) in zip(offsets, item.lives, strict=True):
            rows = self._slots[(self._slots[:, 2] <= death) & (self._slots[:, 3] >= birth)]
            low.append(rows[:, 0] - offset - item.size)
            high.append(rows[:, 1] - offset)
        low, high = np.concatenate(low), np.concatenate(high)       # between them, both excluded, it cannot begin
        most = self._depth - count * item.size
        points = np.unique(np.concatenate([[0, self._picture_rows, most], low, high]))
        points = points[(points >= 0) & (points <= most)]
        taken = ((points[:, None] > low) & (points[:, None] < high)).any(axis=1)
        return points[~taken].tolist()
