"""The host library and a simulated board with an SDRAM: pictures are stored, and classified without the line."""
import binascii
import functools
import json
import re
from dataclasses import replace
from itertools import cycle, islice

import numpy as np
import pytest

from accel import isa, link
from accel.compiler.compile import compile_net
from accel.config import CONFIGS, TINY
from accel.cycles import schedule
from accel.link import Command, Fault, RunState
from boards import stream, ulx3s
from boards.host import Device, DeviceError
from model.common.errors import UserError
from model.integer import golden
from model.integer.net import PICTURE
from model.zoo.workload import Workload
from sim.board import build_board
from sim.sdram import sdram_timing
from tests.batches import batched
from tests.nets import NetBuilder
from tests.sim.board_port import BoardPort

pytestmark = pytest.mark.cxx
SILENCE = 5000
CONFIG = replace(TINY, name="tiny-stored", weight_depth=64, threshold_depth=256, program_depth=16,
                 sdram_hz=100_000_000)
CHUNK, CHUNK_CYCLES = 1024, 520         # bytes; cycles that the SDRAM takes for them, refreshes included
FIRST_PICTURE = 63                      # cycles from the first pixel on offer to the start, less those from the last
                                        # answer to the next start


def net_of(seed, strides, shape=(3, 3, 4)):
    build, name = NetBuilder(np.random.default_rng(seed), shape, f"stored{seed}"), PICTURE
    for stride in strides:
        name = build.layer(build.conv(name, 4, stride=stride), a_bits=4)
    build.logits(name, 5)
    return build.net()


RESIDENT, PLAYED, BATCHED = net_of(1, ()), net_of(2, (1, 1, 1)), net_of(3, (1, 2, 1, 1))
NETS = {"resident": RESIDENT, "played": PLAYED, "batched": BATCHED}


@functools.cache
def image_of(net):
    return batched(net, CONFIG, 4) if net is BATCHED else compile_net(net, CONFIG)


def test_the_nets_are_what_they_are_called():
    assert image_of(RESIDENT).resident and not image_of(PLAYED).resident
    image = image_of(BATCHED)
    assert image.batch == 3 and not image.resident
    assert sum(layout is isa.Picture and fields.wait for layout, fields in map(isa.decode, image.program)) == 2


@pytest.fixture(scope="module")
def library():
    return build_board(CONFIG, timeout=SILENCE)


@pytest.fixture
def port(library):
    port = BoardPort(library, sdram=sdram_timing(CONFIG))
    yield port
    port.board.close()


def connect(port, **options):
    """A host whose seconds are the simulated board's."""
    return Device(port, timeout=1.0, now=port.now, **options)


def pictures_of(net, count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *net.input_shape), dtype=np.uint8)


