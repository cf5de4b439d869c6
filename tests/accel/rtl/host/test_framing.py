# amaranth: UnusedElaboratable=no
"""Frames in pysim against docs/uart.md written down by hand: every fault, noise, silence, overruns, any pauses."""
import binascii
import random
import struct

import pytest

from accel.rtl.host.framing import FrameReceiver, FrameSender
from tests.accel.streams import Monitor, simulate, sink, source

SYNC = b"\xa5\x5a"
VERSION, MOST = 1, 4096
NONE, HEADER_CHECK, BAD_VERSION, LENGTH, FRAME_CHECK, TIMEOUT = range(6)
COUNTERS = ("header_errors", "frame_errors", "timeouts", "overruns")
SILENCE = 200
PAUSE = SILENCE + 10            # in a line: silence long enough to give a frame up


def frame(kind, sequence, payload=b"", *, version=VERSION, length=None):
    header = struct.pack("<BBBH", version, kind, sequence, len(payload) if length is None else length)
    return (SYNC + header + struct.pack("<H", binascii.crc_hqx(header, 0xFFFF)) + payload
            + struct.pack("<I", binascii.crc32(header + payload)))


def flip(octets, at, bits=0x10):
    octets = bytearray(octets)
    octets[at] ^= bits
    return bytes(octets)


def request(kind, sequence, length, fault=NONE):
    return kind | sequence << 8 | length << 16 | fault << 32


class Receiver:
    """What a FrameReceiver makes of a line: bytes, or numbers of cycles without one.

    distance: cycles from byte to byte, sometimes more. taker: function of this -> testbench of what is behind the
    receiver; by default a sink that pauses with chance `behind`.
    requests: all of them, as numbers. payloads: of those without a fault, as they lie in the buffer when taken.
    """
    def __init__(self, line, *, distance=2, behind=0.0, taker=None, seed=0):
        self.dut = dut = FrameReceiver(timeout=SILENCE)
        self.buffer, self.payloads, self.counters = {}, [], None
        self._line, self._distance, self._chance = line, distance, random.Random(seed)
        monitor, taker = Monitor(dut.o), taker(self) if taker else sink(dut.o, pauses=behind, seed=seed)
        cycles = sum(piece if isinstance(piece, int) else 12 * len(piece) for piece in line)
        simulate(dut, self._send, self._store, self._take, monitor.watch, taker,
                 done=lambda: self.counters is not None, timeout=cycles + 1000)
        self.requests = monitor.payloads

    async def _send(self, ctx):
        for piece in self._line:
            if isinstance(piece, int):
                await ctx.tick().repeat(piece)
                continue
            for octet in piece:
                ctx.set(self.dut.byte, octet)
                ctx.set(self.dut.valid, 1)
                await ctx.tick()
                ctx.set(self.dut.valid, 0)
                ctx.set(self.dut.byte, self._chance.randrange(256))
                longest = self._distance if self._chance.random() < 0.8 else 12
                await ctx.tick().repeat(self._chance.randint(self._distance, longest) - 1)
        await ctx.tick().repeat(20)
        self.counters = {name: ctx.get(getattr(self.dut, name)) for name in COUNTERS}

    async def _store(self, ctx):
        dut = self.dut
        ports = (dut.buffer_enable, dut.buffer_address, dut.buffer_data)
        async for _, _, enable, address, octet in ctx.tick().sample(*ports):
            if enable:
                self.buffer[address] = octet

    async def _take(self, ctx):
        dut = self.dut
        async for _, _, valid, ready, word in ctx.tick().sample(dut.o.valid, dut.o.ready, dut.o.payload):
            if valid and ready and word.fault.value == NONE:
                self.payloads.append(bytes(self.buffer[k] for k in range(word.length)))

    def check(self, *requests, payloads=None, **counters):
        assert self.requests == list(requests)
        assert self.counters == dict.fromkeys(COUNTERS, 0) | counters
        if payloads is not None:
            assert self.payloads == list(payloads)


