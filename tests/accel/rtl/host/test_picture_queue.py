# amaranth: UnusedElaboratable=no
"""Pictures in, and whose answer is next: order, window and clearing, with any pauses on all sides."""
import random
import struct

import pytest

from accel.link import Command, Fault
from accel.rtl.host.picture_queue import PictureQueue
from tests.accel.rtl.host.bench import PayloadSource, carry_out
from tests.accel.streams import Monitor, simulate, sink

WINDOW = 64                                 # pictures on their way, at most


class Bench:
    """host: async function of (ctx, this)."""
    def __init__(self, host, *, pauses=0.0, gap=1, seed=0):
        self.dut = dut = PictureQueue()
        self.payload = PayloadSource(dut.octets, dut.left, gap=gap, pauses=pauses, seed=seed)
        self.pixels, self._over = Monitor(dut.pixels), False

        async def whole(ctx):
            await host(ctx, self)
            self._over = True
        simulate(dut, whole, self.payload.bench, self.pixels.watch, sink(dut.pixels, pauses=pauses, seed=seed),
                 done=lambda: self._over, timeout=100_000)

    async def infer(self, ctx, sequence, pixels=bytes(3)):
        self.payload.octets = pixels
        assert await carry_out(ctx, self.dut.control, Command.INFER, sequence) == 0
        assert not self.payload.octets

    async def part(self, ctx, offset, pixels, fault=0, sequence=0):
        self.payload.octets = struct.pack("<H", offset) + pixels
        assert await carry_out(ctx, self.dut.control, Command.PIXELS, sequence) == fault
        assert fault or not self.payload.octets

    async def answered(self, ctx, *, whole=1, best=0):
        """An answer goes; the sequence number of its picture."""
        dut = self.dut
        ctx.set(dut.whole, whole)
        ctx.set(dut.best, best)
        ctx.set(dut.answered, 1)
        _, _, oldest = await ctx.tick().sample(dut.oldest)
        ctx.set(dut.answered, 0)
        ctx.set(dut.best, 0x5555)
        return oldest

    def state(self, ctx):
        """(outstanding, images, last_class)."""
        return ctx.get(self.dut.outstanding), ctx.get(self.dut.images), ctx.get(self.dut.last_class)


@pytest.mark.parametrize("pauses", [0.0, 0.4, 0.8])
def test_pixels_as_they_came(pauses):
    chance = random.Random(1)
    pictures = [chance.randbytes(3 * count) for count in (1, 2, 17)]

    async def host(ctx, bench):
        for k, octets in enumerate(pictures):
            await bench.infer(ctx, k, octets)
            assert await bench.answered(ctx) == k
    bench = Bench(host, pauses=pauses, seed=2)
    assert b"".join(pixel.to_bytes(3, "little") for pixel in bench.pixels.payloads) == b"".join(pictures)


