"""`python -m boards.ulx3s`: bitstreams for the ULX3S, and pictures over its UART."""
import sys
from fractions import Fraction
from functools import partial

import uniqore  # noqa: F401 - first, since it refuses a `model` that is not ours
from accel.clocks import CORE_CLOCKS
from accel.config import R8C8P2, R16C8P2, R16C16P2
from model.common.command import run_command

from . import cli
from .board import Board
from .floorplan import lfe5u_85f

__all__ = ["BOARDS", "main", "parser"]

# wifi_en and wifi_gpio0, or the other way round, by the board's revision. Low, either would have the ESP32 restart or
# wait for a program; the FPGA's own pull-down would do.
ESP32_PINS = ("F1", "L2")


def _board(device, config, net, *, asked_hz, floorplan=None):
    return Board(
        family="ulx3s", title="ULX3S", device=device, platform=f"amaranth_boards.ulx3s:ULX3S_{device}_Platform",
        config=config, clock_hz=CORE_CLOCKS[config.name], asked_hz=Fraction(asked_hz), net=net, floorplan=floorplan,
        oscillator="clk25", pulled_up=ESP32_PINS, leds=tuple(("led", number) for number in range(8)),
        adapters=frozenset({(0x0403, 0x6015), (0x0403, 0x6001)}),       # FT231X, or FT232R in its place
        socket="US1 socket", programmer=("-b", "ulx3s"))


BOARDS = (
    _board("12F", R8C8P2, "resnet8half-w4a4-cifar10", asked_hz=137_500_000),
    _board("25F", R8C8P2, "resnet8half-w4a4-cifar10", asked_hz=137_500_000),
    _board("45F", R16C8P2, "resnet8-w4a4-cifar10", asked_hz=125_000_000),
    _board("85F", R16C16P2, "resnet8-w4a4-cifar10", asked_hz=131_250_000, floorplan=lfe5u_85f))

parser = partial(cli.parser, BOARDS, default="85F")


def main(argv=None, program="python -m boards.ulx3s"):
    """Exit code: 1 for a difference from the integer model, else see `model.common.command`."""
    return run_command(parser(program), argv)


if __name__ == "__main__":
    sys.exit(main())
