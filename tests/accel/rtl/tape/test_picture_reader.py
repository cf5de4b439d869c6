"""Pictures out of chunks that come when they like, to a core that takes pixels when it likes."""
import random

import numpy as np
import pytest
from amaranth.sim import Simulator

from accel.rtl.tape.picture_reader import PictureReader
from tests.accel.streams import Monitor

CHUNK_WORDS, SLOTS = 512, 4


class Bench:
    """A reader, an SDRAM of random chunks, a core.

    host: async function of (ctx, this). late: chance in a cycle that neither a request is taken nor a word comes. busy:
    chance that no pixel is taken. withdraws: offers may be, by `clear`. Chunk k holds the words of `words(k)`.
    """
    def __init__(self, host, *, late=0.0, busy=0.0, seed=0, withdraws=False):
        self.dut = dut = PictureReader()
        self.pixels, self.requests, self.most = Monitor(dut.pixels), Monitor(dut.reads), 0
        self._late, self._busy, self._chance = late, busy, random.Random(seed)
        self.cycle, self.answers = 0, []                    # cycles of `answered`

        async def main(ctx):
            self.ctx = ctx
            await host(ctx, self)
        simulator = Simulator(dut)
        simulator.add_clock(1e-6)
        monitors = (self._pixels,) if withdraws else (self.pixels.watch, self.requests.watch)
        for bench in (self._memory, self._core, *monitors):
            simulator.add_testbench(bench, background=True)
        simulator.add_testbench(main)
        simulator.run()

    @staticmethod
    def words(chunk):
        return np.random.default_rng(chunk).integers(0, 1 << 16, CHUNK_WORDS).tolist()

    @classmethod
    def expected(cls, first, chunks, pixels):
        octets = b"".join(np.array(cls.words(first + k), "<u2").tobytes() for k in range(chunks))
        return [int.from_bytes(octets[at:at + 3], "little") for at in range(0, 3 * pixels, 3)]

    async def _memory(self, ctx):
        dut, queue = self.dut, []
        while True:
            late = self._chance.random() < self._late
            if queue and not late:
                ctx.set(dut.word, queue[0])
                ctx.set(dut.last, len(queue) % CHUNK_WORDS == 1)
            come = bool(queue) and not late
            ctx.set(dut.valid, come)
            ctx.set(dut.reads.ready, not late and len(queue) <= CHUNK_WORDS)
            _, _, valid, ready, chunk = await ctx.tick().sample(dut.reads.valid, dut.reads.ready, dut.reads.payload)
            if come:
                queue.pop(0)
            if valid and ready:
                queue += self.words(chunk)

    async def _pixels(self, ctx):
        port = self.dut.pixels
        async for _, _, valid, ready, pixel in ctx.tick().sample(port.valid, port.ready, port.payload.as_value()):
            if valid and ready:
                self.pixels.payloads.append(pixel)

    async def _core(self, ctx):
        dut = self.dut
        while True:
            ctx.set(dut.pixels.ready, self._chance.random() >= self._busy)
            ctx.set(dut.answered, self.cycle in self.answers)
            await ctx.tick()
            self.cycle += 1

    async def begin(self, *, pictures, pixels, chunks, chunk):
        ctx, dut = self.ctx, self.dut
        for number in (pictures, pixels & 0xFFFF, pixels >> 16, chunks):
            ctx.set(dut.data, number)
            ctx.set(dut.count, 1)
            await ctx.tick()
            ctx.set(dut.count, 0)
            ctx.set(dut.data, 0xAAAA)
            await ctx.tick()
        ctx.set(dut.data, chunk)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        ctx.set(dut.data, 0x5555)

    async def wait(self, cycles):
        for _ in range(cycles):
            await self.ctx.tick()

    async def until(self, done, timeout=30_000):
        for _ in range(timeout):
            if done():
                return
            await self.ctx.tick()
        raise AssertionError("it does not come")

    def running(self):
        return self.ctx.get(self.dut.running)

    async def answer(self, count):
        """So many pictures, as fast as they may be."""
        self.answers = range(self.cycle + 2, self.cycle + 2 + 3 * count, 3)
        await self.until(lambda: self.cycle >= self.answers[-1] + 1)


