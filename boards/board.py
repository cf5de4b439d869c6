"""What a board is: the data of which its bitstreams, reports and command line are made (docs/guides/board.md)."""
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from accel.config import AccelConfig
from model.common.extras import with_extra

__all__ = ["Board"]

# Below it a word that is read may come too early for the register in its pad: docs/boards.md, where D is half a cycle
# less 2.5 ns at least. Below half of it the largest tape takes longer to be read back than the device waits for it.
LOWEST_SDRAM_CLOCK_HZ = 80_000_000


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board of one family with one FPGA on it.

    family: name of its module here, its command and its files ("ulx3s"). title: as people write it.
    device: the FPGA, as --device has it ("85F").
    platform: "module:class" of its platform in amaranth-boards, which is imported only where it is needed.
    config: the accelerator. One with an SDRAM needs a resource "sdram" of 16 bits, and has `clock_hz`, rounded up, as
    its clock.
    clock_hz: Fraction; the PLL makes exactly this clock for it. asked_hz: Fraction, the clock that place and route is
    to work for, or None for `clock_hz`: asked for more it may reach more. What must be met is `clock_hz`.
    oscillator, uart: resources of the platform, number 0: a clock, the host side's; `rx`, pulled up, and `tx`.
    pulled_up: names of further pins that the FPGA pulls up and else leaves alone.
    leds: resources of the platform, (name, number) each, at most 8 LEDs in all; one with subsignals is a LED a
    subsignal. The last LED is lit while a picture is being classified, those before it show the last picture's class in
    binary, lowest bit first, as far as they reach.
    adapters: (vendor, product) of every USB adapter that its UART may be behind. socket: where that is plugged in.
    programmer: arguments by which openFPGALoader knows the board.
    floorplan: function (row, chain) -> BEL of that multiplier, or None: they are placed freely.
    net: zoo name of the net that its bitstream starts with.
    """
    family: str
    title: str
    device: str
    platform: str
    config: AccelConfig
    clock_hz: Fraction
    asked_hz: Fraction | None = None
    oscillator: str
    uart: str = "uart"
    pulled_up: tuple = ()
    leds: tuple
    adapters: frozenset
    socket: str
    programmer: tuple
    floorplan: Callable | None = None
    net: str

    def __post_init__(self):
        if not isinstance(self.clock_hz, Fraction) or self.clock_hz <= 0:
            raise ValueError(f"clock_hz must be a positive Fraction, not {self.clock_hz!r}")
        if self.asked_hz is not None and not (isinstance(self.asked_hz, Fraction) and self.asked_hz >= self.clock_hz):
            raise ValueError(f"asked_hz must be a Fraction of at least clock_hz, not {self.asked_hz!r}")
        if self.config.sdram_hz not in (None, ceil(self.clock_hz)):
            raise ValueError(f"the configuration's SDRAM is timed for {self.config.sdram_hz} Hz, "
                             f"not {ceil(self.clock_hz)}")
        if self.config.sdram_hz is not None and self.clock_hz < LOWEST_SDRAM_CLOCK_HZ:
            raise ValueError(f"a board with an SDRAM needs a clock_hz of at least {LOWEST_SDRAM_CLOCK_HZ}, "
                             f"not {self.clock_hz}")

    @property
    def name(self):
        """Of its files: family and device."""
        return f"{self.family}-{self.device.lower()}"

    @property
    def clock_mhz(self):
        """For people and reports: a float, rounded to kHz."""
        return round(float(self.clock_hz / 10**6), 3)

    def platform_class(self):
        """UserError where amaranth-boards is not installed."""
        module, _, name = self.platform.partition(":")
        return getattr(with_extra("fpga", module), name)
