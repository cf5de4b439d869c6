# amaranth: UnusedElaboratable=no
"""The controller in pysim between a host with bytes packed by hand (docs/uart.md) and a core of a few lines."""
import binascii
import random
import struct
from collections import deque
from fractions import Fraction

import pytest
from amaranth.lib import data

from accel import isa
from accel.config import TINY
from accel.rtl.host.controller import Controller
from tests.accel.streams import Monitor, get, put, simulate

BAUD = 3_000_000
CLOCK_HZ = Fraction(325_000_000, 3)
INFO, STATUS, RESET, BEGIN_LOAD, LOAD, END_LOAD, INFER, ERROR = 0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x20, 0x7F
LENGTH, COMMAND, BUSY, NOT_LOADED, CONFIG, ORDER, IMAGE_CHECK = 3, 6, 7, 8, 9, 10, 11
OF_THE_FRAME = (1, 2, 3, 4, 5)                      # faults that the receiver finds
REPLY = 0x80
DIGEST = bytes.fromhex(TINY.digest())[:8]
NET = {"net": 0x1122334455667788, "n_logits": 3, "pixel_bytes": 12}
PIXELS = bytes(range(1, 13))
COUNTERS = {"frames": 1, "header_errors": 2, "frame_errors": 3, "timeouts": 4, "overruns": 5, "framing_errors": 0xFFFE}


def entry(target, address, word):
    return struct.pack("<BHQ", target, address, word)


def end_load(entries, *, count=None, check=None, n_logits=3, pixel_bytes=12, net=NET["net"], settings=0x0123456789):
    count = len(entries) // 11 if count is None else count
    check = binascii.crc32(entries) if check is None else check
    return struct.pack("<IIQHHQ", count, check, net, n_logits, pixel_bytes, settings)


def picture_answer(logits, cycles):
    return struct.pack(f"<{len(logits)}iHI", *logits, logits.index(max(logits)), cycles)


class Bench:
    """Host, payload buffer and core around a Controller.

    host: async function of (ctx, this), the test. pictures: what the core makes of each, (logits, cycles), in order;
    it answers no more than `released` of them. net: what the memories hold at the start. pauses: chance of a pause in
    each cycle of every stream.

    load, pixels: Monitors of what the core took.
    """
    def __init__(self, host, *, net=None, pictures=(), released=1 << 30, pauses=0.0, seed=0):
        self.dut = dut = Controller(TINY, clock_hz=CLOCK_HZ, baud=BAUD, net=net)
        self.load, self.pixels = Monitor(dut.load), Monitor(dut.pixels)
        self.released = released
        self._pictures, self._chance, self._pauses = deque(pictures), random.Random(seed), pauses
        self._buffer, self._over = bytearray(4096), False
        self._sending = False

        async def whole(ctx):
            ctx.set(dut.counters, COUNTERS)
            await host(ctx, self)
            self._over = True
        sinks = [self._sink(dut.load), self._sink(dut.pixels)]
        monitors = [monitor.watch for monitor in (self.load, self.pixels, Monitor(dut.header), Monitor(dut.payload))]
        simulate(dut, whole, self._memory, self._core, *sinks, *monitors, done=lambda: self._over, timeout=100_000)

    async def send(self, ctx, kind, sequence, payload=b"", *, length=None, fault=0):
        await self._pause(ctx)
        self._buffer[:len(payload)], self._sending = payload, True
        await put(ctx, self.dut.request, {"kind": kind, "sequence": sequence, "fault": fault,
                                          "length": len(payload) if length is None else length})
        self._sending = False

    async def answer(self, ctx):
        """(kind, sequence, payload) of the next reply."""
        await self._pause(ctx)
        header = await get(ctx, self.dut.header)
        payload = bytearray()
        for _ in range(header.length):
            await self._pause(ctx)
            payload.append(await get(ctx, self.dut.payload))
        assert header.version == 1
        return header.kind, header.sequence, bytes(payload)

    async def ask(self, ctx, kind, sequence, payload=b"", **options):
        await self.send(ctx, kind, sequence, payload, **options)
        return await self.answer(ctx)

    async def _pause(self, ctx):
        while self._chance.random() < self._pauses:
            await ctx.tick()

    def _sink(self, port):
        async def bench(ctx):
            while True:
                ctx.set(port.ready, self._chance.random() >= self._pauses)
                await ctx.tick()
        return bench

    async def _memory(self, ctx):
        """The buffer; what need not be kept any more is overwritten, as the receiver may."""
        dut, before = self.dut, 0
        ports = (dut.buffer_address, dut.reading, dut.request.valid)
        async for _, _, address, reading, waiting in ctx.tick().sample(*ports):
            ctx.set(dut.buffer_data, self._buffer[before])
            before = address
            if not waiting and not self._sending:
                for k in range(address if reading else 64):
                    self._buffer[k] ^= 0x5A

    async def _core(self, ctx):
        dut, answered = self.dut, 0
        while True:
            while len(self.pixels.payloads) < 4 * (answered + 1) or answered >= self.released:
                await ctx.tick()
            logits, cycles = self._pictures.popleft()
            for k, logit in enumerate(logits):
                await self._pause(ctx)
                last = k == len(logits) - 1
                ctx.set(dut.cycles, cycles if last else 0xDEAD)
                await put(ctx, dut.logits, {"logit": logit, "last": last})
            ctx.set(dut.cycles, 0xBEEF)                     # of the next picture already
            answered += 1


