# amaranth: UnusedElaboratable=no
"""The controller in pysim between a host with bytes packed by hand (docs/uart.md) and a core of a few lines."""
import random
import struct
from collections import deque
from dataclasses import replace
from fractions import Fraction

import pytest
from amaranth.lib import data

from accel import isa
from accel.config import TINY
from accel.rtl.host.controller import Controller
from tests.accel.streams import Monitor, get, put, simulate

BAUD = 3_000_000
CLOCK_HZ = Fraction(325_000_000, 3)
INFO, STATUS, RESET, BEGIN_LOAD, LOAD, END_LOAD, MEMORY_TEST = 0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13
INFER, PIXELS, ERROR = 0x20, 0x21, 0x7F
LENGTH, COMMAND, BUSY, NOT_LOADED, CONFIG, ORDER, IMAGE_CHECK = 3, 6, 7, 8, 9, 10, 11
SIZES, LOGITS, STALLED, DAMAGED, NO_MEMORY = 13, 14, 15, 16, 17
NEVER, RUNNING, DONE = range(3)
PATIENCE = 500
OF_THE_FRAME = (1, 2, 3, 4, 5)                      # faults that the receiver finds
REPLY = 0x80
DIGEST = bytes.fromhex(TINY.digest())[:8]
NET = {"net": 0x1122334455667788, "n_logits": 3, "pixels": 4, "batch": 1}
PICTURE = bytes(range(1, 13))
TAPE = 0xA1A2A3A4A5A6A7A8
OCTETS = random.Random(8).randbytes(1024)
WITH_SDRAM = replace(TINY, sdram_hz=100_000_000)
COUNTERS = {"frames": 1, "header_errors": 2, "frame_errors": 3, "timeouts": 4, "overruns": 5, "framing_errors": 0xFFFE,
            "locked": 1, "beats": 200}


def begin_load(tape=TAPE, chunks=1, config=DIGEST):
    return config + struct.pack("<QI", tape, chunks)


def load(offset, octets):
    return struct.pack("<I", offset) + octets


def end_load(*, check=0xC0DE5EED, flags=1, net=NET["net"], n_logits=3, pixels=4, batch=1):
    return struct.pack("<IBQHHB", check, flags, net, n_logits, pixels, batch)


def words_of(octets):
    return [(1, word) for word in struct.unpack(f"<{len(octets) // 2}H", octets)]


WHOLE_LOAD = [(0, 0), *words_of(OCTETS), (2, 0x5EED), (2, 0xC0DE), (3, 0x8000)]


def picture_answer(logits, cycles):
    return struct.pack(f"<{len(logits)}iHI", *logits, logits.index(max(logits)), cycles)


