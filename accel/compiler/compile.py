"""Integer net -> `Image`: program, weights and thresholds for one `AccelConfig`.

Each layer is cut into output tiles of `2 * chains` channels, each tile into passes over terms,
kernel taps, input channel tiles and digits. `placement` gives every tensor its bank rows, `terms`
brings every term into one form, `assemble` packs instructions; here the passes get their order, and
every accumulator the proof that it stays in range. `batches` says which layers run over several pictures at once.
"""
import contextlib
import functools

import numpy as np

from accel import timing
from accel.clocks import CORE_CLOCKS
from accel.config import CONFIGS
from accel.cycles import cycles_a_picture
from accel.image import Image, LayerInfo, RunInfo
from accel.isa import *
from accel.tape import SHORT_BITS
from model.common.errors import UserError
from model.integer import store
from model.integer.net import PICTURE, MaxPool, Skip, macs

from .assemble import Assembler
from .batches import candidates, plans
from .placement import DoesNotFit, MemoryFull, Placement, Run, bands, is_logits, place, sources
from .terms import kernel_of, max_pool_kernels

__all__ = ["DoesNotFit", "compile_net", "compile_runs"]

LOGIT_BITS = 32
SLOWER = 1.002                  # than the fastest: as good, if it takes fewer pictures
CLEARLY = 0.8                   # of the time picture by picture, as estimated: faster without doubt


def compile_net(net, config, batch=1):
    """The `Image` of `net` for `config`, for batches of as many pictures as make it fastest, at most `batch`. Raises
    `DoesNotFit`: which net, layer, its need, the limit, and which shipped configuration it fits."""
    try:
        image = compile_runs(net, config)
        return image if batch == 1 else _in_batches(net, image, batch)
    except DoesNotFit as error:
        error.net, error.config = net.name, config.name
        error.room = functools.partial(_roomy, net)         # an error may come from another process
        raise


def _in_batches(net, image, most):
    """The fastest `Image` of at most `most` pictures. image: of `net`, picture by picture."""
    [alone], images = plans(image, 1), []
    for plan, placement in candidates(net, image, most):
        with contextlib.suppress(MemoryFull):           # of weights, which are there again for each run
            images.append(compile_runs(net, image.config, plan.runs(), placement))
            doubtful = plan.cycles > CLEARLY * alone.cycles
    if not images or doubtful:
        images.append(image)
    if len(images) == 1:
        return images[0]
    spent = [cycles_a_picture(image) for image in images]
    as_good = [k for k, cycles in enumerate(spent) if cycles <= SLOWER * min(spent)]
    return images[min(as_good, key=lambda k: (images[k].batch, spent[k]))]


def _roomy(net):
    """The smallest shipped configuration that the net fits, in words, or None; of equal ones, one that a board has."""
    for config in sorted(CONFIGS.values(), key=lambda config: (config.macs_per_cycle, config.name not in CORE_CLOCKS)):
        try:
            compile_runs(net, config)
        except UserError:                   # that it does not fit, or what the first configuration did not get to
            continue
        return f"configuration {config.name}"
    return None


def compile_runs(net, config, runs=None, placement=None):
    """The `Image` of `net` for `config`, for a batch of these runs in these places; picture by picture without. Raises
    `DoesNotFit`, which does not say of which net."""
    if runs is None:
        tensors = place(net, config)
        runs = [Run(index, 0, 1) for index in range(len(net.layers))]
        placement = Placement((tensors,) * len(runs), (False,) * (len(runs) + 1), (False,) * len(runs))
    counts, batch = macs(net), max(run.first + run.pictures for run in runs)
    assembler = Assembler(config)
    layers, infos, unsettled = {}, [], set()        # unsettled: (tensor, picture) written since the last barrier
    for index, (run, tensors) in enumerate(zip(runs, placement.tensors, strict=True)):
        layer, pictures = net.layers[run.layer], range(run.first, run.first + run.pictures)
        assembler.layer = layer.name
        start, out = len(assembler.program), tensors[layer.name]
        if placement.releases[index] or placement.waits[index]:
            assembler.emit(Picture, release=placement.releases[index], wait=placement.waits[index])
            unsettled = set()
        barrier = any((name, k) in unsettled for name in sources(layer) for k in pictures)
        compiler = _LayerCompiler(layer, run, tensors, assembler, config)
        last = index == len(runs) - 1
        writes = compiler.run(barrier, end=last, release=last and placement.releases[-1])
        unsettled = (set() if barrier else unsettled) | {(layer.name, k) for k in pictures}
        assembler.end_layer()
        layers[layer.name] = LayerInfo(name=layer.name, kind=_kind(layer, config), shape=out.shape, pitch=out.pitch,
                                       writes=writes, macs=counts[layer.name])
        infos.append(RunInfo(layer=layer.name, first=run.first, pictures=run.pictures, base=out.base, apart=out.apart,
                             skip_passes=compiler.skip_passes, start=start, stop=len(assembler.program)))
    assembler.end()
    picture = placement.tensors[0][PICTURE]
    return Image(
        config=config, net_name=net.name, net_digest=store.digest(net),
        n_logits=len(net.layers[-1].bias), picture_shape=picture.shape[1:], batch=batch,
        settings=_settings(picture, batch), layers=tuple(layers[layer.name] for layer in net.layers),
        runs=tuple(infos), program=np.array(assembler.program, dtype=np.uint64), weights=assembler.weights(),
        thresholds=np.array(assembler.thresholds, dtype=np.int64))


