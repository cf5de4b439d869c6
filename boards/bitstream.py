"""The board's top for each ULX3S: pins, clock, and the system behind a UART."""
from dataclasses import dataclass

from amaranth import *
from amaranth.lib import io
from amaranth_boards import ulx3s

from accel.config import ULX3S_25F, ULX3S_45F, ULX3S_85F, AccelConfig
from accel.rtl.system import System

from .floorplan import lfe5u_85f
from .pll import pll_dividers

__all__ = ["DEVICES", "Board", "Top", "make_platform"]

OSCILLATOR_HZ = 25_000_000


@dataclass(frozen=True, kw_only=True)
class Board:
    """device: 12F, 25F, 45F or 85F. net: zoo name of the net that its bitstream starts with."""
    device: str
    config: AccelConfig
    platform: type
    net: str
    floorplan: object = None


SMALL_NET = "resnet8half-w4a4-cifar10"
DEVICES = {board.device: board for board in (
    Board(device="12F", config=ULX3S_25F, platform=ulx3s.ULX3S_12F_Platform, net=SMALL_NET),
    Board(device="25F", config=ULX3S_25F, platform=ulx3s.ULX3S_25F_Platform, net=SMALL_NET),
    Board(device="45F", config=ULX3S_45F, platform=ulx3s.ULX3S_45F_Platform, net="resnet8-w4a4-cifar10"),
    Board(device="85F", config=ULX3S_85F, platform=ulx3s.ULX3S_85F_Platform, net="resnet8-w4a4-cifar10",
          floorplan=lfe5u_85f))}


class Top(Elaboratable):
    """Oscillator -> PLL -> the system; UART and LEDs on their pins.

    The clock reaches the system through a gate that opens when the PLL has locked: registers have no reset, so they
    must not see a clock before it is one.
    """
    def __init__(self, board, *, image, baud):
        self.clock_hz = board.config.clock_hz
        self.system = System(board.config, baud=baud, floorplan=board.floorplan, image=image)

    def elaborate(self, platform):
        m = Module()
        clk25 = platform.request("clk25", 0, dir="-")
        uart = platform.request("uart", 0, dir="-")
        m.submodules.clk25 = oscillator = io.Buffer("i", clk25)
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        leds = [io.Buffer("o", platform.request("led", i, dir="-")) for i in range(8)]

        dividers = pll_dividers(OSCILLATOR_HZ, self.clock_hz)
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
        for i, led in enumerate(leds):
            m.submodules[f"led{i}"] = led
            m.d.comb += led.o.eq(system.leds[i])
        return m


def make_platform(board):
    """The board's platform, without openFPGALoader among the tools a build needs."""
    class Platform(board.platform):
        required_tools = ["yosys", "nextpnr-ecp5", "ecppack"]
    return Platform()
