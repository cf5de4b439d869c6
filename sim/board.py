"""A whole board in compiled simulation, at its UART pins.

It has two clocks, and neither knows of the other. What is in cycles here is in cycles of the host side's clock, as the
UART is, but for `clock_hz` and `core_ratio`.
"""
import ctypes
import math
from ctypes import POINTER, c_double, c_uint8, c_uint32, c_uint64, c_void_p
from fractions import Fraction
from pathlib import Path

import numpy as np

from accel.clocks import CORE_CLOCKS
from accel.digest import SYSTEM
from accel.rtl.host.core_guard import LONG
from accel.rtl.system import System
from model.common.errors import UserError

from .lanes.build import Ports, build_simulator
from .library import core_identity, open_library, rtl_sources
from .sdram import CompiledSdram

__all__ = ["ANSWER_CYCLES", "BoardSimulator", "CYCLES_PER_BIT", "DRIVER", "HOST_HZ", "PORTS", "build_board",
           "core_ratio"]

DRIVER = Path(__file__).with_name("board_driver.cc")
CYCLES_PER_BIT = 8          # of the default baud rate: the fastest a board takes, so that simulation has less to do
CLOCK_HZ = Fraction(100_000_000)    # of the core, as a board says it, of a configuration that met no clock
HOST_HZ = Fraction(25_000_000)
# A board makes the core's clock of the host's, so that they meet in a few phases only. Here they drift through all.
DRIFT = Fraction(1009, 1008)
CORE_RATIO = CLOCK_HZ / HOST_HZ * DRIFT
RATIOS = Fraction(1, 1000), 1000
FINEST = 1 << 24            # denominator of a ratio and of a phase, so that what the driver adds has 64 bits
CLOCK_SETS = ("clk",), ("host_clk",), ("clk", "host_clk")           # as board_driver.cc numbers them
PORTS = Ports(clocks=("clk", "host_clk"), clock_sets=CLOCK_SETS, resets=("rst", "host_rst"))
TIMEOUT = 50_000            # cycles of silence after which the board gives a frame up
OUT_BYTES = 1 << 16
BUSY = 1 << 7               # the LED that is lit while pictures are to be answered
ANSWER_CYCLES = 1000        # more than a board takes from the silence that ends a frame to its first word about it


class Line(ctypes.Structure):
    """`Line` of board_driver.cc."""
    _fields_ = [("bit_cycles", c_double), ("core_hz", c_uint64), ("host_hz", c_uint64), ("core_position", c_uint64),
                ("input", POINTER(c_uint8)), ("in_count", c_uint64), ("in_done", c_uint64),
                ("out", POINTER(c_uint8)), ("out_capacity", c_uint64), ("out_count", c_uint64),
                ("framing_errors", c_uint64), ("cycle", c_uint64), ("last_active", c_uint64), ("leds", c_uint32),
                ("locked", c_uint32)]


def core_ratio(config):
    """Cycles of the core a cycle of the host side on a board of `config`, a Fraction; nearly, see `DRIFT`."""
    return CORE_CLOCKS.get(config.name, CLOCK_HZ) / HOST_HZ * DRIFT


def build_board(config, *, clock_hz=None, image=None, cycles_per_bit=CYCLES_PER_BIT, timeout=TIMEOUT,
                patience=None):
    """Path of the library that simulates the `System` of `config` with `image` preset, built unless it is cached.

    clock_hz: Fraction, of the core, as the board says it to a host; by default that of `accel.clocks`, or 100 MHz.
    cycles_per_bit: int or Fraction, at least 8. timeout: cycles of silence after which the board gives a frame up.
    patience: cycles after which it gives up a core that does not answer, as many as `timeout` by default.
    """
    clock_hz = clock_hz or CORE_CLOCKS.get(config.name, CLOCK_HZ)
    loaded = [] if image is None else [str(image.tape.tobytes())]
    sources = [core_identity(config), str(clock_hz), str(cycles_per_bit), str(timeout), str(patience),
               image.net_digest if image else "", *loaded, rtl_sources(SYSTEM)]

    def make():
        return System(config, clock_hz=clock_hz, host_hz=HOST_HZ, baud=HOST_HZ / cycles_per_bit, image=image,
                      timeout=timeout, patience=patience)
    return build_simulator(make, name=f"board-{config.name}", sources="\0".join(sources), ports=PORTS, one_lane=True,
                           driver=DRIVER)


