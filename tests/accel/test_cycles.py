# amaranth: UnusedElaboratable=no
"""The cycle model's table of layers against the RTL: a layer is computed when its line says."""
import numpy as np
import pytest

from accel import timing
from accel.compiler.compile import compile_net
from accel.config import TINY
from accel.cycles import cycles, layer_cycles
from accel.interp import Interpreter
from accel.isa import Pass
from accel.rtl.core import Core
from sim.engine import NO_GAPS
from sim.engines import timeout_cycles
from sim.pysim import PysimEngine
from tests.nets import NetBuilder, random_net


def skip_only_net():
    """A layer of a residual alone, and no wait behind it."""
    build = NetBuilder(np.random.default_rng(3), (3, 8, 8))
    first = build.layer(build.conv("image", 4))
    residual, other = build.layer(build.skip(first, largest=7)), build.layer(build.conv(first, 4))
    build.logits(build.layer(build.conv(residual, 4), build.conv(other, 4)), 3)
    return build.net()


@pytest.mark.parametrize("make", [lambda: random_net(4, TINY), skip_only_net])
def test_layers_are_computed_when_the_table_says(make):
    """The first code of a layer leaves the core after its first cycle, the last one before the next layer's first can
    leave; the passes of its line are those of its instructions."""
    image = compile_net(make(), TINY)
    table = layer_cycles(image)
    engine = PysimEngine(image, lambda: Core(TINY), trace=True, timeout=timeout_cycles(image, NO_GAPS))
    [result] = engine.run(np.zeros((1, 3, *image.picture_shape), np.uint8))
    ends = np.cumsum([layer.cycles for layer in table])
    assert ends[-1] == result.cycles == cycles(image)
    program = Interpreter(image).program
    flight = TINY.rows + timing.drain(TINY)                 # from a token to its codes
    stops = np.cumsum([layer.writes for layer in image.layers])
    assert stops[-1] == len(engine.write_cycles)
    for k, (line, layer) in enumerate(zip(table, image.layers, strict=True)):
        assert (line.name, line.passes) == (layer.name, sum(
            fields["more"] + 1 for layout, fields, _ in program[layer.start:layer.stop] if layout is Pass))
        written = engine.write_cycles[stops[k] - layer.writes:stops[k]]
        if layer.writes:
            assert ends[k] - line.cycles + flight <= written[0] <= written[-1] < ends[k] + flight
