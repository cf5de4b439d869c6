# amaranth: UnusedElaboratable=no
"""The host library and a whole simulated board around a core that does what its tape says: uploads that break off, the
line's rate, memory tests, pictures in parts, and tapes that are found damaged while they are played."""
import random

import numpy as np
import pytest

from accel import link
from accel.link import Command, Fault
from boards import stream, ulx3s
from boards.host import Device, DeviceError, FrameReader
from model.common.errors import UserError
from sim.board import CYCLES_PER_BIT, HOST_HZ, BoardSimulator
from tests.boards.tape_core import CHIP, CONFIG, WRONG_ADDRESS, TapeImage, build_tape_board
from tests.sim.board_port import BoardPort

pytestmark = pytest.mark.cxx
SILENCE = 5000
BYTE_CYCLES = 10 * CYCLES_PER_BIT


@pytest.fixture(scope="module")
def library():
    with pytest.MonkeyPatch.context() as monkeypatch:
        return build_tape_board(monkeypatch, timeout=SILENCE)


@pytest.fixture
def port(library):
    port = BoardPort(library, sdram=CHIP)
    yield port
    port.board.close()


def connect(port, **options):
    """A host whose seconds are the simulated board's."""
    return Device(port, timeout=1.0, now=port.now, **options)


def pictures_of(image, count=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, *image.picture_shape), dtype=np.uint8)


def check_pictures(device, image, count=3, seed=0):
    pictures = pictures_of(image, count, seed)
    answers = [answer.logits for answer in device.classify(pictures)]
    np.testing.assert_array_equal(answers, image.logits(pictures))


def converse(port, octets, cycles_after=20_000):
    reader, frames = FrameReader(), []
    reader.feed(port.board.exchange(octets, BYTE_CYCLES * len(octets) + cycles_after))
    while (frame := reader.next()) is not None:
        frames.append(frame)
    return frames