class Bench:
    """Host, payload buffer and core around a Controller.

    host: async function of (ctx, this), the test. pictures: what the core makes of each, (logits, cycles), in order;
    it answers no more than `released` of them, and does nothing while it is `frozen`; with `one_buffer` it takes pixels
    only while it has no picture. It finds its tape damaged as soon as, and as long as, `damage` is set. net: what it
    holds at the start. pauses: chance of a pause in each cycle of every stream. withdraws: offers to the core may be
    withdrawn.

    load, pixels: Monitors of what the core took.
    """
    def __init__(self, host, *, config=TINY, net=None, pictures=(), released=1 << 30, one_buffer=False, pauses=0.0,
                 withdraws=False, seed=0):
        self.dut = dut = Controller(config, clock_hz=CLOCK_HZ, baud=BAUD, patience=PATIENCE, net=net)
        self.load, self.pixels = Monitor(dut.load), Monitor(dut.pixels)
        to_core = [] if withdraws else [self.load.watch, self.pixels.watch]
        self.released = released
        self._pictures, self._chance, self._pauses = deque(pictures), random.Random(seed), pauses
        self._buffer, self._over, self.frozen, self.damage = bytearray(4096), False, False, False
        self._pictures_there, self._one_buffer = 0, one_buffer
        self._sending = False

        async def whole(ctx):
            ctx.set(dut.counters, COUNTERS)
            await host(ctx, self)
            self._over = True
        sinks = [self._sink(dut.load), self._sink(dut.pixels), self._net]
        monitors = [*to_core, Monitor(dut.header).watch, Monitor(dut.payload).watch]
        simulate(dut, whole, self._memory, self._core, *sinks, *monitors, done=lambda: self._over, timeout=300_000)

    @property
    def load_words(self):
        words = map(data.Layout.cast(isa.LoadWord).from_bits, self.load.payloads)
        return [(word.kind.value, word.data) for word in words]

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
                full = port is self.dut.pixels and (self.damage or self._one_buffer and self._pictures_there)
                ctx.set(port.ready, not self.frozen and not full and self._chance.random() >= self._pauses)
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

    async def _net(self, ctx):
        """What the core says of its tape and memory."""
        dut, checks, tests, seed = self.dut, None, None, None
        ctx.set(dut.whole, 1)
        async for _, _, valid, ready, word in ctx.tick().sample(dut.load.valid, dut.load.ready, dut.load.payload):
            kind = word.kind.value if valid and ready else None
            if kind in (0, 4):
                ctx.set(dut.whole, 0)
                ctx.set(dut.damaged, 0)
            if kind == 3:
                checks = 5 * PATIENCE - 50                  # it may
            if kind == 4:
                tests, seed = 900, word.data
                ctx.set(dut.memory, {"tested": 0, "errors": 0xFFFF, "address": 0xFFFFFF})
            checks, tests = (left and left - 1 for left in (checks, tests))
            if checks == 0 or self.damage:
                checks = None
                ctx.set(dut.whole, not self.damage)
                ctx.set(dut.damaged, self.damage)
            if tests == 0:
                tests = None
                ctx.set(dut.memory, {"tested": 1, "errors": seed, "address": 0xABCDEF})

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
            self._pictures_there = (pixels >= 4) + len(words)
            if pixels >= 4 and answered < self.released and not self.damage:
                pixels, answered = pixels - 4, answered + 1
                logits, cycles = self._pictures.popleft()
                words.extend((logit, k == len(logits) - 1, cycles if k == len(logits) - 1 else 0xDEAD)
                             for k, logit in enumerate(logits))
            ctx.set(dut.cleared, held > 5 and not offers)


def refusal(sequence, fault):
    return ERROR | REPLY, sequence, bytes([fault])


def info(*, loaded=0, net=0, n_logits=0, pixels=0, batch=0, sdram=0):
    return struct.pack(
        "<B3B8sII6B5HIHBBQHHBB", 1, 5, 0, 0, DIGEST, 108_333_333, BAUD, TINY.rows, TINY.channels,
        TINY.pixels_per_cycle, TINY.w_bits, TINY.a_bits, TINY.acc_bits, TINY.activation_depth,
        TINY.accumulator_depth, TINY.weight_depth, TINY.threshold_depth, TINY.program_depth,
        sdram, 4096, 2, loaded, net, n_logits, 3 * pixels, batch, 10)


def status(*, images=0, load_next=0, tape=0, outstanding=0, loaded=0, damaged=0, memory=(NEVER, 0, 0)):
    c = COUNTERS
    return struct.pack("<7HIQ6BHI", c["frames"], images, c["header_errors"], c["frame_errors"], c["timeouts"],
                       c["overruns"], c["framing_errors"], load_next, tape, outstanding, loaded, damaged, c["locked"],
                       c["beats"], *memory)


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
                (INFER, PICTURE, NOT_LOADED), (INFER, b"", NOT_LOADED), (PIXELS, bytes(5), NOT_LOADED),
                (MEMORY_TEST, bytes(2), NO_MEMORY), (MEMORY_TEST, b"", NO_MEMORY),
                (BEGIN_LOAD, begin_load()[:19], LENGTH), (BEGIN_LOAD, begin_load() + b"\0", LENGTH),
                (BEGIN_LOAD, b"", LENGTH), (BEGIN_LOAD, begin_load(config=DIGEST[:7] + bytes([DIGEST[7] ^ 1])), CONFIG),
                (BEGIN_LOAD, bytes(20), CONFIG), (BEGIN_LOAD, begin_load(chunks=0), SIZES),
                (BEGIN_LOAD, begin_load(chunks=32769), SIZES),
                # The BEGIN_LOAD before them was refused:
                (LOAD, bytes(6), ORDER), (LOAD, bytes(15), ORDER), (LOAD, b"", ORDER),
                (END_LOAD, end_load(), ORDER), (END_LOAD, b"", ORDER)]:
            assert await bench.ask(ctx, kind, 9, payload) == refusal(9, fault), (kind, payload)
        assert await bench.ask(ctx, INFO, 10) == (INFO | REPLY, 10, info())
        assert await bench.ask(ctx, BEGIN_LOAD, 11, begin_load()) == (BEGIN_LOAD | REPLY, 11, bytes(4))
        for kind, payload, fault in [
                (LOAD, b"", LENGTH), (LOAD, bytes(3), LENGTH), (LOAD, bytes(4), LENGTH), (LOAD, bytes(4 + 11), LENGTH),
                (LOAD, load(1, bytes(2)), ORDER), (LOAD, load(1 << 31, bytes(2)), ORDER),
                (LOAD, load(0, bytes(1026)), LENGTH), (LOAD, load(0, bytes(4092)), LENGTH),
                (END_LOAD, bytes(17), LENGTH), (END_LOAD, bytes(19), LENGTH), (END_LOAD, end_load(), ORDER)]:
            assert await bench.ask(ctx, kind, 12, payload) == refusal(12, fault), (kind, payload)
        assert await bench.ask(ctx, INFO, 13) == (INFO | REPLY, 13, info())
    bench = Bench(host)
    assert bench.load_words == [(0, 0)] and not bench.pixels.payloads