@pytest.mark.parametrize("late, busy", [(0.0, 0.0), (0.5, 0.0), (0.0, 0.8), (0.4, 0.7)])
@pytest.mark.parametrize("pixels, chunks", [(1, 1), (341, 1), (342, 2), (682, 2), (1024, 3), (1704, 5)])
def test_pixels_come_in_order_and_no_more_of_them(late, busy, pixels, chunks):
    async def host(ctx, bench):
        for first in (7, 0x7FF0):
            before = len(bench.pixels.payloads), len(bench.requests.payloads), ctx.get(bench.dut.ended)
            await bench.begin(pictures=2, pixels=pixels, chunks=chunks, chunk=first)
            await bench.until(lambda end=before[0] + pixels: len(bench.pixels.payloads) == end)
            await bench.wait(40)
            assert bench.running()                          # nothing has been answered
            await bench.answer(2)
            await bench.until(lambda: not bench.running())
            assert ctx.get(bench.dut.ended) != before[2]
            assert bench.requests.payloads[before[1]:] == list(range(first, first + chunks))
            assert bench.pixels.payloads[before[0]:] == bench.expected(first, chunks, pixels)
    Bench(host, late=late, busy=busy)


@pytest.mark.parametrize("late", [0.0, 0.6])
@pytest.mark.parametrize("chunks", [1, 4, 5, 9])
def test_a_run_of_no_pixels_reads_its_chunks(late, chunks):
    async def host(ctx, bench):
        for ended in (1, 0):
            await bench.begin(pictures=0, pixels=0, chunks=chunks, chunk=3)
            await bench.until(lambda: not bench.running())
            assert ctx.get(bench.dut.ended) == ended and ctx.get(bench.dut.cycles) == 0
    bench = Bench(host, late=late)
    assert bench.requests.payloads == 2 * list(range(3, 3 + chunks)) and not bench.pixels.payloads


def test_no_more_is_read_than_there_is_room_for():
    async def host(ctx, bench):
        await bench.begin(pictures=1, pixels=3000, chunks=9, chunk=0)
        await bench.wait(8 * CHUNK_WORDS)
    bench = Bench(host, busy=1.0)
    assert bench.requests.payloads == list(range(SLOTS))


def test_cycles_are_those_from_the_first_pixel_to_the_last_answer():
    async def host(ctx, bench):
        for pictures, after in ((1, 0), (3, 500)):
            taken = len(bench.pixels.cycles)
            await bench.begin(pictures=pictures, pixels=100, chunks=1, chunk=0)
            await bench.until(lambda taken=taken: len(bench.pixels.payloads) == taken + 100)
            await bench.wait(1 + after)
            await bench.answer(pictures)
            await bench.until(lambda: not bench.running())
            # Pixels are taken when they are offered.
            assert ctx.get(bench.dut.cycles) == bench.answers[-1] - bench.pixels.cycles[taken]
    Bench(host)


def test_how_fast_pixels_come():
    async def host(ctx, bench):
        await bench.begin(pictures=1, pixels=340, chunks=1, chunk=0)
        await bench.until(lambda: len(bench.pixels.payloads) == 340)
    cycles = Bench(host).pixels.cycles
    assert {after - before for before, after in zip(cycles[::2], cycles[2::2], strict=False)} == {
        PictureReader.PAIR_CYCLES}


@pytest.mark.parametrize("after", [3, 300, 520, 700, 2000])
def test_a_run_that_is_given_up_leaves_nothing(after):
    """Words that still come are not looked at. `ended` stays: nobody waits for it."""
    async def host(ctx, bench):
        await bench.begin(pictures=9, pixels=3000, chunks=9, chunk=100)
        await bench.wait(after)
        ctx.set(bench.dut.clear, 1)
        await bench.wait(2)
        taken = len(bench.pixels.payloads)
        ctx.set(bench.dut.clear, 0)
        await bench.wait(2 * SLOTS * CHUNK_WORDS)
        assert len(bench.pixels.payloads) == taken and not bench.running() and not ctx.get(bench.dut.ended)
        await bench.begin(pictures=1, pixels=200, chunks=1, chunk=5)
        await bench.until(lambda: len(bench.pixels.payloads) == taken + 200)
        assert bench.pixels.payloads[taken:] == bench.expected(5, 1, 200)
        await bench.answer(1)
        await bench.until(lambda: not bench.running())
    Bench(host, withdraws=True)
