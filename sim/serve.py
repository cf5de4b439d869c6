"""`python -m sim serve`: the whole board, UART pins included, in compiled simulation behind a pseudo-terminal."""
import os
import select
import sys
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import numpy as np

from accel import link as protocol
from accel.command import add_batch
from accel.compiler.compile import compile_net
from accel.config import CONFIGS, DEFAULT
from accel.sdram import COLUMNS
from model import zoo
from model.common.command import positive, positive_number
from model.common.errors import UserError
from model.zoo.workload import choose_workload

from .board import CYCLES_PER_BIT, BoardSimulator, build_board, core_ratio
from .sdram import sdram_timing

__all__ = ["add_arguments", "run", "serve"]

CYCLES_PER_TURN = 1_000         # some tens of milliseconds of simulation: how long bytes from the host wait
READ_BYTES = 1 << 16
TERMINALS = ("/dev/pts/", "/dev/tty")           # where pseudo-terminals are, on Linux and on macOS


def add_arguments(parser):
    add = parser.add_argument
    add("net", nargs="?", metavar="NET", help="net that the board starts with: zoo name or .npz, or 'none' "
        "(default: the best shipped one)")
    add("--config", choices=sorted(CONFIGS), default=DEFAULT.name, metavar="NAME",
        help="accelerator: %(choices)s (default: %(default)s)")
    add_batch(parser)
    add("--port-link", metavar="PATH", help="make a symbolic link to the port here")
    add("--cycles-per-bit", type=int, default=CYCLES_PER_BIT, metavar="N",
        help="of the UART, at the clock of the board's oscillator; fewer simulate faster (default: %(default)s)")
    add("--core-ratio", type=positive_number, metavar="RATIO",
        help="cycles of the core a cycle of the oscillator (default: as on a board)")
    add("--pictures-in-memory", type=positive, metavar="N", help="put the first N pictures of the test set into the "
        "board's SDRAM, where `stream --resident N` would store them")
    add("--data", metavar="DIR", help="folder of the data set, or 'synthetic' for the built-in procedural pictures")


def run(options):
    """Serves until Ctrl-C, or what ends a command likewise."""
    if options.cycles_per_bit < 8:
        raise UserError(f"--cycles-per-bit must be at least 8, not {options.cycles_per_bit}")
    link = options.port_link and Path(options.port_link)
    if link:
        _refuse_taken(link)
    config = CONFIGS[options.config]
    image = None if options.net == "none" else compile_net(
        zoo.load(options.net or zoo.DEFAULT), config, options.batch)
    if image is not None and not image.resident:
        raise UserError(f"{image.net_name} does not fit the memories of {config.name}, and a board starts with what "
                        "they hold: serve 'none', and upload it with stream")
    stored = _pictures(options, config, image)
    library = build_board(config, image=image, cycles_per_bit=options.cycles_per_bit)
    with _opened_terminal() as (master, slave):
        board = BoardSimulator(library, bit_cycles=options.cycles_per_bit,
                               core_ratio=options.core_ratio or core_ratio(config), sdram=sdram_timing(config))
        if stored is not None:
            place, words = stored
            board.sdram.memory[place:place + len(words)] = words
        try:
            port = os.ttyname(slave)
            with _linked(link, port) if link else nullcontext():
                print(f"simulated board {config.name} at {link or port}, "
                      f"{'no net' if image is None else image.net_name} loaded; Ctrl-C ends it", flush=True)
                serve(board, master)
        finally:
            board.close()


def _pictures(options, config, image):
    """(chunk, words uint16 (chunks, 512)) of what the SDRAM is to hold; None where nothing is asked for."""
    if options.pictures_in_memory is None:
        if options.data is not None:
            raise UserError("--data is of --pictures-in-memory: give that too")
        return None
    if config.sdram_hz is None:
        raise UserError(f"--pictures-in-memory: {config.name} has no SDRAM")
    if image is None:
        raise UserError("--pictures-in-memory wants a net that the board starts with, whose pictures they are")
    workload = choose_workload(options.net or zoo.DEFAULT, [], data_dir=options.data, start=None,
                               images=options.pictures_in_memory, default_images=options.pictures_in_memory)
    octets, _ = protocol.picture_octets(workload.pictures, image.batch)
    words = np.frombuffer(octets, "<u2").reshape(-1, COLUMNS)
    return protocol.picture_place(len(image.tape), len(words)), words


@contextmanager
def _opened_terminal():
    """(master, slave): descriptors of a pseudo-terminal. The slave stays open, so that hosts may come and go."""
    import tty  # POSIX only, as pseudo-terminals are
    master, slave = os.openpty()
    try:
        tty.setraw(slave)
        yield master, slave
    finally:
        os.close(master)
        os.close(slave)


def _refuse_taken(link, port=None):
    """UserError where `link` cannot become a link to `port`: there is no folder for it, or none to write to, or there
    is something that no killed server left. port: None where it is not known yet."""
    if not link.parent.is_dir():
        raise UserError(f"--port-link {link}: there is no folder {link.parent}")
    if not os.access(link.parent, os.W_OK):
        raise UserError(f"--port-link {link}: no permission to write to the folder {link.parent}")
    if not os.path.lexists(link):
        return
    target = os.readlink(link) if link.is_symlink() else None
    if target is None:
        raise UserError(f"--port-link {link}: there is a {'folder' if link.is_dir() else 'file'} of that name")
    if not target.startswith(TERMINALS):
        raise UserError(f"--port-link {link}: there is a link of that name, to {target}")
    if link.exists() and target != port:        # a number is given again: what leads to our own port is left over
        raise UserError(f"--port-link {link} leads to {target}, which is in use: end the serve that made it, or "
                        "remove the link")


@contextmanager
def _linked(link, port):
    """A symbolic link to `port`, which goes when this ends. One that a killed server left is replaced."""
    try:
        with _locked(link.parent):
            _refuse_taken(link, port)
            link.unlink(missing_ok=True)
            link.symlink_to(port)
    except OSError as error:
        raise UserError(f"cannot make the link {link}: {error.strerror}") from error
    try:
        yield
    finally:
        with suppress(OSError), _locked(link.parent):
            if os.readlink(link) == port:
                link.unlink()


@contextmanager
def _locked(folder):
    """Of several processes one at a time is in here: nobody makes a link between another one's look and deed."""
    import fcntl  # POSIX only
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def serve(board, descriptor):
    """Passes bytes between `descriptor` and the board until interrupted; sleeps while nothing goes on in the board."""
    leds = None
    while True:
        readable, _, _ = select.select([descriptor], [], [], None if board.at_rest else 0)
        octets = os.read(descriptor, READ_BYTES) if readable else b""
        said = board.exchange(octets, CYCLES_PER_TURN)
        while said:
            said = said[os.write(descriptor, said):]
        if board.line.leds != leds:
            leds = board.line.leds
            if sys.stderr.isatty():
                print(f"\rLEDs {leds:08b}", end="", file=sys.stderr, flush=True)
