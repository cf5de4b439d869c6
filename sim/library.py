"""A core as a shared library: RTL -> yosys `write_cxxrtl` -> C++ compiler, kept in a cache.

A cache entry is named after everything it is made from (RTL, driver, tools, flags), so it is never stale. It appears by
an atomic rename; a lock makes a second process wait for the first instead of building the same thing.
"""
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from amaranth.back import rtlil

from model.errors import UserError

from .tools import find_compiler, find_yosys

__all__ = ["build_library", "cache_folder"]

DRIVER = Path(__file__).with_name("driver.cc")
COMPILER_FLAGS = ("-std=c++17", "-O2", "-DNDEBUG", "-shared", "-fPIC")
KEY_DIGITS = 20


def cache_folder():
    """Folder of built simulators, made if it is missing."""
    home = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(home) if home else Path.home() / ".cache") / "uniqore" / "simulators"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the cache folder {folder}: {error.strerror}") from error
    return folder


def build_library(core, *, name, waveforms=False, progress=sys.stderr):
    """Path of the shared library that simulates the component `core`; builds it unless it is cached.

    name: for people, in messages and the file name. waveforms: keep what a VCD file needs (slower).
    """
    rtl = rtlil.convert(core, name="core", emit_src=False)
    yosys, compiler = find_yosys(), find_compiler()
    write = "write_cxxrtl -O6 -g4" if waveforms else "write_cxxrtl -O6 -g0"
    flags = (*COMPILER_FLAGS, *(["-DWAVEFORMS"] if waveforms else []))
    ingredients = [rtl, DRIVER.read_text(), yosys.version, write, compiler.version, *flags]
    key = hashlib.sha256("\0".join(ingredients).encode()).hexdigest()[:KEY_DIGITS]
    library = cache_folder() / f"{name}-{key}.so"
    if library.exists():
        return library
    with _locked(library.with_suffix(".lock"), f"waiting for another process to build {library.name}", progress):
        if not library.exists():
            started = time.perf_counter()
            print(f"building the simulator of {name}, once (a minute or so) ...", end="", flush=True, file=progress)
            try:
                _build(library, rtl, yosys, write, compiler, flags)
            except BaseException:
                print(file=progress)
                raise
            print(f" {time.perf_counter() - started:.0f} s", file=progress)
    return library


@contextlib.contextmanager
def _locked(path, message, progress):
    """Holds an exclusive lock between processes; it goes with the process, however that ends."""
    import fcntl        # POSIX only, as the simulator is
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(message, file=progress)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(library, rtl, yosys, write, compiler, flags):
    folder = Path(tempfile.mkdtemp(prefix=library.stem + ".", dir=library.parent))
    try:
        (folder / "core.il").write_text(rtl)
        shutil.copy(DRIVER, folder / "driver.cc")
        # The folder is the working directory: YoWASP sees the file system from there.
        _step([*yosys.command, "-q", "-p", f"read_rtlil core.il; {write} core.cc"], folder)
        _step([*compiler.command, *flags, f"-I{yosys.include}", "-I.", "driver.cc", "-o", "core.so"], folder)
        os.replace(folder / "core.so", library)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _step(command, folder):
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        log = [line for line in done.stdout.splitlines() if line.strip()]
        errors = [line for line in log if "error" in line.lower()] or log[-1:] or ["no message"]
        raise UserError(f"{Path(command[0]).name} failed with exit code {done.returncode}: {errors[0].strip()}")
