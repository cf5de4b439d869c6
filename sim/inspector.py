"""A compiled design, cycle by cycle: its ports and registers in every lane."""
from ctypes import POINTER, c_char_p, c_int, c_uint32, c_void_p

import numpy as np

from .library import open_library

__all__ = ["Inspector"]


class Inspector:
    """The design in `library`, as it is at configuration.

    lanes: how many there are. widths: bits by name, of ports and of registers, whose names are those of the RTL with
    dots ("sequencer.passes.state").
    """

    def __init__(self, library):
        self._library = open_library(library)
        for name, arguments, result in [
                ("uniqore_port_count", [c_void_p], c_int), ("uniqore_port_name", [c_void_p, c_int], c_char_p),
                ("uniqore_port_width", [c_void_p, c_int], c_int), ("uniqore_lanes", [], c_int),
                ("uniqore_inspect", [], c_void_p), ("uniqore_end_inspection", [c_void_p], None),
                ("uniqore_step", [c_void_p, c_int], None), ("uniqore_note", [c_uint32], c_char_p),
                ("uniqore_get", [c_void_p, c_int, c_int, POINTER(c_uint32)], None),
                ("uniqore_set", [c_void_p, c_int, c_int, POINTER(c_uint32)], None)]:
            function = getattr(self._library, name)
            function.argtypes, function.restype = arguments, result
        self.lanes = self._library.uniqore_lanes()
        self._simulator = self._library.uniqore_inspect()
        names = [self._library.uniqore_port_name(self._simulator, k).decode()
                 for k in range(self._library.uniqore_port_count(self._simulator))]
        self._numbers = {name: k for k, name in enumerate(names)}
        self.widths = {name: self._library.uniqore_port_width(self._simulator, k) for k, name in enumerate(names)}

    def set(self, name, value, lane=0):
        """Sets an input, for all lanes where pixels do not reach it."""
        words = np.frombuffer(value.to_bytes(4 * self._words(name), "little"), "<u4")
        self._library.uniqore_set(self._simulator, self._numbers[name], lane, words.ctypes.data_as(POINTER(c_uint32)))

    def step(self, clocks=0):
        """A rising edge of the clocks of that set; all of them by default."""
        self._library.uniqore_step(self._simulator, clocks)

    def get(self, name, lane=0):
        """A register as it is now. An output in lanes: as it was just before the last edge."""
        words = np.zeros(self._words(name), "<u4")
        self._library.uniqore_get(self._simulator, self._numbers[name], lane, words.ctypes.data_as(POINTER(c_uint32)))
        return int.from_bytes(words.tobytes(), "little")

    def note(self, number):
        """Text of an origin or a use of an undefined value, see `sim.lanes.undefined`."""
        return self._library.uniqore_note(number).decode()

    def _words(self, name):
        return -(-self.widths[name] // 32)

    def close(self):
        if self._simulator:
            self._library.uniqore_end_inspection(self._simulator)
            self._simulator = None