def test_refusals_with_a_net_that_stays():
    async def host(ctx, bench):
        for kind, payload, fault in [
                (LOAD, bytes(15), ORDER), (END_LOAD, end_load(), ORDER), (BEGIN_LOAD, bytes(20), CONFIG),
                (BEGIN_LOAD, begin_load(chunks=0), SIZES), (MEMORY_TEST, bytes(2), NO_MEMORY),
                (INFER, PICTURE[:-1], LENGTH), (INFER, PICTURE + b"\0", LENGTH), (INFER, b"", LENGTH),
                (PIXELS, bytes(2), LENGTH), (PIXELS, bytes(14), LENGTH), (PIXELS, b"\1\0abc", ORDER)]:
            assert await bench.ask(ctx, kind, 3, payload) == refusal(3, fault), (kind, payload)
        assert await bench.ask(ctx, INFO, 4) == (INFO | REPLY, 4, info(loaded=1, **NET))
    bench = Bench(host, net=NET)
    assert not bench.load.payloads and not bench.pixels.payloads


@pytest.mark.parametrize("pauses", [0.0, 0.4])
def test_a_load(pauses):
    async def host(ctx, bench):
        assert await bench.ask(ctx, BEGIN_LOAD, 1, begin_load()) == (BEGIN_LOAD | REPLY, 1, bytes(4))
        assert await bench.ask(ctx, INFO, 2) == (INFO | REPLY, 2, info())                # none is loaded
        assert await bench.ask(ctx, INFER, 3, PICTURE) == refusal(3, NOT_LOADED)
        assert await bench.ask(ctx, LOAD, 4, load(0, OCTETS[:22])) == (LOAD | REPLY, 4, b"")
        assert await bench.ask(ctx, LOAD, 5, load(0, OCTETS[:22])) == refusal(5, ORDER)      # the answer to 4 was lost
        assert await bench.ask(ctx, STATUS, 6) == (STATUS | REPLY, 6, status(load_next=22, tape=TAPE))
        # A host that starts anew; a RESET between changes nothing.
        assert await bench.ask(ctx, RESET, 7) == (RESET | REPLY, 7, b"")
        assert await bench.ask(ctx, BEGIN_LOAD, 8, begin_load()) == (BEGIN_LOAD | REPLY, 8, struct.pack("<I", 22))
        assert await bench.ask(ctx, LOAD, 9, load(22, OCTETS[22:])) == (LOAD | REPLY, 9, b"")
        assert await bench.ask(ctx, BEGIN_LOAD, 10, begin_load()) == (BEGIN_LOAD | REPLY, 10, struct.pack("<I", 1024))
        assert await bench.ask(ctx, END_LOAD, 11, end_load(pixels=0)) == refusal(11, SIZES)
        assert await bench.ask(ctx, END_LOAD, 12, end_load(net=0xABCD, n_logits=2)) == (END_LOAD | REPLY, 12, b"")
        new = {"net": 0xABCD, "n_logits": 2, "pixels": 4, "batch": 1}
        assert await bench.ask(ctx, INFO, 13) == (INFO | REPLY, 13, info(loaded=1, **new))
        assert await bench.ask(ctx, STATUS, 14) == (STATUS | REPLY, 14, status(load_next=1024, tape=TAPE, loaded=1))
        assert await bench.ask(ctx, INFER, 15, PICTURE) == (INFER | REPLY, 15, picture_answer([-4, -3], 99))
        # It is over: another one needs its own beginning.
        assert await bench.ask(ctx, LOAD, 16, load(1024, OCTETS)) == refusal(16, ORDER)
        assert await bench.ask(ctx, END_LOAD, 17, end_load()) == refusal(17, ORDER)
        assert await bench.ask(ctx, BEGIN_LOAD, 18, begin_load()) == (BEGIN_LOAD | REPLY, 18, bytes(4))
        assert await bench.ask(ctx, INFO, 19) == (INFO | REPLY, 19, info())
    bench = Bench(host, net=NET, pictures=[([-4, -3], 99)], pauses=pauses)
    assert bench.load_words == [*WHOLE_LOAD, (0, 0)]