def refusal(sequence, fault):
    return ERROR | REPLY, sequence, bytes([fault])


def info(*, loaded=0, net=0, n_logits=0, pixel_bytes=0):
    return struct.pack(
        "<B3B8sII8B6HBBQHH", 1, 2, 0, 0, DIGEST, 108_333_333, BAUD, TINY.rows, TINY.channels,
        TINY.pixels_per_cycle, TINY.w_bits, TINY.a_bits, TINY.acc_bits, TINY.picture_width, TINY.picture_height,
        TINY.activation_depth, TINY.accumulator_depth, TINY.weight_depth, TINY.threshold_depth, TINY.program_depth,
        4096, 2, loaded, net, n_logits, pixel_bytes)


def status(*, images=0, load_next=0, outstanding=0, loaded=0):
    c = COUNTERS
    return struct.pack("<7HIBB", c["frames"], images, c["header_errors"], c["frame_errors"], c["timeouts"],
                       c["overruns"], c["framing_errors"], load_next, outstanding, loaded)


@pytest.mark.parametrize("pauses", [0.0, 0.7])
def test_info_status_and_reset(pauses):
    async def host(ctx, bench):
        assert await bench.ask(ctx, INFO, 7) == (INFO | REPLY, 7, info())
        assert await bench.ask(ctx, STATUS, 8) == (STATUS | REPLY, 8, status())
        assert await bench.ask(ctx, RESET, 255) == (RESET | REPLY, 255, b"")
        assert await bench.ask(ctx, INFO, 0, b"what is there too many") == (INFO | REPLY, 0, info())
    Bench(host, pauses=pauses)


def test_info_names_the_net_that_was_there_at_configuration():
    async def host(ctx, bench):
        assert await bench.ask(ctx, INFO, 1) == (INFO | REPLY, 1, info(loaded=1, **NET))
        assert await bench.ask(ctx, STATUS, 2) == (STATUS | REPLY, 2, status(loaded=1))
    Bench(host, net=NET)


def test_refusals_without_a_net():
    async def host(ctx, bench):
        for fault in OF_THE_FRAME:
            assert await bench.ask(ctx, INFO, fault, fault=fault) == refusal(fault, fault)
        for kind, payload, fault in [
                (0x00, b"", COMMAND), (0x7F, b"", COMMAND), (0xFF, b"abc", COMMAND),
                (INFER, PIXELS, NOT_LOADED), (INFER, b"", NOT_LOADED),
                (BEGIN_LOAD, DIGEST[:7], LENGTH), (BEGIN_LOAD, DIGEST + b"\0", LENGTH), (BEGIN_LOAD, b"", LENGTH),
                (BEGIN_LOAD, DIGEST[:7] + bytes([DIGEST[7] ^ 1]), CONFIG), (BEGIN_LOAD, bytes(8), CONFIG),
                # The BEGIN_LOAD before them was refused:
                (LOAD, bytes(4), ORDER), (LOAD, bytes(15), ORDER), (LOAD, b"", ORDER),
                (END_LOAD, end_load(b""), ORDER), (END_LOAD, b"", ORDER)]:
            assert await bench.ask(ctx, kind, 9, payload) == refusal(9, fault), (kind, payload)
        assert await bench.ask(ctx, INFO, 10) == (INFO | REPLY, 10, info())
        assert await bench.ask(ctx, BEGIN_LOAD, 11, DIGEST) == (BEGIN_LOAD | REPLY, 11, b"")
        for kind, payload, fault in [
                (LOAD, b"", LENGTH), (LOAD, bytes(3), LENGTH), (LOAD, bytes(4 + 10), LENGTH),
                (LOAD, struct.pack("<I", 1), ORDER), (LOAD, struct.pack("<I", 1 << 31), ORDER),
                (END_LOAD, bytes(27), LENGTH), (END_LOAD, bytes(29), LENGTH),
                (END_LOAD, end_load(b"", count=1), IMAGE_CHECK)]:
            assert await bench.ask(ctx, kind, 12, payload) == refusal(12, fault), (kind, payload)
        assert await bench.ask(ctx, INFO, 13) == (INFO | REPLY, 13, info())
    bench = Bench(host)
    assert not bench.load.payloads and not bench.pixels.payloads


