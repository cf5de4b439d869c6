"""The core as Verilog, through the yosys that is installed."""
import os

from amaranth.back import verilog

from .rtl.core import Core
from .tools import find_tool

__all__ = ["core_verilog"]


def core_verilog(config):
    """Verilog text of `Core(config)`, module name `core`."""
    os.environ["YOSYS"] = find_tool("YOSYS", "yosys")               # where Amaranth looks for it
    return verilog.convert(Core(config), name="core", strip_internal_attrs=True)
