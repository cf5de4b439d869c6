# amaranth: UnusedElaboratable=no
"""Pictures in, answers out: order, window and RESET, with any pauses on all sides."""
import random
from collections import deque

import pytest

from accel.link import Command
from accel.rtl.host.picture_queue import PictureQueue
from tests.accel.rtl.host.bench import PayloadSource, carry_out
from tests.accel.streams import Monitor, put, simulate, sink

WINDOW = 2


class Bench:
    """host: async function of (ctx, this). answers: (bytes, class, pixels) that may come when so many pixels have gone
    in. sending: whether answers are taken from `reply`. answered: (sequence, bytes) of those.
    """
    def __init__(self, host, *, pauses=0.0, gap=1, seed=0):
        self.dut = dut = PictureQueue()
        self.payload = PayloadSource(dut.octets, dut.left, gap=gap, pauses=pauses, seed=seed)
        self.pixels, self.answered, self.answers = Monitor(dut.pixels), [], deque()
        self.sending, self._over = True, False
        self._pauses, self._chance = pauses, random.Random(seed)

        async def whole(ctx):
            await host(ctx, self)
            self._over = True
        simulate(dut, whole, self.payload.bench, self._core, self._sender, self.pixels.watch,
                 Monitor(dut.answer).watch, sink(dut.pixels, pauses=pauses, seed=seed),
                 done=lambda: self._over, timeout=100_000)

    async def infer(self, ctx, sequence, pixels):
        self.payload.octets = pixels
        assert await carry_out(ctx, self.dut.control, Command.INFER, sequence) == 0
        assert not self.payload.octets

    async def reset(self, ctx):
        self.sending = False
        assert await carry_out(ctx, self.dut.control, Command.RESET) == 0
        self.sending = True

    async def state(self, ctx):
        """(outstanding, images, last_class), when nothing moves any more."""
        for _ in range(3):
            await ctx.tick()
        return ctx.get(self.dut.outstanding), ctx.get(self.dut.images), ctx.get(self.dut.last_class)

    async def _core(self, ctx):
        dut = self.dut
        while True:
            if not self.answers or self.answers[0][2] > len(self.pixels.payloads):
                await ctx.tick()
                continue
            octets, best, _ = self.answers.popleft()
            for k, octet in enumerate(octets):
                ctx.set(dut.best, best)
                await put(ctx, dut.answer, {"octet": octet, "last": k == len(octets) - 1})
            await ctx.tick()                            # the class holds a cycle longer than its last byte
            ctx.set(dut.best, 0x5555)

    async def _sender(self, ctx):
        dut, octets, reply = self.dut, bytearray(), self.dut.reply
        offered = None
        while True:
            ctx.set(reply.ready, self.sending and self._chance.random() >= self._pauses)
            _, _, valid, ready, word, oldest = await ctx.tick().sample(
                reply.valid, reply.ready, reply.payload, dut.oldest)
            if self.sending:
                assert offered is None or (valid and (word.octet, word.last, oldest) == offered)
            offered = (word.octet, word.last, oldest) if valid and not ready and self.sending else None
            if valid and ready:
                octets.append(word.octet)
                if word.last:
                    self.answered.append((oldest, bytes(octets)))
                    octets.clear()


@pytest.mark.parametrize("pauses", [0.0, 0.4, 0.8])
def test_pixels_as_they_came(pauses):
    chance = random.Random(1)
    pictures = [chance.randbytes(3 * count) for count in (1, 2, 17)]

    async def host(ctx, bench):
        for k, octets in enumerate(pictures):
            await bench.infer(ctx, k, octets)
            bench.answers.append((b"x", 0, 0))
            while len(bench.answered) <= k:
                await ctx.tick()
    bench = Bench(host, pauses=pauses, seed=2)
    assert b"".join(pixel.to_bytes(3, "little") for pixel in bench.pixels.payloads) == b"".join(pictures)


@pytest.mark.parametrize("pauses", [0.0, 0.4, 0.8])
def test_answers_leave_with_the_sequence_of_their_picture(pauses):
    """One or two outstanding, answers while their own last pixels or the next picture come in."""
    chance = random.Random(3)
    pictures = [(chance.randrange(256), chance.randbytes(chance.randrange(1, 9)), chance.randrange(1 << 16))
                for _ in range(20)]
    pictures.append((1, b"end", 0xFF85))

    async def host(ctx, bench):
        for k, (sequence, octets, best) in enumerate(pictures):
            while ctx.get(bench.dut.outstanding) == WINDOW:
                await ctx.tick()
            bench.answers.append((octets, best, min(2 * k + chance.randrange(1, 4), 42)))
            await bench.infer(ctx, sequence, bytes(6))
        while len(bench.answered) < len(pictures):
            await ctx.tick()
        assert await bench.state(ctx) == (0, 21, 5)
    bench = Bench(host, pauses=pauses, seed=4)
    assert bench.answered == [(sequence, octets) for sequence, octets, _ in pictures]


@pytest.mark.parametrize("pauses", [0.0, 0.6])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_reset_waits_for_the_pictures_on_their_way_and_drops_their_answers(count, pauses):
    async def host(ctx, bench):
        await bench.infer(ctx, 9, bytes(3))
        bench.answers.append((b"first", 70, 0))
        while not bench.answered:
            await ctx.tick()
        assert await bench.state(ctx) == (0, 1, 70)
        for k in range(count):
            await bench.infer(ctx, k, bytes(3))
        assert await bench.state(ctx) == (count, 1, 70)
        bench.answers.extend([(b"dropped", 5, 0)] * count)
        await bench.reset(ctx)
        assert await bench.state(ctx) == (0, 1, 70)
        await bench.infer(ctx, 33, bytes(3))
        bench.answers.append((b"second", 6, 0))
        while len(bench.answered) < 2:
            await ctx.tick()
        assert await bench.state(ctx) == (0, 2, 6)
    assert Bench(host, pauses=pauses, seed=5).answered == [(9, b"first"), (33, b"second")]


def test_a_pixel_takes_12_cycles_from_a_reader_of_payloads():
    async def host(ctx, bench):
        await bench.infer(ctx, 1, bytes(60))
    cycles = Bench(host, gap=4).pixels.cycles
    assert [b - a for a, b in zip(cycles, cycles[1:], strict=False)] == [12] * 19