def test_a_load_in_which_another_net_was_begun_starts_from_nothing():
    async def host(ctx, bench):
        assert await bench.ask(ctx, BEGIN_LOAD, 1, begin_load(5)) == (BEGIN_LOAD | REPLY, 1, bytes(4))
        assert await bench.ask(ctx, LOAD, 2, load(0, b"ab")) == (LOAD | REPLY, 2, b"")
        assert await bench.ask(ctx, BEGIN_LOAD, 3, begin_load(6)) == (BEGIN_LOAD | REPLY, 3, bytes(4))
        assert await bench.ask(ctx, BEGIN_LOAD, 4, begin_load(5)) == (BEGIN_LOAD | REPLY, 4, bytes(4))
        assert await bench.ask(ctx, STATUS, 5) == (STATUS | REPLY, 5, status(tape=5))
    assert Bench(host).load_words == [(0, 0), *words_of(b"ab"), (0, 0), (0, 0)]


def test_a_tape_that_the_core_finds_damaged_is_no_net_and_is_loaded_from_the_start():
    async def host(ctx, bench):
        async def whole_load(sequence):
            answers = [await bench.ask(ctx, BEGIN_LOAD, sequence, begin_load()),
                       await bench.ask(ctx, LOAD, sequence, load(0, OCTETS)),
                       await bench.ask(ctx, END_LOAD, sequence, end_load())]
            assert answers[:2] == [(BEGIN_LOAD | REPLY, sequence, bytes(4)), (LOAD | REPLY, sequence, b"")]
            return answers[-1]
        assert await bench.ask(ctx, BEGIN_LOAD, 1, begin_load()) == (BEGIN_LOAD | REPLY, 1, bytes(4))
        assert await bench.ask(ctx, LOAD, 2, load(0, OCTETS)) == (LOAD | REPLY, 2, b"")
        bench.damage = True
        assert await bench.ask(ctx, END_LOAD, 3, end_load()) == refusal(3, IMAGE_CHECK)
        assert await bench.ask(ctx, STATUS, 4) == (
            STATUS | REPLY, 4, status(load_next=1024, tape=TAPE, damaged=1))
        assert ctx.get(bench.dut.leds) == 0x7F
        assert await bench.ask(ctx, INFER, 5, PICTURE) == refusal(5, DAMAGED)
        assert await bench.ask(ctx, LOAD, 6, load(1024, b"ab")) == refusal(6, ORDER)
        bench.damage = False
        assert await whole_load(7) == (END_LOAD | REPLY, 7, b"")
        assert await bench.ask(ctx, INFER, 8, PICTURE) == (INFER | REPLY, 8, picture_answer(*PICTURES[0]))
    bench = Bench(host, net=NET, pictures=PICTURES)
    assert bench.load_words == WHOLE_LOAD * 2


def test_a_refused_beginning_leaves_the_load_as_it_was():
    async def host(ctx, bench):
        assert await bench.ask(ctx, BEGIN_LOAD, 1, begin_load()) == (BEGIN_LOAD | REPLY, 1, bytes(4))
        assert await bench.ask(ctx, LOAD, 2, load(0, b"ab")) == (LOAD | REPLY, 2, b"")
        assert await bench.ask(ctx, BEGIN_LOAD, 3, bytes(20)) == refusal(3, CONFIG)
        assert await bench.ask(ctx, LOAD, 4, load(2, b"cd")) == (LOAD | REPLY, 4, b"")
    assert Bench(host).load_words == [(0, 0), *words_of(b"abcd")]


