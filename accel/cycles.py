"""The exact cycle model: what the sequencer's counter shows for a picture, without running anything.

It follows `rtl.control` instruction by instruction, and `rtl.tape` word by word (`accel.tape_schedule`). The counter
stands still while a logit is on offer: logits are taken at once here, a cycle each. Pixels and weights have no
influence, nor has the loading of the next picture. From one picture's last logit to the next one's start it takes a few
cycles more; for a net that is played, until the rings are full again (`Schedule.interval`).

While a layer is computed the array either takes a token, or it waits. Each cycle in which it waits has one cause:

    bandwidth       words of the tape were not there: without that the next pass would have begun so much earlier
    thresholds      a final pass waited until the thresholds of its tile were read
    barrier         a pass waited until everything before was written
    instructions    instructions were read and executed
    short passes    a pass had less tokens than a pass has cycles at least: weights get in no faster
    logits          the pipeline drained, and logits were sent

What bounds a layer is the cause of most of its waits, or the multipliers where it waits in less than 5 % of its cycles.
"""
from collections import Counter
from dataclasses import dataclass

from . import isa, timing
from .tape import operands_of, words_of
from .tape_schedule import tape_schedule

__all__ = ["CAUSES", "LayerCycles", "PassTime", "Schedule", "between", "cycles", "layer_cycles", "schedule"]

CAUSES = ("bandwidth", "thresholds", "barrier", "instructions", "short passes", "logits")
MULTIPLIERS = "multipliers"
WAITS_PERCENT = 5               # of a layer's cycles, from which on they bound it


@dataclass(frozen=True, kw_only=True)
class LayerCycles:
    """Cycles from a layer's first pass to the next layer's.

    kind: what it does, in words. shape: (C, H, W) of its output; (classes,) of the logits.
    macs: multiply-accumulates of its convolutions, for one picture.
    skip_cycles: those of them that add an identity residual (its passes, a diagonal of gains).
    utilization: share of the peak MACs that the layer's convolutions reach in the other cycles; 0 without any.
    utilization_with_skip: in all its cycles.
    tape_words: words of 16 bits that its instructions and their operands take on the tape; checks come on top.
    waits: {cause: cycles} of `CAUSES`, those that there are: cycles without a token.
    bound: what bounds it, "multipliers" or one of `CAUSES`.
    """
    name: str
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
    """Of a picture. cycles: of the counter. waits: {cause: cycles} before the first pass. passes: a `PassTime` each, in
    order; cycles of passes are those of the weight stage. interval: from
    a picture's start to the next one's, if pixels and logits never keep the core waiting: with two picture buffers the
    next picture has come, with one it is sent as soon as there is room. between: see the function."""
    cycles: int
    waits: dict
    passes: tuple
    interval: int
    between: int


def cycles(image):
    """Cycles of one picture, from the start of the program to the last logit on offer."""
    return schedule(image).cycles


def between(image):
    """Cycles that count for a picture beside `cycles` where pictures follow each other, until the rings are full again.
    0 for a resident net, which waits for nothing but its logits and the picture."""
    return schedule(image).between


def layer_cycles(image):
    """A `LayerCycles` for each layer; their cycles add up to `cycles(image)`."""
    timed = schedule(image)
    passes = timed.passes
    begins = [0] + [next(p.start for p in passes if p.index >= layer.start) for layer in image.layers[1:]]
    table = []
    for layer, begin, end in zip(image.layers, begins, [*begins[1:], timed.cycles], strict=True):
        layer_passes = [p for p in passes if layer.start <= p.index < layer.stop]
        # A band has the same passes as another one, all equally long.
        skip = layer.skip_passes * sum(p.cycles for p in layer_passes) // len(layer_passes)
        spent, peak = end - begin, image.config.macs_per_cycle
        waits = sum((Counter(p.waits) for p in layer_passes), Counter({} if begin else timed.waits))
        table.append(LayerCycles(
            name=layer.name, kind=layer.kind, shape=layer.shape if layer.writes else layer.shape[:1], macs=layer.macs,
            passes=len(layer_passes), cycles=spent, skip_cycles=skip,
            utilization=layer.macs / (spent - skip) / peak if layer.macs else 0.0,
            utilization_with_skip=layer.macs / spent / peak,
            tape_words=sum(_tape_words(image.config, word) for word in image.program[layer.start:layer.stop]),
            waits={cause: waits[cause] for cause in CAUSES if waits[cause]}, bound=_bound(waits, spent)))
    return table


