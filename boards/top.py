"""The top of a board: its pins, its two clocks, and the system behind its UART.

    oscillator -> clock of the host side, domain `host`
               -> PLL -> gate -> clock of the core, domain `sync`
    UART pins <-> System -> LEDs
                     |
                 SDRAM pins, where the configuration has one
"""
from fractions import Fraction

from amaranth import *
from amaranth.build import Attrs, Pins, Resource, Subsignal
from amaranth.lib import io

from accel.rtl.system import System

from .beat_light import BeatLight
from .clocking import PllClock, pll_plan
from .sdram_pins import add_sdram_pins

__all__ = ["SDRAM", "Top", "led_levels", "make_platform", "oscillator_hz"]

PULL_UPS = "pull_ups"           # resource of the pins that a board has in `pulled_up`
SDRAM = "sdram"                 # resource that amaranth-boards has


class Top(Elaboratable):
    """Oscillator and PLL -> the system; UART and LEDs on their pins.

    board : Board; image : accel.image.Image of the net it starts with, or None; baud : of the UART

    The host side runs on the oscillator itself, so that a board whose PLL does not lock still answers. The core's clock
    comes through a gate that opens when the PLL has locked: registers have no reset, so they must not see a clock
    before it is one. UserError from `elaborate` where no PLL setting makes the board's clock.
    """
    def __init__(self, board, *, image, baud):
        self.board, self.image, self.baud = board, image, baud

    def elaborate(self, platform):
        m = Module()
        board = self.board
        host_hz = oscillator_hz(board, platform)
        uart = platform.request(board.uart, 0, dir="-")
        m.submodules.oscillator = oscillator = io.Buffer("i", platform.request(board.oscillator, 0, dir="-"))
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        leds = [io.Buffer("o", port) for port in _led_ports(board, platform)]
        _hold_pins(m, board, platform)

        m.domains.host = ClockDomain(reset_less=True)
        m.domains.sync = core = ClockDomain(reset_less=True)
        locked = Signal()
        m.d.comb += ClockSignal("host").eq(oscillator.i)
        _make_clock(m, oscillator.i, core.clk, locked, plan=pll_plan(host_hz, PllClock(board.clock_hz)))

        m.submodules.system = system = System(
            board.config, clock_hz=board.clock_hz, host_hz=host_hz, baud=self.baud, floorplan=board.floorplan,
            image=self.image)
        m.submodules.light = light = DomainRenamer("host")(BeatLight(clock_hz=host_hz))
        m.d.comb += [system.rx.eq(rx.i), tx.o.eq(system.tx), system.locked.eq(locked),
                     light.busy.eq(system.leds[-1]), light.beat.eq(system.beat)]
        if board.config.sdram_hz is not None:
            add_sdram_pins(m, system.sdram, platform.request(SDRAM, 0, dir="-"))
        levels = led_levels(Cat(system.leds[:-1], light.led), len(leds))
        for i, led in enumerate(leds):
            m.submodules[f"led{i}"] = led
            m.d.comb += led.o.eq(levels[i])
        return m


def _make_clock(m, oscillator, clock, locked, *, plan):
    """Adds to `m` the PLL that `plan` makes of `oscillator`, and the gate from its first output to `clock`. It drives
    `locked` too, which follows no clock."""
    wires = {port: Signal(name=f"pll_{port.lower()}") for port in plan.ports}
    m.submodules.pll = Instance(
        "EHXPLLL", a_ICP_CURRENT="12", a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1", a_MFG_GMCREF_SEL="2",
        p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED", p_DPHASE_SOURCE="DISABLED",
        **{f"p_{name}": value for name, value in plan.parameters().items()},
        i_RST=0, i_STDBY=0, i_CLKI=oscillator, i_CLKFB=wires[plan.ports[plan.feedback_output]], i_PHASESEL0=0,
        i_PHASESEL1=0, i_PHASEDIR=1, i_PHASESTEP=1, i_PHASELOADREG=1, i_PLLWAKESYNC=0, i_ENCLKOP=0,
        **{f"o_{port}": wire for port, wire in wires.items()}, o_LOCK=locked)
    m.submodules.gate = Instance("DCCA", i_CLKI=wires[plan.ports[0]], i_CE=locked, o_CLKO=clock)


def _hold_pins(m, board, platform):
    """Input buffers, kept though nothing reads them: without one a pin has no pull-up."""
    if board.pulled_up:
        pins = platform.request(PULL_UPS, 0, dir="-")
        for k in range(len(pins)):
            m.submodules[f"held{k}"] = Instance("IB", a_keep=1, i_I=pins.io[k], o_O=Signal(name=f"held{k}"))


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
    """The board's platform: pull-ups as `Board` says, an SDRAM's pins with the FPGA's own drive, and no openFPGALoader
    among the tools a build needs."""
    base = board.platform_class()
    changes = {(board.uart, 0): lambda resource: _with_pull_up(resource, "rx"), (SDRAM, 0): _fast}

    class Platform(base):
        required_tools = ["yosys", "nextpnr-ecp5", "ecppack"]
        resources = [changes.get((resource.name, resource.number), lambda same: same)(resource)
                     for resource in base.resources]
        if board.pulled_up:
            resources.append(Resource(PULL_UPS, 0, Pins(" ".join(board.pulled_up), dir="i"),
                                      Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")))
    return Platform()


def _with_pull_up(resource, name):
    """The resource, with a pull-up at its subsignal `name`."""
    parts = [Subsignal(part.name, *part.ios, part.attrs, Attrs(PULLMODE="UP")) if part.name == name else part
             for part in resource.ios]
    return Resource(resource.name, resource.number, *parts, resource.attrs)


def _fast(resource):
    """The resource with fast edges and the FPGA's own drive: amaranth-boards has 4 mA, the weakest."""
    attributes = {name: value for name, value in resource.attrs.items() if name != "DRIVE"}
    return Resource(resource.name, resource.number, *resource.ios, Attrs(**attributes | {"SLEWRATE": "FAST"}))
