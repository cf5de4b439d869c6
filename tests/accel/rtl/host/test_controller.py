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
ENTRY, SIZES, LOGITS, STALLED = 12, 13, 14, 15
PATIENCE = 500
SETTINGS = 2 | 2 << 7 | 1 << 14 | 2 << 20           # 2 x 2 pixels
OF_THE_FRAME = (1, 2, 3, 4, 5)                      # faults that the receiver finds
REPLY = 0x80
DIGEST = bytes.fromhex(TINY.digest())[:8]
NET = {"net": 0x1122334455667788, "n_logits": 3, "pixel_bytes": 12}
PIXELS = bytes(range(1, 13))
COUNTERS = {"frames": 1, "header_errors": 2, "frame_errors": 3, "timeouts": 4, "overruns": 5, "framing_errors": 0xFFFE,
            "locked": 1, "beats": 200}


def entry(target, address, word):
    return struct.pack("<BHQ", target, address, word)


def end_load(entries, *, count=None, check=None, n_logits=3, pixel_bytes=12, net=NET["net"], settings=SETTINGS):
    count = len(entries) // 11 if count is None else count
    check = binascii.crc32(entries) if check is None else check
    return struct.pack("<IIQHHQ", count, check, net, n_logits, pixel_bytes, settings)


def picture_answer(logits, cycles):
    return struct.pack(f"<{len(logits)}iHI", *logits, logits.index(max(logits)), cycles)


class Bench:
    """Host, payload buffer and core around a Controller.

    host: async function of (ctx, this), the test. pictures: what the core makes of each, (logits, cycles), in order;
    it answers no more than `released` of them, and does nothing while it is `frozen`. net: what the memories hold at
    the start. pauses: chance of a pause in each cycle of every stream. withdraws: offers to the core may be withdrawn.

    load, pixels: Monitors of what the core took.
    """
    def __init__(self, host, *, net=None, pictures=(), released=1 << 30, pauses=0.0, withdraws=False,
                 seed=0):
        self.dut = dut = Controller(TINY, clock_hz=CLOCK_HZ, baud=BAUD, patience=PATIENCE, net=net)
        self.load, self.pixels = Monitor(dut.load), Monitor(dut.pixels)
        to_core = [] if withdraws else [self.load.watch, self.pixels.watch]
        self.released = released
        self._pictures, self._chance, self._pauses = deque(pictures), random.Random(seed), pauses
        self._buffer, self._over, self.frozen = bytearray(4096), False, False
        self._sending = False

        async def whole(ctx):
            ctx.set(dut.counters, COUNTERS)
            await host(ctx, self)
            self._over = True
        sinks = [self._sink(dut.load), self._sink(dut.pixels)]
        monitors = [*to_core, Monitor(dut.header).watch, Monitor(dut.payload).watch]
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
                ctx.set(port.ready, not self.frozen and self._chance.random() >= self._pauses)
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
        """Forgets its pictures while it is cleared, and says so some cycles later."""
        dut, pixels, answered = self.dut, 0, 0
        words, offers, held = deque(), False, 0             # of (logit, last, cycles)
        while True:
            if not offers and words and self._chance.random() >= self._pauses:
                offers = True
                ctx.set(dut.logits.payload, {"logit": words[0][0], "last": words[0][1]})
                ctx.set(dut.cycles, words[0][2])
            ctx.set(dut.logits.valid, offers)
            ports = (dut.logits.ready, dut.pixels.valid, dut.pixels.ready, dut.clear)
            _, _, taken, valid, ready, clear = await ctx.tick().sample(*ports)
            if self.frozen:
                continue
            if offers and taken:
                words.popleft()
                offers = False
                ctx.set(dut.cycles, 0xBEEF)                 # of the next picture already
            pixels += valid and ready
            held = held + 1 if clear else 0
            if held:
                pixels = 0
                if not offers:
                    words.clear()
            if pixels >= 4 and answered < self.released:
                pixels, answered = pixels - 4, answered + 1
                logits, cycles = self._pictures.popleft()
                words.extend((logit, k == len(logits) - 1, cycles if k == len(logits) - 1 else 0xDEAD)
                             for k, logit in enumerate(logits))
            ctx.set(dut.cleared, held > 5 and not offers)


def refusal(sequence, fault):
    return ERROR | REPLY, sequence, bytes([fault])


def info(*, loaded=0, net=0, n_logits=0, pixel_bytes=0):
    return struct.pack(
        "<B3B8sII8B6HBBQHH", 1, 3, 0, 0, DIGEST, 108_333_333, BAUD, TINY.rows, TINY.channels,
        TINY.pixels_per_cycle, TINY.w_bits, TINY.a_bits, TINY.acc_bits, TINY.picture_width, TINY.picture_height,
        TINY.activation_depth, TINY.accumulator_depth, TINY.weight_depth, TINY.threshold_depth, TINY.program_depth,
        4096, 2, loaded, net, n_logits, pixel_bytes)


