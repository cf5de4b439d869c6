# amaranth: UnusedElaboratable=no
"""The whole core in pysim against the interpreter: logits, every activation write, and the exact cycle count.

pysim is slow, so the nets are few and small here; `tests/sim` runs many more through the compiled simulator.
"""
from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator

from accel import timing
from accel.compiler.compile import compile_net
from accel.config import TINY, TINY_1PX
from accel.cycles import cycles, schedule
from accel.interp import Interpreter
from accel.isa import Pass, Tile
from accel.rtl.core import Core
from sim.engine import Gaps
from sim.engines import timeout_cycles
from sim.pysim import PysimEngine
from tests.accel.streams import Monitor
from tests.batches import batched
from tests.nets import NetBuilder, corner_pictures, extreme_net, random_net, random_pictures


def open_core(image, *, gaps=0.0, seed=0):
    """An engine with a trace that watches the protocol of the logits too. gaps: chance of a pause on every stream, in
    each cycle."""
    gaps = Gaps(pixels=gaps, logits=gaps, seed=seed)
    return PysimEngine(image, lambda: Core(image.config), trace=True, gaps=gaps, timeout=timeout_cycles(image, gaps),
                       testbenches=[lambda core: Monitor(core.logits).watch])


def check(image, pictures, **options):
    """Runs the pictures and compares everything; returns the logits."""
    return check_results(image, pictures, open_core(image, **options).run(pictures))


def check_results(image, pictures, results):
    """Of whole batches."""
    interpreter, logits, answers = Interpreter(image), [], schedule(image).answers
    for k, result in enumerate(results):
        number = k % image.batch
        if number == 0:
            expected, (groups, words) = interpreter.run(pictures[k:k + image.batch])
        np.testing.assert_array_equal(result.writes[0], groups)
        np.testing.assert_array_equal(result.writes[1], words)
        np.testing.assert_array_equal(result.logits, expected[number])
        assert (result.number, result.cycles, result.program_cycles) == (number, answers[number], cycles(image))
        logits.append(result.logits)
    assert len(logits) == len(pictures)
    return np.array(logits)


def small_net(seed, config):
    """The smallest of a few random nets, to keep pysim short."""
    images = [compile_net(net, config) for net in (random_net(seed * 10 + k, config) for k in range(10))]
    return min(images, key=cycles)


@pytest.mark.parametrize("config", [TINY, TINY_1PX, replace(TINY, name="tiny-2bit", w_bits=2, a_bits=2, acc_bits=20),
                                    replace(TINY, name="tiny-parts", rows=8, chains=2)], ids=lambda c: c.name)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_random_nets(config, seed):
    image = small_net(seed, config)
    net_pictures = np.random.default_rng(seed).integers(0, 256, (2, 3, *image.picture_shape), dtype=np.uint8)
    check(image, net_pictures)


def small_batch(config):
    """A residual in place among its layers."""
    build = NetBuilder(np.random.default_rng(5), (3, 4, 5))
    first = build.layer(build.conv("image", 5))
    body = build.layer(build.conv(first, 6, stride=2), a_bits=config.a_bits)
    add = build.layer(build.conv(body, 6), build.skip(body), a_bits=config.a_bits)
    build.logits(add, 3)
    image = batched(build.net(), config, seed=1, most=3)
    assert image.batch > 1
    return image


@pytest.mark.parametrize("gaps", [0.0, pytest.param(0.5, marks=pytest.mark.slow)])
@pytest.mark.parametrize("config", [TINY, pytest.param(TINY_1PX, marks=pytest.mark.slow)], ids=lambda c: c.name)
def test_batches(config, gaps):
    """Two programs, each with pictures of its own. Back-pressure keeps pictures waiting in the middle of a program."""
    image = small_batch(config)
    pictures = np.random.default_rng(3).integers(0, 256, (2 * image.batch, 3, 4, 5), dtype=np.uint8)
    check(image, pictures, gaps=gaps)


@pytest.mark.parametrize("gaps", [0.3, pytest.param(0.8, marks=pytest.mark.slow)])
def test_back_pressure_changes_nothing(gaps):
    image = small_net(2, TINY)
    pictures = np.random.default_rng(7).integers(0, 256, (3, 3, *image.picture_shape), dtype=np.uint8)
    free = check(image, pictures)
    np.testing.assert_array_equal(check(image, pictures, gaps=gaps, seed=5), free)


def test_no_state_from_picture_to_picture():
    image = small_net(3, TINY)
    rng = np.random.default_rng(9)
    picture = rng.integers(0, 256, (1, 3, *image.picture_shape), dtype=np.uint8)
    zeros, full = np.zeros_like(picture), np.full_like(picture, 255)
    logits = check(image, np.concatenate([picture, full, picture, zeros, picture]))
    np.testing.assert_array_equal(logits[[0, 2]], logits[[4, 4]])


