"""A core with an SDRAM in every engine: the same results, a tape that is damaged, rules that are broken."""
from dataclasses import replace

import numpy as np
import pytest

from accel.sdram import SdramTiming
from model.common.errors import UserError
from sim.compiled import CompiledEngine
from sim.cxxrtl import build_cxxrtl
from sim.engine import Gaps
from sim.lanes.build import CORE_PORTS, build_simulator
from sim.library import rtl_sources
from sim.pysim import PysimEngine
from sim.sdram_chip import SdramViolation

from .fake_core import HEIGHT, WIDTH, FakeCore, FakeImage

TIMING = replace(SdramTiming.of(100_000_000), power_up=2000)
# A controller that keeps other rules than the chip's.
HASTY = replace(TIMING, rcd=2)
FORGETFUL = replace(TIMING, refresh_interval=3 * TIMING.refresh_interval)
IMAGE = FakeImage(np.array([5, -7, 2**31 - 10**6], np.int32), chunks=5)
TIMEOUT = 30_000
PICTURES = np.random.default_rng(0).integers(0, 256, (5, 3, HEIGHT, WIDTH), dtype=np.uint8)


def open_compiled(build, timing, options, **build_options):
    with open(FakeCore.elaborate.__code__.co_filename) as file:
        sources = f"{file.read()}{timing}{rtl_sources('accel.rtl.sdram.controller')}"
    library = build(lambda: FakeCore(sdram=timing), name="fake-sdram", sources=sources, **build_options)
    return CompiledEngine(IMAGE, library, timeout=TIMEOUT, sdram=TIMING, **options)


def open_lanes(timing=TIMING, **options):
    return open_compiled(build_simulator, timing, options, ports=CORE_PORTS)


def open_watched(timing=TIMING, **options):
    return open_compiled(build_simulator, timing, options, ports=CORE_PORTS, watched=True)


def open_cxxrtl(timing=TIMING, **options):
    return open_compiled(build_cxxrtl, timing, options)


def open_pysim(timing=TIMING, **options):
    return PysimEngine(IMAGE, lambda: FakeCore(sdram=timing), timeout=TIMEOUT, sdram=TIMING, **options)


ENGINES = [pytest.param(open_lanes, id="lanes", marks=pytest.mark.cxx),
           pytest.param(open_cxxrtl, id="cxxrtl", marks=pytest.mark.cxx), pytest.param(open_pysim, id="pysim")]
ALL_ENGINES = [*ENGINES, pytest.param(open_watched, id="watched", marks=pytest.mark.cxx)]


@pytest.mark.parametrize("back_door", [None, 0], ids=["loaded", "back door"])
@pytest.mark.parametrize("open_engine", ALL_ENGINES)
def test_a_net_from_the_sdram(open_engine, back_door):
    """It gets there through the load stream, or is there."""
    engine = open_engine(back_door=back_door, trace=True, gaps=Gaps(pixels=0.3, logits=0.5, seed=3))
    np.testing.assert_array_equal([engine.sdram.row(chunk) for chunk in range(IMAGE.chunks)], IMAGE.tape)
    assert engine.sdram.commands["WRITE"] == (0 if back_door == 0 else IMAGE.tape.size)
    for pictures in (PICTURES, PICTURES[:2]):
        results = list(engine.run(pictures))
        np.testing.assert_array_equal([result.logits for result in results], IMAGE.logits(pictures))
    engine.close()


def test_engines_count_the_same_cycles():
    """To the end of the load, and to that of one picture: the chip is the same in all of them."""
    cycles = set()
    for open_engine in (open_lanes, open_watched, open_cxxrtl, open_pysim):
        engine = open_engine()
        loaded = engine.simulated_cycles
        result, = engine.run(PICTURES[:1])
        cycles.add((loaded, result.cycles, engine.sdram.commands["READ"], engine.sdram.commands["REFRESH"]))
        engine.close()
    assert len(cycles) == 1, cycles


@pytest.mark.parametrize("timing, rule", [(HASTY, "tRCD"), (FORGETFUL, "refresh")], ids=["hasty", "forgetful"])
@pytest.mark.parametrize("open_engine", ENGINES)
def test_a_controller_that_breaks_a_rule_ends_the_run(open_engine, timing, rule):
    with pytest.raises(SdramViolation, match=rf"^SDRAM, cycle \d+: {rule}: ") as found:
        engine = open_engine(timing)
        for _ in range(100):
            list(engine.run(PICTURES))
    assert found.value.rule == rule


@pytest.mark.parametrize("open_engine", ENGINES)
def test_a_tape_that_is_damaged_before_it_is_whole_ends_the_load(open_engine, monkeypatch):
    def load_words(image):
        kinds, words = LOAD_WORDS(image)
        words[7] ^= 0x10
        return kinds, words
    LOAD_WORDS = FakeImage.load_words
    monkeypatch.setattr(FakeImage, "load_words", load_words)
    with pytest.raises(UserError, match="^the net in the core is damaged: a check of its tape does not hold, at "):
        open_engine()


@pytest.mark.cxx
@pytest.mark.parametrize("open_engine", ENGINES[:2])
def test_a_word_that_flips_while_it_is_played_ends_the_run(open_engine):
    """In the cycle that was given for it: pictures before it are answered."""
    engine = open_engine()
    list(engine.run(PICTURES))
    flips = engine.sdram.cycle + 10_000
    engine.sdram.flip((flips, 3, 500, 1 << 15))
    answered = []
    with pytest.raises(UserError, match="^the net in the core is damaged"):
        for _ in range(20):
            answered += engine.run(PICTURES[:1])
    expected = IMAGE.logits(PICTURES[:1]).repeat(len(answered), 0)
    np.testing.assert_array_equal([result.logits for result in answered], expected)
    assert len(answered) >= 3
    assert flips < engine.sdram.cycle <= flips + 2 * IMAGE.tape.size + 500
    engine.close()
