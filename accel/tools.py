"""Finds a program of the FPGA toolchain: an explicit variable, a recent native program on PATH, or a YoWASP wheel's.

The wheels' scripts lie beside the running interpreter, so neither PATH nor an activated venv nor a variable is needed.
"""
import functools
import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

from model.errors import UserError

__all__ = ["find_tool", "stated_version"]

OLDEST = {"yosys": (0, 45), "nextpnr-ecp5": (0, 7)}     # native ones; older ones map or place this design worse, or not


@functools.cache
def stated_version(path):
    """What the program at `path` answers to --version, its first line; empty where it does not."""
    try:
        said = subprocess.run([path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ((said.stdout + said.stderr).strip().splitlines() or [""])[0]


def _recent(path, name):
    """Whether the native program at `path` says it is at least of the version in OLDEST."""
    if name not in OLDEST:
        return True
    version = re.search(r"(\d+)\.(\d+)", stated_version(path))
    return version is not None and tuple(map(int, version.groups())) >= OLDEST[name]


def find_tool(variable, name):
    """Path of the tool `name` (`yosys`, `nextpnr-ecp5`, ...): $variable, `name` on PATH, or `yowasp-name`.

    The path is absolute. Raises UserError where there is none.
    """
    scripts = [Path(sysconfig.get_path("scripts", scheme)) / f"yowasp-{name}"
               for scheme in ("posix_venv", "posix_user", "posix_home", "posix_prefix")]
    native = shutil.which(name)
    found = os.environ.get(variable) or (native if native and _recent(native, name) else None)
    found = found or shutil.which(f"yowasp-{name}") or next((str(s) for s in scripts if s.exists()), None)
    if not found:
        raise UserError(f"no {name}: pip install -e '.[fpga]' brings it, or set {variable} to its path")
    program = shutil.which(found)
    if not program:
        raise UserError(f"{variable}={found}: there is no such program; wanted: the path of {name}")
    return os.path.abspath(program)         # tools run in folders of their own
