"""`python -m boards.icepi_zero`: bitstreams for the Icepi Zero, and pictures over its UART."""
import sys
from fractions import Fraction
from functools import partial

import uniqore  # noqa: F401 - first, since it refuses a `model` that is not ours
from accel.clocks import CORE_CLOCKS
from accel.config import R8C8P2_ONCHIP
from model.common.command import run_command

from . import cli
from .board import Board

__all__ = ["BOARDS", "main", "parser"]

BOARDS = (Board(
    family="icepi_zero", title="Icepi Zero", device="25F", platform="amaranth_boards.icepi_zero:IcepiZero1_3Platform",
    config=R8C8P2_ONCHIP, clock_hz=CORE_CLOCKS[R8C8P2_ONCHIP.name], asked_hz=Fraction(137_500_000),
    net="resnet8half-w4a4-cifar10",
    oscillator="clk50", leds=tuple(("led", number) for number in range(5)),
    adapters=frozenset({(0x0403, 0x6015)}), socket="programming USB-C socket",       # FT231X: UART and JTAG
    programmer=("-b", "icepi-zero")),)

parser = partial(cli.parser, BOARDS, default="25F")


def main(argv=None, program="python -m boards.icepi_zero"):
    """Exit code: 1 for a difference from the integer model, else see `model.common.command`."""
    return run_command(parser(program), argv)


if __name__ == "__main__":
    sys.exit(main())
