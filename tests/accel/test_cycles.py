# amaranth: UnusedElaboratable=no
"""The cycle model's table of layers against the RTL: a layer is computed when its line says."""
from dataclasses import replace

import numpy as np
import pytest

from accel import tape, timing
from accel.compiler.compile import compile_net
from accel.config import TINY
from accel.cycles import CAUSES, between, cycles, layer_cycles, schedule
from accel.interp import Interpreter
from accel.isa import Pass, Tile, decode
from accel.rtl.core import Core
from sim.engine import NO_GAPS
from sim.engines import timeout_cycles
from sim.pysim import PysimEngine
from sim.sdram import sdram_timing
from tests.nets import NetBuilder, random_net
from tests.rtl_check import PLAYED


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


# What the array waits for.

WIDE = replace(PLAYED, weight_depth=256, threshold_depth=256)       # the rings are full again late
SINGLE = replace(TINY, w_bits=3, a_bits=3, activation_depth=112)    # of some nets, one picture buffer


@pytest.mark.parametrize("config", [TINY, PLAYED, WIDE], ids=lambda config: str(config.weight_depth))
@pytest.mark.parametrize("seed", range(6))
def test_every_cycle_is_a_token_or_a_wait(seed, config):
    image = compile_net(random_net(seed, config), config)
    tokens, height, groups = [], 0, 0
    for word in image.program:
        layout, fields = decode(word)
        if layout is Tile:
            height, groups = int(fields.height), int(fields.groups)
        tokens.append((int(fields.more) + 1) * height * groups if layout is Pass else 0)
    for line, layer in zip(layer_cycles(image), image.layers, strict=True):
        assert line.cycles == sum(tokens[layer.start:layer.stop]) + sum(line.waits.values())
        assert all(count > 0 for count in line.waits.values()) and set(line.waits) <= set(CAUSES)
        assert not (image.resident and "bandwidth" in line.waits)


@pytest.mark.parametrize("seed", range(4))
def test_without_waits_for_words_a_layer_takes_as_long_as_on_chip(seed):
    """What `bandwidth` counts is all that playing costs, but for what it makes other waits shorter."""
    net = random_net(seed, WIDE)
    on_chip, played = (compile_net(net, config) for config in (TINY, WIDE))
    np.testing.assert_array_equal(on_chip.program, played.program)
    for one, other in zip(layer_cycles(on_chip), layer_cycles(played), strict=True):
        others = sum(count for cause, count in other.waits.items() if cause != "bandwidth")
        assert one.cycles >= other.cycles - other.waits.get("bandwidth", 0)
        assert others <= sum(one.waits.values())


def test_what_bounds_a_layer():
    for line in [line for seed in range(6) for config in (TINY, WIDE)
                 for line in layer_cycles(compile_net(random_net(seed, config), config))]:
        waited = sum(line.waits.values())
        assert (line.bound == "multipliers") == (waited < 0.05 * line.cycles)
        assert line.bound == "multipliers" or line.waits[line.bound] == max(line.waits.values())


def test_layers_share_the_tape():
    image = compile_net(random_net(3, PLAYED), PLAYED)
    words = sum(line.tape_words for line in layer_cycles(image))
    payload = len(image.tape) * tape.PAYLOAD_WORDS
    assert payload - tape.PAYLOAD_WORDS < words + tape.words_of(64) <= payload          # and the `Settings`


@pytest.mark.parametrize("config, seed", [(TINY, 0), (WIDE, 4), (SINGLE, 7)],
                         ids=["resident", "played", "one picture buffer"])
def test_from_a_picture_to_the_next_one(config, seed):
    """Pictures and logits never keep the core waiting: from start to start it is `interval`, to the cycle."""
    image = compile_net(random_net(seed, config), config)
    starts = []

    def watch(core):
        async def bench(ctx):
            cycle, before = 0, 0
            async for _, _, busy in ctx.tick().sample(core.busy):
                if busy and not before:
                    starts.append(cycle)
                cycle, before = cycle + 1, busy
        return bench

    engine = PysimEngine(image, lambda: Core(config), timeout=timeout_cycles(image, NO_GAPS), testbenches=(watch,),
                         sdram=sdram_timing(config))
    results = list(engine.run(np.zeros((3, 3, *image.picture_shape), np.uint8)))
    assert [result.cycles for result in results] == [cycles(image)] * 3
    assert np.diff(starts).tolist() == [schedule(image).interval] * 2
    assert between(image) == (0 if image.resident else schedule(image).interval - cycles(image))
