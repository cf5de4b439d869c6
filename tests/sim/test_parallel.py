"""Several simulator processes, and engines that simulate many pictures at once: the results are those of one process,
and what a process refuses is said once, and in its own words."""
import concurrent.futures
import multiprocessing
import os
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from accel.compiler.compile import compile_net
from accel.config import TINY
from accel.cycles import cycles
from model.common.errors import UserError
from sim import parallel
from sim.interp import InterpreterEngine
from tests.nets import random_net, random_pictures
from tests.sim.four_lanes import open_four_lanes


def keep(pictures, results):
    """Results as they are; a check that compares nothing."""
    assert len(pictures) == len(results)
    return results


def black_for_ever(pictures, results):
    """Never returns from a black picture."""
    if not pictures.any():
        threading.Event().wait()
    return results


def threads(pictures, results):
    return [os.environ.get("OMP_NUM_THREADS")] * len(results)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_engine_that_cannot_be_opened_is_one_line(jobs, capfd):
    net = random_net(0, TINY)
    batches = parallel.classify("cxxrtl", compile_net(net, TINY), random_pictures(net, 4), keep, jobs=jobs,
                                library="/no/such/library.so")
    with pytest.raises(UserError, match="cannot load the simulator /no/such/library.so, remove it"):
        list(batches)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_order_with_the_cycles_and_seconds_they_took(jobs):
    net = random_net(0, TINY)
    image, pictures = compile_net(net, TINY), random_pictures(net, 7)
    expected = list(InterpreterEngine(image).run(pictures))
    batches = list(parallel.classify("interp", image, pictures, keep, jobs=jobs))
    assert [len(batch.results) for batch in batches] == 7 * [1] and all(batch.seconds > 0 for batch in batches)
    assert [batch.simulated_cycles for batch in batches] == 7 * [cycles(image)]
    np.testing.assert_array_equal([batch.results[0].logits for batch in batches], [r.logits for r in expected])


def test_results_of_several_lanes_come_together(monkeypatch):
    engines, net = open_four_lanes(monkeypatch), random_net(0, TINY)
    image, pictures = compile_net(net, TINY), random_pictures(net, 10)
    expected = list(InterpreterEngine(image).run(pictures))
    batches = list(parallel.classify("many", image, pictures, keep, jobs=1, lanes=4))
    [engine] = engines
    assert engine.runs == [10] and [len(batch.results) for batch in batches] == [4, 4, 2]
    np.testing.assert_array_equal([r.logits for batch in batches for r in batch.results], [r.logits for r in expected])
    assert sum(batch.simulated_cycles for batch in batches) == engine.simulated_cycles == 3 * (cycles(image) + 10)
    assert sum(batch.seconds for batch in batches) == pytest.approx(engine.seconds)


def test_an_engine_may_have_fewer_lanes_than_its_piece(monkeypatch):
    engines, net = open_four_lanes(monkeypatch), random_net(0, TINY)
    batches = list(parallel.classify("many", compile_net(net, TINY), random_pictures(net, 10), keep, jobs=1, lanes=64))
    assert engines[0].runs == [10] and [len(batch.results) for batch in batches] == [4, 4, 2]


def test_without_pictures_no_engine_is_opened(monkeypatch):
    engines, net = open_four_lanes(monkeypatch), random_net(0, TINY)
    assert list(parallel.classify("many", compile_net(net, TINY), random_pictures(net, 0), keep, jobs=2, lanes=4)) == []
    assert engines == []


@pytest.mark.parametrize("count, jobs, lanes, batch, sizes", [
    (100, 2, 64, 1, [50, 50]),
    (64, 2, 64, 1, [32, 32]),                   # blocks of lanes without pictures are left out: half takes half
    (16, 2, 64, 1, [16]),                       # but for the last block: no second process
    (65, 2, 64, 1, [32, 33]),
    (129, 2, 64, 1, [64, 65]),
    (10, 1, 4, 1, [10]),                        # three bursts in one run
    (300, 2, 64, 1, [150, 150]),                # 2 x 3 bursts of 50
    (1, 8, 1, 1, [1]),
    (5, 2, 1, 1, [1] * 5),
    (40, 2, 1, 1, [2] * 20),
    (400, 1, 1, 1, [16] * 25),
    (0, 2, 1, 1, []),
    (0, 2, 64, 1, []),
    (64, 2, 1, 8, [8] * 8),
    (60, 2, 1, 8, [8] * 7 + [4]),               # the last batch is not full
    (3, 2, 1, 8, [3]),
    (512, 2, 64, 8, [256, 256]),                # 32 lanes of 8 each
    (500, 2, 64, 8, [248, 252]),
    (0, 2, 64, 8, []),
])
def test_pieces(count, jobs, lanes, batch, sizes):
    pieces = parallel._pieces(count, jobs, lanes, batch)
    assert [piece.stop - piece.start for piece in pieces] == sizes
    assert parallel.processes(count, jobs=jobs, lanes=lanes, batch=batch) == max(1, min(jobs, len(sizes)))


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("lanes", [1, 16, 64])
@pytest.mark.parametrize("jobs", [1, 2, 3, 16])
@pytest.mark.parametrize("count", [1, 2, 15, 63, 100, 1000, 10_000])
def test_pieces_spread_the_work(count, jobs, lanes, batch):
    """Equal but for one batch, the last of which need not be full."""
    pieces = parallel._pieces(count, jobs, lanes, batch)
    sizes, batches = [piece.stop - piece.start for piece in pieces], -(-count // batch)
    full = [-(-size // batch) for size in sizes]
    assert [k for piece in pieces for k in range(piece.start, piece.stop)] == list(range(count))
    assert all(size % batch == 0 for size in sizes[:-1]) and sum(full) == batches
    assert max(full) - min(full) <= 1 and max(full) <= (parallel.BURSTS * lanes if lanes > 1 else parallel.PIECE)
    assert len(pieces) <= jobs or len(pieces) % jobs == 0 or len(pieces) == batches
    used = parallel.processes(count, jobs=jobs, lanes=lanes, batch=batch)
    # Whoever asks first, and passes that on, gets the same.
    assert parallel._pieces(count, used, lanes, batch) == pieces


def test_few_pieces_wait_at_a_time(monkeypatch):
    """Neither all pictures nor all results of a data set are on their way at once."""
    class Pool:
        submitted = 0

        def __init__(self, *arguments):
            pass

        def submit(self, work, pictures):
            Pool.submitted += 1
            future = concurrent.futures.Future()
            future.set_result([parallel.Burst(list(pictures), 1, 1.0)])
            return future

        def shutdown(self, cancel_futures):
            pass

    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", Pool)
    pictures, taken = np.arange(1000), []
    for k, batch in enumerate(parallel.classify("many", SimpleNamespace(batch=1), pictures, keep, jobs=3, lanes=10)):
        assert Pool.submitted - k <= 2 * 3
        taken += batch.results
    assert taken == pictures.tolist() and Pool.submitted == 27


def test_ending_early_waits_for_no_process():
    net = random_net(0, TINY)
    pictures = random_pictures(net, 4)
    pictures[1:] = 0
    batches = parallel.classify("interp", compile_net(net, TINY), pictures, black_for_ever, jobs=2)
    next(batches)
    assert multiprocessing.active_children()
    batches.close()
    assert multiprocessing.active_children() == []


def test_each_process_computes_in_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    net = random_net(0, TINY)
    batches = parallel.classify("interp", compile_net(net, TINY), random_pictures(net, 2), threads, jobs=2)
    assert [batch.results for batch in batches] == [["1"], ["1"]]
    assert os.environ["OMP_NUM_THREADS"] == "5"
