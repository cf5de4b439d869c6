"""The exact cycle model: what the sequencer's counter shows for a picture, without running anything.

It follows `rtl.control` instruction by instruction. Time is counted cycles: the counter stands still while a logit
is on offer (a cycle each at least), and nothing else runs then. Pixels and weights have no influence, nor has the
loading of the next picture. From one picture's last logit to the next one's start it takes a few cycles more.
"""
from dataclasses import dataclass

from . import isa, timing

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
    config = image.config
    shortest, drained = timing.shortest_pass(config), timing.drained(config)
    readable = drained - config.rows     # token to the acceptance of a pass that reads its codes: `rows` later
    execute = timing.FETCH               # cycle in which the instruction at hand is executed
    pass_end = -1                        # last cycle of the pass that runs
    last_token = last_threshold_token = -drained
    thresholds_ready = 0                 # first cycle in which all thresholds asked for are there
    barrier, tokens, passes = False, 0, []
    for index, word in enumerate(image.program):
        layout, fields = isa.decode(word)
        following = execute + timing.INSTRUCTION
        if layout is isa.Tile:
            barrier, tokens = fields.barrier, fields.groups * fields.height
            if fields.thresholds:
                begin = max(execute + timing.START, last_threshold_token + drained)
                thresholds_ready = begin + timing.START + config.threshold_words
        elif layout is isa.Pass:
            for left in reversed(range(int(fields.more) + 1)):
                accept = max(execute, pass_end)
                if fields.final and not left:
                    accept = max(accept, thresholds_ready)
                if barrier:
                    accept = max(accept, last_token + readable)
                    barrier = False
                start, length = accept + timing.START, max(tokens, shortest)
                passes.append(PassTime(index, start, length))
                last_token, pass_end = start + tokens - 1, start + length - 1
                execute = accept + timing.NEXT_PASS
            if fields.final:
                last_threshold_token = last_token
            following = accept + timing.INSTRUCTION
        elif layout is isa.Emit:
            accept = max(execute, pass_end, last_token + drained)
            offered = accept + timing.START + timing.LOGIT * fields.count
            if fields.last:
                return offered, passes
            following = offered + timing.FETCH
        execute = following
    raise ValueError("the program never sends its last logit")