def test_the_memory_is_tested():
    async def host(ctx, bench):
        there = info(sdram=1 << 25)
        assert (await bench.ask(ctx, INFO, 1))[2][:-16] == there[:-16]
        await bench.send(ctx, INFER, 2, PICTURE)
        assert await bench.ask(ctx, MEMORY_TEST, 3, bytes(2)) == refusal(3, BUSY)
        bench.released = 1
        assert await bench.answer(ctx) == (INFER | REPLY, 2, picture_answer(*PICTURES[0]))
        for length in (0, 1, 3):
            assert await bench.ask(ctx, MEMORY_TEST, 4, bytes(length)) == refusal(4, LENGTH)
        for errors in (3, 0):
            assert await bench.ask(ctx, MEMORY_TEST, 5, struct.pack("<H", errors)) == (MEMORY_TEST | REPLY, 5, b"")
            running = status(images=1, memory=(RUNNING, 0, 0))
            assert await bench.ask(ctx, STATUS, 6) == (STATUS | REPLY, 6, running)
            assert await bench.ask(ctx, INFO, 7) == (INFO | REPLY, 7, there)
            for kind, payload, fault in [(MEMORY_TEST, bytes(2), BUSY), (BEGIN_LOAD, begin_load(), BUSY),
                                         (INFER, PICTURE, NOT_LOADED)]:
                assert await bench.ask(ctx, kind, 8, payload) == refusal(8, fault)
            assert await bench.ask(ctx, RESET, 9) == (RESET | REPLY, 9, b"")
            await ctx.tick().repeat(900)
            done = status(images=1, memory=(DONE, errors, 2 * 0xABCDEF))
            assert await bench.ask(ctx, STATUS, 10) == (STATUS | REPLY, 10, done)
        assert await bench.ask(ctx, BEGIN_LOAD, 11, begin_load()) == (BEGIN_LOAD | REPLY, 11, bytes(4))
    bench = Bench(host, config=WITH_SDRAM, net=NET, pictures=PICTURES, released=0)
    assert bench.load_words == [(4, 3), (4, 0), (0, 0)]


PICTURES = [([5, -7, 5], 1000), ([-9, -(1 << 31), -9], 0xFFFFFFFF), ([0, 1, (1 << 31) - 1], 7)]


@pytest.mark.parametrize("pauses", [0.0, 0.7])
def test_pictures(pauses):
    """Pixels as they came; the class is the lowest index of the largest logit."""
    async def host(ctx, bench):
        for k, (logits, cycles) in enumerate(PICTURES):
            answer = await bench.ask(ctx, INFER, 100 + k, bytes(octet ^ k for octet in PICTURE))
            assert answer == (INFER | REPLY, 100 + k, picture_answer(logits, cycles))
            await bench.ask(ctx, RESET, 0)
            assert ctx.get(bench.dut.leds) == logits.index(max(logits))
        assert await bench.ask(ctx, STATUS, 1) == (STATUS | REPLY, 1, status(images=3, loaded=1))
    bench = Bench(host, net=NET, pictures=PICTURES, pauses=pauses)
    assert b"".join(pixel.to_bytes(3, "little") for pixel in bench.pixels.payloads) == b"".join(
        bytes(octet ^ k for octet in PICTURE) for k in range(3))


@pytest.mark.parametrize("pauses", [0.0, 0.7])
def test_two_pictures_on_their_way(pauses):
    async def host(ctx, bench):
        await bench.send(ctx, INFER, 1, PICTURE)
        await bench.send(ctx, INFER, 2, PICTURE)
        assert await bench.ask(ctx, INFER, 3, PICTURE) == refusal(3, BUSY)
        assert await bench.ask(ctx, BEGIN_LOAD, 4, begin_load()) == refusal(4, BUSY)
        assert await bench.ask(ctx, LOAD, 5, bytes(6)) == refusal(5, ORDER)
        assert await bench.ask(ctx, STATUS, 6) == (STATUS | REPLY, 6, status(outstanding=2, loaded=1))
        assert ctx.get(bench.dut.leds) == 0x80
        bench.released = 2
        for k in (0, 1):
            assert await bench.answer(ctx) == (INFER | REPLY, 1 + k, picture_answer(*PICTURES[k]))
        await bench.send(ctx, INFER, 7, PICTURE)
        bench.released = 3
        assert await bench.answer(ctx) == (INFER | REPLY, 7, picture_answer(*PICTURES[2]))
        assert await bench.ask(ctx, STATUS, 8) == (STATUS | REPLY, 8, status(images=3, loaded=1))
    Bench(host, net=NET, pictures=PICTURES, released=0, pauses=pauses)


