"""The core as Verilog, through the yosys that is installed."""
import os

from amaranth.back import verilog

from accel.rtl.core import Core
from model.common.errors import UserError
from model.common.tools import find_tool

__all__ = ["core_verilog"]


def core_verilog(config):
    """Verilog text of `Core(config)`, module name `core`. UserError where there is no yosys, or one that fails."""
    os.environ["YOSYS"] = yosys = find_tool("yosys")       # where Amaranth looks for it
    try:
        return verilog.convert(Core(config), name="core", strip_internal_attrs=True)
    except (verilog.YosysError, OSError) as error:
        reason = str(error).strip().splitlines() or ["no message"]
        raise UserError(f"{yosys} cannot write Verilog: {reason[-1]}") from error