class BoardSimulator:
    """The board in `library` (from `build_board`), switched on.

    bit_cycles: bit time of the adapter at its other end. timeout, patience: those that the board was built with.
    core_ratio: cycles of the core a cycle of the host side, 0.001 .. 1000. core_phase: part of a cycle that the core's
    clock is ahead at the start, 0 .. 1. Both are numbers or Fractions, and taken to 2**-24. UserError for others.
    sdram: `SdramTiming` of the chip, where the board has one.

    sdram: the `CompiledSdram`.
    line: the state of the pins. `line.locked` = 0 stops the core's clock, as a PLL does that is not locked.
    """
    def __init__(self, library, *, bit_cycles=CYCLES_PER_BIT, timeout=TIMEOUT, patience=None,
                 core_ratio=CORE_RATIO, core_phase=0, sdram=None):
        self._library = open_library(library)
        self._library.uniqore_board_open.argtypes, self._library.uniqore_board_open.restype = [], c_void_p
        self._library.uniqore_board_close.argtypes, self._library.uniqore_board_close.restype = [c_void_p], None
        run = self._library.uniqore_board_run
        run.argtypes, run.restype = [c_void_p, POINTER(Line), c_uint64], None
        self._run, self._out = run, (c_uint8 * OUT_BYTES)()
        low, high = RATIOS
        if not low <= core_ratio <= high or not 0 <= core_phase <= 1:
            raise UserError(f"no core is simulated with {core_ratio} cycles a cycle of the host side and a phase of "
                            f"{core_phase}: ratios are 0.001 .. 1000, phases 0 .. 1")
        ratio, phase = (Fraction(number).limit_denominator(FINEST) for number in (core_ratio, core_phase))
        unit = math.lcm(ratio.denominator, phase.denominator)
        self.line = Line(bit_cycles=bit_cycles, out=self._out, out_capacity=OUT_BYTES, locked=1,
                         core_hz=int(ratio * unit), host_hz=unit, core_position=int(phase * unit))
        self._pending = b""
        # A frame that broke off is given up, and a command that waits for a core that does not answer.
        self._longest_wait = timeout + LONG * (patience or timeout) + ANSWER_CYCLES
        self._simulator = self._library.uniqore_board_open()
        self.sdram = CompiledSdram(self._library, self._simulator, sdram)

    def exchange(self, octets, cycles):
        """Puts `octets` behind what is still to be sent, simulates `cycles` cycles and returns what the board said.
        `SdramViolation` where the board broke a rule of its SDRAM."""
        line = self.line
        self._pending = self._pending[line.in_done:] + octets
        self._buffer = np.frombuffer(self._pending + b"\0", np.uint8)
        line.input = self._buffer.ctypes.data_as(POINTER(c_uint8))
        line.in_count, line.in_done, line.out_count = len(self._pending), 0, 0
        self._run(self._simulator, line, cycles)
        self.sdram.check()
        return bytes(self._out[:line.out_count])

    @property
    def idle_cycles(self):
        """Cycles since there was anything on either line; 0 while bytes wait to be sent."""
        return 0 if self.line.in_done < self.line.in_count else self.line.cycle - self.line.last_active

    @property
    def at_rest(self):
        """Whether nothing more happens in the board until a byte comes: every picture is answered, and a frame that
        broke off is given up, and so is a core that does not answer."""
        return self.idle_cycles > self._longest_wait and not self.line.leds & BUSY

    def close(self):
        if self._simulator:
            self._library.uniqore_board_close(self._simulator)
            self._simulator = None

