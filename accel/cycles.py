"""The exact cycle model: what the sequencer's counter shows for a batch of pictures, without running anything.

It follows `rtl.control` instruction by instruction, and `rtl.tape` word by word (`accel.tape_schedule`). The counter
stands still while a logit is on offer: logits are taken at once here, a cycle each. It stands still too while the next
picture of a batch is waited for. Pixels and weights have no influence, nor has the loading of the next picture. From a
program's last logit to the next one's start it takes a few cycles more; for a net that is played, until the rings are
full again (`Schedule.interval`).

While a layer is computed the array either takes a token, or it waits. Each cycle in which it waits has one cause:

    bandwidth       words of the tape were not there: without that the next pass would have begun so much earlier
    thresholds      a final pass waited until the thresholds of its tile were read
    barrier         a pass waited until everything before was written
    instructions    instructions were read and executed
    short passes    a pass had less tokens than a pass has cycles at least: weights get in no faster
    logits          the pipeline drained, and logits were sent
    pictures        the pipeline drained, and a picture was given back or the next one waited for

What bounds a layer is the cause of most of its waits, or the multipliers where it waits in less than 5 % of its cycles.
"""
import functools
from collections import Counter
from dataclasses import dataclass

from . import isa, timing
from .tape import operands_of, words_of
from .tape_schedule import tape_schedule

__all__ = ["CAUSES", "LayerCycles", "PassTime", "Schedule", "between", "cycles", "cycles_a_picture",
           "layer_cycles", "schedule"]

CAUSES = ("bandwidth", "thresholds", "barrier", "instructions", "short passes", "logits", "pictures")
MULTIPLIERS = "multipliers"
WAITS_PERCENT = 5               # of a layer's cycles, from which on they bound it


@dataclass(frozen=True, kw_only=True)
class LayerCycles:
    """Cycles of a layer in a program, for all pictures of its batch: from its first pass to the next layer's, as often
    as the program comes to it.

    batch: pictures of a pass. kind: what it does, in words. shape: (C, H, W) of its output; (classes,) of the logits.
    macs: multiply-accumulates of its convolutions, for one picture.
    skip_cycles: those of them that add an identity residual (its passes, a diagonal of gains).
    utilization: share of the peak MACs that the layer's convolutions reach in the other cycles; 0 without any.
    utilization_with_skip: in all its cycles.
    tape_words: words of 16 bits that its instructions and their operands take on the tape; checks come on top.
    waits: {cause: cycles} of `CAUSES`, those that there are: cycles without a token.
    bound: what bounds it, "multipliers" or one of `CAUSES`.
    """
    name: str
    batch: int
    kind: str
    shape: tuple
    macs: int
    passes: int
    cycles: int
    skip_cycles: int
    utilization: float
    utilization_with_skip: float
    tape_words: int
    waits: dict
    bound: str


@dataclass(frozen=True)
class PassTime:
    """When a pass starts and how long it runs; index of its instruction. waits: {cause: cycles} without a token from
    its start to that of the next pass, or to the last logit on offer."""
    index: int
    start: int
    cycles: int
    waits: dict


@dataclass(frozen=True)
class Schedule:
    """Of a program. answers: of each picture of its batch, in order, what the counter shows at its last logit.
    waits: {cause: cycles} before the first pass. passes: a `PassTime` each, in order; cycles of passes are those of the
    weight stage. interval: from a program's start to the next one's, if pixels and logits never keep the core waiting:
    with two picture buffers the next picture has come, with one it is sent as soon as there is room. It is exact but
    where a picture comes into a single buffer while codes are written, which go first, and is still waited for."""
    answers: tuple
    waits: dict
    passes: tuple
    interval: int

    @property
    def cycles(self):
        """Of the counter, to the last logit."""
        return self.answers[-1]


def cycles(image):
    """Cycles of one program, from its start to the last logit on offer."""
    return schedule(image).cycles


def between(image):
    """Cycles that count for a program beside `cycles` where programs follow each other, until the rings are full again.
    0 for a resident net of single pictures, which waits for nothing but its logits and the picture."""
    return _between(image, schedule(image))


def _between(image, timed):
    return 0 if image.resident and image.batch == 1 else timed.interval - timed.cycles


