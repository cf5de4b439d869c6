"""`python -m sim serve`: its link, its end, and that it sleeps while the board has nothing to do."""
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from accel import link
from accel.compiler.compile import compile_net
from accel.config import TINY
from accel.cycles import cycles
from accel.link import Command, Fault
from accel.rtl.host.core_guard import LONG
from model.integer import golden
from sim import __main__ as main_module
from sim import serve
from sim.board import ANSWER_CYCLES, BoardSimulator, build_board
from tests.nets import random_net

ROOT = Path(__file__).parents[2]
SILENCE = 5000
TURN = 100


class Served(Exception):
    """The board is being served."""


@pytest.fixture
def no_board(monkeypatch):
    """`serve` without a simulator: once the link is there, `at_link` is called."""
    events = SimpleNamespace(at_link=lambda: None)
    monkeypatch.setattr(serve, "build_board", lambda *_, **__: None)
    monkeypatch.setattr(serve, "BoardSimulator", lambda *_, **__: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(serve, "serve", lambda board, descriptor: events.at_link())
    return events


def run(path):
    return main_module.main(["serve", "none", "--config", "tiny", "--port-link", str(path)])


def test_the_link_is_there_while_it_serves(tmp_path, no_board):
    path = tmp_path / "port"
    seen = []
    no_board.at_link = lambda: seen.append(os.readlink(path))
    assert run(path) == 0
    assert seen[0].startswith("/dev/") and not path.is_symlink()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit, Served])
def test_the_link_goes_however_it_ends(tmp_path, no_board, ending):
    path = tmp_path / "port"

    def end():
        assert path.exists()
        raise ending
    no_board.at_link = end
    if ending is KeyboardInterrupt:
        assert run(path) == 130
    else:
        with pytest.raises(ending):
            run(path)
    assert not path.is_symlink()


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_as_ctrl_c_does(tmp_path, no_board, number, code):
    path = tmp_path / "port"
    before = signal.getsignal(number)
    no_board.at_link = lambda: os.kill(os.getpid(), number)
    with pytest.raises(SystemExit) as ended:
        run(path)
    assert ended.value.code == code and not path.is_symlink()
    assert signal.getsignal(number) == before


def test_a_signal_that_nohup_ignores_stays_ignored(tmp_path, no_board):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        no_board.at_link = lambda: os.kill(os.getpid(), signal.SIGHUP)
        assert run(tmp_path / "port") == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_server_leaves_the_first_its_link(tmp_path, no_board, capsys):
    path, targets = tmp_path / "port", []

    def second():
        targets.append(os.readlink(path))
        no_board.at_link = pytest.fail
        assert run(path) == 2
        targets.append(os.readlink(path))
    no_board.at_link = second
    assert run(path) == 0
    assert targets[0] == targets[1] and not path.is_symlink()
    assert capsys.readouterr().err == (
        f"error: --port-link {path} leads to {targets[0]}, which is in use: end the serve that made it, or remove the "
        "link\n")


def test_what_a_killed_server_left_is_replaced(tmp_path, no_board):
    path = tmp_path / "port"
    path.symlink_to("/dev/pts/987654")
    seen = []
    no_board.at_link = lambda: seen.append(path.exists())
    assert run(path) == 0
    assert seen == [True] and not path.is_symlink()


def test_a_left_over_link_to_the_number_that_is_given_again_is_replaced(tmp_path, no_board):
    path = tmp_path / "port"
    seen = []
    # Another link leads to our own port by the time that ours is made, as a killed server's with its number does.
    terminal = serve._opened_terminal

    def opened():
        context = terminal()
        master, slave = context.__enter__()
        path.symlink_to(os.ttyname(slave))
        context.__exit__(None, None, None)
        again = terminal()
        return again
    no_board.at_link = lambda: seen.append(path.exists())
    serve_terminal, serve._opened_terminal = serve._opened_terminal, opened
    try:
        assert run(path) == 0
    finally:
        serve._opened_terminal = serve_terminal
    assert seen == [True]


@pytest.mark.parametrize("there, sentence", [
    ("file", "there is a file of that name"), ("folder", "there is a folder of that name"),
    ("link", "there is a link of that name, to data"), ("dangling", "there is a link of that name, to /nowhere/data")])
def test_nothing_but_a_dead_link_to_a_terminal_is_replaced(tmp_path, no_board, capsys, there, sentence):
    path = tmp_path / "port"
    (tmp_path / "data").write_text("mine")
    {"file": lambda: path.write_text("mine"), "folder": path.mkdir, "link": lambda: path.symlink_to("data"),
     "dangling": lambda: path.symlink_to("/nowhere/data")}[there]()
    before = sorted(tmp_path.iterdir()), path.lstat().st_ino
    no_board.at_link = pytest.fail
    assert run(path) == 2
    assert capsys.readouterr().err == f"error: --port-link {path}: {sentence}\n"
    assert (sorted(tmp_path.iterdir()), path.lstat().st_ino) == before


def test_a_folder_without_permission_is_refused_before_the_simulator_is_built(tmp_path, no_board, monkeypatch, capsys):
    path = tmp_path / "port"
    # Root may write to every folder.
    monkeypatch.setattr(os, "access", lambda folder, mode: not (Path(folder) == tmp_path and mode & os.W_OK))
    monkeypatch.setattr(serve, "build_board", pytest.fail)
    assert run(path) == 2
    assert capsys.readouterr().err == f"error: --port-link {path}: no permission to write to the folder {tmp_path}\n"
    assert not list(tmp_path.iterdir())