def test_the_example_of_the_protocol():
    octets = bytes.fromhex("A55A01010700007948 4DAFB146")
    assert frame(1, 7) == octets
    Receiver([octets]).check(request(1, 7, 0), payloads=[b""])


@pytest.mark.parametrize("length", [0, 1, 2, 63, MOST])
def test_payloads_up_to_the_longest(length):
    payload = random.Random(length).randbytes(length)
    Receiver([frame(0x20, 0xFF, payload), frame(1, 0)]).check(
        request(0x20, 0xFF, length), request(1, 0, 0), payloads=[payload, b""])


GOOD, GOOD_PAYLOAD = frame(2, 9, b"good"), [b"good"]
TAKEN = request(2, 9, 4)
FAULTS = {
    "header bit": ([flip(frame(0x11, 3, b"abc"), 4)], [request(0x11, 3 ^ 0x10, 3, HEADER_CHECK)], {"header_errors": 1}),
    "header check bit": ([flip(frame(0x11, 3, b"abc"), 8)], [request(0x11, 3, 3, HEADER_CHECK)], {"header_errors": 1}),
    "payload bit": ([flip(frame(0x11, 3, b"abc"), 10)], [request(0x11, 3, 3, FRAME_CHECK)], {"frame_errors": 1}),
    "frame check bit": ([flip(frame(0x11, 3, b"abc"), -1)], [request(0x11, 3, 3, FRAME_CHECK)], {"frame_errors": 1}),
    "frame check of an empty frame": ([flip(frame(1, 3), -2)], [request(1, 3, 0, FRAME_CHECK)], {"frame_errors": 1}),
    "another version": ([frame(0x11, 3, b"abc", version=2)], [request(0x11, 3, 3, BAD_VERSION)], {}),
    "too long": ([frame(0x11, 3, length=MOST + 1)[:9]], [request(0x11, 3, MOST + 1, LENGTH)], {}),
    "longest length": ([frame(0x11, 3, length=0xFFFF)[:9]], [request(0x11, 3, 0xFFFF, LENGTH)], {}),
    "silence after the first sync byte": ([SYNC[:1], PAUSE], [], {"timeouts": 1}),
    "silence in the header": ([frame(0x11, 3, b"abc")[:5], PAUSE], [], {"timeouts": 1}),
    "silence in the header check": ([frame(0x11, 3, b"abc")[:8], PAUSE], [], {"timeouts": 1}),
    "silence in the payload": ([frame(0x11, 3, b"abc")[:11], PAUSE], [request(0x11, 3, 3, TIMEOUT)], {"timeouts": 1}),
    "silence before the frame check": (
        [frame(0x11, 3, b"abc")[:-1], PAUSE], [request(0x11, 3, 3, TIMEOUT)], {"timeouts": 1}),
    "silence between frames": ([frame(0x11, 3), 3 * PAUSE], [request(0x11, 3, 0)], {}),
    "short silences inside a frame": ([part for octet in frame(0x11, 3) for part in (bytes([octet]), SILENCE - 20)],
                                      [request(0x11, 3, 0)], {}),
    "noise before the sync": ([b"\x00\x5a\xa5\x01\xff\x5a\xa5"], [], {}),
    "half a sync before the sync": ([SYNC[:1] * 5], [], {}),
    "a sync without a frame": ([SYNC + b"\x00" * 7], [request(0, 0, 0, HEADER_CHECK)], {"header_errors": 1}),
    "first sync byte lost": ([frame(0x11, 3)[1:]], [], {}),
    "first sync byte twice": ([SYNC[:1] + frame(0x11, 3)], [request(0x11, 3, 0)], {}),
    "first sync byte and another before a frame": ([SYNC[:1] + b"\x01" + frame(0x11, 3)], [request(0x11, 3, 0)], {}),
    "a frame behind a header of another version": (
        [frame(0x11, 3, version=2)[:9] + frame(0x11, 4)],
        [request(0x11, 3, 0, BAD_VERSION), request(0x11, 4, 0)], {}),
    "a frame as the payload of another version": (
        [frame(0x11, 3, frame(0x11, 4), version=2)],
        [request(0x11, 3, 13, BAD_VERSION), request(0x11, 4, 0)], {}),
    "a frame in a payload that is too long": (
        [frame(0x11, 3, length=MOST + 1)[:9] + frame(0x11, 4)],
        [request(0x11, 3, MOST + 1, LENGTH), request(0x11, 4, 0)], {}),
    "a frame that a stray sync takes for its header": (
        [SYNC + frame(1, 7), PAUSE], [request(0x5A, 1, 0x0701, HEADER_CHECK)], {"header_errors": 1}),
    "another version, too long": (
        [frame(0x11, 3, version=2, length=MOST + 1)[:9]], [request(0x11, 3, MOST + 1, BAD_VERSION)], {}),
    "another version with a header that came damaged": (
        [flip(frame(0x11, 3, version=2, length=MOST + 1)[:9], 3)],
        [request(0x11 ^ 0x10, 3, MOST + 1, HEADER_CHECK)], {"header_errors": 1}),
    "a payload that came damaged and breaks off": (
        [flip(frame(0x11, 3, b"abc"), 10)[:-1], PAUSE], [request(0x11, 3, 3, TIMEOUT)], {"timeouts": 1}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_reported_and_the_next_frame_taken(name):
    line, faults, counters = FAULTS[name]
    Receiver([*line, GOOD]).check(*faults, TAKEN, **counters)


def test_what_follows_a_bad_header_is_searched_from_the_next_byte_on():
    broken = flip(frame(0x11, 3), 4)
    Receiver([broken[:9] + GOOD]).check(request(0x11, 3 ^ 0x10, 0, HEADER_CHECK), TAKEN, header_errors=1)
    # A frame inside the payload of one with a damaged header cannot be told from one of its own.
    outer = frame(0x11, 3, GOOD)
    Receiver([flip(outer, 4)]).check(request(0x11, 3 ^ 0x10, len(GOOD), HEADER_CHECK), TAKEN, header_errors=1)


def test_sync_bytes_and_whole_frames_inside_a_payload_are_payload():
    payload = SYNC + GOOD + SYNC[:1]
    Receiver([frame(0x11, 3, payload)]).check(request(0x11, 3, len(payload)), payloads=[payload])


def test_frames_that_come_while_a_request_waits_are_dropped():
    def late(run):
        dut = run.dut

        async def bench(ctx):
            await ctx.tick().until(dut.overruns == 2)
            ctx.set(dut.o.ready, 1)
        return bench
    run = Receiver([frame(0x11, 3, b"abc"), frame(0x11, 4, b"defg"), frame(0x11, 5), 50, GOOD], taker=late)
    run.check(request(0x11, 3, 3), TAKEN, payloads=[b"abc", *GOOD_PAYLOAD], overruns=2)


@pytest.mark.parametrize("second, counters", [
    ([flip(frame(0x11, 4), 4)[:9]], {"header_errors": 1}), ([frame(0x11, 4, version=2)[:9]], {}),
    ([frame(0x11, 4, length=MOST + 1)[:9]], {}), ([flip(frame(0x11, 4), -1)], {"frame_errors": 1}),
    ([frame(0x11, 4, b"de")[:10], PAUSE], {"timeouts": 1}), ([frame(0x11, 4)[:-1], PAUSE], {"timeouts": 1}),
    ([flip(frame(0x11, 4, b"de"), -1)], {})])           # its payload was not kept: nobody knows
def test_a_fault_that_comes_while_a_request_waits_is_counted_twice_and_not_answered(second, counters):
    def late(run):
        async def bench(ctx):
            await ctx.tick().until(run.dut.overruns == 1)
            ctx.set(run.dut.o.ready, 1)
        return bench
    run = Receiver([frame(0x11, 3, b"abc"), *second, GOOD], taker=late)
    run.check(request(0x11, 3, 3), TAKEN, payloads=[b"abc", *GOOD_PAYLOAD], overruns=1, **counters)


def test_an_overrun_that_breaks_off_is_answered():
    """Its payload came while a request waited, its silence when that one was gone."""
    def late(run):
        async def bench(ctx):
            await ctx.tick().until(run.dut.o.valid)
            await ctx.tick().repeat(2 * (9 + 4))
            ctx.set(run.dut.o.ready, 1)
        return bench
    run = Receiver([frame(0x11, 3, b"abc"), frame(0x11, 4, b"defghijk" * 9)[:60], PAUSE, GOOD], taker=late)
    run.check(request(0x11, 3, 3), request(0x11, 4, 72, TIMEOUT), TAKEN, timeouts=1)


@pytest.mark.parametrize("pause, taken", [(SILENCE - 15, True), (SILENCE + 5, False)])
@pytest.mark.parametrize("at", range(1, 16))
def test_the_silence_that_ends_a_frame(pause, taken, at):
    """As long in its sync as in its check; only what has a whole header is answered."""
    whole = frame(0x11, 3, b"abc")
    broken = [] if at < 9 else [request(0x11, 3, 3, TIMEOUT)]
    line = [whole[:at], pause, whole[at:], GOOD]
    if not taken:
        line = [whole[:at], pause, GOOD]
    Receiver(line, distance=2).check(*([request(0x11, 3, 3)] if taken else broken), TAKEN, timeouts=int(not taken))


def test_a_frame_that_began_too_early_is_dropped_though_the_request_went_before_its_end():
    def late(run):
        dut = run.dut

        async def bench(ctx):
            await ctx.tick().until(dut.o.valid)
            await ctx.tick().repeat(2 * (9 + 3))                # to the third byte of the next payload
            ctx.set(dut.o.ready, 1)
        return bench
    run = Receiver([frame(0x11, 3, b"abc"), frame(0x11, 4, b"defghijk" * 9), GOOD], taker=late)
    run.check(request(0x11, 3, 3), TAKEN, payloads=[b"abc", *GOOD_PAYLOAD], overruns=1)


def test_what_is_still_to_be_read_is_not_overwritten():
    def reading(run):
        dut = run.dut

        async def bench(ctx):
            ctx.set(dut.o.ready, 1)
            await ctx.tick().until(dut.o.valid)
            ctx.set(dut.hold, 1)
            ctx.set(dut.read_address, 3)
            await ctx.tick().until(dut.overruns == 1)
            ctx.set(dut.hold, 0)
        return bench
    run = Receiver([frame(0x11, 3, b"abcdef"), frame(0x11, 4, b"ghi"), frame(0x11, 5, b"jklm")], taker=reading)
    run.check(request(0x11, 3, 6), request(0x11, 4, 3), payloads=[b"abcdef", b"ghi"], overruns=1)
    assert bytes(run.buffer[k] for k in range(6)) == b"jkldef"
    run = Receiver([frame(0x11, 3, b"abcdef"), frame(0x11, 5, b"jklm"), GOOD], taker=reading)
    run.check(request(0x11, 3, 6), TAKEN, payloads=[b"abcdef", *GOOD_PAYLOAD], overruns=1)


@pytest.mark.parametrize("wait", range(14, 26))
def test_a_request_keeps_its_payload_whenever_it_is_taken(wait):
    """Taken some cycles after it came, around the first byte of the next payload, and read then."""
    def late(run):
        dut = run.dut

        async def bench(ctx):
            await ctx.tick().until(dut.o.valid)
            await ctx.tick().repeat(wait)
            ctx.set(dut.o.ready, 1)
            await ctx.tick()
            ctx.set(dut.hold, 1)
            await ctx.tick().repeat(40)
            kept.append(bytes(run.buffer[k] for k in range(3)))
            ctx.set(dut.hold, 0)
        return bench
    kept = []
    run = Receiver([frame(0x11, 3, b"abc"), frame(0x11, 4, b"def"), 40, GOOD], taker=late)
    assert kept == [b"abc"]
    run.check(request(0x11, 3, 3), TAKEN, payloads=[b"abc", *GOOD_PAYLOAD], overruns=1)


def parse(octets):
    """(request, payload where it came whole) of what docs/uart.md says is in a line without silences."""
    at = 0
    while (at := octets.find(SYNC, at)) >= 0 and len(octets) >= at + 9:
        header, check = octets[at + 2:at + 7], octets[at + 7:at + 9]
        version, kind, sequence, length = struct.unpack("<BBBH", header)
        at += 9
        fault = (HEADER_CHECK if struct.pack("<H", binascii.crc_hqx(header, 0xFFFF)) != check else
                 BAD_VERSION if version != VERSION else LENGTH if length > MOST else NONE)
        payload = None
        if fault == NONE:
            payload, check = octets[at:at + length], octets[at + length:at + length + 4]
            at += length + 4
            if at > len(octets):
                return
            if struct.pack("<I", binascii.crc32(header + payload)) != check:
                fault, payload = FRAME_CHECK, None
        yield request(kind, sequence, length, fault), payload


@pytest.mark.parametrize("seed", range(4))
def test_any_mixture_of_frames_and_damage(seed):
    chance = random.Random(seed)

    def octets(most):
        return bytes(chance.choice([0xA5, 0x5A, 1, chance.randrange(256)]) for _ in range(chance.randrange(most)))
    pieces = []
    for sequence in range(60):
        whole = frame(chance.randrange(256), sequence, octets(30))
        at = chance.randrange(len(whole))
        pieces.append(chance.choice([whole, whole, flip(whole, at, 1 << chance.randrange(8)), whole[:at], octets(12)]))
    line = b"".join(pieces)
    expected = list(parse(line))
    faults = [(word >> 32, payload) for word, payload in expected]
    assert {fault for fault, _ in faults} >= {NONE, HEADER_CHECK, FRAME_CHECK}
    Receiver([line], behind=0.5, distance=2 + seed % 2, seed=seed).check(
        *(word for word, _ in expected), payloads=[payload for fault, payload in faults if fault == NONE],
        header_errors=sum(fault == HEADER_CHECK for fault, _ in faults),
        frame_errors=sum(fault == FRAME_CHECK for fault, _ in faults))


def send(frames, payload, *, before=0.0, behind=0.0):
    """(bytes on the line, payload bytes taken, cycles of the line's transfers) of a FrameSender that is given headers
    of `frames`, (kind, sequence, length), and the bytes of `payload`."""
    dut = FrameSender()
    line, taken = Monitor(dut.o), Monitor(dut.payload)
    headers = [{"version": VERSION, "kind": kind, "sequence": sequence, "length": length}
               for kind, sequence, length in frames]
    octets_expected = sum(13 + length for _, _, length in frames)
    simulate(dut, source(dut.header, headers, pauses=before, seed=1),
             source(dut.payload, payload, pauses=before, seed=2), sink(dut.o, pauses=behind, seed=3),
             line.watch, taken.watch,
             done=lambda: len(line.payloads) >= octets_expected, timeout=100 * octets_expected)
    return bytes(line.payloads), bytes(taken.payloads), line.cycles


@pytest.mark.parametrize("before", [0.0, 0.6])
@pytest.mark.parametrize("behind", [0.0, 0.6])
def test_frames_are_sent_whole_one_after_the_other(before, behind):
    chance = random.Random(7)
    lengths = [0, 1, 0, 4, *(chance.randrange(40) for _ in range(8)), 300]
    payloads = [chance.randbytes(length) for length in lengths]
    headers = [(chance.randrange(256), k, length) for k, length in enumerate(lengths)]
    line, taken, _ = send(headers, b"".join(payloads), before=before, behind=behind)
    assert taken == b"".join(payloads)
    assert line == b"".join(frame(kind, sequence, payload) for (kind, sequence, _), payload
                            in zip(headers, payloads, strict=True))


def test_payload_is_taken_inside_a_frame_only():
    line, taken, _ = send([(0x81, 5, 2)], b"abcde")
    assert (line, taken) == (frame(0x81, 5, b"ab"), b"ab")


def test_a_frame_is_sent_a_byte_a_cycle_but_for_the_two_that_its_checks_take():
    _, _, cycles = send([(0x81, 5, 20)], bytes(20))
    assert cycles[-1] - cycles[0] == 13 + 20 - 1 + 2
