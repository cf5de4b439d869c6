"""A core, or a whole board, as a shared library: RTL -> yosys `write_cxxrtl` -> C++ compiler, kept in a cache.

A cache entry is named after everything it is made from (sources, driver, tools, flags), so it is never stale. It
appears by an atomic rename; a lock makes a second process wait for the first instead of building the same thing.
"""
import concurrent.futures
import contextlib
import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import amaranth
from amaranth.back import rtlil

from accel.digest import CORE, rtl_modules
from model.common.cache import made_cache_folder
from model.common.cores import cores
from model.common.errors import UserError
from model.common.tools import find_compiler, find_cxxrtl

from . import two_state

__all__ = ["build_library", "built", "compile_sources", "step", "open_library", "rtl_sources"]

DRIVER = Path(__file__).with_name("driver.cc")
REWRITER = Path(two_state.__file__)
KEY_DIGITS = 20

# Without the reset, which nothing uses (a board's does not either), registers are simpler. `splitnets` cuts the loops
# that CXXRTL sees where one part of a wire depends on another.
PREPARE = """
read_rtlil core.il
hierarchy -top core
proc
flatten
cd core
delete -input w:rst
connect -nounset -set rst 1'0
cd ..
opt_clean
opt_expr
opt_clean -purge
splitnets -driver
opt_clean -purge
"""
FAST = PREPARE + "write_cxxrtl -O6 -g0 core.cc\n", ("-O2",)
WAVEFORMS = "read_rtlil core.il\nwrite_cxxrtl -O6 -g4 core.cc\n", ("-O0", "-DWAVEFORMS")
COMPILER_FLAGS = ("-std=c++17", "-DNDEBUG", "-fPIC", "-fvisibility=hidden")


def rtl_sources(top=CORE):
    """Text of all that the component of module `top` is made of, Amaranth's version included."""
    return "\0".join([amaranth.__version__, *(path.read_text() for path in rtl_modules(top).values())])


def build_library(make_core, *, name, sources, waveforms=False, driver=DRIVER):
    """Path of the shared library that simulates the component `make_core()`; builds it unless it is cached.

    name: for people, in messages and the file name. sources: text that changes whenever the component does (making it
    to see would take longer than most simulations). waveforms: able to write VCD files; much slower. driver: C++ file
    that drives it.
    """
    yosys, compiler = find_cxxrtl(), find_compiler()
    script, flags = WAVEFORMS if waveforms else FAST
    flags = (*COMPILER_FLAGS, *flags)
    ingredients = [sources, driver.read_text(), REWRITER.read_text(), yosys.version, script, compiler.version, *flags]
    key = hashlib.sha256("\0".join(ingredients).encode()).hexdigest()[:KEY_DIGITS]
    library = made_cache_folder("simulators") / f"{name}-{key}.so"
    if library.exists():
        return library
    with _locked(library.with_suffix(".lock"), f"waiting for another process to build {library.name}"):
        if not library.exists():
            started = time.perf_counter()
            print(f"building the simulator of {name}, once (a minute or so) ...",
                  end="", flush=True, file=sys.stderr)
            try:
                rtl = rtlil.convert(make_core(), name="core", emit_src=False)
                _build(library, rtl, driver, yosys, script, compiler, flags)
            except BaseException:
                print(file=sys.stderr)
                raise
            print(f" {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return library


def open_library(path):
    """The library at `path`, loaded."""
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise UserError(f"cannot load the simulator {path}, remove it to have it built again: {error}") from error


def built(name, ingredients, make):
    """Path of the cached library that `make(folder)` leaves as core.so in the folder; built unless it is cached."""
    key = hashlib.sha256("\0".join(ingredients).encode()).hexdigest()[:KEY_DIGITS]
    library = made_cache_folder("simulators") / f"{name}-{key}.so"
    with _locked(library.with_suffix(".lock"), f"waiting for another process to build {library.name}"):
        if not library.exists():
            folder = Path(tempfile.mkdtemp(prefix=library.stem + ".", dir=library.parent))
            try:
                make(folder)
                os.replace(folder / "core.so", library)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    return library


def step(command, folder):
    return _step(command, folder)


def compile_sources(folder, sources, flags, compiler):
    """Compiles and links `sources` in `folder` to core.so."""
    compile_one = [*compiler.command, *COMPILER_FLAGS, *flags, "-c"]
    with concurrent.futures.ThreadPoolExecutor(cores()) as pool:
        list(pool.map(lambda name: _step([*compile_one, name, "-o", f"{Path(name).name}.o"], folder), sources))
    _step([*compiler.command, "-shared", *(f"{Path(name).name}.o" for name in sources), "-o", "core.so"], folder)


@contextlib.contextmanager
def _locked(path, message):
    """Holds an exclusive lock between processes; it goes with the process, however that ends."""
    import fcntl  # POSIX only, as the whole compiled simulator is
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(message, file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(library, rtl, driver, yosys, script, compiler, flags):
    folder = Path(tempfile.mkdtemp(prefix=library.stem + ".", dir=library.parent))
    try:
        (folder / "core.il").write_text(rtl)
        (folder / "core.ys").write_text(script)
        shutil.copy(driver, folder)
        # The folder is the working directory: YoWASP sees the file system from there.
        log = _step([*yosys.command, "core.ys"], folder)
        sources = [driver.name]
        if script is FAST[0]:
            arcs = log.partition("feedback arcs through wires:\n")[2]
            if arcs:                    # then one evaluation a cycle would not be enough
                raise UserError(f"the RTL drives one part of {arcs.partition(chr(10))[0].strip()} from another, which "
                                f"the compiled simulator does not take")
            try:
                parts = two_state.rewrite((folder / "core.cc").read_text())
            except two_state.UnexpectedCode as error:
                raise UserError(f"{yosys.version} writes C++ that the compiled simulator does not know "
                                f"({str(error).splitlines()[0]}): unset YOSYS to use the wheel's") from error
            for name, source in parts.items():
                (folder / name).write_text(source)
            sources += [name for name in parts if name.endswith(".cc")]
        compile_one = [*compiler.command, *flags, f"-I{yosys.include}", "-c"]
        with concurrent.futures.ThreadPoolExecutor(cores()) as pool:
            list(pool.map(lambda name: _step([*compile_one, name, "-o", f"{name}.o"], folder), sources))
        _step([*compiler.command, "-shared", *(f"{name}.o" for name in sources), "-o", "core.so"], folder)
        os.replace(folder / "core.so", library)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _step(command, folder):
    """Runs `command` in `folder`; returns what it printed."""
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        log = [line for line in done.stdout.splitlines() if line.strip()]
        errors = [line for line in log if "error" in line.lower()] or log[-1:] or ["no message"]
        raise UserError(f"{Path(command[0]).name} failed with exit code {done.returncode}: {errors[0].strip()}")
    return done.stdout
