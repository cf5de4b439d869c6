"""How fast one simulator of the core is on this machine, and what it needs.

Everything that is measured has a process of its own, one at a time, and a build begins with an empty cache.
"""
import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import numpy as np

from accel.compiler.compile import compile_net
from accel.cycles import cycles
from accel.rtl.core import Core
from model.common.cache import cache_folder
from model.common.tools import find_tool
from model.integer import golden
from model.zoo.workload import choose_workload

from .engine import NO_GAPS
from .engines import open_engine, timeout_cycles
from .lanes.build import build
from .parallel import ended
from .pysim import PysimEngine
from .verilator import find_verilator, open_verilator

__all__ = ["LANES", "PYSIM_CYCLES", "Measurement", "measure", "warm_yosys", "workload_of"]

# Kinds of the engine `lanes`: for another processor, and for one picture at a time.
LANES = {"lanes": {}, "lanes-avx2": {"target": "x86-64-v3"}, "lanes-one": {"one_lane": True}}
PYSIM_CYCLES = 1000                                         # a whole picture takes minutes
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024       # bytes


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One simulator of one core. None: not measured, or nothing to measure; all of it where it is not `installed`.

    cycles_per_image: of the core, from a picture's first token to its last. lanes: pictures that one run carries.
    build_seconds: until the first picture can be given, from an empty cache. build_processor_seconds: of all processes
    in that time. build_megabytes: memory of the largest of them. start_seconds: until the first picture can be given,
    from a full cache. images: simulated, of which `exact` have every logit equal to the integer model's.
    simulated_cycles, processor_seconds: of the pictures alone, in the one process that simulates. megabytes: memory of
    that process, with Python's.
    """
    config: str
    config_digest: str
    macs_per_cycle: int
    net: str
    net_digest: str
    cycles_per_image: int
    simulator: str
    installed: bool = True
    lanes: int | None = None
    build_seconds: float | None = None
    build_processor_seconds: float | None = None
    build_megabytes: float | None = None
    start_seconds: float | None = None
    images: int | None = None
    exact: int | None = None
    simulated_cycles: int | None = None
    processor_seconds: float | None = None
    megabytes: float | None = None

    @property
    def cycles_per_second(self):
        return self.simulated_cycles / self.processor_seconds

    @property
    def picture_cycles_per_second(self):
        """Cycles a second times the pictures that share them; a lane without a picture does not count."""
        runs = -(-self.images // self.lanes) if self.images else 1
        return self.cycles_per_second * (self.images or 1) / runs


def warm_yosys():
    """Has the wheel's yosys translated for this machine, which it is once for all and is no part of a build. The
    translation stays where it is when a measurement has a cache folder of its own."""
    os.environ.setdefault("YOWASP_CACHE_DIR", str(cache_folder().parent / "YoWASP"))
    subprocess.run([find_tool("yosys"), "-V"], stdout=subprocess.DEVNULL, check=True)


def workload_of(config, net_name, *, data_dir, images):
    """(image, pictures, logits): the net for the core of `config`, the first `images` pictures of its test set, and
    what the integer model says of them. net_name, data_dir: of `model.zoo.workload.choose_workload`."""
    return _apart(_workload_of, config, net_name, data_dir, images)


def measure(simulator, image, pictures, logits):
    """The `Measurement` of a simulator with `image` loaded, on `pictures` uint8 (N, C, H, W), of which the integer
    model says `logits` int32 (N, n)."""
    config = image.config
    subject = {"config": config.name, "config_digest": config.digest(), "macs_per_cycle": config.macs_per_cycle,
               "net": image.net_name, "net_digest": image.net_digest, "cycles_per_image": cycles(image),
               "simulator": simulator}
    if simulator == "verilator" and find_verilator() is None:
        return Measurement(installed=False, **subject)
    if simulator == "pysim":
        return Measurement(**subject, **_apart(_run_pysim, image, pictures[:1]))
    with tempfile.TemporaryDirectory(prefix="uniqore-speed-") as cache:
        build = _apart(_build, simulator, image, cache)
        return Measurement(**subject, **build, **_apart(_run, simulator, image, pictures, logits, cache))


def _apart(function, *arguments):
    """What `function` returns in a process of its own. This process should stay small: what it has when it starts
    another program counts, on Linux, as that one's memory."""
    pool = concurrent.futures.ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_DFL))
    with ended(pool, "a measured process"):
        return pool.submit(function, *arguments).result()


def _workload_of(config, net_name, data_dir, images):
    workload = choose_workload(net_name, [], data_dir=data_dir, start=None, images=images, default_images=images)
    return compile_net(workload.net, config), workload.pictures, golden.forward(workload.net, workload.pictures)


def _open(simulator, image):
    if simulator == "verilator":
        return open_verilator(image, timeout=timeout_cycles(image, NO_GAPS))
    if simulator in LANES:
        return open_engine("lanes", image, library=build(image.config, **LANES[simulator]))
    return open_engine(simulator, image)


def _build(simulator, image, cache):
    import resource  # POSIX only, as the compiled simulators are
    os.environ["XDG_CACHE_HOME"] = cache
    started, own = time.perf_counter(), time.process_time()
    _open(simulator, image).close()
    seconds, own = time.perf_counter() - started, time.process_time() - own
    tools = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"build_seconds": seconds, "build_processor_seconds": own + tools.ru_utime + tools.ru_stime,
            "build_megabytes": max(_megabytes(resource.RUSAGE_SELF), _megabytes(resource.RUSAGE_CHILDREN))}


def _run(simulator, image, pictures, logits, cache):
    import resource
    os.environ["XDG_CACHE_HOME"] = cache
    started = time.perf_counter()
    engine = _open(simulator, image)
    start_seconds = time.perf_counter() - started
    before, started = engine.simulated_cycles, time.process_time()
    results = list(engine.run(pictures))
    seconds = time.process_time() - started
    engine.close()
    return {"lanes": engine.lanes, "start_seconds": start_seconds, "images": len(pictures),
            "exact": sum(np.array_equal(result.logits, expected)
                         for result, expected in zip(results, logits, strict=True)),
            "simulated_cycles": engine.simulated_cycles - before, "processor_seconds": seconds,
            "megabytes": _megabytes(resource.RUSAGE_SELF)}


class _Watched(Exception):
    """The cycles to be watched are over."""


def _run_pysim(image, pictures):
    """Figures of the first cycles in which the core computes; before them the net and a picture have been loaded."""
    import resource
    count = min(PYSIM_CYCLES, cycles(image))
    seconds = 0

    def stopwatch(core):
        async def watch(ctx):
            nonlocal seconds
            await ctx.tick().until(core.busy)
            started = time.process_time()
            await ctx.tick().repeat(count)
            seconds = time.process_time() - started
            raise _Watched
        return watch

    started = time.perf_counter()
    engine = PysimEngine(image, lambda: Core(image.config), timeout=timeout_cycles(image, NO_GAPS),
                         testbenches=[stopwatch])
    start_seconds = time.perf_counter() - started
    try:
        next(engine.run(pictures))
    except _Watched:
        pass
    return {"lanes": engine.lanes, "start_seconds": start_seconds, "simulated_cycles": count,
            "processor_seconds": seconds, "megabytes": _megabytes(resource.RUSAGE_SELF)}


def _megabytes(who):
    """Most memory, in 10**6 bytes, that this process, or the largest of its children, has had."""
    import resource
    return resource.getrusage(who).ru_maxrss * MAXRSS_UNIT / 1e6
