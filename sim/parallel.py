"""One engine, or several in processes of their own; results in the order of the pictures either way."""
import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from dataclasses import dataclass
from itertools import islice, pairwise

from model.common.errors import UserError

from .engines import open_engine

__all__ = ["Burst", "classify", "ended", "processes"]

PIECE = 16                  # pictures of a piece at most where an engine takes them one after the other,
PIECES_A_PROCESS = 8        # and how many pieces a process has at least, so that results are never long in coming
BURSTS = 4                  # in a piece of an engine with lanes: the next pictures are loaded while some are computed


@dataclass(frozen=True)
class Burst:
    """What `check` returned of consecutive pictures that an engine gave at once, and the cycles it simulated and the
    seconds it took for them."""
    results: list
    simulated_cycles: int
    seconds: float


def processes(count, *, jobs, lanes=1, batch=1):
    """How many processes `classify` has work for with `count` pictures: 1, this one, to `jobs`."""
    return min(jobs, max(1, len(_pieces(count, jobs, lanes, batch))))


def classify(kind, image, pictures, check, *, jobs, lanes=1, **options):
    """Yields a `Burst` per burst of an engine, of pictures uint8 (N, C, H, W), in order.

    check: `check(pictures, results)` is called in the process that has the results, a list of `sim.engine.Result`; what
    it returns takes their place. Picklable, where there are several processes.
    lanes: of the engine. options: of `open_engine`.
    """
    pieces = _pieces(len(pictures), jobs, lanes, image.batch)
    jobs = processes(len(pictures), jobs=jobs, lanes=lanes, batch=image.batch)
    if jobs > 1:
        yield from _in_processes(kind, image, pictures, check, pieces, jobs, options)
    elif pieces:
        yield from _in_this_process(kind, image, pictures, check, pieces, options)


def _pieces(pictures, jobs, lanes, batch):
    """Slices of so many pictures, equal but for one batch: a process is given one after the other. With several lanes
    they are as few bursts as there can be, but for one process more or less."""
    count = -(-pictures // batch)
    if lanes > 1:
        bursts = -(-count // lanes)
        if count > lanes // 4:          # with fewer, a part of them takes as long as all
            bursts = -(-bursts // jobs) * jobs
        pieces = -(-bursts // max(1, min(BURSTS, bursts // jobs)))
    else:
        pieces = -(-count // min(PIECE, max(1, count // (PIECES_A_PROCESS * jobs))))
    if pieces > jobs:
        pieces = min(count, -(-pieces // jobs) * jobs)      # as many for each process
    ends = (min(pictures, count * k // pieces * batch) for k in range(pieces + 1))
    return [slice(*both) for both in pairwise(ends)] if pieces else []


def _run(engine, pictures, check):
    """Yields the `Burst`s of one piece."""
    results = engine.run(pictures)
    cycles, seconds, done = engine.simulated_cycles, engine.seconds, 0
    while burst := list(islice(results, engine.burst(len(pictures)))):
        yield Burst(check(pictures[done:done + len(burst)], burst),
                    engine.simulated_cycles - cycles, engine.seconds - seconds)
        cycles, seconds, done = engine.simulated_cycles, engine.seconds, done + len(burst)


def _in_this_process(kind, image, pictures, check, pieces, options):
    engine = open_engine(kind, image, **options)
    try:
        for piece in pieces:
            yield from _run(engine, pictures[piece], check)
    finally:
        engine.close()


def _in_processes(kind, image, pictures, check, pieces, jobs, options):
    pool = concurrent.futures.ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), _start_worker, (kind, image, check, options))
    running = deque()
    with ended(pool, "a simulator process"):
        for piece in pieces:
            if len(running) == 2 * jobs:        # one that runs and one that waits, for each process
                yield from running.popleft().result()
            with _inherited_by_workers():       # which are started as there is work
                running.append(pool.submit(_work, pictures[piece]))
        while running:
            yield from running.popleft().result()


@contextlib.contextmanager
def ended(pool, what):
    """Whatever happens inside, no process of `pool` outlives it. UserError where one ends by itself: "`what` ended"."""
    try:
        yield
    except concurrent.futures.process.BrokenProcessPool as error:
        raise UserError(f"{what} ended unexpectedly (killed, or out of memory)") from error
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _inherited_by_workers():
    """No interrupts: Ctrl-C goes to this process, which ends the workers. One thread for numpy's products: the other
    cores have workers of their own."""
    threads = os.environ.get("OMP_NUM_THREADS")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = threads
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_engine = _check = _refusal = None          # of a worker process


def _start_worker(kind, image, check, options):
    global _engine, _check, _refusal
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _check = check
    try:
        _engine = open_engine(kind, image, **options)
    except UserError as error:          # an initializer's would be a traceback, and no more known to the parent
        _refusal = error


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def _work(pictures):
    if _refusal:
        raise _refusal
    return list(_run(_engine, pictures, _check))
