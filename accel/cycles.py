"""The exact cycle model: what the sequencer's counter shows for a picture, without running anything.

It follows `rtl.control` instruction by instruction, and `rtl.tape` word by word (`accel.tape_schedule`). The counter
stands still while a logit is on offer: logits are taken at once here, a cycle each. Pixels and weights have no
influence, nor has the loading of the next picture. From one picture's last logit to the next one's start it takes a few
cycles more; for a net that is played, until the rings are full again.
"""
from dataclasses import dataclass

from . import isa, timing
from .tape import operands_of
from .tape_schedule import tape_schedule

__all__ = ["LayerCycles", "PassTime", "cycles", "layer_cycles", "schedule"]


@dataclass(frozen=True, kw_only=True)
class LayerCycles:
    """Cycles from a layer's first pass to the next layer's.

    kind: what it does, in words. shape: (C, H, W) of its output; (classes,) of the logits.
    macs: multiply-accumulates of its convolutions, for one picture.
    skip_cycles: those of them that add an identity residual (its passes, a diagonal of gains).
    utilization: share of the peak MACs that the layer's convolutions reach in the other cycles; 0 without any.
    utilization_with_skip: in all its cycles.
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


def cycles(image):
    """Cycles of one picture, from the start of the program to the last logit on offer."""
    return schedule(image)[0]


def layer_cycles(image):
    """A `LayerCycles` for each layer; their cycles add up to `cycles(image)`."""
    total, passes = schedule(image)
    begins = [0] + [next(p.start for p in passes if p.index >= layer.start) for layer in image.layers[1:]]
    table = []
    for layer, begin, end in zip(image.layers, begins, [*begins[1:], total], strict=True):
        layer_passes = [p for p in passes if layer.start <= p.index < layer.stop]
        # A band has the same passes as another one, all equally long.
        skip = layer.skip_passes * sum(p.cycles for p in layer_passes) // len(layer_passes)
        spent, peak = end - begin, image.config.macs_per_cycle
        table.append(LayerCycles(
            name=layer.name, kind=layer.kind, shape=layer.shape if layer.writes else layer.shape[:1], macs=layer.macs,
            passes=len(layer_passes), cycles=spent, skip_cycles=skip,
            utilization=layer.macs / (spent - skip) / peak if layer.macs else 0.0,
            utilization_with_skip=layer.macs / spent / peak))
    return table


@dataclass(frozen=True)
class PassTime:
    """When a pass starts and how long it runs; index of its instruction."""
    index: int
    start: int
    cycles: int


def schedule(image):
    """(cycles of one picture, a `PassTime` for each pass in order). Cycles of passes are those of the weight stage."""
    config, rings = image.config, tape_schedule(image)
    shortest, drained = timing.shortest_pass(config), timing.drained(config)
    readable = drained - config.rows     # token to the acceptance of a pass that reads its codes: `rows` later
    read = 0                             # cycle from which on the next instruction is read
    pass_end = -1                        # last cycle of the pass that runs
    last_token = last_threshold_token = -drained
    thresholds_ready = 0                 # first cycle in which all thresholds asked for are there
    offered = 0                          # cycles with a logit on offer, which are not counted
    held = False                         # weight words that a pass may repeat
    barrier, tokens, passes = False, 0, []
    for index, word in enumerate(image.program):
        layout, fields = isa.decode(word)
        begin = max(read, rings.instruction())
        execute = begin + timing.FETCH   # cycle in which the instruction at hand is executed
        rings.instruction_taken(execute - 1)
        read = execute + 1
        if layout is isa.Tile:
            barrier, tokens = fields.barrier, fields.groups * fields.height
            if fields.thresholds:
                there = rings.thresholds(*operands_of(config, layout, fields)[1:])
                begin = max(execute + timing.START, last_threshold_token + drained, there)
                thresholds_ready = begin + timing.START + config.threshold_words
                rings.thresholds_read(begin + timing.START, config.threshold_words)
        elif layout is isa.Pass:
            offer = execute
            for left in reversed(range(int(fields.more) + 1)):
                if not fields.repeat:
                    words = rings.weights() + timing.OFFER
                    offer = max(offer, words)
                accept = max(offer, pass_end)
                if fields.final and not left:
                    accept = max(accept, thresholds_ready)
                if barrier:
                    accept = max(accept, last_token + readable)
                    barrier = False
                start, length = accept + timing.START, max(tokens, shortest)
                passes.append(PassTime(index, start - offered, length))
                last_token, pass_end = start + tokens - 1, start + length - 1
                if not fields.repeat:
                    if held:
                        rings.weights_free(accept + 1)
                    held = True
                offer = accept + timing.NEXT_PASS
            if fields.final:
                last_threshold_token = last_token
            read = accept + 1
        elif layout is isa.Emit:
            there = rings.thresholds(*operands_of(config, layout, fields)[1:])
            accept = max(execute, pass_end, last_token + drained, thresholds_ready, there)
            last_offer = accept + int(fields.count) * (timing.LOGIT + 1)
            for logit in range(int(fields.count)):
                rings.thresholds_read(accept + 1 + logit * (timing.LOGIT + 1), 2)
            offered += int(fields.count)
            if fields.last:
                return last_offer + timing.START - offered, passes
            read = last_offer + 1
    raise ValueError("the program never sends its last logit")