@pytest.mark.parametrize("pauses", [0.0, 0.7])
@pytest.mark.parametrize("count", [1, 2])
def test_reset_drops_the_pictures_on_their_way(count, pauses):
    async def host(ctx, bench):
        for k in range(count):
            await bench.send(ctx, INFER, k, PICTURE)
        await bench.send(ctx, RESET, 9)
        bench.released = count                      # the core has gone on with them
        assert await bench.answer(ctx) == (RESET | REPLY, 9, b"")
        assert await bench.ask(ctx, STATUS, 10) == (STATUS | REPLY, 10, status(loaded=1))
        await bench.send(ctx, INFER, 11, PICTURE)
        bench.released = 3
        assert await bench.answer(ctx) == (INFER | REPLY, 11, picture_answer(*PICTURES[count]))
    Bench(host, net=NET, pictures=PICTURES, released=0, pauses=pauses)


OTHER_NUMBERS = [[1], [1, 2], [1, 2, 3, 4], [9] * 1021, [9] * 1023, [9] * 1500]


@pytest.mark.parametrize("logits", OTHER_NUMBERS, ids=len)
def test_another_number_of_logits_than_the_net_has_is_answered_as_such(logits):
    """The pictures before and behind are answered as ever."""
    pictures = [PICTURES[0], (logits, 5), PICTURES[1]]

    async def host(ctx, bench):
        await bench.send(ctx, INFER, 1, PICTURE)
        await bench.send(ctx, INFER, 2, PICTURE)
        assert await bench.answer(ctx) == (INFER | REPLY, 1, picture_answer(*PICTURES[0]))
        await bench.send(ctx, INFER, 3, PICTURE)
        assert await bench.answer(ctx) == refusal(2, LOGITS)
        assert await bench.answer(ctx) == (INFER | REPLY, 3, picture_answer(*PICTURES[1]))
        assert await bench.ask(ctx, STATUS, 4) == (STATUS | REPLY, 4, status(images=2, loaded=1))
    Bench(host, net=NET, pictures=pictures)


@pytest.mark.slow
def test_an_answer_as_long_as_a_frame():
    logits = [(-1) ** k * k for k in range(1022)]

    async def host(ctx, bench):
        assert await bench.ask(ctx, INFER, 1, PICTURE) == (INFER | REPLY, 1, picture_answer(logits, 7))
    Bench(host, net=NET | {"n_logits": 1022}, pictures=[(logits, 7)])


@pytest.mark.parametrize("pauses", [0.0, 0.5])
@pytest.mark.parametrize("wait", [0, 40, 100, 200])
def test_reset_comes_between_the_logits_of_a_picture(wait, pauses):
    """Some of them have come, none, or all: nothing of the picture is left."""
    async def host(ctx, bench):
        images = 0
        for _ in range(3):
            await bench.send(ctx, INFER, 1, PICTURE)
            await ctx.tick().repeat(wait + 1)
            sent = ctx.get(bench.dut.header.valid)          # its answer is on its way to the line already
            if sent:
                assert await bench.answer(ctx) == (INFER | REPLY, 1, picture_answer(*PICTURES[0]))
            assert await bench.ask(ctx, RESET, 2) == (RESET | REPLY, 2, b"")
            images += sent
            assert await bench.ask(ctx, STATUS, 3) == (STATUS | REPLY, 3, status(images=images, loaded=1))
            assert await bench.ask(ctx, INFER, 4, PICTURE) == (INFER | REPLY, 4, picture_answer(*PICTURES[0]))
            images += 1
    Bench(host, net=NET, pictures=[PICTURES[0]] * 6, pauses=pauses, seed=wait)


def test_reset_frees_a_core_that_never_answers():
    """`released`: what it waits for never comes."""
    async def host(ctx, bench):
        await bench.send(ctx, INFER, 1, PICTURE)
        await bench.send(ctx, INFER, 2, PICTURE)
        await ctx.tick().repeat(10 * PATIENCE)              # patience is with commands, not with pictures
        assert await bench.ask(ctx, INFO, 3) == (INFO | REPLY, 3, info(loaded=1, **NET))
        assert await bench.ask(ctx, STATUS, 4) == (STATUS | REPLY, 4, status(outstanding=2, loaded=1))
        assert await bench.ask(ctx, BEGIN_LOAD, 5, begin_load()) == refusal(5, BUSY)
        assert await bench.ask(ctx, INFER, 6, PICTURE) == refusal(6, BUSY)
        assert await bench.ask(ctx, RESET, 7) == (RESET | REPLY, 7, b"")
        bench.released = 1
        assert await bench.ask(ctx, INFER, 8, PICTURE) == (INFER | REPLY, 8, picture_answer(*PICTURES[0]))
        assert await bench.ask(ctx, BEGIN_LOAD, 9, begin_load()) == (BEGIN_LOAD | REPLY, 9, bytes(4))
    Bench(host, net=NET, pictures=PICTURES, released=0)