def check_run(run, net, pictures):
    batch = image_of(net).batch
    programs = -(-len(pictures) // batch)
    assert run.black == programs * batch - len(pictures)
    expected = golden.forward(net, np.pad(pictures, ((0, run.black), (0, 0), (0, 0), (0, 0))))
    np.testing.assert_array_equal(run.labels, expected[:len(pictures)].argmax(axis=1))
    assert run.digest == binascii.crc32(expected.astype("<i4").tobytes())
    timed, chunks = schedule(image_of(net)), -(-programs * batch * pictures[0].size // CHUNK)
    if run.waits:
        assert run.cycles > programs * timed.interval
    elif image_of(net).resident:
        assert run.cycles == programs * timed.interval + FIRST_PICTURE
    else:                               # a program may wait until a chunk of pictures is read
        assert programs * timed.cycles < run.cycles < programs * timed.interval + chunks * CHUNK_CYCLES


def check_line(device, net, pictures):
    """Picture by picture over the line."""
    logits, answers = golden.forward(net, pictures), list(device.classify(pictures))
    np.testing.assert_array_equal([answer.logits for answer in answers], logits)
    cycles_of_batch = schedule(image_of(net)).answers
    assert [answer.cycles for answer in answers] == [*islice(cycle(cycles_of_batch), len(pictures))]
    assert {answer.program_cycles for answer in answers} == {cycles_of_batch[-1]}


def put(port, pictures):
    """By the back door, where the host would store them."""
    words = np.frombuffer(link.picture_octets(pictures, 1)[0], "<u2").reshape(-1, 512)
    port.board.sdram.memory[link.PICTURES_AT:][:len(words)] = words


@pytest.mark.parametrize("kind, count", [("resident", 1), ("resident", 57), ("resident", 60), ("played", 1),
                                         ("played", 40), ("batched", 1), ("batched", 39), ("batched", 40)])
def test_a_run_answers_as_the_line_does(port, kind, count):
    """Pictures of 36 bytes, so that they lie across words and chunks."""
    net = NETS[kind]
    pictures, seen = pictures_of(net, count), []
    with connect(port) as device:
        device.load(image_of(net))
        assert device.store_pictures(pictures)
        run = device.classify_stored(lambda done, total: seen.append((done, total)))
        check_run(run, net, pictures)
        assert seen[-1] == (count + run.black, count + run.black) and run.waits == 0
        # The line still works, a picture takes as many cycles as ever, and the pictures are still there.
        check_line(device, net, pictures[:4])
        assert not device.store_pictures(pictures)
        again = device.classify_stored()
        check_run(again, net, pictures)
        assert port.board.line.framing_errors == 0


def test_what_is_stored_stays_and_what_is_missing_is_sent(port):
    """Also by another host, which finds by their check how many of them lie there."""
    pictures = pictures_of(RESIDENT, 300)
    octets, _ = link.picture_octets(pictures, 1)
    sent = []
    write = port.write

    def counted(frame):
        if frame[3] == Command.STORE:
            sent.append(frame)
        write(frame)
    port.write = counted
    for cut in (5, 3, 10, 11):
        port.board.sdram.memory[link.PICTURES_AT + cut - 1, 7] ^= 1
        port.board.sdram.memory[link.PICTURES_AT + 10, 7] ^= 2
        sent.clear()
        seen = []
        with connect(port) as device:
            device.load(image_of(RESIDENT))
            assert device.store_pictures(pictures, lambda done, total, seen=seen: seen.append((done, total)))
            check_run(device.classify_stored(), RESIDENT, pictures)
        first = 0 if cut == 5 else cut - 1                  # there was nothing before
        assert seen[0] == (CHUNK * first, len(octets)) and seen[-1] == (len(octets), len(octets))
        assert b"".join(frame[11:-4] for frame in sent) == octets[CHUNK * first:]


@pytest.mark.parametrize("fault", ["bit", "cut off", "nothing arrives"])
@pytest.mark.parametrize("number", [1, 3])
def test_after_a_fault_on_the_line_storing_goes_on(port, fault, number, monkeypatch):
    monkeypatch.setattr("boards.host.link.MAX_STORE_PART", CHUNK)
    pictures, notices, count = pictures_of(RESIDENT, 200), [], [0]
    write = port.write

    def disturbed(octets):
        if octets[3] == Command.STORE:
            count[0] += 1
            if count[0] == number:
                octets = {"bit": octets[:300] + bytes([octets[300] ^ 8]) + octets[301:], "cut off": octets[:-5],
                          "nothing arrives": b""}[fault]
        write(octets)
    port.write = disturbed
    with connect(port, notice=notices.append) as device:
        device.load(image_of(RESIDENT))
        assert device.store_pictures(pictures)
        check_run(device.classify_stored(), RESIDENT, pictures)
    assert notices


@pytest.mark.parametrize("kind", NETS)
def test_words_that_changed_in_the_memory_are_told(port, kind):
    net, pictures = NETS[kind], pictures_of(NETS[kind], 60)
    with connect(port) as device:
        device.load(image_of(net))
        device.store_pictures(pictures)
        port.board.sdram.memory[link.PICTURES_AT + 1, 100] ^= 1 << 9
        with pytest.raises(DeviceError, match="wrong words of the pictures"):
            device.classify_stored()
        assert device.store_pictures(pictures)
        check_run(device.classify_stored(), net, pictures)


@pytest.mark.parametrize("kind, count", [("resident", link.LABEL_SPACE + 100), ("played", 300), ("batched", 300)])
def test_a_reset_in_the_midst_of_a_run_ends_it(port, kind, count):
    """A host that was killed, and one that comes after it; and one that looks on."""
    # Of more pictures than there is room for labels, it goes on for as long as nobody fetches them.
    net, pictures = NETS[kind], pictures_of(NETS[kind], count)

    class Killed(Exception):
        pass

    def kill(done, total):
        raise Killed
    with connect(port) as device:
        device.load(image_of(net))
        put(port, pictures)
        device.store_pictures(pictures)
        with pytest.raises(Killed):
            device.classify_stored(kill)
        refused = [(Command.INFER, pictures[:1].tobytes()), (Command.STORE, bytes(4)),
                   (Command.RUN, bytes(link.size(link.Run)))]
        assert results(device).state == RunState.RUNNING
        for command, payload in refused:
            with pytest.raises(DeviceError) as error:
                device._request(command, payload)
            assert error.value.fault == Fault.BUSY
        assert results(device).state == RunState.RUNNING
    with connect(port) as device:
        assert results(device).state == RunState.NONE
        assert not device.load(image_of(net)) and not device.store_pictures(pictures)
        check_run(device.classify_stored(), net, pictures)
        check_line(device, net, pictures[:3])


def results(device):
    return link.from_bytes(link.RunResults, device._request(Command.RESULTS))


@pytest.mark.parametrize("net", [PLAYED, BATCHED], ids=["played", "batched"])
def test_a_tape_that_is_damaged_in_a_run_is_told(port, net):
    pictures, image = pictures_of(net, 200), image_of(net)
    with connect(port) as device:
        device.load(image)
        device.store_pictures(pictures)

        def damage(done, total):
            port.board.sdram.memory[0, 40] ^= 1
            port.board.sdram.memory[len(image.tape) - 1, 2] ^= 1
        with pytest.raises(DeviceError) as error:
            device.classify_stored(damage)
        assert error.value.fault == Fault.DAMAGED
        assert device.load(image) and not device.store_pictures(pictures)
        check_run(device.classify_stored(), net, pictures)
        check_line(device, net, pictures[:4])


def test_what_does_not_fit_is_refused(port):
    with connect(port) as device:
        for command, payload, fault in [
                (Command.STORE, bytes(4), Fault.NOT_LOADED), (Command.RUN, bytes(10), Fault.NOT_LOADED),
                (Command.RESULTS, b"x", Fault.LENGTH), (Command.LABELS, b"x", Fault.LENGTH),
                (Command.LABELS, b"\1\0", Fault.ORDER)]:
            with pytest.raises(DeviceError) as error:
                device._request(command, payload)
            assert error.value.fault == fault, command
        device.load(image_of(PLAYED))
        chunks = len(image_of(PLAYED).tape)
        assert chunks > 1
        for command, payload, fault in [
                (Command.STORE, bytes(4), Fault.PLACE), (Command.STORE, bytes([chunks - 1, 0, 1, 2]), Fault.PLACE),
                (Command.STORE, b"\x00\x80ab", Fault.PLACE), (Command.STORE, b"\xff\x7f" + bytes(1026), Fault.PLACE),
                (Command.STORE, b"\xff\xff" + bytes(4094), Fault.PLACE), (Command.STORE, bytes(2), Fault.LENGTH),
                (Command.STORE, bytes(5), Fault.LENGTH), (Command.RUN, bytes(9), Fault.LENGTH)]:
            with pytest.raises(DeviceError) as error:
                device._request(command, payload)
            assert error.value.fault == fault, payload[:4]
        for place in (chunks, 0x7FFF):
            device._request(Command.STORE, place.to_bytes(2, "little") + bytes(range(256)) * 4)
            assert port.board.sdram.memory[place].tobytes() == bytes(range(256)) * 4
        with pytest.raises(UserError, match="takes pictures of 36 bytes, not 3"):
            device.store_pictures(np.zeros((1, 3, 1, 1), np.uint8))
    with pytest.raises(UserError, match=r"the pictures take 32.0 MB, and beside the net .* 31.0 MB"):
        link.picture_place(1024, 32 << 10)


def test_a_run_waits_where_nobody_fetches_labels(port):
    """Its figures are then too low, which is said; its labels are all right."""
    count = link.LABEL_SPACE + 30
    pictures = pictures_of(RESIDENT, count)
    with connect(port) as device:
        device.load(image_of(RESIDENT))
        put(port, pictures)
        assert not device.store_pictures(pictures)
        request, waited = device._request, [0]

        def slow(kind, payload=b"", **options):
            while kind == Command.RESULTS and waited[0] < 2_000 and payload == b"" and running[0]:
                waited[0] += 1
                port._said += port.board.exchange(b"", 1000)
            return request(kind, payload, **options)
        running = [True]
        device._request = slow
        run = device.classify_stored()
        assert run.waits == 1
        check_run(run, RESIDENT, pictures)


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("command", [Command.INFER, Command.PIXELS])
@pytest.mark.parametrize("fault", ["bit", "nothing arrives"])
def test_after_a_fault_in_a_batch_all_of_it_is_sent_again(port, fault, command, number, monkeypatch):
    """Its answers come once, in order, and none is a wrong one's."""
    if command == Command.PIXELS:
        monkeypatch.setattr(Device, "_line_seconds", lambda self, octets: 0)
    pictures, notices, count = pictures_of(BATCHED, 8), [], [0]
    write = port.write

    def disturbed(octets):
        if octets[3] == command:
            count[0] += 1
            if count[0] == number:
                octets = octets[:-5] + bytes([octets[-5] ^ 8]) + octets[-4:] if fault == "bit" else b""
        write(octets)
    with connect(port, notice=notices.append) as device:
        device.load(image_of(BATCHED))
        port.write = disturbed
        check_line(device, BATCHED, pictures)
    again, *others = notices
    assert again.startswith("picture ") and all(notice.startswith("RESET: ") for notice in others) and count[0] > 9


def test_pictures_of_a_batch_wait_for_a_device_that_is_slower_than_the_line(port, monkeypatch):
    """Sent one behind the other, one would come while another one still waits for the core, and be lost."""
    monkeypatch.setattr(Device, "_line_seconds", lambda self, octets: 0)
    notices = []
    with connect(port, notice=notices.append) as device:
        device.load(image_of(BATCHED))
        port.board.line.core_hz //= 24
        check_line(device, BATCHED, pictures_of(BATCHED, 12))
    assert not notices


def test_a_batch_that_a_host_left_incomplete_is_forgotten(port):
    pictures = pictures_of(BATCHED, 4)
    with connect(port) as device:
        device.load(image_of(BATCHED))
        device._send(Command.INFER, pictures[3].tobytes())
        port._said += port.board.exchange(b"", 50_000)
    with connect(port) as device:
        assert not device.load(image_of(BATCHED))
        check_line(device, BATCHED, pictures)


def test_stream_resident(port, monkeypatch, capsys):
    """Stored once; each label and the digest are the integer model's, or the exit code is 1."""
    count = 40
    pictures = pictures_of(BATCHED, count)
    logits, labels = golden.forward(BATCHED, pictures), np.arange(count) % 5
    correct = int((logits.argmax(axis=1) == labels).sum())
    chosen = Workload(net=BATCHED, dataset="a set", start=0, pictures=pictures, labels=labels, classes=tuple("abcde"),
                      names=tuple(map(str, range(count))))
    monkeypatch.setitem(CONFIGS, CONFIG.name, CONFIG)
    monkeypatch.setattr("boards.host._open", lambda name, baud: port)
    monkeypatch.setattr(stream, "choose_workload", lambda *_, **__: chosen)
    monkeypatch.setattr(stream, "compile_net", lambda net, config, batch: image_of(net))
    arguments = ["stream", "a-net", "--port", "x", "--resident", str(count), "--timeout", "1e6"]
    assert ulx3s.main([*arguments, "--check", "--batch", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"40 pictures stored, \d+\.\d\d s", lines[2])
    assert lines[3:5] == ["exact: every label, and the digest of all logits, equal to the integer model",
                          f"accuracy: {correct / count:.2%} ({correct}/40)"]
    latency = schedule(image_of(BATCHED)).cycles
    assert lines[5] == f"in batches of 3: {latency:,} cycles from a batch's start to its last answer"
    assert re.fullmatch(r"on chip: [\d,.]+ images/s, [\d,.]+ cycles from picture to picture, [\d,]+ in all", lines[6])
    assert len(lines) == 7
    assert ulx3s.main([*arguments, "--json", "--batch", "3"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["labels"] == logits.argmax(axis=1).tolist() and not summary["sent"] and summary["waits"] == 0
    assert (summary["images"], summary["correct"], summary["all_exact"]) == (count, correct, None)
    assert (summary["batch"], summary["latency_cycles"]) == (3, latency)
    monkeypatch.setattr(stream.golden, "forward", lambda net, given: np.zeros((len(given), 5), np.int32))
    assert ulx3s.main([*arguments, "--check"]) == 1
    assert "NOT exact: labels, or the digest of all logits, are not the integer model's" in capsys.readouterr().out