@pytest.mark.parametrize("pauses, gap", [(0.0, 4), (0.5, 1)])
def test_a_picture_may_come_in_parts(pauses, gap):
    """Of any lengths; what is missing of it is told all the time."""
    chance = random.Random(5)
    pictures = [chance.randbytes(3 * 40) for _ in range(4)]

    async def host(ctx, bench):
        ctx.set(bench.dut.pixels_a_picture, 40)
        for k, octets in enumerate(pictures):
            at = 0
            for _ in range(k):
                count = chance.randint(1, (len(octets) - at) // 2)
                await bench.part(ctx, at, octets[at:at + count], sequence=k)
                at += count
                assert ctx.get(bench.dut.missing) == len(octets) - at and bench.state(ctx)[0] == 0
            await bench.infer(ctx, k, octets[at:])
            assert ctx.get(bench.dut.missing) == len(octets) and bench.state(ctx)[0] == 1
            assert await bench.answered(ctx) == k
    bench = Bench(host, pauses=pauses, gap=gap, seed=2)
    assert b"".join(pixel.to_bytes(3, "little") for pixel in bench.pixels.payloads) == b"".join(pictures)


def test_a_part_is_taken_once_and_in_order():
    async def host(ctx, bench):
        ctx.set(bench.dut.pixels_a_picture, 0x3FFF)
        await bench.part(ctx, 0, bytes(range(10)))
        for bit in range(16):
            await bench.part(ctx, 10 ^ 1 << bit, b"xxx", Fault.ORDER)
            assert ctx.get(bench.dut.missing) == 3 * 0x3FFF - 10
        await bench.part(ctx, 10, bytes([10, 11]))
        assert ctx.get(bench.dut.missing) == 3 * 0x3FFF - 12
        ctx.set(bench.dut.clear, 1)
        await ctx.tick()
        ctx.set(bench.dut.clear, 0)
        assert ctx.get(bench.dut.missing) == 3 * 0x3FFF
        await bench.part(ctx, 12, b"xxx", Fault.ORDER)
        await bench.part(ctx, 0, b"abc", sequence=7)
    pixels = Bench(host, gap=4).pixels.payloads
    assert b"".join(pixel.to_bytes(3, "little") for pixel in pixels) == bytes(range(12)) + b"abc"


def test_parts_of_two_pictures_make_none():
    """They are told apart by their sequence numbers."""
    async def host(ctx, bench):
        ctx.set(bench.dut.pixels_a_picture, 4)
        await bench.part(ctx, 0, bytes(range(6)), sequence=0x55)
        for bit in range(8):
            await bench.part(ctx, 6, b"xxx", Fault.ORDER, sequence=0x55 ^ 1 << bit)
            bench.payload.octets = b"xxxxxx"
            assert await carry_out(ctx, bench.dut.control, Command.INFER, 0x55 ^ 1 << bit) == Fault.ORDER
            assert ctx.get(bench.dut.missing) == 6 and bench.state(ctx)[0] == 0
        await bench.infer(ctx, 0x55, bytes(range(6, 12)))
        assert bench.state(ctx)[0] == 1 and ctx.get(bench.dut.missing) == 12
    pixels = Bench(host, gap=4).pixels.payloads
    assert b"".join(pixel.to_bytes(3, "little") for pixel in pixels) == bytes(range(12))


@pytest.mark.parametrize("before", [0, 1, 37, WINDOW - 1])
def test_as_many_pictures_are_on_their_way_as_a_window_holds(before):
    """Twice, after `before` others: wherever their sequence numbers lie, all of them come back in order."""
    chance = random.Random(before)

    async def host(ctx, bench):
        for k in range(before):
            await bench.infer(ctx, k)
            assert await bench.answered(ctx, whole=0) == k
        for turn in range(2):
            sequences = chance.sample(range(256), WINDOW)
            for count, sequence in enumerate(sequences):
                assert ctx.get(bench.dut.outstanding) == count
                await bench.infer(ctx, sequence)
                assert ctx.get(bench.dut.oldest) == sequences[0]
            for count, sequence in enumerate(sequences):
                assert bench.state(ctx)[:2] == (WINDOW - count, WINDOW * turn + count)
                assert await bench.answered(ctx, best=sequence) == sequence
                assert bench.state(ctx)[2] == sequence % 128
            assert ctx.get(bench.dut.outstanding) == 0
    Bench(host)


def test_a_window_stays_full():
    """Where the next picture comes as soon as one is answered."""
    chance = random.Random(6)
    sequences = [chance.randrange(256) for _ in range(3 * WINDOW)]

    async def host(ctx, bench):
        for sequence in sequences[:WINDOW]:
            await bench.infer(ctx, sequence)
        for oldest, newest in zip(sequences, sequences[WINDOW:], strict=False):
            assert await bench.answered(ctx) == oldest
            assert ctx.get(bench.dut.outstanding) == WINDOW - 1
            await bench.infer(ctx, newest)
            assert ctx.get(bench.dut.outstanding) == WINDOW
        for oldest in sequences[-WINDOW:]:
            assert await bench.answered(ctx) == oldest
    Bench(host)


@pytest.mark.parametrize("window", [2, WINDOW])
def test_pictures_are_answered_in_their_order(window):
    """Of a window of any size; it fills and empties."""
    chance = random.Random(3)

    async def host(ctx, bench):
        waiting, images, last_class, fills, most = [], 0, 0, True, 0
        for _ in range(6 * window + 200):
            fills = fills if waiting and len(waiting) < window else not waiting
            if len(waiting) < window and chance.random() < (0.8 if fills else 0.3):
                waiting.append(chance.randrange(256))
                await bench.infer(ctx, waiting[-1])
            elif waiting:
                whole, best = chance.random() < 0.8, chance.randrange(1 << 16)
                assert await bench.answered(ctx, whole=whole, best=best) == waiting.pop(0)
                images += whole
                last_class = best % 128 if whole else last_class
            assert bench.state(ctx) == (len(waiting), images, last_class)
            most = max(most, len(waiting))
        assert most == window
    Bench(host, seed=4)


@pytest.mark.parametrize("count", [0, 1, 2, WINDOW])
def test_after_clearing_no_picture_is_on_its_way(count):
    async def host(ctx, bench):
        await bench.infer(ctx, 9)
        assert await bench.answered(ctx, best=70) == 9
        for k in range(count):
            await bench.infer(ctx, k)
        assert bench.state(ctx) == (count, 1, 70)
        ctx.set(bench.dut.clear, 1)
        await ctx.tick()
        assert bench.state(ctx) == (0, 1, 70)
        await ctx.tick().repeat(4)
        ctx.set(bench.dut.clear, 0)
        await bench.infer(ctx, 33)
        await bench.infer(ctx, 34)
        assert await bench.answered(ctx, best=6) == 33
        assert await bench.answered(ctx, best=7) == 34
        assert bench.state(ctx) == (0, 3, 7)
    Bench(host, seed=5)


@pytest.mark.parametrize("taken", [0, 1, 4])
def test_an_order_that_is_given_up_leaves_the_rest_of_its_picture(taken):
    """In a cycle in which the core does not take a pixel; the next picture begins with its own first. Its picture is
    one of those on their way until all are cleared."""
    dut, over, pixels = PictureQueue(), [], []
    payload = PayloadSource(dut.octets, dut.left)

    async def core(ctx):
        port = dut.pixels
        async for _, _, valid, ready, pixel in ctx.tick().sample(port.valid, port.ready, port.payload):
            if valid and ready:
                pixels.append(bytes([pixel.r, pixel.g, pixel.b]))
            ctx.set(dut.pixels.ready, over == ["given up"] or len(pixels) < taken)

    async def host(ctx):
        payload.octets = bytes(range(18))
        ctx.set(dut.control.order.payload, {"command": Command.INFER, "sequence": 1})
        ctx.set(dut.control.order.valid, 1)
        await ctx.tick().repeat(100)
        assert ctx.get(dut.pixels.valid) and not ctx.get(dut.pixels.ready)
        ctx.set(dut.abandon, 1)
        await ctx.tick()
        ctx.set(dut.abandon, 0)
        ctx.set(dut.control.order.valid, 0)
        assert (ctx.get(dut.oldest), ctx.get(dut.outstanding)) == (1, 1)
        ctx.set(dut.clear, 1)
        await ctx.tick().repeat(3)
        assert not ctx.get(dut.pixels.valid) and not ctx.get(dut.outstanding)
        ctx.set(dut.clear, 0)
        over.append("given up")
        payload.octets = bytes(range(100, 106))
        assert await carry_out(ctx, dut.control, Command.INFER, 2) == 0
        assert (ctx.get(dut.oldest), ctx.get(dut.outstanding)) == (2, 1)
        over.append("over")
    simulate(dut, core, host, payload.bench, done=lambda: len(over) == 2, timeout=1000)
    assert b"".join(pixels) == bytes(range(3 * taken)) + bytes(range(100, 106))


@pytest.mark.parametrize("command, count", [(Command.PIXELS, 0), (Command.INFER, 1)])
@pytest.mark.parametrize("after", range(25))
def test_an_order_is_given_up_in_any_cycle(command, count, after):
    """Nothing is offered from the next cycle on, and no byte taken."""
    dut, over = PictureQueue(), []
    payload = PayloadSource(dut.octets, dut.left, gap=4)

    async def host(ctx):
        ctx.set(dut.pixels.ready, 1)
        payload.octets = bytes(60)
        ctx.set(dut.control.order.payload, {"command": command, "sequence": 5})
        ctx.set(dut.control.order.valid, 1)
        for _ in range(after):
            await ctx.tick()
        ctx.set(dut.abandon, 1)
        await ctx.tick()
        ctx.set(dut.abandon, 0)
        ctx.set(dut.control.order.valid, 0)
        for _ in range(10):
            assert not ctx.get(dut.pixels.valid) and not ctx.get(dut.octets.ready)
            assert not ctx.get(dut.control.order.ready) and ctx.get(dut.outstanding) == count
            await ctx.tick()
        over.append(True)
    simulate(dut, host, payload.bench, done=lambda: over, timeout=1000)


def test_a_pixel_takes_12_cycles_from_a_reader_of_payloads():
    async def host(ctx, bench):
        await bench.infer(ctx, 1, bytes(60))
    cycles = Bench(host, gap=4).pixels.cycles
    assert [b - a for a, b in zip(cycles, cycles[1:], strict=False)] == [12] * 19
