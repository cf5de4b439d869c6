# amaranth: UnusedElaboratable=no
"""The simulated board and the host library: every command, every refusal, every fault, and the next picture right."""
import itertools
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from accel import link
from accel.compiler.compile import compile_net
from accel.config import CONFIGS, TINY
from accel.cycles import cycles
from accel.link import Command, Fault
from boards.host import Device, DeviceError, FrameReader
from model.common.errors import UserError
from model.integer import golden
from sim.board import CYCLES_PER_BIT, HOST_HZ, build_board
from sim.device import DeviceEngine
from tests.nets import random_net
from tests.sim.board_port import BoardPort

pytestmark = pytest.mark.cxx
SILENCE = 5000
CONFIG = TINY
CLOCK_HZ = Fraction(100_000_000)


def small_nets():
    nets = [random_net(seed, CONFIG) for seed in range(12)]
    return sorted(nets, key=lambda net: cycles(image_of(net)))[:2]


@pytest.fixture(scope="module")
def nets():
    return small_nets()


@pytest.fixture(scope="module")
def library(nets):
    return build_board(CONFIG, image=image_of(nets[0]), timeout=SILENCE)


@pytest.fixture
def port(library):
    port = BoardPort(library)
    yield port
    port.board.close()


def image_of(net):
    return compile_net(net, CONFIG)


def connect(port, **options):
    """A host whose seconds are the simulated board's."""
    return Device(port, timeout=1.0, now=port.now, **options)


def pictures_of(net, count=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *net.input_shape), dtype=np.uint8)


def check_pictures(device, net, count=3, seed=0):
    pictures = pictures_of(net, count, seed)
    answers = list(device.classify(pictures))
    expected = golden.forward(net, pictures)
    for answer, logits in zip(answers, expected, strict=True):
        np.testing.assert_array_equal(answer.logits, logits)
        assert answer.label == int(np.argmax(logits))
        assert answer.cycles == cycles(image_of(net))


def converse(port, octets, cycles_after=200_000):
    """All frames that raw bytes bring back."""
    reader, frames = FrameReader(), []
    reader.feed(port.board.exchange(octets, cycles_after))
    while (frame := reader.next()) is not None:
        frames.append(frame)
    assert not reader.damaged
    return frames


def refusal(sequence, fault):
    return (Command.ERROR | link.REPLY, sequence, bytes([fault]))


def test_the_preset_net_classifies_at_once(port, nets):
    with connect(port) as device:
        assert device.config is TINY
        assert device.info.loaded and not device.load(image_of(nets[0]))
        assert tuple(device.info.gateware[i] for i in range(3)) == link.GATEWARE
        for name, value in link.info_of(CONFIG, clock_hz=CLOCK_HZ, baud=HOST_HZ / 8).items():
            assert name == "gateware" or getattr(device.info, name) == value
        check_pictures(device, nets[0], count=7)
        status = device.status()
        assert (status.images, status.outstanding, status.framing_errors, status.overruns) == (7, 0, 0, 0)


def test_a_board_is_one_more_engine(port, nets):
    pictures = pictures_of(nets[0], 3)
    with connect(port) as device:
        engine = DeviceEngine(device)
        results = list(engine.run(pictures))
    expected = golden.forward(nets[0], pictures)
    np.testing.assert_array_equal([result.logits for result in results], expected)
    assert [result.label for result in results] == expected.argmax(axis=1).tolist()
    count = cycles(image_of(nets[0]))
    assert [result.cycles for result in results] == 3 * [count] and engine.simulated_cycles == 3 * count
    assert all(result.round_trip > 0 and result.writes is None for result in results)


def test_nets_are_loaded_one_after_the_other(port, nets):
    with connect(port) as device:
        for net in (nets[1], nets[0], nets[1]):
            assert device.load(image_of(net))
            check_pictures(device, net)


def test_two_pictures_may_be_on_their_way(port, nets):
    """A third would be answered too: no net of this size takes as long as two pictures on the line. That it is refused
    is tested in tests/accel/rtl/host/test_controller.py."""
    pixels = pictures_of(nets[0], 1)[0].transpose(1, 2, 0).tobytes()
    [alone] = converse(port, link.frame(Command.INFER, 1, pixels))
    two = converse(port, b"".join(link.frame(Command.INFER, k, pixels) for k in (1, 2)))
    assert two == [alone, (alone[0], 2, alone[2])]


def _flip(at):
    return lambda octets: octets[:at] + bytes([octets[at] ^ 0x10]) + octets[at + 1:]


def _noise(octets):
    return np.random.default_rng(4).integers(0, 256, 500, dtype=np.uint8).tobytes() + b"\xa5" + octets