def status(*, images=0, load_next=0, outstanding=0, loaded=0):
    c = COUNTERS
    return struct.pack("<7HIBBBB", c["frames"], images, c["header_errors"], c["frame_errors"], c["timeouts"],
                       c["overruns"], c["framing_errors"], load_next, outstanding, loaded, c["locked"], c["beats"])


@pytest.mark.parametrize("pauses", [0.0, 0.7])
def test_info_status_and_reset(pauses):
    async def host(ctx, bench):
        assert await bench.ask(ctx, INFO, 7) == (INFO | REPLY, 7, info())
        assert await bench.ask(ctx, STATUS, 8) == (STATUS | REPLY, 8, status())
        assert await bench.ask(ctx, RESET, 255) == (RESET | REPLY, 255, b"")
        for kind in (INFO, STATUS, RESET):
            for payload in (b"x", b"what is there too many"):
                assert await bench.ask(ctx, kind, 0, payload) == refusal(0, LENGTH)
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
    words = [(0, 0, 0xFEDCBA9876543210), (1, 2047, 1), (2, 3, 0xFFFFFFFFFFFFFFFF), (2, 1023, 5), (0, 1023, 6),
             (1, 0, 7)]
    entries = b"".join(entry(*word) for word in words)

    async def host(ctx, bench):
        async def load(index, octets, sequence):
            return await bench.ask(ctx, LOAD, sequence, struct.pack("<I", index) + octets)

        assert await bench.ask(ctx, BEGIN_LOAD, 1, DIGEST) == (BEGIN_LOAD | REPLY, 1, b"")
        assert await bench.ask(ctx, INFO, 2) == (INFO | REPLY, 2, info())                # none is loaded
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
    settings = (isa.Target.SETTINGS.value, 0, SETTINGS)
    assert [(word.target.value, word.address, word.data) for word in taken] == [
        *words, settings, words[0], settings]


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
        assert await bench.ask(ctx, LOAD, 5, bytes(4)) == refusal(5, ORDER)
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


OTHER_NUMBERS = [[1], [1, 2], [1, 2, 3, 4], [9] * 1021, [9] * 1023, [9] * 1500]


@pytest.mark.parametrize("logits", OTHER_NUMBERS, ids=len)
def test_another_number_of_logits_than_the_net_has_is_answered_as_such(logits):
    """The pictures before and behind are answered as ever."""
    pictures = [PICTURES[0], (logits, 5), PICTURES[1]]

    async def host(ctx, bench):
        await bench.send(ctx, INFER, 1, PIXELS)
        await bench.send(ctx, INFER, 2, PIXELS)
        assert await bench.answer(ctx) == (INFER | REPLY, 1, picture_answer(*PICTURES[0]))
        await bench.send(ctx, INFER, 3, PIXELS)
        assert await bench.answer(ctx) == refusal(2, LOGITS)
        assert await bench.answer(ctx) == (INFER | REPLY, 3, picture_answer(*PICTURES[1]))
        assert await bench.ask(ctx, STATUS, 4) == (STATUS | REPLY, 4, status(images=2, loaded=1))
    Bench(host, net=NET, pictures=pictures)


@pytest.mark.slow
def test_an_answer_as_long_as_a_frame():
    logits = [(-1) ** k * k for k in range(1022)]

    async def host(ctx, bench):
        assert await bench.ask(ctx, INFER, 1, PIXELS) == (INFER | REPLY, 1, picture_answer(logits, 7))
    Bench(host, net=NET | {"n_logits": 1022}, pictures=[(logits, 7)])


@pytest.mark.parametrize("pauses", [0.0, 0.5])
@pytest.mark.parametrize("wait", [0, 40, 100, 200])
def test_reset_comes_between_the_logits_of_a_picture(wait, pauses):
    """Some of them have come, none, or all: nothing of the picture is left."""
    async def host(ctx, bench):
        images = 0
        for _ in range(3):
            await bench.send(ctx, INFER, 1, PIXELS)
            await ctx.tick().repeat(wait + 1)
            sent = ctx.get(bench.dut.header.valid)          # its answer is on its way to the line already
            if sent:
                assert await bench.answer(ctx) == (INFER | REPLY, 1, picture_answer(*PICTURES[0]))
            assert await bench.ask(ctx, RESET, 2) == (RESET | REPLY, 2, b"")
            images += sent
            assert await bench.ask(ctx, STATUS, 3) == (STATUS | REPLY, 3, status(images=images, loaded=1))
            assert await bench.ask(ctx, INFER, 4, PIXELS) == (INFER | REPLY, 4, picture_answer(*PICTURES[0]))
            images += 1
    Bench(host, net=NET, pictures=[PICTURES[0]] * 6, pauses=pauses, seed=wait)


