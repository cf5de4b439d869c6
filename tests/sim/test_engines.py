"""Both RTL engines drive the same component: same logits, same trace, whatever the back-pressure; never a hang."""
import itertools

import numpy as np
import pytest

from model.common.errors import UserError
from sim.cxxrtl import CxxrtlEngine
from sim.engine import Gaps
from sim.library import build_library
from sim.pysim import PysimEngine

from .fake_core import HEIGHT, LATENCY, WIDTH, FakeCore, FakeImage

GAPS = [Gaps(), Gaps(pixels=0.6, seed=1), Gaps(logits=0.8, seed=2), Gaps(pixels=0.3, logits=0.5, seed=3)]
PICTURE = FakeImage(np.array([5, -7, 2**31 - 10**6], np.int32))
PICTURES = np.random.default_rng(0).integers(0, 256, (7, 3, HEIGHT, WIDTH), dtype=np.uint8)


def fake_library(waveforms=False, stuck=False):
    with open(FakeCore.elaborate.__code__.co_filename) as file:
        source = file.read()
    return build_library(lambda: FakeCore(stuck=stuck), name="fake", sources=f"{source}{stuck}", waveforms=waveforms)


def open_cxxrtl(stuck=False, **options):
    library = fake_library(waveforms=options.get("vcd") is not None, stuck=stuck)
    return CxxrtlEngine(PICTURE, library, timeout=5000, **options)


def open_pysim(stuck=False, **options):
    return PysimEngine(PICTURE, lambda: FakeCore(stuck=stuck), timeout=5000, **options)


ENGINES = [pytest.param(open_cxxrtl, id="cxxrtl", marks=pytest.mark.cxx), pytest.param(open_pysim, id="pysim")]


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
    assert abs(engine.simulated_cycles - len(PICTURES) * one - len(PICTURE.biases)) <= 2
    engine.close()


@pytest.mark.parametrize("open_engine", ENGINES)
def test_an_engine_runs_again(open_engine):
    engine = open_engine(trace=True)
    for pictures in (PICTURES[:3], PICTURES[3:4], PICTURES[:0], PICTURES[4:]):
        results = list(engine.run(pictures))
        assert [r.logits.tolist() for r in results] == PICTURE.logits(pictures).tolist()
        check_trace(results, pictures)
    engine.close()


@pytest.mark.parametrize("open_engine", ENGINES)
def test_a_core_that_hangs_is_an_error(open_engine):
    engine = open_engine(stuck=True)
    with pytest.raises(UserError, match="the core hangs: no logits of picture 0 within 5000 cycles"):
        next(engine.run(PICTURES))
    engine.close()


@pytest.mark.parametrize("open_engine", ENGINES)
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


@pytest.mark.parametrize("open_engine", ENGINES)
def test_a_waveform_file_that_cannot_be_written_is_an_error(open_engine, tmp_path):
    with pytest.raises(UserError, match="cannot write the waveform file"):
        open_engine(vcd=tmp_path / "no folder" / "waves.vcd")


def test_gaps_are_chances():
    with pytest.raises(ValueError, match="pixels must be in 0 .. 1"):
        Gaps(pixels=1)