def cycles_a_picture(image):
    """Cycles from picture to picture, where programs follow each other: those of a program and of what is between two,
    by its pictures; the throughput. A float."""
    timed = schedule(image)
    return (timed.cycles + _between(image, timed)) / image.batch


def layer_cycles(image):
    """A `LayerCycles` for each layer; their cycles add up to `cycles(image)`."""
    timed = schedule(image)
    passes, runs = timed.passes, image.runs
    begins = [0] + [next(p.start for p in passes if p.index >= run.start) for run in runs[1:]]
    spent, skip, count = Counter(), Counter(), Counter()
    words, waits = Counter(), {layer.name: Counter() for layer in image.layers}
    waits[runs[0].layer].update(timed.waits)
    position = 0
    for run, begin, end in zip(runs, begins, [*begins[1:], timed.cycles], strict=True):
        mine = []
        while position < len(passes) and passes[position].index < run.stop:
            mine.append(passes[position])
            position += 1
        spent[run.layer] += end - begin
        # A band has the same passes as another one, all equally long.
        skip[run.layer] += run.skip_passes * sum(p.cycles for p in mine) // len(mine)
        count[run.layer] += len(mine)
        words[run.layer] += sum(_tape_words(image.config, word) for word in image.program[run.start:run.stop])
        for one in mine:
            waits[run.layer].update(one.waits)
    pictures = {run.layer: run.pictures for run in runs}
    peak = image.config.macs_per_cycle
    table = []
    for layer in image.layers:
        name, macs = layer.name, layer.macs * image.batch
        table.append(LayerCycles(
            name=name, batch=pictures[name], kind=layer.kind, shape=layer.shape if layer.writes else layer.shape[:1],
            macs=layer.macs, passes=count[name], cycles=spent[name], skip_cycles=skip[name],
            utilization=macs / (spent[name] - skip[name]) / peak if macs else 0.0,
            utilization_with_skip=macs / spent[name] / peak, tape_words=words[name],
            waits={cause: waits[name][cause] for cause in CAUSES if waits[name][cause]},
            bound=_bound(waits[name], spent[name])))
    return table


def _bound(waits, spent):
    bounds = 100 * waits.total() >= WAITS_PERCENT * spent
    return max(CAUSES, key=lambda cause: waits[cause]) if bounds else MULTIPLIERS


def _tape_words(config, word):
    """Of an instruction and its operands."""
    _, count, bits = operands_of(config, *isa.decode(word))
    return words_of(isa.INSTRUCTION_BITS) + count * words_of(bits)


