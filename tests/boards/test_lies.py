# amaranth: UnusedElaboratable=no
"""What a device that was told lies about its net answers: always something, and after RESET the truth again."""
import binascii
import random
import struct

import numpy as np
import pytest

from accel import isa, link
from accel.compiler.compile import compile_net
from accel.config import TINY
from accel.link import Command, Fault
from boards.host import Device
from model.integer import golden
from sim.board import CYCLES_PER_BIT, build_board
from tests.boards import test_host
from tests.boards.test_host import refusal, small_nets
from tests.sim.board_port import BoardPort

pytestmark = [pytest.mark.cxx, pytest.mark.slow]
SILENCE = 5000
CONFIG = {"config": link.digest_number(TINY.digest())}
BEGIN = link.as_bytes(link.BeginLoad, {**CONFIG, "tape": 1, "chunks": 1})


@pytest.fixture(scope="module")
def nets():
    return small_nets()


@pytest.fixture(scope="module")
def library(nets):
    return build_board(TINY, image=compile_net(nets[0], TINY), timeout=SILENCE)


@pytest.fixture
def port(library):
    port = BoardPort(library)
    yield port
    port.board.close()


def converse(port, octets, cycles_after=25_000):
    """All frames that raw bytes bring back, up to some cycles after their end."""
    return test_host.converse(port, octets, 10 * CYCLES_PER_BIT * len(octets) + cycles_after)


