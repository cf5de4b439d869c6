# amaranth: UnusedElaboratable=no
"""Sentences of docs/uart.md that only a whole board shows: what the counters count, the order of answers, the image."""
import io
import json
import struct
import zipfile

import pytest

from accel import image, link
from accel.compiler.compile import compile_net
from accel.config import TINY
from boards.host import SENTENCES
from sim.board import CYCLES_PER_BIT, build_board
from tests.boards import test_host
from tests.boards.test_host import small_nets
from tests.sim.board_port import BoardPort

SILENCE = 5000
INFO, STATUS, RESET, BEGIN_LOAD, INFER = 0x01, 0x02, 0x03, 0x10, 0x20
ANSWER, ERROR = 0x80, 0xFF
HEADER_CHECK, VERSION, LENGTH, FRAME_CHECK, TIMEOUT, COMMAND, BUSY = 1, 2, 3, 4, 5, 6, 7


@pytest.fixture(scope="module")
def net():
    return small_nets()[0]


@pytest.fixture
def board(net):
    port = BoardPort(build_board(TINY, image=compile_net(net, TINY), timeout=SILENCE))
    yield lambda octets, after=20_000: test_host.converse(port, octets, 10 * CYCLES_PER_BIT * len(octets) + after)
    port.board.close()


def status(board):
    [(kind, _, octets)] = board(link.frame(STATUS, 0))
    assert kind == STATUS | ANSWER
    names = ("frames", "images", "header_errors", "frame_errors", "timeouts", "overruns", "framing_errors", "load_next",
             "tape", "outstanding", "loaded", "damaged")
    return dict(zip(names, struct.unpack("<7HIQ3B", octets[:29]), strict=True))


def error(fault, sequence=9):
    return [(ERROR, sequence, bytes([fault]))]


@pytest.mark.cxx
def test_what_the_counters_count(board):
    zero = dict.fromkeys(status(board), 0) | {"frames": 1, "loaded": 1}
    whole = link.frame(INFO, 9)
    for octets, answer, counts in [
            (whole, None, {"frames": 1}), (link.frame(0x55, 9), error(COMMAND), {"frames": 1}),
            (link.frame(STATUS, 9, b"x"), error(LENGTH), {"frames": 1}),
            (link.frame(RESET, 9, bytes(4096)), error(LENGTH), {"frames": 1}),
            (link.frame(INFER, 9, b"x"), error(LENGTH), {"frames": 1}),
            (link.frame(BEGIN_LOAD, 9), error(LENGTH), {"frames": 1}),
            (link.frame(RESET, 9), [(RESET | ANSWER, 9, b"")], {"frames": 1}),
            (link.frame(INFO, 9, version=2), error(VERSION), {}),
            (whole[:-1] + bytes([whole[-1] ^ 1]), error(FRAME_CHECK), {"frame_errors": 1}),
            (whole[:8] + bytes([whole[8] ^ 1]) + whole[9:], error(HEADER_CHECK), {"header_errors": 1}),
            (whole[:-1], error(TIMEOUT), {"timeouts": 1}), (whole[:8], [], {"timeouts": 1}),
            (b"\xa5", [], {"timeouts": 1}),
            (b"\x5a\x01\x01" * 9, [], {})]:
        before = status(board)
        answers = board(octets)
        assert answers == answer if answer is not None else len(answers) == 1, octets
        expected = {name: number + counts.get(name, 0) for name, number in before.items()}
        assert status(board) == expected | {"frames": expected["frames"] + 1}, octets
    assert zero.keys() == status(board).keys()


@pytest.mark.cxx
def test_answers_to_pictures_come_in_their_order_and_whole_with_others_between(board, net):
    pixels = bytes(3 * net.input_shape[1] * net.input_shape[2])
    answers = board(link.frame(INFER, 1, pixels) + link.frame(INFER, 2, pixels) + link.frame(STATUS, 3), 60_000)
    assert sorted(sequence for _, sequence, _ in answers) == [1, 2, 3]
    assert [sequence for kind, sequence, _ in answers if kind == INFER | ANSWER] == [1, 2]
    assert status(board)["images"] == 2


def test_there_is_a_sentence_for_every_fault():
    assert set(SENTENCES) == set(link.Fault) - {link.Fault.NONE}


def npy(octets):
    """(dtype, shape, data) of a .npy file, by NumPy's description of the format alone."""
    assert octets[:6] == b"\x93NUMPY" and octets[6] == 1
    [length] = struct.unpack("<H", octets[8:10])
    described = eval(octets[10:10 + length], {"__builtins__": {}})          # a Python literal, as it says there
    assert not described["fortran_order"]
    return described["descr"], described["shape"], octets[10 + length:]


def test_the_image_file_is_what_its_table_says(tmp_path, net):
    """Loaded from the bytes of its members, as a client without our Python would."""
    compiled = compile_net(net, TINY)
    image.save(compiled, tmp_path / "image")
    with zipfile.ZipFile(io.BytesIO((tmp_path / "image").read_bytes())) as archive:
        assert {member.filename for member in archive.infolist()} >= {"header.npy", "tape.npy"}
        assert all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())
        members = {name: npy(archive.read(f"{name}.npy")) for name in ("header", "tape")}
    dtype, shape, octets = members["header"]
    assert dtype == f"<U{len(octets) // 4}" and shape == ()
    header = json.loads(octets.decode("utf-32-le"))
    assert header["format"] == "uniqore-image-3"
    assert bytes.fromhex(header["config_digest"]) == bytes.fromhex(TINY.digest()) and len(header["config_digest"]) == 16
    dtype, shape, octets = members["tape"]
    sent, begin, end = link.tape_fields(compiled)
    assert (dtype, shape, octets) == ("<u2", (begin["chunks"], 512), sent)
    height, width = header["image_shape"]
    assert (bytes.fromhex(header["net_digest"])[:8], header["n_logits"], height * width, header["resident"],
            header["batch"]) == (end["net"].to_bytes(8, "little"), end["n_logits"], end["pixels"], True, end["batch"])
