# amaranth: UnusedElaboratable=no
"""What a device that was told lies about its net answers: always something, and after RESET the truth again."""
import binascii

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
BEGIN = link.as_bytes(link.BeginLoad, {"config": link.digest_number(TINY.digest())})


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
    """Loads entries; the answer to END_LOAD."""
    size = link.size(link.LoadEntry)
    assert converse(port, link.frame(Command.RESET, 1)) == [(Command.RESET | link.REPLY, 1, b"")]
    assert converse(port, link.frame(Command.BEGIN_LOAD, 1, BEGIN)) == [(Command.BEGIN_LOAD | link.REPLY, 1, b"")]
    for at in range(0, len(octets), 300 * size):
        piece = link.as_bytes(link.LoadIndex, {"index": at // size}) + octets[at:at + 300 * size]
        [(kind, *_)] = converse(port, link.frame(Command.LOAD, 2, piece))
        assert kind == Command.LOAD | link.REPLY
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
    assert converse(port, link.frame(Command.BEGIN_LOAD, 7, BEGIN)) == [(Command.BEGIN_LOAD | link.REPLY, 7, b"")]


def tells_the_truth(port, net):
    """The net is loaded and classifies."""
    pictures = np.random.default_rng(1).integers(0, 256, (2, *net.input_shape), dtype=np.uint8)
    with Device(port, timeout=1.0, now=port.now) as device:
        device.load(net)
        answers = [answer.logits for answer in device.classify(pictures)]
    np.testing.assert_array_equal(answers, golden.forward(net, pictures))


def picture_of(settings):
    return isa.unpacked(isa.Settings, settings)


def sized(end, *, width=None, height=None, agree=True):
    """EndLoad with another picture, of which pixel_bytes knows or does not."""
    fields = picture_of(end["settings"])
    width = fields.width if width is None else width
    height = fields.height if height is None else height
    settings = end["settings"] >> 14 << 14 | height << 7 | width
    return {"settings": settings} | ({"pixel_bytes": 3 * width * height & 0xFFFF} if agree else {})


# Field by field. Of each: what it makes of the truth, the answer to END_LOAD.
LIES = {
    "entries 0": (lambda end: {"entries": 0}, Fault.IMAGE_CHECK),
    "entries one less": (lambda end: {"entries": end["entries"] - 1}, Fault.IMAGE_CHECK),
    "entries one more": (lambda end: {"entries": end["entries"] + 1}, Fault.IMAGE_CHECK),
    "check wrong": (lambda end: {"check": end["check"] ^ 1}, Fault.IMAGE_CHECK),
    "net 0": (lambda end: {"net": 0}, Fault.NONE),
    "n_logits 0": (lambda end: {"n_logits": 0}, Fault.SIZES),
    "n_logits one less": (lambda end: {"n_logits": end["n_logits"] - 1}, Fault.NONE),
    "n_logits one more": (lambda end: {"n_logits": end["n_logits"] + 1}, Fault.NONE),
    "n_logits 1022": (lambda end: {"n_logits": 1022}, Fault.NONE),
    "n_logits 1023": (lambda end: {"n_logits": 1023}, Fault.SIZES),
    "n_logits 65535": (lambda end: {"n_logits": 65535}, Fault.SIZES),
    "pixel_bytes 0": (lambda end: {"pixel_bytes": 0}, Fault.SIZES),
    "pixel_bytes one less": (lambda end: {"pixel_bytes": end["pixel_bytes"] - 1}, Fault.SIZES),
    "pixel_bytes a pixel less": (lambda end: {"pixel_bytes": end["pixel_bytes"] - 3}, Fault.SIZES),
    "pixel_bytes a pixel more": (lambda end: {"pixel_bytes": end["pixel_bytes"] + 3}, Fault.SIZES),
    "pixel_bytes 4098": (lambda end: {"pixel_bytes": 4098}, Fault.SIZES),
    "width 0": (lambda end: sized(end, width=0), Fault.SIZES),
    "height 0": (lambda end: sized(end, height=0), Fault.SIZES),
    "width one more alone": (
        lambda end: sized(end, width=picture_of(end["settings"]).width + 1, agree=False), Fault.SIZES),
    "height 127": (lambda end: sized(end, height=127), Fault.SIZES),
    "another picture, 1 x 1": (lambda end: sized(end, width=1, height=1), Fault.NONE),
    "another picture, 8 x 8": (lambda end: sized(end, width=8, height=8), Fault.NONE),
    "pitch 0": (lambda end: {"settings": end["settings"] & ~(63 << 14)}, Fault.NONE),
    "pitch 63": (lambda end: {"settings": end["settings"] | 63 << 14}, Fault.NONE),
    "plane 0": (lambda end: {"settings": end["settings"] & ~(0x3FFF << 20)}, Fault.NONE),
    "plane 16383": (lambda end: {"settings": end["settings"] | 0x3FFF << 20}, Fault.NONE),
    "settings beyond the fields": (lambda end: {"settings": end["settings"] | 0x3FFFFFFF << 34}, Fault.NONE)}
LOGITS_DIFFER = ("n_logits one less", "n_logits one more", "n_logits 1022")


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_the_net_makes_nobody_deaf(port, nets, name):
    lie, fault = LIES[name]
    octets, end = link.image_entries(compile_net(nets[1], TINY))
    end |= lie(end)
    refused = fault != Fault.NONE
    answer = load(port, octets, end)
    assert answer == (refusal(3, fault) if refused else (Command.END_LOAD | link.REPLY, 3, b""))
    assert alive(port) == (0, not refused)
    pixels = link.frame(Command.INFER, 8, bytes(min(end["pixel_bytes"], link.MAX_PAYLOAD)))
    answers = converse(port, pixels)
    if refused:
        assert answers == [refusal(8, Fault.NOT_LOADED)]
    elif name in LOGITS_DIFFER:
        assert answers == [refusal(8, Fault.LOGITS)]
    else:
        [(kind, _, payload)] = answers
        assert kind == Command.INFER | link.REPLY and len(payload) == 4 * end["n_logits"] + 6
    assert alive(port) == (0, not refused)
    frees(port)
    tells_the_truth(port, nets[1])


def instruction(op, **fields):
    return isa.LAYOUTS[op].const({"op": op, **fields}).as_bits()


def forever(words):
    """A program without an end: it goes round."""
    return (words * TINY.program_depth)[:TINY.program_depth]


TILE = instruction(isa.Op.TILE, groups=4, height=8, width=8)
PROGRAMS = {
    "end": ([instruction(isa.Op.END)], None),
    "nothing but sources": (forever([instruction(isa.Op.SOURCE)]), None),
    "endless passes": (forever([TILE, instruction(isa.Op.PASS, final=1)]), None),
    "endless logits": (forever([instruction(isa.Op.EMIT, count=16)]), None),
    "no logits at all": (forever([instruction(isa.Op.EMIT, count=0)]), None),
    "too many logits": ([instruction(isa.Op.EMIT, count=100)] * 20 + [instruction(isa.Op.EMIT, count=1, last=1)],
                        Fault.LOGITS),
    "one logit": ([instruction(isa.Op.EMIT, count=1, last=1)] * 4, Fault.LOGITS),
    "the largest tile": ([instruction(isa.Op.TILE, groups=0, height=0, thresholds=1), instruction(isa.Op.PASS, final=1),
                          instruction(isa.Op.TILE, thresholds=1), instruction(isa.Op.EMIT, count=1, last=1)],
                         Fault.LOGITS),
    "an unknown instruction": ([7], None)}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_never_answers_makes_nobody_deaf(port, nets, name):
    """Two pictures are on their way, a third is refused; RESET frees the device."""
    program, fault = PROGRAMS[name]
    entries = b"".join(link.as_bytes(link.LoadEntry, {"target": 0, "address": k, "data": word})
                       for k, word in enumerate(program))
    _, end = link.image_entries(compile_net(nets[1], TINY))
    end |= {"entries": len(program), "check": binascii.crc32(entries), "n_logits": 3}
    assert load(port, entries, end) == (Command.END_LOAD | link.REPLY, 3, b"")
    pixels = [link.frame(Command.INFER, 8 + k, bytes(end["pixel_bytes"])) for k in range(3)]
    if name == "endless passes":                            # the second picture's pixels never get at the memory
        assert converse(port, pixels[0] + pixels[1]) == [refusal(9, Fault.STALLED)]
        assert alive(port) == (0, 0)
    elif fault is None:
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