@pytest.mark.parametrize("sign", [1, -1])
def test_accumulators_at_their_extremes(sign):
    net = extreme_net(sign * 303, sign * 14)
    narrow = replace(TINY, name="narrow", acc_bits=16)
    check(compile_net(net, narrow), np.concatenate([corner_pictures(net), random_pictures(net, 1)]))


def test_every_tile_is_written_when_the_schedule_says():
    """The first code of each output tile leaves the core in the very cycle that follows from its last pass's start."""
    image = small_net(4, TINY)
    picture = np.zeros((1, 3, *image.picture_shape), np.uint8)
    engine = open_core(image)
    [result] = engine.run(picture)
    groups, written = result.writes[0], engine.write_cycles
    program = Interpreter(image).program
    lasts = {p.index: p for p in schedule(image).passes}        # of several passes in one instruction the last
    tile, ends, tokens = None, [], []
    for index, (layout, fields, _) in enumerate(program):
        if layout is Tile:
            tile = fields
        elif layout is Pass and fields["final"] and not fields["logits"]:
            ends.append(lasts[index])
            tokens.append(tile["height"] * tile["groups"])
    first = np.cumsum([0, *tokens])
    assert first[-1] == len(groups)
    late = image.config.rows + timing.drain(image.config)
    np.testing.assert_array_equal(written[first[:-1]], [p.start + late for p in ends])


@pytest.mark.parametrize("gaps", [pytest.param(0.0, marks=pytest.mark.slow), 0.5])
def test_another_net_is_loaded(gaps):
    """Pixels are on offer while nets are loaded, with gaps in the load too: none is lost, none meets half a net."""
    images = [small_net(5, TINY), small_net(6, TINY), small_net(5, TINY)]
    rng = np.random.default_rng(13)
    engine = open_core(images[0], gaps=gaps, seed=3)
    for k, image in enumerate(images):
        if k:
            engine.load(image)
        pictures = rng.integers(0, 256, (2, 3, *image.picture_shape), dtype=np.uint8)
        check_results(image, pictures, engine.run(pictures))


async def classified(ctx, core, picture, *, ticks=None):
    """(logits, cycles) of a picture that is sent and answered; None where `ticks` have passed before."""
    pixels = list(picture.reshape(3, -1).T.tolist())
    logits, passed = [], 0
    ctx.set(core.logits.ready, 1)
    while ticks is None or passed < ticks:
        ctx.set(core.pixels.valid, bool(pixels))
        if pixels:
            ctx.set(core.pixels.payload, dict(zip("rgb", pixels[0], strict=True)))
        _, _, ready, valid, logit, cycle = await ctx.tick().sample(
            core.pixels.ready, core.logits.valid, core.logits.payload, core.cycles)
        passed += 1
        if pixels and ready:
            pixels.pop(0)
        if valid:
            logits.append(logit.logit)
            if logit.last:
                return logits, cycle
    ctx.set(core.pixels.valid, 0)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def test_a_cleared_core_forgets_its_pictures_and_keeps_its_net(seed):
    """At any time: between the pixels, in a pass, while thresholds are read, while a logit is on offer."""
    rng = np.random.default_rng(seed)
    image = small_net(2 + seed, TINY)
    core = Core(TINY, image=image)
    pictures = rng.integers(0, 256, (2, 3, *image.picture_shape), dtype=np.uint8)
    expected = [Interpreter(image).run(picture[None])[0][0].tolist() for picture in pictures]
    whole = cycles(image) + 3 * pictures[0].size
    answers = []

    async def bench(ctx):
        for k in range(4):
            forgotten, kept = k % 2, 1 - k % 2
            if await classified(ctx, core, pictures[forgotten], ticks=int(rng.integers(1, whole))) is None:
                await classified(ctx, core, pictures[forgotten], ticks=int(rng.integers(1, 100)) if k % 2 else 0)
            ctx.set(core.logits.ready, int(rng.integers(2)))
            ctx.set(core.clear, 1)
            await ctx.tick()
            for _ in range(timing.drained(TINY)):
                await ctx.tick()
                assert not ctx.get(core.busy) and not ctx.get(core.pixels.ready) and not ctx.get(core.logits.valid)
            ctx.set(core.clear, 0)
            answers.append((kept, *await classified(ctx, core, pictures[kept])))

    simulator = Simulator(core)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert answers == [(kept, expected[kept], cycles(image)) for kept, *_ in answers]


def test_one_pixel_pictures_of_one_group():
    """The shortest passes there are: the sequencer waits for the array, not the other way round."""
    build = NetBuilder(np.random.default_rng(11), (3, 4, 4))
    name = build.layer(build.conv("image", 5, stride=2))
    name = build.layer(build.conv(name, 6, stride=2))
    name = build.layer(build.conv(name, 9, kernel=1), build.conv(name, 9, kernel=1, shift=2))
    build.logits(name, 9)
    net = build.net()
    check(compile_net(net, TINY), random_pictures(net, 2))