def test_refusals_with_a_net_that_stays():
    async def host(ctx, bench):
        for kind, payload, fault in [
                (LOAD, bytes(15), ORDER), (END_LOAD, end_load(b""), ORDER), (BEGIN_LOAD, bytes(8), CONFIG),
                (INFER, PIXELS[:-1], LENGTH), (INFER, PIXELS + b"\0", LENGTH), (INFER, b"", LENGTH)]:
            assert await bench.ask(ctx, kind, 3, payload) == refusal(3, fault), (kind, payload)
        assert await bench.ask(ctx, INFO, 4) == (INFO | REPLY, 4, info(loaded=1, **NET))
    bench = Bench(host, net=NET)
    assert not bench.load.payloads and not bench.pixels.payloads


@pytest.mark.parametrize("pauses", [0.0, 0.7])
def test_a_load(pauses):
    words = [(0, 0, 0xFEDCBA9876543210), (1, 2047, 1), (2, 3, 0xFFFFFFFFFFFFFFFF), (3, 0, 5), (255, 1, 6), (1, 256, 7)]
    entries = b"".join(entry(*word) for word in words)

    async def host(ctx, bench):
        async def load(index, octets, sequence):
            return await bench.ask(ctx, LOAD, sequence, struct.pack("<I", index) + octets)

        assert await bench.ask(ctx, BEGIN_LOAD, 1, DIGEST) == (BEGIN_LOAD | REPLY, 1, b"")
        assert await bench.ask(ctx, INFO, 2) == (INFO | REPLY, 2, info(**NET))           # of the net before, not loaded
        assert await bench.ask(ctx, INFER, 3, PIXELS) == refusal(3, NOT_LOADED)
        assert await load(0, entries[:22], 4) == (LOAD | REPLY, 4, struct.pack("<I", 2))
        assert await load(0, entries[:22], 5) == refusal(5, ORDER)                       # the answer to 4 was lost
        assert await bench.ask(ctx, STATUS, 6) == (STATUS | REPLY, 6, status(load_next=2))
        assert await load(2, b"", 7) == (LOAD | REPLY, 7, struct.pack("<I", 2))
        assert await load(2, entries[22:], 8) == (LOAD | REPLY, 8, struct.pack("<I", 6))
        for wrong in ({"count": 5}, {"check": binascii.crc32(entries) ^ 1 << 31}):
            assert await bench.ask(ctx, END_LOAD, 9, end_load(entries, **wrong)) == refusal(9, IMAGE_CHECK)
        end = end_load(entries, net=0xABCD, n_logits=2, pixel_bytes=12)
        assert await bench.ask(ctx, END_LOAD, 10, end) == (END_LOAD | REPLY, 10, b"")
        new = {"net": 0xABCD, "n_logits": 2, "pixel_bytes": 12}
        assert await bench.ask(ctx, INFO, 11) == (INFO | REPLY, 11, info(loaded=1, **new))
        assert await bench.ask(ctx, INFER, 12, PIXELS) == (INFER | REPLY, 12, picture_answer([-4, -3], 99))
        # A second load starts its check anew.
        assert await bench.ask(ctx, BEGIN_LOAD, 13, DIGEST) == (BEGIN_LOAD | REPLY, 13, b"")
        assert await load(0, entries[:11], 14) == (LOAD | REPLY, 14, struct.pack("<I", 1))
        assert await bench.ask(ctx, END_LOAD, 15, end_load(entries[:11])) == (END_LOAD | REPLY, 15, b"")

    bench = Bench(host, net=NET, pictures=[([-4, -3], 99)], pauses=pauses)
    layout = data.Layout.cast(isa.LoadWord)
    taken = [layout.from_bits(word) for word in bench.load.payloads]
    settings = (isa.Target.SETTINGS.value, 0, 0x0123456789)
    assert [(word.target.value, word.address, word.data) for word in taken] == [
        *(word for word in words if word[0] < 3), settings, words[0], settings]


