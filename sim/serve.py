"""`python -m sim serve`: the whole board, UART pins included, in compiled simulation behind a pseudo-terminal."""
import os
import select
import sys
from contextlib import suppress
from pathlib import Path

from accel.compiler.compile import compile_net
from accel.config import CONFIGS, DEFAULT
from model import zoo
from model.common.errors import UserError

from .board import CYCLES_PER_BIT, TIMEOUT, BoardSimulator, build_board

__all__ = ["add_arguments", "run", "serve"]

CYCLES_PER_TURN = 5_000         # some tens of milliseconds of simulation: how long bytes from the host wait
READ_BYTES = 1 << 16


def add_arguments(parser):
    add = parser.add_argument
    add("net", nargs="?", metavar="NET", help="net that the board starts with: zoo name or .npz, or 'none' "
        "(default: the best shipped one)")
    add("--config", choices=sorted(CONFIGS), default=DEFAULT.name, metavar="NAME",
        help="accelerator: %(choices)s (default: %(default)s)")
    add("--port-link", metavar="PATH", help="make a symbolic link to the port here")
    add("--cycles-per-bit", type=int, default=CYCLES_PER_BIT, metavar="N",
        help="of the UART; a board at 100 MHz and 3 Mbaud has 33, fewer simulate faster (default: %(default)s)")


def run(options):
    """Serves until Ctrl-C."""
    if options.cycles_per_bit < 8:
        raise UserError(f"--cycles-per-bit must be at least 8, not {options.cycles_per_bit}")
    link = options.port_link and Path(options.port_link)
    if link and (not link.parent.is_dir() or link.exists() and not link.is_symlink()):
        raise UserError(f"--port-link {link}: not a new name in an existing folder")
    config = CONFIGS[options.config]
    image = None if options.net == "none" else compile_net(zoo.load(options.net or zoo.DEFAULT), config)
    library = build_board(config, image=image, cycles_per_bit=options.cycles_per_bit)
    board = BoardSimulator(library, bit_cycles=options.cycles_per_bit)
    master, slave = os.openpty()
    try:
        import tty  # POSIX only, as pseudo-terminals are
        tty.setraw(slave)
        port = os.ttyname(slave)
        with _linked(options.port_link, port):
            print(f"simulated board {config.name} at {options.port_link or port}, "
                  f"{'no net' if image is None else image.net_name} loaded; Ctrl-C ends it", flush=True)
            serve(board, master)
    finally:
        board.close()
        os.close(master)
        os.close(slave)         # open till now, so that hosts may come and go


class _linked:
    """A symbolic link that goes when this ends. An older link there is replaced, anything else is left alone."""
    def __init__(self, path, target):
        self._path, self._target = path and Path(path), target

    def __enter__(self):
        if self._path:
            try:
                if self._path.is_symlink():
                    self._path.unlink()
                self._path.symlink_to(self._target)
            except OSError as error:
                raise UserError(f"cannot make the link {self._path}: {error.strerror}") from error

    def __exit__(self, *_):
        if self._path:
            with suppress(OSError):
                if os.readlink(self._path) == self._target:
                    self._path.unlink()


def serve(board, descriptor):
    """Passes bytes between `descriptor` and the board until interrupted; sleeps while nothing goes on in the board."""
    leds = None
    while True:
        asleep = board.idle_cycles > 2 * TIMEOUT
        readable, _, _ = select.select([descriptor], [], [], None if asleep else 0)
        octets = os.read(descriptor, READ_BYTES) if readable else b""
        said = board.exchange(octets, CYCLES_PER_TURN)
        while said:
            said = said[os.write(descriptor, said):]
        if board.line.leds != leds:
            leds = board.line.leds
            if sys.stderr.isatty():
                print(f"\rLEDs {leds:08b}", end="", file=sys.stderr, flush=True)