@pytest.mark.parametrize("pauses", [0.0, 0.5])
def test_a_picture_may_come_in_parts(pauses):
    """The next one's parts too while one is classified; a RESET, and it begins anew."""
    async def host(ctx, bench):
        async def part(offset, count, sequence):
            octets = struct.pack("<H", offset) + PICTURE[offset:offset + count]
            return await bench.ask(ctx, PIXELS, sequence, octets)
        assert await part(0, 1, 1) == (PIXELS | REPLY, 1, b"")
        assert await part(0, 1, 1) == refusal(1, ORDER)                     # the answer was lost
        assert await part(1, 7, 2) == refusal(2, ORDER)                     # not the picture that was begun
        assert await part(1, 7, 1) == (PIXELS | REPLY, 1, b"")
        for length in (3, 5, 12):
            assert await bench.ask(ctx, INFER, 1, bytes(length)) == refusal(1, LENGTH)
        assert await part(8, 4, 1) == refusal(1, LENGTH)                    # the last part is INFER's
        await bench.send(ctx, INFER, 1, PICTURE[8:])
        await ctx.tick().repeat(200)                                        # the next payload is for the same buffer
        assert await part(0, 11, 2) == (PIXELS | REPLY, 2, b"")
        await bench.send(ctx, INFER, 2, PICTURE[11:])
        await ctx.tick().repeat(200)
        assert await part(0, 3, 3) == refusal(3, BUSY)
        bench.released = 2
        for k, sequence in enumerate((1, 2)):
            assert await bench.answer(ctx) == (INFER | REPLY, sequence, picture_answer(*PICTURES[k]))
        assert await part(0, 6, 4) == (PIXELS | REPLY, 4, b"")
        assert await bench.ask(ctx, RESET, 5) == (RESET | REPLY, 5, b"")
        assert await part(6, 3, 4) == refusal(4, ORDER)
        bench.released = 3
        assert await bench.ask(ctx, INFER, 6, PICTURE) == (INFER | REPLY, 6, picture_answer(*PICTURES[2]))
    bench = Bench(host, net=NET, pictures=PICTURES, released=0, pauses=pauses)
    assert b"".join(pixel.to_bytes(3, "little") for pixel in bench.pixels.payloads) == (
        PICTURE * 2 + PICTURE[:6] + PICTURE)


@pytest.mark.parametrize("patiences, stalls", [(4, False), (6, True)])
def test_a_core_that_computes_a_picture_may_keep_the_next_one_waiting(patiences, stalls):
    """Longer than one that has nothing to do."""
    async def host(ctx, bench):
        await bench.send(ctx, INFER, 1, PICTURE)
        await bench.send(ctx, INFER, 2, PICTURE)
        await ctx.tick().repeat(patiences * PATIENCE)
        bench.released = 2
        answers = [await bench.answer(ctx) for _ in range(1 if stalls else 2)]
        assert answers == ([refusal(2, STALLED)] if stalls else [
            (INFER | REPLY, 1 + k, picture_answer(*PICTURES[k])) for k in range(2)])
    Bench(host, net=NET, pictures=PICTURES, released=0, one_buffer=True, withdraws=True)