def test_reset_frees_a_core_that_never_answers():
    """`released`: what it waits for never comes."""
    async def host(ctx, bench):
        await bench.send(ctx, INFER, 1, PIXELS)
        await bench.send(ctx, INFER, 2, PIXELS)
        await ctx.tick().repeat(10 * PATIENCE)              # patience is with commands, not with pictures
        assert await bench.ask(ctx, INFO, 3) == (INFO | REPLY, 3, info(loaded=1, **NET))
        assert await bench.ask(ctx, STATUS, 4) == (STATUS | REPLY, 4, status(outstanding=2, loaded=1))
        assert await bench.ask(ctx, BEGIN_LOAD, 5, DIGEST) == refusal(5, BUSY)
        assert await bench.ask(ctx, INFER, 6, PIXELS) == refusal(6, BUSY)
        assert await bench.ask(ctx, RESET, 7) == (RESET | REPLY, 7, b"")
        bench.released = 1
        assert await bench.ask(ctx, INFER, 8, PIXELS) == (INFER | REPLY, 8, picture_answer(*PICTURES[0]))
        assert await bench.ask(ctx, BEGIN_LOAD, 9, DIGEST) == (BEGIN_LOAD | REPLY, 9, b"")
    Bench(host, net=NET, pictures=PICTURES, released=0)


LOADS = {"BEGIN_LOAD": (BEGIN_LOAD, DIGEST), "LOAD": (LOAD, bytes(4) + entry(0, 1, 2)),
         "END_LOAD": (END_LOAD, end_load(entry(0, 1, 2))), "RESET": (RESET, b""), "INFER": (INFER, PIXELS)}


@pytest.mark.parametrize("name", LOADS)
def test_while_the_core_stands_still_every_command_is_answered(name):
    """The one that needs it first by STALLED; then there is no net, and none is being loaded. When the core goes on,
    it is cleared, and a net can be loaded."""
    async def host(ctx, bench):
        steps = ["BEGIN_LOAD", "LOAD", "END_LOAD"]
        for before in steps[:steps.index(name)] if name in steps else []:
            assert (await bench.ask(ctx, LOADS[before][0], 1, LOADS[before][1]))[0] == LOADS[before][0] | REPLY
        load_next = name == "END_LOAD"
        bench.frozen = True
        assert await bench.ask(ctx, LOADS[name][0], 2, LOADS[name][1]) == refusal(2, STALLED)
        for _ in range(2):
            assert await bench.ask(ctx, INFO, 3) == (INFO | REPLY, 3, info())
            assert await bench.ask(ctx, STATUS, 4) == (STATUS | REPLY, 4, status(load_next=load_next))
            assert await bench.ask(ctx, RESET, 5) == refusal(5, STALLED)
            assert await bench.ask(ctx, BEGIN_LOAD, 6, DIGEST) == refusal(6, STALLED)
            assert await bench.ask(ctx, LOAD, 7, bytes(4)) == refusal(7, ORDER)
            assert await bench.ask(ctx, END_LOAD, 8, end_load(b"")) == refusal(8, ORDER)
            assert await bench.ask(ctx, INFER, 9, PIXELS) == refusal(9, NOT_LOADED)
        bench.frozen = False
        assert await bench.ask(ctx, RESET, 10) == (RESET | REPLY, 10, b"")
        for step in steps:
            assert (await bench.ask(ctx, LOADS[step][0], 11, LOADS[step][1]))[0] == LOADS[step][0] | REPLY
        assert await bench.ask(ctx, INFER, 12, PIXELS) == (INFER | REPLY, 12, picture_answer(*PICTURES[0]))
    Bench(host, net=NET, pictures=PICTURES, withdraws=True)


def test_pictures_on_their_way_are_lost_with_a_core_that_stands_still():
    async def host(ctx, bench):
        await bench.send(ctx, INFER, 1, PIXELS)
        await bench.answer(ctx)
        bench.released = 1
        await bench.send(ctx, INFER, 2, PIXELS)
        await ctx.tick().repeat(200)
        bench.frozen = True
        assert await bench.ask(ctx, INFER, 3, PIXELS) == refusal(3, STALLED)
        assert await bench.ask(ctx, STATUS, 4) == (STATUS | REPLY, 4, status(images=1))
    Bench(host, net=NET, pictures=PICTURES, withdraws=True)
