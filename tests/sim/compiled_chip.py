"""The model of the SDRAM chip in C++, command by command."""
import ctypes
import shutil
from ctypes import POINTER, c_uint16, c_uint64, c_void_p
from functools import cache
from pathlib import Path

import numpy as np

from model.common.tools import find_compiler
from sim.library import built, compile_sources, open_library
from sim.sdram import CompiledSdram
from sim.sdram_chip import COMMANDS

__all__ = ["NOP", "CompiledChip", "pins"]

DRIVER = Path(__file__).with_name("sdram_commands.cc")
CHIP = Path(__file__).parents[2] / "sim" / "sdram_chip.h"
LEVELS = {name: levels for levels, name in COMMANDS.items()}
NOP = (1, 1, 1, 0, 0, 0, 0)


def pins(command, bank=0, address=0, data=None):
    """A cycle of the port: ras_n, cas_n, we_n, bank, address, dq_o, dq_oe. data: of a WRITE."""
    return (*LEVELS[command], bank, address, data or 0, data is not None)


@cache
def _library():
    compiler = find_compiler()

    def make(folder, say):
        for path in (DRIVER, CHIP):
            shutil.copy(path, folder)
        compile_sources(folder, [DRIVER.name], ("-O1", "-Wall", "-Wextra", "-Werror"), compiler)
    library = open_library(built("sdram-chip", [DRIVER.read_text(), CHIP.read_text(), compiler.version], make))
    library.open_chip.argtypes, library.open_chip.restype = [], c_void_p
    library.close_chip.argtypes, library.close_chip.restype = [c_void_p], None
    library.run.argtypes = [c_void_p, c_void_p, c_uint64, POINTER(c_uint16)]
    library.run.restype = c_uint64
    return library


class CompiledChip:
    """A chip that has just got power. timing: `SdramTiming`."""

    def __init__(self, timing):
        self._chip = _library().open_chip()
        self.sdram = CompiledSdram(_library(), self._chip, timing)

    def run(self, cycles):
        """dq_i in each of those cycles of pins; SdramViolation where they break a rule."""
        shown = np.array(cycles, np.uint32)
        dq_i = np.zeros(len(shown), np.uint16)
        _library().run(self._chip, shown.ctypes.data_as(c_void_p), len(shown),
                       dq_i.ctypes.data_as(ctypes.POINTER(c_uint16)))
        self.sdram.check()
        return dq_i.tolist()

    def close(self):
        _library().close_chip(self._chip)
