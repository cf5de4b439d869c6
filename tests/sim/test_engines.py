"""All RTL engines drive the same component: same logits, same trace, whatever the back-pressure; never a hang."""
import itertools
from dataclasses import replace

import numpy as np
import pytest

from model.common.errors import UserError
from sim.compiled import CompiledEngine
from sim.cxxrtl import build_cxxrtl
from sim.engine import Gaps
from sim.lanes.build import CORE_PORTS, build_simulator
from sim.pysim import PysimEngine

from .fake_core import HEIGHT, LATENCY, WIDTH, FakeCore, FakeImage

GAPS = [Gaps(), Gaps(pixels=0.6, seed=1), Gaps(logits=0.8, seed=2), Gaps(pixels=0.3, logits=0.5, seed=3)]
PICTURE = FakeImage(np.array([5, -7, 2**31 - 10**6], np.int32))
PICTURES = np.random.default_rng(0).integers(0, 256, (7, 3, HEIGHT, WIDTH), dtype=np.uint8)


def fake_sources(stuck):
    with open(FakeCore.elaborate.__code__.co_filename) as file:
        return f"{file.read()}{stuck}"


def open_cxxrtl(stuck=False, image=PICTURE, **options):
    library = build_cxxrtl(lambda: FakeCore(stuck=stuck), name="fake", sources=fake_sources(stuck))
    return CompiledEngine(image, library, timeout=5000, **options)


def open_lanes(stuck=False, image=PICTURE, **options):
    library = build_simulator(lambda: FakeCore(stuck=stuck), name="fake", sources=fake_sources(stuck), ports=CORE_PORTS)
    return CompiledEngine(image, library, timeout=5000, **options)


def open_one_lane(stuck=False, image=PICTURE, **options):
    library = build_simulator(lambda: FakeCore(stuck=stuck), name="fake", sources=fake_sources(stuck), ports=CORE_PORTS,
                              one_lane=True)
    return CompiledEngine(image, library, timeout=5000, **options)


def open_pysim(stuck=False, image=PICTURE, **options):
    return PysimEngine(image, lambda: FakeCore(stuck=stuck), timeout=5000, **options)


ENGINES_OF_MANY = [pytest.param(open_lanes, id="lanes", marks=pytest.mark.cxx)]
ENGINES_OF_ONE = [pytest.param(open_one_lane, id="one-lane", marks=pytest.mark.cxx),
                  pytest.param(open_cxxrtl, id="cxxrtl", marks=pytest.mark.cxx), pytest.param(open_pysim, id="pysim")]
ENGINES = ENGINES_OF_MANY + ENGINES_OF_ONE
WITH_WAVEFORMS = ENGINES_OF_ONE[1:]