class _LayerCompiler:
    """Appends one run's tiles, passes, weights and thresholds."""

    def __init__(self, layer, run, tensors, assembler, config):
        self.pictures = run.pictures
        self.layer, self.tensors, self.assembler, self.config = layer, tensors, assembler, config
        self.out = tensors[layer.name]
        self.groups = -(-self.out.shape[2] // config.pixels_per_cycle)
        self.skip_passes = 0
        self.lowest = -(1 << config.acc_bits - 1)
        self.never = (1 << config.acc_bits - 1) - 1         # a threshold above every accumulator
        if isinstance(layer, MaxPool):
            self.kernels = max_pool_kernels(layer, self.out.shape[0])
        else:
            self.kernels = [kernel_of(term, config) for term in layer.terms]

    def run(self, barrier, *, end, release):
        """Returns the number of activation writes of a picture.

        barrier: the layer reads what may not be written yet. end: the program ends with it, and, with `release`, gives
        a picture back.
        """
        if is_logits(self.layer):
            self._logits(end, release)
            return 0
        channels, height, _ = self.out.shape
        thresholds = self._thresholds()
        tiles = -(-channels // self.config.rows) * self.config.parts
        for index in range(tiles):
            chosen = thresholds[index * self.config.channels:][:self.config.channels]
            self.assembler.thresholds += chosen.ravel().tolist()
            for band in self._bands():
                passes = self._passes(index, band) if index * self.config.channels < channels else []
                first = band[0] == 0
                self._tile(index, band, thresholds=first, short=first and _is_short(chosen),
                           barrier=first and (barrier and index == 0 or self._waits(index, band, passes)))
                if passes:
                    self._emit_passes(passes, logits=False)
                else:
                    self._zeros()
        return tiles * height * self.groups

    def _bands(self):
        """Of several pictures at once there is room for all of them."""
        return bands(self.out, self.config) if self.pictures == 1 else [(0, self.out.shape[1])]

    def _logits(self, end, release):
        channels, height, width = self.out.shape
        bias = self.layer.bias.astype(np.int64)
        low, high = (bound * height * width for bound in self._accumulator_range())
        limit = 1 << LOGIT_BITS - 1
        self._check_range("logits", low + bias.min(), high + bias.max(), -limit, limit - 1)
        for index, begin in enumerate(range(0, channels, self.config.channels)):
            chosen = bias[begin:begin + self.config.channels]
            self._tile(index, (0, height), thresholds=0, short=0, barrier=1)
            self._emit_passes(self._passes(index, (0, height)), logits=True)
            halves = np.stack([chosen & 0xFFFF, chosen >> 16 & 0xFFFF], axis=1)
            self.assembler.thresholds += halves.ravel().tolist()
            last = begin + len(chosen) == channels
            if last and release:
                self.assembler.emit(Picture, release=1, wait=0)
            self.assembler.emit(Emit, count=len(chosen), last=last, end=last and end)

    def _tile(self, index, band, *, thresholds, short, barrier):
        """band: first row and rows."""
        word, part = divmod(index, self.config.parts)
        top, height = band
        base = 0 if is_logits(self.layer) else self.out.base + word * self.out.plane + top * self.out.pitch
        self.assembler.batch(self.pictures, self.out.apart)
        self.assembler.emit(Tile, base=base, part=part, pitch=self.out.pitch, width=self.out.shape[2], height=height,
                            top=top, groups=self.groups, thresholds=thresholds, short=short,
                            barrier=barrier)

    def _waits(self, index, band, passes):
        """Whether output tile `index` has to wait until the one before it is written: both belong to the same words,
        a residual reads these where the codes go (`placement`: in place), and the passes in front of it are too short
        for that."""
        length = max(band[1] * self.groups * self.pictures, timing.shortest_pass(self.config))
        before = next((length * position for position, (kernel, _, _) in enumerate(passes)
                       if kernel.diagonal and self.tensors[kernel.source].base == self.out.base), None)
        return index % self.config.parts > 0 and before is not None and before < timing.drained(self.config)

    def _emit_passes(self, passes, *, logits):
        """The passes of one tile."""
        for position, (kernel, table, fields) in enumerate(passes):
            last = position == len(passes) - 1
            self.skip_passes += kernel.diagonal and not isinstance(self.layer, MaxPool)
            self.assembler.source(self.tensors[kernel.source], kernel.stride, picture=kernel.source == PICTURE)
            self.assembler.levels(table)
            self.assembler.run(**fields, clear=position == 0, final=last, logits=logits and last,
                               maximum=kernel.maximum)

    def _passes(self, index, band):
        """The passes of output tile `index` over a band: [(kernel, level table, arguments of `Assembler.run`)]."""
        return [one for kernel in self.kernels for one in self._passes_of(kernel, index, band[0])]

    def _passes_of(self, kernel, index, top):
        """One term's, from row `top` on."""
        config, source = self.config, self.tensors[kernel.source]
        picture = kernel.source == PICTURE
        words = range(-(-kernel.codes.shape[2] // config.rows))
        if kernel.diagonal:
            words = [index // config.parts]
        for (dy, dx), codes in zip(kernel.taps, kernel.codes, strict=True):
            for word in words:
                tile = self._weight_tile(kernel, codes, index, word)
                for j in range(kernel.digits):
                    table = kernel.tables and kernel.tables[j]
                    stored = kernel.stored(tile, j, config.w_bits)
                    beta = kernel.beta if j == 0 else 0
                    for d in range(config.a_digits if picture else 1):
                        yield kernel, table, {
                            "weights": stored if d == 0 else None, "dy": dy, "dx": dx,
                            "base": (source.base + (kernel.stride * top + dy) * source.pitch
                                     + (d if picture else word) * source.plane),
                            "shift": kernel.shift + config.w_bits * j + config.a_bits * d,
                            "beta": beta,
                            "beta_shift": beta and kernel.beta_shift + config.a_bits * d,
                            "drop": kernel.drop}

    def _weight_tile(self, kernel, codes, index, word):
        """Codes (rows, channels) for output tile `index` and input word `word` of (OC, lanes)."""
        rows, channels = self.config.rows, self.config.channels
        tile = codes[index * channels:(index + 1) * channels, word * rows:(word + 1) * rows].T
        if tile.shape == (rows, channels):
            return tile
        padding = ((0, rows - tile.shape[0]), (0, channels - tile.shape[1]))
        return np.pad(tile, padding, constant_values=kernel.unused)

    def _zeros(self):
        """A tile without channels, to write zeros: one pass, thresholds that never fire."""
        self.assembler.run(None, 0, dy=0, dx=0, shift=0, beta=0, beta_shift=0, clear=1, final=1,
                           maximum=0, logits=0, drop=0)

    def _thresholds(self):
        """Threshold words int64 (channels of all tiles, 2**a_bits - 1), heap order, without bias.

        Clipping changes no code: the accumulator is never below `lowest`, always below `never`.
        """
        channels = self.out.shape[0]
        if isinstance(self.layer, MaxPool):
            steps = np.tile(np.arange(1, self.out.largest + 1), (channels, 1))
        else:
            self._accumulator_range()
            steps = self.layer.thresholds.astype(np.int64) - self.layer.bias[:, None]
            steps = steps.clip(self.lowest, self.never)
        padding = ((0, -channels % self.config.rows), (0, self.config.thresholds - steps.shape[1]))
        return heap_order(np.pad(steps, padding, constant_values=self.never))

    def _accumulator_range(self):
        """Smallest and largest accumulator of any channel for any input codes, without bias."""
        low = high = 0
        for kernel in self.kernels:
            largest = self.tensors[kernel.source].largest >> kernel.drop << kernel.drop
            products = kernel.weights(self.config.channels) * largest
            low = low + products.clip(max=0).sum(axis=(0, 2))
            high = high + products.clip(min=0).sum(axis=(0, 2))
        self._check_range("accumulator", low.min(), high.max(), self.lowest, self.never - 1)
        return low.min(), high.max()

    def _check_range(self, what, low, high, lowest, highest):
        if low < lowest or high > highest:
            raise DoesNotFit(self.layer.name, f"range of the {what}", f"{low} .. {high}",
                             f"{lowest} .. {highest}")


def _is_short(thresholds):
    """Whether they all fit the short form of the tape."""
    limit = 1 << SHORT_BITS - 1
    return bool(thresholds.min() >= -limit and thresholds.max() < limit)


def _settings(picture, batch):
    _, height, width = picture.shape
    return Settings.const({"op": Op.SETTINGS, "width": width, "height": height, "pitch": picture.pitch,
                           "plane": picture.plane, "second": picture.second,
                           "single": batch == 1}).as_bits()


def _kind(layer, config):
    """What a layer does, in words for tables, and which bits take several passes: "conv3x3, 8-bit pixels", "conv3x3 +
    conv1x1, stride 2", "max-pool", "average pool + linear, 8-bit weights"."""
    if isinstance(layer, MaxPool):
        return "max-pool"
    terms = " + ".join(_term_kind(term, layer, config) for term in layer.terms)
    return f"average pool + {terms}" if is_logits(layer) else terms


def _term_kind(term, layer, config):
    if isinstance(term, Skip):
        return "skip"
    size = term.codes.shape[2]
    return ", ".join([
        "linear" if is_logits(layer) and size == term.stride == 1 else f"conv{size}x{size}",
        *([f"stride {term.stride}"] if term.stride > 1 else []),
        *(["8-bit pixels"] if term.source == PICTURE else []),
        *([f"{term.w_bits}-bit weights"] if term.w_bits > config.w_bits else [])])