def load(port, octets, end):
    """Loads a tape; the answer to END_LOAD."""
    begin = CONFIG | {"tape": random.getrandbits(64), "chunks": len(octets) // link.CHUNK_BYTES}
    assert converse(port, link.frame(Command.RESET, 1)) == [(Command.RESET | link.REPLY, 1, b"")]
    answers = converse(port, link.frame(Command.BEGIN_LOAD, 1, link.as_bytes(link.BeginLoad, begin)))
    assert answers == [(Command.BEGIN_LOAD | link.REPLY, 1, bytes(4))]
    for at in range(0, len(octets), link.MAX_TAPE_PART):
        piece = link.as_bytes(link.LoadOffset, {"offset": at}) + octets[at:at + link.MAX_TAPE_PART]
        assert converse(port, link.frame(Command.LOAD, 2, piece)) == [(Command.LOAD | link.REPLY, 2, b"")]
    [answer] = converse(port, link.frame(Command.END_LOAD, 3, link.as_bytes(link.EndLoad, end)))
    return answer


def alive(port):
    """The device answers STATUS and INFO; what it has outstanding and loaded."""
    [(kind, _, octets)] = converse(port, link.frame(Command.STATUS, 4))
    assert kind == Command.STATUS | link.REPLY
    [(kind, *_)] = converse(port, link.frame(Command.INFO, 5))
    assert kind == Command.INFO | link.REPLY
    status = link.from_bytes(link.Status, octets)
    return status.outstanding, status.loaded


def frees(port):
    """RESET and BEGIN_LOAD are carried out."""
    assert converse(port, link.frame(Command.RESET, 6)) == [(Command.RESET | link.REPLY, 6, b"")]
    assert alive(port)[0] == 0
    assert converse(port, link.frame(Command.BEGIN_LOAD, 7, BEGIN)) == [(Command.BEGIN_LOAD | link.REPLY, 7, bytes(4))]


def tells_the_truth(port, net):
    """The net is loaded and classifies."""
    pictures = np.random.default_rng(1).integers(0, 256, (2, *net.input_shape), dtype=np.uint8)
    with Device(port, timeout=1.0, now=port.now) as device:
        device.load(compile_net(net, TINY))
        answers = [answer.logits for answer in device.classify(pictures)]
    np.testing.assert_array_equal(answers, golden.forward(net, pictures))


# Field by field. Of each: what it makes of the truth, the answer to END_LOAD.
LIES = {
    "check wrong": (lambda end: {"check": end["check"] ^ 1}, Fault.IMAGE_CHECK),
    "not resident": (lambda end: {"resident": 0}, Fault.SIZES),
    "not resident, other bits": (lambda end: {"resident": 0xFE}, Fault.SIZES),
    "resident, other bits": (lambda end: {"resident": 0xFF}, Fault.NONE),
    "net 0": (lambda end: {"net": 0}, Fault.NONE),
    "n_logits 0": (lambda end: {"n_logits": 0}, Fault.SIZES),
    "n_logits one less": (lambda end: {"n_logits": end["n_logits"] - 1}, Fault.NONE),
    "n_logits one more": (lambda end: {"n_logits": end["n_logits"] + 1}, Fault.NONE),
    "n_logits 1022": (lambda end: {"n_logits": 1022}, Fault.NONE),
    "n_logits 1023": (lambda end: {"n_logits": 1023}, Fault.SIZES),
    "n_logits 65535": (lambda end: {"n_logits": 65535}, Fault.SIZES),
    "pixels 0": (lambda end: {"pixels": 0}, Fault.SIZES),
    "pixels one less": (lambda end: {"pixels": end["pixels"] - 1}, Fault.NONE),
    "pixels one more": (lambda end: {"pixels": end["pixels"] + 1}, Fault.NONE),
    "pixels 64": (lambda end: {"pixels": 64}, Fault.NONE),
    "pixels 16130": (lambda end: {"pixels": 16130}, Fault.SIZES),
    "pixels 65535": (lambda end: {"pixels": 65535}, Fault.SIZES)}
LOGITS_DIFFER = ("n_logits one less", "n_logits one more", "n_logits 1022")


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_the_net_makes_nobody_deaf(port, nets, name):
    lie, fault = LIES[name]
    octets, _, end = link.tape_fields(compile_net(nets[1], TINY))
    pixels = end["pixels"]
    end |= lie(end)
    answer = load(port, octets, end)
    refused = fault != Fault.NONE
    assert answer == (refusal(3, fault) if refused else (Command.END_LOAD | link.REPLY, 3, b""))
    assert alive(port) == (0, not refused)
    answers = converse(port, link.frame(Command.INFER, 8, bytes(min(3 * end["pixels"], link.MAX_PAYLOAD))))
    if refused:
        assert answers == [refusal(8, Fault.DAMAGED if fault == Fault.IMAGE_CHECK else Fault.NOT_LOADED)]
    elif name in LOGITS_DIFFER:
        assert answers == [refusal(8, Fault.LOGITS)]
    elif end["pixels"] < pixels:                            # the core waits for the rest of the picture
        assert answers == [] and alive(port) == (1, 1)
        frees(port)
        tells_the_truth(port, nets[1])
        return
    else:
        [(kind, _, payload)] = answers
        assert kind == Command.INFER | link.REPLY and len(payload) == 4 * end["n_logits"] + 6
    assert alive(port) == (0, not refused)
    frees(port)
    tells_the_truth(port, nets[1])


def instruction(op, **fields):
    return isa.LAYOUTS[op].const({"op": op, **fields}).as_bits()


def many(words):
    """As many instructions as the memory holds, but for the last, which is an END: none sends a last logit."""
    return (words * TINY.program_depth)[:TINY.program_depth - 2]


TILE = instruction(isa.Op.TILE, groups=4, height=8, width=8)
PROGRAMS = {
    "end": ([instruction(isa.Op.END)], None),
    "nothing but sources": (many([instruction(isa.Op.SOURCE)]), None),
    "passes": (many([TILE, instruction(isa.Op.PASS, final=1, repeat=1)]), None),
    "no logits at all": (many([instruction(isa.Op.EMIT, count=0)]), None),
    "too many logits": ([instruction(isa.Op.EMIT, count=100)] * 5 + [instruction(isa.Op.EMIT, count=1, last=1)],
                        Fault.LOGITS),
    "one logit": ([instruction(isa.Op.EMIT, count=1, last=1, end=1)] * 4, Fault.LOGITS),
    "an unknown instruction": ([7, instruction(isa.Op.END)], None)}


def load_program(port, net, program):
    """Fields of the `EndLoad` of `net`, but for three logits, by which the device takes that program for its."""
    image = compile_net(net, TINY)
    *_, end = link.tape_fields(image)
    octets = _tape(image.settings, program)
    end |= {"check": binascii.crc32(octets), "n_logits": 3}
    assert load(port, octets, end) == (Command.END_LOAD | link.REPLY, 3, b"")
    return end


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_never_answers_makes_nobody_deaf(port, nets, name):
    """Two pictures are on their way, a third is refused; RESET frees the device."""
    program, fault = PROGRAMS[name]
    end = load_program(port, nets[1], program)
    pixels = [link.frame(Command.INFER, 8 + k, bytes(3 * end["pixels"])) for k in range(3)]
    if fault is None:
        assert converse(port, pixels[0] + pixels[1]) == []
        assert alive(port) == (2, 1)
        assert converse(port, pixels[2]) == [refusal(10, Fault.BUSY)]
        assert converse(port, link.frame(Command.BEGIN_LOAD, 11, BEGIN)) == [refusal(11, Fault.BUSY)]
    else:
        for k, frame in enumerate(pixels):
            assert converse(port, frame, 100_000) == [refusal(8 + k, fault)]
        assert alive(port) == (0, 1)
    frees(port)
    tells_the_truth(port, nets[1])


def test_more_answers_than_pictures_are_told(port, nets):
    """Those that are too many have no picture's sequence number; RESET frees the device."""
    answer = {"count": 1, "last": 1}
    end = load_program(port, nets[1], [*[instruction(isa.Op.EMIT, **answer)] * 3,
                                       instruction(isa.Op.EMIT, **answer, end=1)])
    first, *others = converse(port, link.frame(Command.INFER, 8, bytes(3 * end["pixels"])), 100_000)
    assert first == refusal(8, Fault.LOGITS)
    assert [(kind, payload) for kind, _, payload in others] == [refusal(0, Fault.LOGITS)[::2]] * 3
    frees(port)
    tells_the_truth(port, nets[1])


def _tape(settings, program):
    """Bytes of the tape of a program whose thresholds are all 0."""
    words = [settings >> low & 0xFFFF for low in (0, 16, 32, 48)]
    for instruction in program:
        words += [instruction >> low & 0xFFFF for low in (0, 16, 32, 48)]
        layout, fields = isa.decode(instruction) if instruction != 7 else (None, None)
        words += [0] * (2 * int(fields.count) if layout is isa.Emit else 0)
    words += [0] * (-len(words) % 511)
    chunks = [words[at:at + 511] for at in range(0, len(words), 511)]
    octets = b""
    for number, chunk in enumerate(chunks):
        check = binascii.crc_hqx(struct.pack(">511H", *chunk), 0xFFFF) ^ number
        octets += struct.pack("<512H", *chunk, check)
    return octets


@pytest.mark.parametrize("reset_after", [0, 100, 700, 1500, 3000])
def test_reset_in_mid_picture_leaves_nothing_behind(port, nets, reset_after):
    net = nets[0]
    pictures = np.random.default_rng(3).integers(0, 256, (2, *net.input_shape), dtype=np.uint8)
    frames = [link.frame(Command.INFER, k, picture.transpose(1, 2, 0).tobytes())
              for k, picture in enumerate(pictures)]
    for _ in range(3):
        port.board.exchange(b"".join(frames), reset_after)
        answers = converse(port, link.frame(Command.RESET, 9))
        assert answers[-1] == (Command.RESET | link.REPLY, 9, b"")
    tells_the_truth(port, net)