def check_trace(results, pictures):
    """The fake core's trace holds each picture's own pixels, nothing of its neighbours'."""
    for result, picture in zip(results, pictures, strict=True):
        groups, words = result.writes
        assert groups.dtype == np.uint32 and words.dtype == np.uint64 and words.shape == (HEIGHT * WIDTH // 2, 1)
        np.testing.assert_array_equal(groups, np.arange(HEIGHT * WIDTH // 2))
        colours = words.view(np.uint8).reshape(-1, 8)[:, :6].reshape(HEIGHT, WIDTH, 3)
        np.testing.assert_array_equal(colours.transpose(2, 0, 1), picture)


@pytest.mark.parametrize("gaps", GAPS, ids=str)
@pytest.mark.parametrize("open_engine", ENGINES)
def test_logits_and_trace_do_not_depend_on_back_pressure(open_engine, gaps):
    engine = open_engine(trace=True, gaps=gaps)
    results = list(engine.run(PICTURES))
    np.testing.assert_array_equal([r.logits for r in results], PICTURE.logits(PICTURES))
    assert all(r.logits.dtype == np.int32 for r in results)
    check_trace(results, PICTURES)
    engine.close()


@pytest.mark.parametrize("open_engine", ENGINES)
def test_streams_run_at_full_speed(open_engine):
    engine = open_engine()
    results = list(engine.run(PICTURES))
    assert {r.cycles for r in results} == {HEIGHT * WIDTH - 1 + LATENCY}
    assert all(r.writes is None for r in results)
    one = HEIGHT * WIDTH + LATENCY + PICTURE.n_logits
    runs = -(-len(PICTURES) // engine.lanes)
    assert abs(engine.simulated_cycles - runs * one - len(PICTURE.load_words()[0])) <= 2
    engine.close()


@pytest.mark.parametrize("open_engine", ENGINES)
def test_an_engine_runs_again(open_engine):
    engine = open_engine(trace=True)
    for pictures in (PICTURES[:3], PICTURES[3:4], PICTURES[:0], PICTURES[4:]):
        results = list(engine.run(pictures))
        assert [r.logits.tolist() for r in results] == PICTURE.logits(pictures).tolist()
        check_trace(results, pictures)
    engine.close()


@pytest.mark.parametrize("gaps", GAPS, ids=str)
@pytest.mark.parametrize("open_engine", ENGINES)
def test_pictures_of_a_batch(open_engine, gaps):
    """Of seven in batches of three the last one has a batch of its own, filled up with others."""
    engine = open_engine(image=replace(PICTURE, batch=3), trace=True, gaps=gaps)
    for _ in range(2):
        results = list(engine.run(PICTURES))
        np.testing.assert_array_equal([r.logits for r in results], PICTURE.logits(PICTURES))
        assert [r.number for r in results] == [0, 1, 2, 0, 1, 2, 0]
        for k, result in enumerate(results):
            groups, words = result.writes                   # of all its batch
            colours = words.view(np.uint8).reshape(-1, 8)[:, :6].reshape(3, HEIGHT, WIDTH, 3)
            batch = PICTURES[k // 3 * 3:][:3]
            np.testing.assert_array_equal(colours.transpose(0, 3, 1, 2)[:len(batch)], batch)
            assert groups.tolist() == [*range(HEIGHT * WIDTH // 2)] * 3
        for k in range(0, 6, 3):
            assert {r.program_cycles for r in results[k:k + 3]} == {results[k + 2].cycles}
    engine.close()


@pytest.mark.parametrize("open_engine", ENGINES)
def test_a_core_that_hangs_is_an_error(open_engine):
    engine = open_engine(stuck=True)
    with pytest.raises(UserError, match="the core hangs: no logits of picture 0 within 5000 cycles"):
        next(engine.run(PICTURES))
    engine.close()


@pytest.mark.parametrize("open_engine", WITH_WAVEFORMS)
def test_waveforms_on_request(open_engine, tmp_path):
    path = tmp_path / "waves.vcd"
    engine = open_engine(vcd=path, trace=True)
    results = list(engine.run(PICTURES[:2]))
    engine.close()
    np.testing.assert_array_equal([r.logits for r in results], PICTURE.logits(PICTURES[:2]))
    check_trace(results, PICTURES[:2])
    vcd_text = path.read_text()
    assert "pixels_left" in vcd_text and "$enddefinitions $end" in vcd_text
    times = [int(line[1:]) for line in vcd_text.splitlines() if line.startswith("#")]
    assert all(a < b for a, b in itertools.pairwise(times))


@pytest.mark.parametrize("open_engine", WITH_WAVEFORMS)
def test_a_waveform_file_that_cannot_be_written_is_an_error(open_engine, tmp_path):
    with pytest.raises(UserError, match="cannot write the waveform file"):
        open_engine(vcd=tmp_path / "no folder" / "waves.vcd")


@pytest.mark.cxx
@pytest.mark.parametrize("count", [1, 3, 64, 65, 150])
def test_lanes_do_not_show(count):
    """However many pictures and lanes there are, the last ones empty or not: every picture has its own results, and
    another run with fewer or more lanes begins where a single one would."""
    pictures = np.random.default_rng(count).integers(0, 256, (count, 3, HEIGHT, WIDTH), dtype=np.uint8)
    engine = open_lanes(trace=True, gaps=Gaps(pixels=0.3, logits=0.5, seed=count))
    for part in (pictures, pictures[:1], pictures[:5], pictures):
        results = list(engine.run(part))
        np.testing.assert_array_equal([r.logits for r in results], PICTURE.logits(part))
        check_trace(results, part)
    engine.close()


def test_gaps_are_chances():
    with pytest.raises(ValueError, match="pixels must be in 0 .. 1"):
        Gaps(pixels=1)
