"""Finds a program of the FPGA toolchain: an explicit variable, a native program on PATH, or a script of a YoWASP wheel.

The wheels' scripts lie beside the running interpreter, so neither PATH nor an activated venv nor a variable is needed.
"""
import os
import shutil
import sysconfig
from pathlib import Path

from model.errors import UserError

__all__ = ["find_tool"]


def find_tool(variable, name):
    """Path of the tool `name` (`yosys`, `nextpnr-ecp5`, ...): $variable, `name` on PATH, or `yowasp-name`.

    Raises UserError where there is none.
    """
    scripts = [Path(sysconfig.get_path("scripts", scheme)) / f"yowasp-{name}"
               for scheme in ("posix_venv", "posix_user", "posix_home", "posix_prefix")]
    found = os.environ.get(variable) or shutil.which(name) or shutil.which(f"yowasp-{name}")
    found = found or next((str(script) for script in scripts if script.exists()), None)
    if not found or not shutil.which(found):
        raise UserError(f"no {name}: pip install 'uniqore[fpga]' brings it, or set {variable} to its path")
    return found
