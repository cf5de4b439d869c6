"""The SDRAM chip of a compiled simulator: its memory, words that change by themselves, and rules that were broken.

A library has one where its design has the port `sdram`. Its model is sdram_chip.h, which says what sdram_chip.py says.
"""
import ctypes
from ctypes import POINTER, c_char, c_char_p, c_uint16, c_uint64, c_void_p
from dataclasses import asdict

import numpy as np

from accel.sdram import CHUNKS, COLUMNS, SdramTiming

from .sdram_chip import COMMANDS, SdramViolation

__all__ = ["CompiledSdram", "sdram_timing"]


class SdramFlip(ctypes.Structure):
    """`SdramFlip` of sdram_chip.h."""
    _fields_ = [("cycle", c_uint64), ("address", c_uint64), ("mask", c_uint64)]


class Sdram(ctypes.Structure):
    """`Sdram` of sdram_chip.h."""
    _fields_ = [*((name, c_uint64) for name in ("rcd", "rp", "ras", "rc", "rfc", "rrd", "wr", "mrd", "refresh_interval",
                                                "power_up")),
                ("memory", POINTER(c_uint16)), ("flips", POINTER(SdramFlip)), ("flip_count", c_uint64),
                ("flips_done", c_uint64), ("cycle", c_uint64), ("commands", 8 * c_uint64),
                ("violation_cycle", c_uint64), ("rule", c_char_p), ("what", 128 * c_char)]


def sdram_timing(config):
    """`SdramTiming` of the chip beside a core of `config`; None where there is none."""
    return SdramTiming.of(config.sdram_hz) if config.sdram_hz else None


class CompiledSdram:
    """The chip of a simulator that has just been made by `library`, or of one without: then it does nothing.

    timing: `accel.sdram.SdramTiming` that the chip asks for; ValueError for a chip without one.

    memory: its words as they are, uint16 (chunks, 512), to be read and written; None without a chip.
    """

    def __init__(self, library, simulator, timing):
        library.uniqore_sdram.argtypes, library.uniqore_sdram.restype = [c_void_p], POINTER(Sdram)
        chip = library.uniqore_sdram(simulator)
        self._chip, self.memory = chip.contents if chip else None, None
        if self._chip:
            self._set_up(timing)

    def _set_up(self, timing):
        if timing is None:
            raise ValueError("the design has an SDRAM, so its timing is needed")
        for name, cycles in asdict(timing).items():
            setattr(self._chip, name, cycles)
        self.memory = np.ctypeslib.as_array(self._chip.memory, (CHUNKS * COLUMNS,)).reshape(CHUNKS, COLUMNS)

    def row(self, chunk):
        """The words of a chunk, a uint16 array that may be written."""
        return self.memory[chunk]

    @property
    def cycle(self):
        """Of the chip's pins, from 0; one behind that of the core's port."""
        return self._chip.cycle

    @property
    def commands(self):
        """How many there were, by the names of `sim.sdram_chip.COMMANDS`."""
        counts = {name: self._chip.commands[4 * ras_n + 2 * cas_n + we_n]
                  for (ras_n, cas_n, we_n), name in COMMANDS.items()}
        return counts | {"NOP": self._chip.cycle - sum(counts.values())}

    def flip(self, *flips):
        """Has words change by themselves: (cycle, chunk, column, bits that change) each, before the command of that
        cycle. They replace those of an earlier call."""
        flips = sorted((cycle, COLUMNS * chunk + column, mask) for cycle, chunk, column, mask in flips)
        self._flips = (SdramFlip * len(flips))(*flips)
        self._chip.flips, self._chip.flip_count, self._chip.flips_done = self._flips, len(flips), 0

    def check(self):
        """SdramViolation where a rule was broken."""
        if self._chip and self._chip.rule:
            raise SdramViolation(self._chip.violation_cycle, self._chip.rule.decode(), self._chip.what.decode())
