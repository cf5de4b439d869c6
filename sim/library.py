"""Compiled simulators as shared libraries, kept in a cache.

A cache entry is named after everything it is made from (sources, driver, tools, flags), so it is never stale. It
appears by an atomic rename; a lock makes a second process wait for the first instead of building the same thing.
"""
import concurrent.futures
import contextlib
import ctypes
import gc
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
from model.common.files import refuse_full_disk

__all__ = ["CXX_FLAGS", "built", "compile_sources", "core_identity", "open_library", "rtl_sources", "step",
           "write_rtlil"]

KEY_DIGITS = 20
CXX_FLAGS = ("-std=c++17", "-DNDEBUG", "-fPIC", "-fvisibility=hidden")


def rtl_sources(top=CORE):
    """Text of all that the component of module `top` is made of, Amaranth's version included."""
    return "\0".join([amaranth.__version__, *(path.read_text() for path in rtl_modules(top).values())])


def core_identity(config):
    """Text of all of an `AccelConfig` that decides how its core behaves in each cycle."""
    return f"{config.digest()}\0{config.sdram_hz}"


def built(name, ingredients, make):
    """Path of the shared library `<name>-<key>.so`; makes it unless it is cached.

    ingredients: texts that change whenever the library would. make: function (folder, say) that leaves `core.so` in the
    folder and calls `say` with the name of each phase as it begins.
    """
    key = hashlib.sha256("\0".join([*ingredients, *CXX_FLAGS]).encode()).hexdigest()[:KEY_DIGITS]
    library = made_cache_folder("simulators") / f"{name}-{key}.so"
    if library.exists():
        return library
    with _locked(library.with_suffix(".lock"), f"waiting for another process to build {library.name}"):
        if not library.exists():
            started = time.perf_counter()
            print(f"building the simulator of {name}, once:", end="", flush=True, file=sys.stderr)
            folder = Path(tempfile.mkdtemp(prefix=library.stem + ".", dir=library.parent))
            try:
                make(folder, lambda phase: print(f" {phase} ...", end="", flush=True, file=sys.stderr))
                os.replace(folder / "core.so", library)
            except BaseException as error:
                print(file=sys.stderr)
                if isinstance(error, OSError | UserError):
                    refuse_full_disk(library.parent)
                raise
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            print(f" {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return library


def write_rtlil(component, path):
    """Writes `component` as RTLIL, as module `core`."""
    collecting = gc.isenabled()
    gc.disable()            # millions of objects, none of them garbage: looking for it takes as long as the rest
    try:
        path.write_text(rtlil.convert(component, name="core", emit_src=False))
    finally:
        if collecting:
            gc.enable()


def step(command, folder):
    """Runs `command` in `folder`, from where YoWASP sees the file system; returns what it printed. UserError with its
    first error where it fails."""
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        log = [line for line in done.stdout.splitlines() if line.strip()]
        errors = [line for line in log if "error" in line.lower()] or log[-1:] or ["no message"]
        raise UserError(f"{Path(command[0]).name} failed with exit code {done.returncode}: {errors[0].strip()}")
    return done.stdout


def compile_sources(folder, sources, flags, compiler):
    """Compiles C++ files, as many at once as there are cores, and links them to `core.so` in `folder`.

    sources: paths, from `folder` on where they are relative. flags: besides CXX_FLAGS. compiler: a
    `model.common.tools.Tool`.
    """
    compile_one = [*compiler.command, *CXX_FLAGS, *flags, "-c"]
    objects = [f"{Path(source).name}.o" for source in sources]
    with concurrent.futures.ThreadPoolExecutor(cores()) as pool:
        list(pool.map(lambda source, made: step([*compile_one, source, "-o", made], folder), sources, objects))
    step([*compiler.command, "-shared", *objects, "-o", "core.so"], folder)


def open_library(path):
    """The library at `path`, loaded."""
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise UserError(f"cannot load the simulator {path}, remove it to have it built again: {error}") from error


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