FAULTS = {
    "header bit": (_flip(5), "header came damaged"),
    "kind bit": (_flip(3), "header came damaged"),
    "payload bit": (_flip(30), "a frame came damaged"),
    "sync lost": (_flip(0), "no answer"),
    "cut off": (lambda octets: octets[:60], "a frame "),
    "noise before": (_noise, None),
    "nothing arrives": (lambda octets: b"", "no answer"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_after_a_fault_in_a_picture_it_is_sent_again_and_right(port, nets, name):
    fault, sentence = FAULTS[name]
    notices = []
    with connect(port, notice=notices.append) as device:
        check_pictures(device, nets[0], count=1)
        port.fault = fault
        check_pictures(device, nets[0], count=4, seed=5)
    assert sentence is None or any(sentence in notice for notice in notices), notices


def test_pictures_that_a_caller_leaves_do_not_disturb_what_follows(port, nets):
    with connect(port) as device:
        for loaded, following in (nets, nets[::-1]):
            next(device.classify(pictures_of(loaded, 4)))
            assert device.load(image_of(following))
            check_pictures(device, following)


@pytest.mark.parametrize("octets, fault", [
    (link.frame(Command.INFO, 9, version=2), Fault.VERSION), (link.frame(0x55, 9), Fault.COMMAND),
    (link.frame(Command.INFER, 9, bytes(5)), Fault.LENGTH),
    (link.frame(Command.BEGIN_LOAD, 9, bytes(20)), Fault.CONFIG),
    (link.frame(Command.BEGIN_LOAD, 9, bytes(8)), Fault.LENGTH), (link.frame(Command.LOAD, 9, bytes(16)), Fault.ORDER),
    (link.frame(Command.END_LOAD, 9, bytes(18)), Fault.ORDER), (link.frame(Command.PIXELS, 9, bytes(2)), Fault.LENGTH),
    (link.frame(Command.MEMORY_TEST, 9, bytes(2)), Fault.NO_MEMORY)])
def test_what_cannot_be_done_is_refused_and_the_net_stays(port, nets, octets, fault):
    assert converse(port, octets) == [refusal(9, fault)]
    with connect(port) as device:
        assert not device.load(image_of(nets[0]))
        check_pictures(device, nets[0])


def test_a_load_without_its_end_leaves_no_net(port, nets):
    octets, begin, end = link.tape_fields(image_of(nets[1]))
    begin = link.as_bytes(link.BeginLoad, begin | {"config": link.digest_number(CONFIG.digest())})
    zero = link.as_bytes(link.LoadOffset, {"offset": 0})
    pieces = [(Command.BEGIN_LOAD, begin), (Command.LOAD, zero + octets[:22]), (Command.LOAD, zero + octets[:22]),
              (Command.END_LOAD, link.as_bytes(link.EndLoad, end)), (Command.INFER, bytes(3 * end["pixels"]))]
    answers = [converse(port, link.frame(kind, k, payload))[0] for k, (kind, payload) in enumerate(pieces)]
    assert answers == [(Command.BEGIN_LOAD | link.REPLY, 0, bytes(4)), (Command.LOAD | link.REPLY, 1, b""),
                       refusal(2, Fault.ORDER), refusal(3, Fault.ORDER), refusal(4, Fault.NOT_LOADED)]
    with connect(port) as device:
        assert device.load(image_of(nets[0]))
        check_pictures(device, nets[0])


def test_a_host_killed_in_mid_picture_leaves_nothing_behind_for_the_next(port, nets):
    pixels = pictures_of(nets[0], 1)[0].transpose(1, 2, 0).tobytes()
    port.board.exchange(link.frame(Command.INFER, 1, pixels) + link.frame(Command.INFER, 2, pixels)[:40], 0)
    for _ in range(2):                                          # and another host after that one
        with connect(port) as device:
            check_pictures(device, nets[0])


def test_reset_drops_pictures_on_their_way(port):
    """Of a net that takes longer than a RESET on the line, so that its picture is still being classified."""
    net = max((random_net(seed, CONFIG) for seed in range(12)), key=lambda net: cycles(image_of(net)))
    reset = link.frame(Command.RESET, 2)
    assert cycles(image_of(net)) > 2 * 10 * CYCLES_PER_BIT * len(reset)
    with connect(port) as device:
        device.load(image_of(net))
        pixels = pictures_of(net, 1)[0].transpose(1, 2, 0).tobytes()
        assert converse(port, link.frame(Command.INFER, 1, pixels) + reset) == [(Command.RESET | link.REPLY, 2, b"")]
        check_pictures(device, net)


@pytest.mark.parametrize("bit_cycles", [8 * 0.98, 8 * 1.02])
def test_an_adapter_two_percent_off(library, nets, bit_cycles):
    port = BoardPort(library, bit_cycles=bit_cycles)
    with connect(port) as device:
        check_pictures(device, nets[0], count=5)
        assert device.status().framing_errors == 0


@pytest.mark.slow
def test_the_divider_of_a_real_board():
    """3 Mbaud at 25 MHz are 8 1/3 cycles a bit; the other tests have 8."""
    bit_cycles = Fraction(25, 3)
    library = build_board(TINY, clock_hz=Fraction(110_000_000), cycles_per_bit=bit_cycles, timeout=SILENCE)
    port = BoardPort(library, bit_cycles=bit_cycles)
    with connect(port) as device:
        assert (device.info.clock_hz, device.info.baud) == (110_000_000, 3_000_000)
        assert device.status().framing_errors == 0
    assert port.board.line.framing_errors == 0
    port.board.close()


def test_a_device_that_does_not_answer_is_said_so():
    class Silence:
        in_waiting = 0

        def write(self, octets):
            pass

        def read(self, count):
            return b""

        def close(self):
            pass
    with pytest.raises(DeviceError, match="no answer from the device within 0.05 s"):
        Device(Silence(), timeout=0.05, retries=1, now=partial(next, itertools.count(0, 0.01)))


def test_frames_are_found_in_any_stream():
    rng = np.random.default_rng(6)
    frames = [(int(rng.integers(256)), k, rng.integers(0, 256, int(rng.integers(0, 60)), dtype=np.uint8).tobytes())
              for k in range(50)]
    octets = b"".join(rng.integers(0, 165, int(rng.integers(0, 9)), dtype=np.uint8).tobytes() + link.frame(*frame)
                      for frame in frames)
    reader, got = FrameReader(), []
    for at in range(0, len(octets), 7):
        reader.feed(octets[at:at + 7])
        while (frame := reader.next()) is not None:
            got.append(frame)
    assert got == frames


class Impostor:
    """Answers every frame with one of its own making. change: of the fields of Info."""
    in_waiting = 0

    def __init__(self, *, version=link.PROTOCOL, payload=None, **change):
        info = link.info_of(CONFIG, clock_hz=CLOCK_HZ, baud=3_000_000) | change
        self._payload = link.as_bytes(link.Info, info) if payload is None else payload
        self._version, self._said = version, b""

    def write(self, octets):
        self._said += link.frame(octets[3] | link.REPLY, octets[4], self._payload, version=self._version)

    def read(self, count):
        said, self._said = self._said, b""
        return said

    def close(self):
        pass


def test_an_answer_that_a_slow_read_brings_counts():
    class Slow(Impostor):
        seconds = 0.0

        def read(self, count):
            self.seconds += 0.05
            return super().read(count)
    slow = Slow(gateware=[9, 0, 0])
    with pytest.raises(DeviceError, match="gateware is version 9"):             # so it was read
        Device(slow, timeout=0.01, retries=0, now=lambda: slow.seconds)


@pytest.mark.parametrize("device, sentence", [
    (Impostor(gateware=[9, 0, 0]), "the gateware is version 9.0.0, this program needs 5.x: flash"),
    (Impostor(version=2), "speaks version 2 of the protocol, this program 1: flash"),
    (Impostor(payload=b"abc"), "not as this version's gateware")])
def test_other_gateware_is_named(device, sentence):
    with pytest.raises(DeviceError, match=sentence):
        Device(device, retries=0, now=lambda: 0.0)


def test_a_configuration_that_the_program_does_not_know_is_named():
    with Device(Impostor(config=1234), retries=0, now=lambda: 0.0) as device:
        with pytest.raises(DeviceError, match="configuration that this program does not know"):
            assert device.config


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_configuration_has_the_memory_and_the_clock_of_the_device(config):
    info = link.info_of(config, clock_hz=90_000_000, baud=3_000_000)
    with Device(Impostor(**info), retries=0, now=lambda: 0.0) as device:
        assert device.config == replace(config, sdram_hz=config.sdram_hz and 90_000_000)


def test_a_net_too_large_for_the_device_is_refused_and_the_old_one_stays(port, nets):
    from model import zoo
    with connect(port) as device:
        with pytest.raises(UserError, match="the limit is"):
            device.load(compile_net(zoo.load(zoo.DEFAULT), device.config))
        check_pictures(device, nets[0])


def test_of_a_core_without_a_clock_is_said_why_it_does_not_answer(port, nets):
    port.board.line.locked = 0
    with pytest.raises(DeviceError, match="core does not answer: the PLL of its clock has not locked. Switch"):
        connect(port)
    port.board.line.locked = 1
    with connect(port) as device:
        assert device.status().locked == 1 and device.load(image_of(nets[0]))
        check_pictures(device, nets[0])
