"""The exact cycle model: what the sequencer's counter shows for a picture, without running anything.

It follows `rtl.sequencer` instruction by instruction. Time is counted cycles: the counter stands still while a logit
is on offer (a cycle each at least), and nothing else runs then. Pixels and weights have no influence, nor has the
loading of the next picture. From one picture's last logit to the next one's start it takes a few cycles more.
"""
from dataclasses import dataclass

from accel.rtl.core import drain_cycles, shortest_pass

from . import isa

__all__ = ["LayerCycles", "PassTime", "cycles", "layer_cycles", "schedule"]

FETCH = 3              # cycles from FETCH to EXECUTE
INSTRUCTION = 4        # from EXECUTE to the next EXECUTE
LOGIT = 5              # cycles for each logit


@dataclass(frozen=True, kw_only=True)
class LayerCycles:
    """Cycles from a layer's first pass to the next layer's.

    skip_cycles: those of them that add an identity residual (its passes, a diagonal of gains).
    utilization: share of the peak MACs that the layer's convolutions reach in the other cycles; 0 without any.
    """
    name: str
    kind: str
    shape: tuple
    macs: int
    passes: int
    cycles: int
    skip_cycles: int
    utilization: float


def cycles(image):
    """Cycles of one picture, from the start of the program to the last logit on offer."""
    return schedule(image)[0]


def layer_cycles(image):
    """A `LayerCycles` for each layer; their cycles add up to `cycles(image)`."""
    total, passes = schedule(image)
    begins = [0] + [next(p.start for p in passes if p.index >= layer.start) for layer in image.layers[1:]]
    table = []
    for layer, begin, end in zip(image.layers, begins, [*begins[1:], total], strict=True):
        own = [p for p in passes if layer.start <= p.index < layer.stop]
        skip = layer.skip_passes * own[0].cycles            # all passes of a layer are equally long
        peak = (end - begin - skip) * image.config.macs_per_cycle
        table.append(LayerCycles(
            name=layer.name, kind=layer.kind, shape=layer.shape, macs=layer.macs, passes=len(own), cycles=end - begin,
            skip_cycles=skip, utilization=layer.macs / peak if layer.macs else 0.0))
    return table


@dataclass(frozen=True)
class PassTime:
    """When a pass starts and how long it runs; index of its instruction."""
    index: int
    start: int
    cycles: int


def schedule(image):
    """(cycles of one picture, a `PassTime` for each pass in order)."""
    config = image.config
    shortest, drain = shortest_pass(config), drain_cycles(config)
    execute = FETCH                      # cycle in which the instruction at hand is executed
    pass_end = -1                        # last cycle of the pass that runs
    last_token = last_threshold_token = -drain - config.rows - 1
    thresholds_ready = 0                 # first cycle in which all thresholds asked for are there
    barrier, tokens, passes = False, 0, []
    for index, word in enumerate(image.program):
        layout, fields = isa.decode(word)
        following = execute + INSTRUCTION
        if layout is isa.Tile:
            barrier, tokens = fields.barrier, fields.groups * fields.height
            if fields.thresholds:
                begin = max(execute + 1, last_threshold_token + 1 + config.rows + drain)
                thresholds_ready = begin + 1 + config.threshold_words
        elif layout is isa.Pass:
            accept = max(execute, pass_end)
            if fields.final:
                accept = max(accept, thresholds_ready)
            if barrier:
                accept = max(accept, last_token + 1 + drain)
                barrier = False
            length = max(tokens, shortest)
            passes.append(PassTime(index, accept + 1, length))
            last_token, pass_end = accept + tokens, accept + length
            if fields.final:
                last_threshold_token = last_token
            following = accept + INSTRUCTION
        elif layout is isa.Emit:
            drained = max(execute, pass_end, last_token + 1 + config.rows + drain)
            offered = drained + 1 + LOGIT * fields.count
            if fields.last:
                return offered, passes
            following = offered + FETCH
        execute = following
    raise ValueError("the program never sends its last logit")