@pytest.mark.parametrize("waits", [1, 300])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_pictures_of_a_net_that_is_found_damaged_get_no_class(count, waits):
    """In their order, each by DAMAGED, those too that the core would go on with. Then there is no net until one is
    loaded, and the new one is right."""
    async def host(ctx, bench):
        for k in range(count):
            await bench.send(ctx, INFER, k, PICTURE)
        await ctx.tick().repeat(waits)
        bench.damage = True
        for k in range(count):
            assert await bench.answer(ctx) == refusal(k, DAMAGED)
        assert await bench.ask(ctx, INFER, 9, PICTURE) == refusal(9, DAMAGED)
        assert await bench.ask(ctx, PIXELS, 10, bytes(5)) == refusal(10, DAMAGED)
        assert await bench.ask(ctx, INFO, 11) == (INFO | REPLY, 11, info())
        assert await bench.ask(ctx, STATUS, 12) == (STATUS | REPLY, 12, status(damaged=1))
        assert ctx.get(bench.dut.leds) == 0x7F
        bench.damage, bench.released = False, 3
        assert await bench.ask(ctx, BEGIN_LOAD, 13, begin_load()) == (BEGIN_LOAD | REPLY, 13, bytes(4))
        assert await bench.ask(ctx, LOAD, 14, load(0, OCTETS)) == (LOAD | REPLY, 14, b"")
        assert await bench.ask(ctx, END_LOAD, 15, end_load()) == (END_LOAD | REPLY, 15, b"")
        assert await bench.ask(ctx, INFER, 16, PICTURE) == (INFER | REPLY, 16, picture_answer(*PICTURES[0]))
        assert await bench.ask(ctx, STATUS, 17) == (
            STATUS | REPLY, 17, status(images=1, loaded=1, load_next=1024, tape=TAPE))
    Bench(host, net=NET, pictures=PICTURES, released=0, one_buffer=True, withdraws=True)


LOADS = {"BEGIN_LOAD": (BEGIN_LOAD, begin_load()), "LOAD": (LOAD, load(0, OCTETS)), "END_LOAD": (END_LOAD, end_load()),
         "RESET": (RESET, b""), "MEMORY_TEST": (MEMORY_TEST, bytes(2)), "INFER": (INFER, PICTURE),
         "PIXELS": (PIXELS, bytes(5))}


@pytest.mark.parametrize("name", LOADS)
def test_while_the_core_stands_still_every_command_is_answered(name):
    """The one that needs it first by STALLED; then there is no net, and none is being loaded. When the core goes on,
    it is cleared, and a net can be loaded."""
    async def host(ctx, bench):
        steps = ["BEGIN_LOAD", "LOAD", "END_LOAD"]
        for before in steps[:steps.index(name)] if name in steps else []:
            assert (await bench.ask(ctx, LOADS[before][0], 1, LOADS[before][1]))[0] == LOADS[before][0] | REPLY
        known = {"load_next": 1024 * (name == "END_LOAD"),
                 "tape": TAPE * (name in ("LOAD", "END_LOAD"))}
        bench.frozen = True
        assert await bench.ask(ctx, LOADS[name][0], 2, LOADS[name][1]) == refusal(2, STALLED)
        for _ in range(2):
            assert await bench.ask(ctx, INFO, 3) == (INFO | REPLY, 3, info(sdram=1 << 25))
            assert await bench.ask(ctx, STATUS, 4) == (STATUS | REPLY, 4, status(**known))
            assert await bench.ask(ctx, RESET, 5) == refusal(5, STALLED)
            assert await bench.ask(ctx, BEGIN_LOAD, 6, begin_load()) == refusal(6, STALLED)
            assert await bench.ask(ctx, LOAD, 7, bytes(6)) == refusal(7, ORDER)
            assert await bench.ask(ctx, END_LOAD, 8, end_load()) == refusal(8, ORDER)
            assert await bench.ask(ctx, INFER, 9, PICTURE) == refusal(9, NOT_LOADED)
        bench.frozen = False
        assert await bench.ask(ctx, RESET, 10) == (RESET | REPLY, 10, b"")
        for step in steps:
            assert (await bench.ask(ctx, LOADS[step][0], 11, LOADS[step][1]))[0] == LOADS[step][0] | REPLY
        assert await bench.ask(ctx, INFER, 12, PICTURE) == (INFER | REPLY, 12, picture_answer(*PICTURES[0]))
    Bench(host, config=WITH_SDRAM, net=NET, pictures=PICTURES, withdraws=True)


def test_pictures_on_their_way_are_lost_with_a_core_that_stands_still():
    async def host(ctx, bench):
        await bench.send(ctx, INFER, 1, PICTURE)
        await bench.answer(ctx)
        bench.released = 1
        await bench.send(ctx, INFER, 2, PICTURE)
        await ctx.tick().repeat(200)
        bench.frozen = True
        assert await bench.ask(ctx, INFER, 3, PICTURE) == refusal(3, STALLED)
        assert await bench.ask(ctx, STATUS, 4) == (STATUS | REPLY, 4, status(images=1))
    Bench(host, net=NET, pictures=PICTURES, withdraws=True)
