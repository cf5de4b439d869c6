"""One engine, or several in processes of their own; results in the order of the pictures either way."""
import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass

from model.common.errors import UserError

from .engines import open_engine

__all__ = ["Batch", "classify"]

BATCH = 16              # pictures that a process is given at once


@dataclass(frozen=True)
class Batch:
    """Results of consecutive pictures from `first` on, and the cycles simulated and seconds taken for them."""
    first: int
    results: list
    simulated_cycles: int
    seconds: float


def classify(kind, image, pictures, *, jobs, **options):
    """Yields a `Batch` per piece of `pictures` uint8 (N, 3, H, W), in order. options: of `open_engine`."""
    jobs = min(jobs, len(pictures))
    if jobs <= 1:
        yield from _in_this_process(kind, image, pictures, options)
    else:
        yield from _in_processes(kind, image, pictures, jobs, options)


def _in_this_process(kind, image, pictures, options):
    engine = open_engine(kind, image, **options)
    try:
        cycles, seconds = engine.simulated_cycles, engine.seconds
        for k, result in enumerate(engine.run(pictures)):
            yield Batch(k, [result], engine.simulated_cycles - cycles, engine.seconds - seconds)
            cycles, seconds = engine.simulated_cycles, engine.seconds
    finally:
        engine.close()


def _in_processes(kind, image, pictures, jobs, options):
    size = max(1, min(BATCH, len(pictures) // jobs))
    pool = concurrent.futures.ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), _start_worker, (kind, image, options))
    try:
        with _interrupts_blocked():     # the workers inherit it: Ctrl-C goes to this process, which ends them
            batches = [pool.submit(_work, first, pictures[first:first + size])
                       for first in range(0, len(pictures), size)]
        for batch in batches:
            yield batch.result()
    except concurrent.futures.process.BrokenProcessPool as error:
        raise UserError("a simulator process ended unexpectedly (killed, or out of memory)") from error
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _interrupts_blocked():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_engine = _refusal = None           # of a worker process


def _start_worker(kind, image, options):
    global _engine, _refusal
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _engine = open_engine(kind, image, **options)
    except UserError as error:          # an initializer's would be a traceback, and no more known to the parent
        _refusal = error


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def _work(first, pictures):
    if _refusal:
        raise _refusal
    cycles, seconds = _engine.simulated_cycles, _engine.seconds
    results = list(_engine.run(pictures))
    return Batch(first, results, _engine.simulated_cycles - cycles, _engine.seconds - seconds)
