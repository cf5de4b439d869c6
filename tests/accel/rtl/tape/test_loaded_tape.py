"""The tape straight from the load stream: its words go on, checks do not; what is wrong is no net."""
import binascii
import random

import numpy as np
import pytest
from amaranth.sim import Simulator

from accel.config import TINY
from accel.isa import LoadKind
from accel.rtl.tape.loaded_tape import LoadedTape
from tests.accel.rtl.tape.programs import random_tape
from tests.accel.streams import Monitor, put, sink

NET = random_tape(TINY, 5, 4)


def load_stream(chunks):
    words = chunks.reshape(-1)
    check = binascii.crc32(words.astype("<u2").tobytes())
    return [(LoadKind.BEGIN, 0), *((LoadKind.WORD, int(word)) for word in words), (LoadKind.CHECK, check & 0xFFFF),
            (LoadKind.CHECK, check >> 16), (LoadKind.PLAY, 1 << 15 | len(chunks) - 1)]


class Bench:
    """Loads the streams one after the other; the core is busy now and then. found: (whole, damaged) after each."""
    def __init__(self, streams, *, pauses=0.0, busy=0.0, whole=False, seed=0):
        dut, chance, self.found = LoadedTape(whole=whole), random.Random(seed), []
        self.words, self.loads, self.rewinds = Monitor(dut.words), Monitor(dut.load), 0

        async def work(ctx):
            while True:
                ctx.set(dut.busy, chance.random() < busy)
                *_, ready, is_busy = await ctx.tick().sample(dut.load.ready, dut.busy)
                assert not (ready and is_busy)

        async def watch(ctx):
            async for _, _, rewind, valid, whole, hold, clear, resident, go in ctx.tick().sample(
                    dut.rewind, dut.load.valid, dut.whole, dut.hold, dut.clear, dut.resident, dut.go):
                self.rewinds += rewind
                assert (hold, clear, resident, go) == (valid | (not whole), not whole, 1, 1)

        async def load(ctx):
            assert ctx.get(dut.whole) == whole and not ctx.get(dut.damaged)
            for stream in streams:
                for number, (kind, word) in enumerate(stream):
                    await put(ctx, dut.load, {"kind": kind, "data": word})
                    while number + 1 < len(stream) and chance.random() < pauses:
                        await ctx.tick()
                    if number + 1 < len(stream):
                        assert not ctx.get(dut.whole) and not ctx.get(dut.damaged)
                for _ in range(6):
                    await ctx.tick()
                self.found.append((ctx.get(dut.whole), ctx.get(dut.damaged)))
        simulator = Simulator(dut)
        simulator.add_clock(1e-8)
        for bench in (work, watch, self.words.watch, self.loads.watch, sink(dut.words, pauses=pauses, seed=seed)):
            simulator.add_testbench(bench, background=True)
        simulator.add_testbench(load)
        simulator.run()


@pytest.mark.parametrize("pauses, busy", [(0.0, 0.0), (0.4, 0.3)])
def test_words_go_on_without_their_checks(pauses, busy):
    bench = Bench([load_stream(NET.chunks)] * 2, pauses=pauses, busy=busy, whole=True)
    assert [word & 0xFFFF for word in bench.words.payloads] == NET.words * 2
    assert bench.found == [(1, 0)] * 2 and bench.rewinds == 2


def test_a_word_is_on_offer_in_the_next_cycle_and_takes_two():
    bench = Bench([load_stream(NET.chunks)])
    taken = bench.loads.cycles[1:1 + 511]
    assert bench.words.cycles[:511] == [cycle + 1 for cycle in taken]
    assert np.diff(taken).tolist() == [2] * 510


@pytest.mark.parametrize("place", [1, 300, 512, 513, -3, -2])
def test_what_is_wrong_is_no_net(place):
    """A word, a chunk's check, either half of the CRC-32; the next load is whole."""
    stream = load_stream(NET.chunks)
    wrong = list(stream)
    wrong[place] = wrong[place][0], wrong[place][1] ^ 0x40
    assert Bench([wrong, stream]).found == [(0, 1), (1, 0)]


def test_chunks_in_each_others_place():
    chunks = random_tape(TINY, 5, 4, spare=0).chunks
    assert len(chunks) > 1
    chunks[[0, 1]] = chunks[[1, 0]]
    assert Bench([load_stream(chunks)]).found == [(0, 1)]


def test_a_load_that_begins_again():
    """What came before the second BEGIN does not count."""
    stream = load_stream(NET.chunks)
    assert Bench([stream[:77] + stream]).found == [(1, 0)]
    wrong = [*stream[:512], (stream[512][0], stream[512][1] ^ 1)]           # up to its first check
    assert Bench([wrong + stream]).found == [(1, 0)]
