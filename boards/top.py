"""The top of a board: its pins, its clock, and the system behind its UART.

    oscillator -> PLL -> gate -> clock of all the rest
    UART pins <-> System -> LEDs
"""
from fractions import Fraction

from amaranth import *
from amaranth.build import Subsignal
from amaranth.lib import io

from accel.rtl.system import System

from .clocking import pll_dividers

__all__ = ["Top", "led_levels", "make_platform", "oscillator_hz"]


class Top(Elaboratable):
    """Oscillator -> PLL -> the system; UART and LEDs on their pins.

    board : Board; image : accel.image.Image of the net it starts with, or None; baud : of the UART

    The clock reaches the system through a gate that opens when the PLL has locked: registers have no reset, so they
    must not see a clock before it is one. UserError from `elaborate` where no PLL setting makes the board's clock.
    """
    def __init__(self, board, *, image, baud):
        self.board = board
        self.system = System(board.config, clock_hz=board.clock_hz, baud=baud, floorplan=board.floorplan, image=image)

    def elaborate(self, platform):
        m = Module()
        board = self.board
        uart = platform.request(board.uart, 0, dir="-")
        m.submodules.oscillator = oscillator = io.Buffer("i", platform.request(board.oscillator, 0, dir="-"))
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        leds = [io.Buffer("o", port) for port in _led_ports(board, platform)]

        dividers = pll_dividers(oscillator_hz(board, platform), board.clock_hz)
        pll_clock, locked, clock = Signal(), Signal(), Signal()
        m.domains.sync = ClockDomain(reset_less=True)
        m.submodules.pll = Instance(
            "EHXPLLL", a_ICP_CURRENT="12", a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1", a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED", p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA", p_CLKOP_ENABLE="ENABLED", p_FEEDBK_PATH="CLKOP",
            p_CLKI_DIV=dividers.reference, p_CLKFB_DIV=dividers.feedback, p_CLKOP_DIV=dividers.output,
            p_CLKOP_CPHASE=dividers.output // 2, p_CLKOP_FPHASE=0,
            i_RST=0, i_STDBY=0, i_CLKI=oscillator.i, i_CLKFB=pll_clock, i_PHASESEL0=0, i_PHASESEL1=0,
            i_PHASEDIR=1, i_PHASESTEP=1, i_PHASELOADREG=1, i_PLLWAKESYNC=0, i_ENCLKOP=0,
            o_CLKOP=pll_clock, o_LOCK=locked)
        m.submodules.gate = Instance("DCCA", i_CLKI=pll_clock, i_CE=locked, o_CLKO=clock)
        m.d.comb += ClockSignal().eq(clock)

        m.submodules.system = system = self.system
        m.d.comb += [system.rx.eq(rx.i), tx.o.eq(system.tx)]
        levels = led_levels(system.leds, len(leds))
        for i, led in enumerate(leds):
            m.submodules[f"led{i}"] = led
            m.d.comb += led.o.eq(levels[i])
        return m


def led_levels(leds, count):
    """What `count` LEDs, at most 8, show of the controller's 8: the busy one last, before it the class's low bits."""
    return Cat(leds[:count - 1], leds[-1])


def _led_ports(board, platform):
    for name, number in board.leds:
        port = platform.request(name, number, dir="-")
        parts = [part.name for part in platform.lookup(name, number).ios if isinstance(part, Subsignal)]
        yield from (getattr(port, part) for part in parts) if parts else [port]


def oscillator_hz(board, platform):
    """Fraction, as the platform has it."""
    return Fraction(platform.lookup(board.oscillator, 0).clock.frequency)


def make_platform(board):
    """The board's platform, without openFPGALoader among the tools a build needs."""
    class Platform(board.platform_class()):
        required_tools = ["yosys", "nextpnr-ecp5", "ecppack"]
    return Platform()
