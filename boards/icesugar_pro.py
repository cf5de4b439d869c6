"""`python -m boards.icesugar_pro`: bitstreams for the iCESugar-Pro, and pictures over its UART."""
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
    family="icesugar_pro", title="iCESugar-Pro", device="25F",
    platform="amaranth_boards.icesugar_pro:ICESugarProPlatform",
    config=R8C8P2_ONCHIP, clock_hz=CORE_CLOCKS[R8C8P2_ONCHIP.name], asked_hz=Fraction(137_500_000),
    net="resnet8half-w4a4-cifar10",
    oscillator="clk25", leds=(("rgb_led", 0),),
    adapters=frozenset({(0x1D50, 0x602B)}), socket="USB-C socket",      # iCELink: UART and programmer
    programmer=("-c", "cmsisdap", "--vid", "0x1d50", "--pid", "0x602b")),)

parser = partial(cli.parser, BOARDS, default="25F")


def main(argv=None, program="python -m boards.icesugar_pro"):
    """Exit code: 1 for a difference from the integer model, else see `model.common.command`."""
    return run_command(parser(program), argv)


if __name__ == "__main__":
    sys.exit(main())