def test_a_refused_beginning_leaves_the_load_as_it_was():
    entries = entry(1, 0, 5) + entry(1, 1, 6)

    async def host(ctx, bench):
        assert await bench.ask(ctx, BEGIN_LOAD, 1, DIGEST) == (BEGIN_LOAD | REPLY, 1, b"")
        assert (await bench.ask(ctx, LOAD, 2, struct.pack("<I", 0) + entries[:11]))[0] == LOAD | REPLY
        assert await bench.ask(ctx, BEGIN_LOAD, 3, bytes(8)) == refusal(3, CONFIG)
        assert (await bench.ask(ctx, LOAD, 4, struct.pack("<I", 1) + entries[11:]))[0] == LOAD | REPLY
        assert await bench.ask(ctx, END_LOAD, 5, end_load(entries)) == (END_LOAD | REPLY, 5, b"")
        # It is over: another one needs its own beginning.
        assert await bench.ask(ctx, LOAD, 6, struct.pack("<I", 2) + entries) == refusal(6, ORDER)
        assert await bench.ask(ctx, END_LOAD, 7, end_load(entries)) == refusal(7, ORDER)
        assert await bench.ask(ctx, STATUS, 8) == (STATUS | REPLY, 8, status(load_next=2, loaded=1))
    Bench(host)


PICTURES = [([5, -7, 5], 1000), ([-9, -(1 << 31), -9], 0xFFFFFFFF), ([0, 1, (1 << 31) - 1], 7)]


@pytest.mark.parametrize("pauses", [0.0, 0.7])
def test_pictures(pauses):
    """Pixels as they came; the class is the lowest index of the largest logit."""
    async def host(ctx, bench):
        for k, (logits, cycles) in enumerate(PICTURES):
            answer = await bench.ask(ctx, INFER, 100 + k, bytes(octet ^ k for octet in PIXELS))
            assert answer == (INFER | REPLY, 100 + k, picture_answer(logits, cycles))
            await bench.ask(ctx, RESET, 0)
            assert ctx.get(bench.dut.leds) == logits.index(max(logits))
        assert await bench.ask(ctx, STATUS, 1) == (STATUS | REPLY, 1, status(images=3, loaded=1))
    bench = Bench(host, net=NET, pictures=PICTURES, pauses=pauses)
    assert b"".join(pixel.to_bytes(3, "little") for pixel in bench.pixels.payloads) == b"".join(
        bytes(octet ^ k for octet in PIXELS) for k in range(3))


@pytest.mark.parametrize("pauses", [0.0, 0.7])
def test_two_pictures_on_their_way(pauses):
    async def host(ctx, bench):
        await bench.send(ctx, INFER, 1, PIXELS)
        await bench.send(ctx, INFER, 2, PIXELS)
        assert await bench.ask(ctx, INFER, 3, PIXELS) == refusal(3, BUSY)
        assert await bench.ask(ctx, BEGIN_LOAD, 4, DIGEST) == refusal(4, BUSY)
        assert await bench.ask(ctx, LOAD, 5, bytes(4)) == refusal(5, BUSY)
        assert await bench.ask(ctx, STATUS, 6) == (STATUS | REPLY, 6, status(outstanding=2, loaded=1))
        assert ctx.get(bench.dut.leds) == 0x80
        bench.released = 2
        for k in (0, 1):
            assert await bench.answer(ctx) == (INFER | REPLY, 1 + k, picture_answer(*PICTURES[k]))
        await bench.send(ctx, INFER, 7, PIXELS)
        bench.released = 3
        assert await bench.answer(ctx) == (INFER | REPLY, 7, picture_answer(*PICTURES[2]))
        assert await bench.ask(ctx, STATUS, 8) == (STATUS | REPLY, 8, status(images=3, loaded=1))
    Bench(host, net=NET, pictures=PICTURES, released=0, pauses=pauses)


@pytest.mark.parametrize("pauses", [0.0, 0.7])
@pytest.mark.parametrize("count", [1, 2])
def test_reset_drops_the_pictures_on_their_way(count, pauses):
    async def host(ctx, bench):
        for k in range(count):
            await bench.send(ctx, INFER, k, PIXELS)
        await bench.send(ctx, RESET, 9)
        bench.released = count                      # the core has gone on with them
        assert await bench.answer(ctx) == (RESET | REPLY, 9, b"")
        assert await bench.ask(ctx, STATUS, 10) == (STATUS | REPLY, 10, status(loaded=1))
        await bench.send(ctx, INFER, 11, PIXELS)
        bench.released = 3
        assert await bench.answer(ctx) == (INFER | REPLY, 11, picture_answer(*PICTURES[count]))
    Bench(host, net=NET, pictures=PICTURES, released=0, pauses=pauses)
