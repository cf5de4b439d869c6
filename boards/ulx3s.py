"""`python -m boards.ulx3s`: bitstreams for the ULX3S, and pictures over its UART."""
import sys

from accel.clocks import CORE_CLOCKS
from accel.config import R8C8P2, R16C8P2, R16C16P2

from . import cli
from .board import Board
from .floorplan import lfe5u_85f

__all__ = ["BOARDS", "main"]


def _board(device, config, net, floorplan=None):
    return Board(
        family="ulx3s", title="ULX3S", device=device, platform=f"amaranth_boards.ulx3s:ULX3S_{device}_Platform",
        config=config, clock_hz=CORE_CLOCKS[config.name], net=net, floorplan=floorplan,
        oscillator="clk25", leds=tuple(("led", number) for number in range(8)),
        adapters=frozenset({(0x0403, 0x6015), (0x0403, 0x6001)}),       # FT231X, or FT232R in its place
        socket="US1 socket", programmer=("-b", "ulx3s"))


BOARDS = (
    _board("12F", R8C8P2, "resnet8half-w4a4-cifar10"),
    _board("25F", R8C8P2, "resnet8half-w4a4-cifar10"),
    _board("45F", R16C8P2, "resnet8-w4a4-cifar10"),
    _board("85F", R16C16P2, "resnet8-w4a4-cifar10", floorplan=lfe5u_85f))


def main(argv=None):
    """Exit code, see `boards.cli.main`."""
    return cli.main(BOARDS, argv, default="85F")


if __name__ == "__main__":
    sys.exit(main())