@functools.lru_cache(maxsize=2)         # it is asked for several times, and takes seconds of a large net
def schedule(image):
    """The `Schedule` of a program. ValueError for one that does not end with an `Emit`."""
    config, rings = image.config, tape_schedule(image)
    shortest, drained = timing.shortest_pass(config), timing.drained(config)
    readable = drained - config.rows     # token to the acceptance of a pass that reads its codes: `rows` later
    read = 0                             # cycle from which on the next instruction is read
    late = 0                             # cycles of them that instructions since the last pass were late on the tape
    pass_end = -1                        # last cycle of the pass that runs, or of the logits behind it
    last_token = last_threshold_token = -drained
    thresholds_ready = 0                 # first cycle in which all thresholds asked for are there
    thresholds_in_time = 0               # the same, had they and their tile been on the tape in time
    unseen = 0                           # cycles that are not counted: a logit on offer, a picture waited for
    arrived = 0                          # first cycle in which the next picture is there
    answers = []
    held = False                         # weight words that a pass may repeat
    barrier, tokens, pictures, passes = False, 0, 1, []
    first_waits = waits = Counter()      # since the last token
    for index, word in enumerate(image.program):
        layout, fields = isa.decode(word)
        begin = max(read, rings.instruction())
        late += begin - read
        execute = begin + timing.FETCH   # cycle in which the instruction at hand is executed
        rings.instruction_taken(execute - 1)
        read = execute + 1
        if layout is isa.Batch:
            pictures = int(fields.more) + 1
        elif layout is isa.Picture:
            in_time = max(execute - late, last_token + drained)
            done = max(execute, last_token + drained)
            waits.update({"bandwidth": done - in_time, "pictures": in_time - pass_end})
            pass_end, read, late = done, done + 1, 0
            if fields.release:
                arrived = _next_arrival(image, done)
            if fields.wait:
                begun = rings.next_picture(index + 1, max(done + 1, arrived))
                unseen += begun - done
                pass_end, read = begun, begun + 1
        elif layout is isa.Tile:
            barrier, tokens = fields.barrier, fields.groups * fields.height * pictures
            if fields.thresholds:
                there = rings.thresholds(*operands_of(config, layout, fields)[1:])
                begin = max(execute + timing.START, last_threshold_token + drained, there)
                thresholds_ready = begin + timing.START + config.threshold_words
                thresholds_in_time = thresholds_ready - begin + max(
                    execute - late + timing.START, last_threshold_token + drained)
                rings.thresholds_read(begin + timing.START, config.threshold_words)
        elif layout is isa.Pass:
            offer = execute
            in_time = {"instructions": execute - late}          # first cycles for the pass, by what it waits for
            for left in reversed(range(int(fields.more) + 1)):
                if not fields.repeat:
                    offer = max(offer, rings.weights() + timing.OFFER)
                accept = max(offer, pass_end)
                if fields.final and not left:
                    accept = max(accept, thresholds_ready)
                    in_time["thresholds"] = thresholds_in_time
                if barrier:
                    in_time["barrier"] = last_token + readable
                    accept = max(accept, in_time["barrier"])
                    barrier = False
                _add_waits(waits, in_time, pass_end, accept)
                start, length = accept + timing.START, max(tokens, shortest)
                waits = Counter({"short passes": length - tokens})
                passes.append(PassTime(index, start - unseen, length, waits))
                last_token, pass_end = start + tokens - 1, start + length - 1
                if not fields.repeat:
                    if held:
                        rings.weights_free(accept + 1)
                    held = True
                offer = accept + timing.NEXT_PASS
                in_time = {"instructions": offer}
            if fields.final:
                last_threshold_token = last_token
            read, late = accept + 1, 0
        elif layout is isa.Emit:
            there = rings.thresholds(*operands_of(config, layout, fields)[1:])
            ready = max(execute, pass_end, last_token + drained, thresholds_ready)
            accept, count = max(ready, there), int(fields.count)
            last_offer = accept + count * (timing.LOGIT + 1)
            for logit in range(count):
                rings.thresholds_read(accept + 1 + logit * (timing.LOGIT + 1), 2)
            unseen += count
            in_time = max(execute - late, pass_end, last_token + drained, thresholds_in_time)
            waits.update({"bandwidth": accept - in_time, "logits": last_offer - count - accept + in_time - pass_end})
            pass_end, read, late = last_offer, last_offer + 1, 0
            if fields.last:
                answers.append(last_offer + timing.START - unseen)
            if fields.end:
                released = last_offer + 1
                if held:
                    rings.weights_free(released)
                if isa.unpacked(isa.Settings, image.settings).single:
                    arrived = _next_arrival(image, released)
                start = rings.next_picture(len(image.program), max(released + 1, arrived))
                return Schedule(tuple(answers), first_waits, tuple(passes), start + timing.START)
    raise ValueError("the program never sends its last logit")


def _add_waits(waits, in_time, pass_end, accept):
    """To `waits` those between the end of a pass and the acceptance of the next one. in_time: {what that waits for:
    first cycle, had all words of the tape been there}."""
    cause = max(in_time, key=in_time.get)
    begin = max(pass_end, min(in_time[cause], accept))
    waits.update({cause: begin - pass_end, "bandwidth": accept - begin})


def _next_arrival(image, released):
    """First cycle in which the next picture is there, where a buffer is given back in cycle `released` and all pixels
    wait."""
    if isa.unpacked(isa.Settings, image.settings).second:
        return 0
    config, (height, width) = image.config, image.picture_shape
    before = config.picture_taps // 2               # pixels of a row that make no word
    writes = 2 * config.a_digits - 1                # of a word: a digit every second cycle
    return released + 1 + height * (2 * before + width * (2 + writes) + 1)