def _bound(waits, spent):
    bounds = 100 * waits.total() >= WAITS_PERCENT * spent
    return max(CAUSES, key=lambda cause: waits[cause]) if bounds else MULTIPLIERS


def _tape_words(config, word):
    """Of an instruction and its operands."""
    _, count, bits = operands_of(config, *isa.decode(word))
    return words_of(isa.INSTRUCTION_BITS) + count * words_of(bits)


def schedule(image):
    """The `Schedule` of a picture. ValueError for a program that never sends its last logit."""
    config, rings = image.config, tape_schedule(image)
    shortest, drained = timing.shortest_pass(config), timing.drained(config)
    readable = drained - config.rows     # token to the acceptance of a pass that reads its codes: `rows` later
    read = 0                             # cycle from which on the next instruction is read
    late = 0                             # cycles of them that instructions since the last pass were late on the tape
    pass_end = -1                        # last cycle of the pass that runs, or of the logits behind it
    last_token = last_threshold_token = -drained
    thresholds_ready = 0                 # first cycle in which all thresholds asked for are there
    thresholds_in_time = 0               # the same, had they and their tile been on the tape in time
    offered = 0                          # cycles with a logit on offer, which are not counted
    held = False                         # weight words that a pass may repeat
    barrier, tokens, passes = False, 0, []
    first_waits = waits = Counter()      # since the last token
    for index, word in enumerate(image.program):
        layout, fields = isa.decode(word)
        begin = max(read, rings.instruction())
        late += begin - read
        execute = begin + timing.FETCH   # cycle in which the instruction at hand is executed
        rings.instruction_taken(execute - 1)
        read = execute + 1
        if layout is isa.Tile:
            barrier, tokens = fields.barrier, fields.groups * fields.height
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
                passes.append(PassTime(index, start - offered, length, waits))
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
            offered += count
            in_time = max(execute - late, pass_end, last_token + drained, thresholds_in_time)
            waits.update({"bandwidth": accept - in_time, "logits": last_offer - count - accept + in_time - pass_end})
            pass_end, read, late = last_offer, last_offer + 1, 0
            if fields.last:
                released = last_offer + 1
                if held:
                    rings.weights_free(released)
                full = max(released + 1, 0 if _two_buffers(image) else released + _picture_cycles(image))
                start = rings.next_start(image.program, full)
                counted, to_next = last_offer + timing.START - offered, start + timing.START
                return Schedule(counted, first_waits, tuple(passes), to_next,
                                0 if image.resident else to_next - counted)
    raise ValueError("the program never sends its last logit")


def _add_waits(waits, in_time, pass_end, accept):
    """To `waits` those between the end of a pass and the acceptance of the next one. in_time: {what that waits for:
    first cycle, had all words of the tape been there}."""
    cause = max(in_time, key=in_time.get)
    begin = max(pass_end, min(in_time[cause], accept))
    waits.update({cause: begin - pass_end, "bandwidth": accept - begin})


def _two_buffers(image):
    return isa.unpacked(isa.Settings, image.settings).second != 0


def _picture_cycles(image):
    """From the release of a single picture buffer to that of the next picture in it, all of whose pixels wait."""
    config, (height, width) = image.config, image.picture_shape
    before = config.picture_taps // 2               # pixels of a row that make no word
    writes = 2 * config.a_digits - 1                # of a word: a digit every second cycle
    return 1 + height * (2 * before + width * (2 + writes) + 1)