def load_frames(image, part):
    """The frames of a whole load, without its end."""
    octets, begin, _ = link.tape_fields(image)
    begin = link.as_bytes(link.BeginLoad, begin | {"config": link.digest_number(CONFIG.digest())})
    return [link.frame(Command.BEGIN_LOAD, 0, begin), *(
        link.frame(Command.LOAD, at // part, link.as_bytes(link.LoadOffset, {"offset": at}) + octets[at:at + part])
        for at in range(0, len(octets), part))]


def test_nets_are_loaded_and_classify(port):
    with connect(port) as device:
        assert not device.info.loaded and device.info.sdram_bytes == 32 << 20
        for seed in (1, 2, 1):
            image = TapeImage(seed=seed, chunks=seed)
            assert device.load(image) and not device.load(image, pytest.fail)
            status = device.status()
            assert status.load_next == 1024 * seed and status.tape == link.tape_fields(image)[1]["tape"]
            check_pictures(device, image)


def test_a_load_tells_how_far_it_is(port):
    image, seen = TapeImage(seed=1, chunks=20), []
    with connect(port) as device:
        assert device.load(image, lambda *at: seen.append(at))
    total = 1024 * 20
    assert seen == [(done, total) for done in [*range(0, total, 4092), total]]


class SlowAdapter(BoardPort):
    """Hands what the board says over at every 16 milliseconds alone, as a USB adapter does."""
    def read(self, count):
        self._wait(self.board.line.cycle // self.PERIOD + 1)
        return super().read(1 << 16)

    PERIOD = int(HOST_HZ * 0.016)

    def _wait(self, period):
        while self.board.line.cycle < period * self.PERIOD:
            self._said += self.board.exchange(b"", period * self.PERIOD - self.board.line.cycle)


@pytest.mark.parametrize("adapter", [BoardPort, SlowAdapter])
def test_a_load_keeps_the_line_busy(library, adapter):
    """98 of 100 bits on the line are the tape's, start and stop bits counted; without its beginning and end."""
    port, image, at = adapter(library, sdram=CHIP), TapeImage(seed=3, chunks=120), {}
    sent = [0]
    with connect(port) as device:
        write = port.write

        def counted(octets):
            sent[0] += len(octets) * (octets[3] == Command.LOAD)
            write(octets)
        port.write = counted
        device.load(image, lambda done, total: at.setdefault(done, port.board.line.cycle))
        total = 1024 * image.chunks
        status = device.status()
        assert (status.overruns, status.frame_errors) == (0, 0)
    assert total / sent[0] > 0.995
    # From the first answer to the last but one, which come when their frame has.
    steps = sorted(at)
    first, last = steps[1], steps[-2] if adapter is BoardPort else max(steps)
    assert (last - first) * BYTE_CYCLES / (at[last] - at[first]) >= (0.98 if adapter is BoardPort else 0.95)
    port.board.close()


@pytest.mark.parametrize("seed", range(6))
def test_an_upload_that_is_cut_at_any_byte_goes_on(library, seed):
    """A new host finds all whole frames of the one before in the device."""
    image = TapeImage(seed=4)
    frames, chance = load_frames(image, 100), random.Random(seed)
    octets = b"".join(frames)
    ends = np.cumsum([len(frame) for frame in frames]).tolist()
    for _ in range(5):
        cut = chance.choice([chance.randrange(len(octets) + 1), chance.choice(ends) + chance.randrange(-2, 3)])
        port, seen = BoardPort(library, sdram=CHIP), []
        port.board.exchange(octets[:cut], 0)
        with connect(port) as device:
            assert device.load(image, lambda done, total, seen=seen: seen.append(done))
            check_pictures(device, image, count=2)
        # One host after the other: what is cut may be completed by nobody, but the board takes whole frames alone.
        whole = max(sum(end <= cut for end in ends) - 1, 0)
        assert seen[0] == min(100 * whole, 2048), cut
        port.board.close()


def test_a_host_that_is_killed_in_an_upload_and_started_again_goes_on(port, monkeypatch):
    monkeypatch.setattr("boards.host.TAPE_PART", 200)
    image, seen = TapeImage(seed=5), []

    def kill(done, total):
        if done > 900:
            raise KeyboardInterrupt
    with connect(port) as device, pytest.raises(KeyboardInterrupt):
        device.load(image, kill)
    with connect(port) as device:
        assert device.load(image, lambda done, total: seen.append(done))
        assert seen[0] >= 1000
        check_pictures(device, image)


@pytest.mark.parametrize("what", ["another net", "switched off"])
def test_a_load_whose_words_are_gone_starts_from_nothing(library, port, what, monkeypatch):
    monkeypatch.setattr("boards.host.TAPE_PART", 200)
    image, other, seen, notices, count = TapeImage(seed=5), TapeImage(seed=6), [], [], [0]
    write = port.write

    def change(octets):
        if octets[3] == Command.LOAD:
            count[0] += 1
            if count[0] == 4 and what == "switched off":
                port.board.close()
                port.board = BoardSimulator(library, sdram=CHIP)
            elif count[0] == 4:
                write(load_frames(other, 200)[0])
        write(octets)
    port.write = change
    with connect(port, notice=notices.append) as device:
        assert device.load(image, lambda done, total: seen.append(done))
        check_pictures(device, image)
    assert 0 in seen[1:] and seen[-1] == 2048
    assert any("out of order; going on" in notice or "no answer" in notice for notice in notices), notices


def _flip(at):
    return lambda octets: octets[:at] + bytes([octets[at] ^ 0x10]) + octets[at + 1:]


LINE_FAULTS = {"header bit": _flip(5), "payload bit": _flip(20), "sync lost": _flip(0),
               "cut off": lambda octets: octets[:-5], "nothing arrives": lambda octets: b""}


@pytest.mark.parametrize("name", LINE_FAULTS)
@pytest.mark.parametrize("kind, number", [(Command.BEGIN_LOAD, 1), (Command.LOAD, 1), (Command.LOAD, 3),
                                          (Command.LOAD, 11), (Command.END_LOAD, 1)])
def test_after_a_fault_on_the_line_a_load_goes_on(port, name, kind, number, monkeypatch):
    monkeypatch.setattr("boards.host.TAPE_PART", 200)
    image, notices, count, seen = TapeImage(seed=7), [], [0], []
    write = port.write

    def disturbed(octets):
        if octets[3] == kind:
            count[0] += 1
            if count[0] == number:
                octets = LINE_FAULTS[name](octets)
        write(octets)
    port.write = disturbed
    with connect(port, notice=notices.append) as device:
        device.load(image, lambda done, total: seen.append(done))
        assert seen == sorted(seen) and seen[-1] == 2048
        check_pictures(device, image)
    assert notices


class Forgetful:
    """Drops the answers to commands of a kind with these numbers, from 1."""
    def __init__(self, port, kind, *numbers):
        self._port, self._kind, self._numbers, self._count = port, kind | link.REPLY, numbers, 0
        self._reader, self.dropped = FrameReader(), 0

    def __getattr__(self, name):
        return getattr(self._port, name)

    def read(self, count):
        self._reader.feed(self._port.read(1 << 16))
        octets = b""
        while (frame := self._reader.next()) is not None:
            if frame[0] == self._kind:
                self._count += 1
                if self._count in self._numbers:
                    self.dropped += 1
                    continue
            octets += link.frame(*frame)
        return octets


@pytest.mark.parametrize("kind, numbers", [(Command.BEGIN_LOAD, [1]), (Command.LOAD, [1]), (Command.LOAD, [2, 3]),
                                           (Command.LOAD, [11]), (Command.END_LOAD, [1])])
def test_a_lost_answer_does_not_lose_a_load(port, kind, numbers, monkeypatch):
    """Nor is anything sent twice where the next answer comes."""
    monkeypatch.setattr("boards.host.TAPE_PART", 200)
    image, seen, forgetful = TapeImage(seed=8), [], Forgetful(port, kind, *numbers)
    with connect(forgetful) as device:
        assert device.load(image, lambda done, total: seen.append(done))
        assert forgetful.dropped == len(numbers) and seen == sorted(seen)
        check_pictures(device, image)


def test_a_load_that_never_goes_on_ends(port, monkeypatch):
    monkeypatch.setattr("boards.host.TAPE_PART", 200)
    write = port.write
    port.write = lambda octets: None if octets[3] == Command.LOAD and octets[9:13] == b"\x20\3\0\0" else write(octets)
    notices = []
    with connect(port, notice=notices.append) as device:
        with pytest.raises(DeviceError, match="no answer|out of order"):
            device.load(TapeImage(seed=9))
    assert len(notices) == 3


@pytest.mark.parametrize("times", [1, 5])
def test_a_tape_that_is_not_what_it_was_meant_to_be_is_loaded_anew(port, times, monkeypatch):
    """The check of END_LOAD is another one: as if SDRAM had lost words."""
    image, notices, left = TapeImage(seed=10), [], [times]
    as_bytes = link.as_bytes

    def wrong(layout, values):
        if layout is link.EndLoad and left[0]:
            left[0] -= 1
            values = values | {"check": values["check"] ^ 1 << 9}
        return as_bytes(layout, values)
    monkeypatch.setattr("boards.host.link.as_bytes", wrong)
    with connect(port, notice=notices.append) as device:
        if times == 1:
            assert device.load(image)
            check_pictures(device, image)
            assert notices == ["the net did not arrive whole; loading the net again"]
        else:
            with pytest.raises(DeviceError, match="^the net did not arrive whole, 4 times: `stream --memory"):
                device.load(image)
            assert device.status().damaged and not device.status().loaded


@pytest.mark.parametrize("shape", [(38, 36), (64, 64), (96, 96)])
def test_pictures_larger_than_a_frame(port, shape):
    """One is computed while the next one's parts come; their answers come between."""
    for latency in (1, 1000):
        image = TapeImage(seed=11 + latency, picture_shape=shape, latency=latency)
        with connect(port) as device:
            device.load(image)
            assert device.info.pixel_bytes == 3 * shape[0] * shape[1] > link.MAX_PAYLOAD
            check_pictures(device, image, count=3)
            assert device.status().images >= 3


@pytest.mark.parametrize("kind, number", [(Command.PIXELS, 1), (Command.PIXELS, 3), (Command.INFER, 2)])
@pytest.mark.parametrize("name", ["payload bit", "nothing arrives", "answer lost"])
def test_after_a_fault_in_a_part_the_picture_is_sent_again_and_right(port, kind, number, name):
    image, count, notices = TapeImage(seed=12, picture_shape=(64, 48)), [0], []
    used = Forgetful(port, kind, number) if name == "answer lost" else port
    write = port.write

    def disturbed(octets):
        if octets[3] == kind and name != "answer lost":
            count[0] += 1
            if count[0] == number:
                octets = LINE_FAULTS[name](octets)
        write(octets)
    port.write = disturbed
    with connect(used, notice=notices.append) as device:
        device.load(image)
        check_pictures(device, image, count=4)
    assert notices


def test_parts_of_a_picture_that_do_not_belong_together_are_none(port):
    """Whatever is doubled or left out."""
    image = TapeImage(seed=13, picture_shape=(64, 48))
    pixels = pictures_of(image, 1)[0].transpose(1, 2, 0).tobytes()
    parts = [(Command.PIXELS, at.to_bytes(2, "little") + pixels[at:at + 4092]) for at in (0, 4092)]
    parts.append((Command.INFER, pixels[8184:]))
    with connect(port) as device:
        device.load(image)
    expected = image.logits(pictures_of(image, 1))[0].astype("<i4").tobytes()
    for order, faults in [([0, 1, 2], [None] * 3), ([0, 0, 1, 2], [None, Fault.ORDER, None, None]),
                          ([0, 2], [None, Fault.LENGTH]), ([1], [Fault.ORDER]), ([2], [Fault.LENGTH]),
                          ([0, 1, 1, 2], [None, None, Fault.LENGTH, None])]:
        assert converse(port, link.frame(Command.RESET, 9)) == [(Command.RESET | link.REPLY, 9, b"")]
        for part, fault in zip(order, faults, strict=True):
            [(kind, _, payload)] = converse(port, link.frame(parts[part][0], 7, parts[part][1]), 60_000)
            assert (kind == Command.ERROR | link.REPLY) == (fault is not None)
            assert fault is None or payload[0] == fault
        if faults[-1] is None:
            assert payload[:-6] == expected


def test_a_core_that_takes_its_time_is_waited_for(port):
    """Three times as long as one that has nothing to compute."""
    image = TapeImage(seed=14, latency=3 * SILENCE // 16)
    with connect(port) as device:
        device.load(image)
        check_pictures(device, image, count=4)


@pytest.mark.parametrize("answers_all_the_same", [False, True])
@pytest.mark.parametrize("shape", [(4, 6), (64, 48)])
@pytest.mark.parametrize("picture", [1, 2, 3])
def test_a_tape_that_is_found_damaged_is_never_a_wrong_class(port, picture, shape, answers_all_the_same):
    """Pictures before it are right, those behind it are refused; then a net is loaded again."""
    image = TapeImage(seed=15, picture_shape=shape, damaged_in=picture, latency=50,
                      answers_all_the_same=answers_all_the_same)
    pictures, answers = pictures_of(image, 5), []
    with connect(port) as device:
        device.load(image)
        with pytest.raises(DeviceError) as raised:
            for answer in device.classify(pictures):
                answers.append(answer.logits)
        assert raised.value.fault == Fault.DAMAGED
        assert str(raised.value) == ("the board's SDRAM gave wrong words of the net: the next `stream` loads it again; "
                                     "`stream --memory-test` tests the memory")
        # One that was answered may be behind on its way when the damage is found.
        assert len(answers) in (picture - 2, picture - 1)
        np.testing.assert_array_equal(np.reshape(answers, (-1, 3)), image.logits(pictures)[:len(answers)])
        status = device.status()
        assert (status.loaded, status.damaged, status.outstanding, status.images) == (0, 1, 0, len(answers))
        assert port.board.line.leds == 0x7F
        with pytest.raises(DeviceError, match="SDRAM gave wrong words"):
            list(device.classify(pictures))
        whole = TapeImage(seed=16, picture_shape=shape)
        assert device.load(whole)
        check_pictures(device, whole)
        assert not device.status().damaged


def test_the_memory_is_tested(port):
    with connect(port) as device:
        device.load(TapeImage(seed=1))
        for seed, errors in ((5, 0), (0x8003, 3), (0x7FFF, 0)):
            seen = []
            result = device.test_memory(seed, seen.append)
            assert seen == sorted(seen) and result.seconds >= seen[-1] > 0
            assert (result.octets, result.errors) == (32 << 20, errors)
            assert result.address == (2 * WRONG_ADDRESS if errors else None)
        assert not device.status().loaded
        image = TapeImage(seed=2)
        assert device.load(image)
        check_pictures(device, image)


def test_a_memory_test_of_a_host_before_is_waited_for(port):
    [answer] = converse(port, link.frame(Command.MEMORY_TEST, 1, b"\2\x80"), 2000)
    assert answer == (Command.MEMORY_TEST | link.REPLY, 1, b"")
    with connect(port) as device:
        assert device.test_memory(1).errors == 2


def test_a_load_waits_for_a_memory_test_of_a_host_before(port):
    [answer] = converse(port, link.frame(Command.MEMORY_TEST, 1, b"\0\0"), 2000)
    assert answer == (Command.MEMORY_TEST | link.REPLY, 1, b"")
    notices, image = [], TapeImage(seed=17)
    with connect(port, notice=notices.append) as device:
        assert device.load(image)
        check_pictures(device, image)
    assert notices == ["the device still tests its memory; waiting until it is done"]


@pytest.mark.parametrize("seed, code, text", [
    (7, 0, "32 MB written and read: no errors, "),
    (0x8003, 1, "32 MB written and read: 3 wrong words, the first at byte 2,386,092 (0x02468AC), ")])
def test_stream_tests_the_memory(port, capsys, monkeypatch, seed, code, text):
    monkeypatch.setattr("boards.host._open", lambda name, baud: port)
    monkeypatch.setattr(stream.secrets, "randbits", lambda bits: seed)
    assert ulx3s.main(["stream", "--port", "x", "--memory-test"]) == code
    out = capsys.readouterr().out
    assert out.startswith(text) and out.endswith(" s\n")
    assert ulx3s.main(["stream", "--port", "x", "--memory-test", "--json"]) == code
    assert '"bytes": 33554432' in capsys.readouterr().out
    assert ulx3s.main(["stream", "--memory-test", "resnet8"]) == 2
    assert "--memory-test takes no net" in capsys.readouterr().err
    for option in (["--images", "3"], ["--start", "0"], ["--data", "x"], ["--check"], ["--plot", "x"], ["--html", "x"],
                   ["--resident", "3"], ["--batch", "1"]):
        assert ulx3s.main(["stream", "--memory-test", *option]) == 2
        assert f"leave out {option[0]}\n" in capsys.readouterr().err


def test_a_net_too_long_for_a_device_without_sdram_is_refused(port):
    with connect(port) as device:
        device._read_info = lambda: link.Info.const({"sdram_bytes": 0, "config": device.info.config})
        with pytest.raises(UserError, match="tape 1 does not fit the chip's own memories, and the device has no SDRAM"):
            device.load(TapeImage(seed=1))