def test_a_link_that_became_another_s_is_left(tmp_path, no_board):
    path = tmp_path / "port"

    def replace():
        path.unlink()
        path.symlink_to("/nowhere/data")
    no_board.at_link = replace
    assert run(path) == 0
    assert os.readlink(path) == "/nowhere/data"


def _race(path, start, results):
    start.wait()
    try:
        with serve._linked(path, f"/dev/pts/{100_000 + os.getpid()}"):
            results.put((os.getpid(), os.readlink(path)))
            results.close()
            results.join_thread()
    except serve.UserError as error:
        results.put((os.getpid(), str(error)))


def test_of_servers_that_start_together_each_has_its_own_link_or_none(tmp_path):
    """Their terminals do not exist, so that a link is as good as a killed server's: whoever finds one replaces it, and
    no two of them do so at once."""
    context = multiprocessing.get_context("fork")
    path = tmp_path / "port"
    path.symlink_to("/dev/pts/987654")
    start, results = context.Event(), context.Queue()
    racers = [context.Process(target=_race, args=(path, start, results)) for _ in range(8)]
    for racer in racers:
        racer.start()
    start.set()
    said = [results.get() for _ in racers]
    for racer in racers:
        racer.join()
    assert all(text.startswith("/dev/pts/1") for _, text in said), said
    assert not path.is_symlink()


@pytest.fixture(scope="module")
def small():
    """(net, library of the board that has it, cycles of a picture)."""
    nets = [random_net(seed, TINY) for seed in range(12)]
    net = max(nets, key=lambda net: cycles(compile_net(net, TINY)))
    image = compile_net(net, TINY)
    return net, build_board(TINY, image=image, timeout=SILENCE), cycles(image)


def until_at_rest(board, octets):
    """What the board says, in turns, until it is at rest."""
    said = board.exchange(octets, TURN)
    while not board.at_rest:
        said += board.exchange(b"", TURN)
    return said


@pytest.mark.cxx
def test_a_board_is_at_rest_once_it_has_nothing_to_do(small):
    net, library, _ = small
    board = BoardSimulator(library, timeout=SILENCE)
    try:
        assert not board.at_rest                            # it has not seen the silence yet that ends a frame
        assert until_at_rest(board, b"") == b""
        idle = board.line.cycle
        assert idle <= (1 + LONG) * SILENCE + 2000          # nor the patience with a core that does not answer
        pixels = np.random.default_rng(1).integers(0, 256, net.input_shape, dtype=np.uint8)
        frame = link.frame(Command.INFER, 7, pixels.transpose(1, 2, 0).tobytes())
        answer = until_at_rest(board, frame)
        assert answer[:2] == link.SYNC and Command.INFER | link.REPLY in answer[:8]
        assert board.line.leds == golden.forward(net, pixels[None]).argmax()
        assert until_at_rest(board, b"") == b""
        # A frame that breaks off is given up, and that is said, before the board rests.
        broken = until_at_rest(board, frame[:-3])
        assert broken == link.frame(Command.ERROR | link.REPLY, 7, bytes([Fault.TIMEOUT]))
        assert until_at_rest(board, frame) == answer
    finally:
        board.close()


@pytest.mark.cxx
def test_a_board_that_computes_longer_than_a_frame_may_be_silent_is_not_at_rest(small):
    """As if frames had no limit: the line is silent for longer than an answer takes, and still it is awaited."""
    net, library, count = small
    assert count > ANSWER_CYCLES
    board = BoardSimulator(library, timeout=0, core_ratio=1)
    try:
        pixels = np.zeros(net.input_shape, np.uint8)
        board.exchange(link.frame(Command.INFER, 1, pixels.tobytes()), 0)
        said, lit = b"", 0
        while not said:
            assert not board.at_rest
            lit |= board.line.leds
            said = board.exchange(b"", TURN)
        assert lit & 0x80
    finally:
        board.close()


@pytest.mark.cxx
def test_a_board_that_waits_for_its_core_is_not_at_rest(small):
    _, library, _ = small
    board = BoardSimulator(library, timeout=SILENCE)
    board.line.locked = 0
    try:
        assert until_at_rest(board, link.frame(Command.RESET, 3)) == link.frame(
            Command.ERROR | link.REPLY, 3, bytes([Fault.STALLED]))
    finally:
        board.close()


@pytest.mark.cxx
def test_it_waits_for_bytes_without_a_limit_once_the_board_is_at_rest(small, monkeypatch):
    _, library, _ = small
    board, limits = BoardSimulator(library, timeout=SILENCE), []

    def wait(read, write, other, limit):
        limits.append(limit)
        if limit is None:
            raise Served
        return [], [], []
    monkeypatch.setattr(serve.select, "select", wait)
    try:
        with pytest.raises(Served):
            serve.serve(board, None)
    finally:
        board.close()
    turns = ((1 + LONG) * SILENCE + ANSWER_CYCLES) // serve.CYCLES_PER_TURN
    assert limits == [0] * (len(limits) - 1) + [None] and turns <= len(limits) <= turns + 2


@pytest.mark.cxx
@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_killed_server_takes_its_link_along(tmp_path, number, code):
    path = tmp_path / "port"
    arguments = ["none", "--config", "tiny", "--port-link", str(path)]
    with subprocess.Popen([sys.executable, "-W", "error", "-m", "sim", "serve", *arguments], cwd=ROOT,
                          stdout=subprocess.PIPE, text=True) as process:
        assert "simulated board tiny at" in process.stdout.readline()
        assert path.exists()
        process.send_signal(number)
        assert process.communicate()[0] == ""
    assert process.returncode == code and not path.is_symlink()
