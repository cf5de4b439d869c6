# amaranth: UnusedElaboratable=no
"""The reader of payloads against a buffer in a few lines, whose bytes are overwritten as soon as they may be."""
import random

import pytest

from accel import timing
from accel.rtl.host.payload_reader import PayloadReader
from tests.accel.streams import Monitor, simulate, sink


class Bench:
    """A reader that is started for each of `payloads`, (bytes, how many of them are wanted before it is stopped).

    runs: the bytes that each gave. cycles: of their transfers, from its start on. left: `left` in the same cycles.
    """
    def __init__(self, payloads, *, pauses=0.0, idle=0, seed=0):
        self.dut = dut = PayloadReader()
        self._buffer, self._payloads, self._idle, self._over = bytearray(4096), payloads, idle, False
        self.runs, self.cycles, self.left = [], [], []
        monitor = Monitor(dut.octets)
        watch = [] if any(len(octets) != count for octets, count in payloads) else [monitor.watch]
        simulate(dut, self._host, self._memory, sink(dut.octets, pauses=pauses, seed=seed), *watch,
                 done=lambda: self._over, timeout=200_000)

    async def _host(self, ctx):
        dut = self.dut
        for octets, count in self._payloads:
            self._buffer[:len(octets)] = octets
            ctx.set(dut.length, len(octets))
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            ctx.set(dut.length, 0x5A5A)
            assert ctx.get(dut.reading) and ctx.get(dut.buffer_address) == 0
            taken, cycles, lefts, cycle = bytearray(), [], [], 1
            while len(taken) < count:
                _, _, valid, ready, octet, left = await ctx.tick().sample(
                    dut.octets.valid, dut.octets.ready, dut.octets.payload, dut.left)
                if valid and ready:
                    taken.append(octet)
                    cycles.append(cycle)
                    lefts.append(left)
                cycle += 1
            self.runs.append(bytes(taken))
            self.cycles.append(cycles)
            self.left.append(lefts)
            if count == len(octets):                    # it stops of itself
                await ctx.tick().repeat(5)
            else:
                ctx.set(dut.stop, 1)
                await ctx.tick()
                ctx.set(dut.stop, 0)
            for _ in range(self._idle + 1):
                assert not ctx.get(dut.reading) and not ctx.get(dut.octets.valid)
                if self._idle:
                    await ctx.tick()
        self._over = True

    async def _memory(self, ctx):
        dut, kept = self.dut, 0
        pipeline = [0] * (timing.BLOCK_MEMORY - 1)
        async for _, _, address, reading, stop in ctx.tick().sample(dut.buffer_address, dut.reading, dut.stop):
            pipeline.append(self._buffer[address])
            ctx.set(dut.buffer_data, pipeline.pop(0))
            if reading and not stop:
                for k in range(kept, address):
                    self._buffer[k] ^= 0x5A
            kept = address


@pytest.mark.parametrize("pauses", [0.0, 0.3, 0.8])
def test_payloads_come_whole(pauses):
    chance = random.Random(1)
    lengths = [1, 2, 0, 3, 0, 0, 40, *(chance.randrange(60) for _ in range(9))]
    payloads = [chance.randbytes(length) for length in lengths]
    bench = Bench([(octets, len(octets)) for octets in payloads], pauses=pauses, seed=2)
    assert bench.runs == payloads
    assert bench.left == [list(range(len(octets), 0, -1)) for octets in payloads]


def test_the_longest_payload():
    octets = random.Random(3).randbytes(4096)
    assert Bench([(octets, 4096), (octets[:2], 2)]).runs == [octets, octets[:2]]


def test_the_first_byte_after_four_cycles_and_one_each_four():
    assert Bench([(bytes(range(9)), 9)]).cycles == [list(range(4, 40, 4))]


@pytest.mark.parametrize("idle", [0, 1, 7])
@pytest.mark.parametrize("pauses", [0.0, 0.6])
def test_after_a_stop_the_next_payload_is_its_own(idle, pauses):
    chance = random.Random(4)
    payloads = [(chance.randbytes(20), chance.randrange(0, 20)) for _ in range(40)]
    bench = Bench(payloads, pauses=pauses, idle=idle, seed=5)
    assert bench.runs == [octets[:count] for octets, count in payloads]
