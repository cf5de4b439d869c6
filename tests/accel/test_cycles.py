# amaranth: UnusedElaboratable=no
"""The cycle model's table of layers against the RTL: a layer is computed when its line says."""
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from accel import tape, timing
from accel.compiler.compile import compile_net
from accel.config import TINY
from accel.cycles import CAUSES, between, cycles, cycles_a_picture, layer_cycles, schedule
from accel.interp import Interpreter
from accel.isa import Batch, Pass, Tile, decode
from accel.rtl.core import Core
from sim.engine import NO_GAPS
from sim.engines import timeout_cycles
from sim.pysim import PysimEngine
from sim.sdram import sdram_timing
from tests.batches import batched
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
    for k, (line, layer, run) in enumerate(zip(table, image.layers, image.runs, strict=True)):
        assert (line.name, line.passes) == (layer.name, sum(
            fields["more"] + 1 for layout, fields, _ in program[run.start:run.stop] if layout is Pass))
        written = engine.write_cycles[stops[k] - layer.writes:stops[k]]
        if layer.writes:
            assert ends[k] - line.cycles + flight <= written[0] <= written[-1] < ends[k] + flight


# What the array waits for.

WIDE = replace(PLAYED, weight_depth=256, threshold_depth=256)       # the rings are full again late
SINGLE = replace(TINY, w_bits=3, a_bits=3, activation_depth=112)    # of some nets, one picture buffer


@pytest.mark.parametrize("config", [TINY, PLAYED, WIDE], ids=lambda config: str(config.weight_depth))
@pytest.mark.parametrize("make", [compile_net, lambda net, config: batched(net, config, seed=1)],
                         ids=["picture by picture", "batched"])
@pytest.mark.parametrize("seed", range(6))
def test_every_cycle_is_a_token_or_a_wait(seed, make, config):
    image = make(random_net(seed, config), config)
    tokens, pictures, height, groups = [], 1, 0, 0
    for word in image.program:
        layout, fields = decode(word)
        if layout is Batch:
            pictures = int(fields.more) + 1
        elif layout is Tile:
            height, groups = int(fields.height), int(fields.groups)
        tokens.append((int(fields.more) + 1) * height * groups * pictures if layout is Pass else 0)
    of_layer = Counter()
    for run in image.runs:
        of_layer[run.layer] += sum(tokens[run.start:run.stop])
    table = layer_cycles(image)
    assert sum(line.cycles for line in table) == cycles(image)
    for line, layer in zip(table, image.layers, strict=True):
        assert line.name == layer.name and line.cycles == of_layer[layer.name] + sum(line.waits.values())
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


def starts_of_programs(image, programs):
    """Cycles in which they start, one after the other, with pixels always on offer and logits always taken; the answers
    are the model's."""
    starts = []

    def watch(core):
        async def bench(ctx):
            cycle, before = 0, 0
            async for _, _, busy in ctx.tick().sample(core.busy):
                if busy and not before:
                    starts.append(cycle)
                cycle, before = cycle + 1, busy
        return bench

    config = image.config
    engine = PysimEngine(image, lambda: Core(config), timeout=timeout_cycles(image, NO_GAPS), testbenches=(watch,),
                         sdram=sdram_timing(config))
    results = list(engine.run(np.zeros((programs * image.batch, 3, *image.picture_shape), np.uint8)))
    assert [result.cycles for result in results] == [*schedule(image).answers] * programs
    return starts


@pytest.mark.parametrize("config, seed", [(TINY, 0), (WIDE, 4), (SINGLE, 7)],
                         ids=["resident", "played", "one picture buffer"])
def test_from_a_picture_to_the_next_one(config, seed):
    """Pictures and logits never keep the core waiting: from start to start it is `interval`, to the cycle."""
    image = compile_net(random_net(seed, config), config)
    assert np.diff(starts_of_programs(image, 3)).tolist() == [schedule(image).interval] * 2
    assert between(image) == (0 if image.resident else schedule(image).interval - cycles(image))


def small_net(side):
    build = NetBuilder(np.random.default_rng(side), (3, side, side))
    name = build.layer(build.conv("image", 5, stride=2))
    body = build.layer(build.conv(name, 6, stride=2))
    build.logits(build.layer(build.conv(body, 6), build.skip(body)), 3)
    return build.net()


@pytest.mark.parametrize("config, make", [
    (TINY, lambda: small_net(4)), (PLAYED, lambda: small_net(4)),
    *(pytest.param(config, lambda config=config, seed=seed: random_net(seed, config), marks=pytest.mark.slow)
      for config, seed in [(TINY, 36), (TINY, 23), (PLAYED, 23), (WIDE, 37)])])
def test_from_a_batch_to_the_next_one(config, make):
    """The next picture is waited for as long as it comes, and within a batch the counter stands still meanwhile."""
    image = batched(make(), config, 36 if config is TINY else 23, most=4)
    assert image.batch > 1
    assert np.diff(starts_of_programs(image, 2)).tolist() == [schedule(image).interval]
    assert between(image) == schedule(image).interval - cycles(image)
    assert cycles_a_picture(image) == schedule(image).interval / image.batch


@pytest.mark.slow
@pytest.mark.parametrize("seed, late", [(4, 2), (5, 1), (19, 12)])
def test_codes_go_before_the_next_picture(seed, late):
    """What the model leaves out: a picture that is waited for comes later by as many cycles as its words have waited
    for codes."""
    image = batched(random_net(seed, TINY), TINY, seed, most=4)
    assert np.diff(starts_of_programs(image, 3)).tolist() == [schedule(image).interval + late] * 2
