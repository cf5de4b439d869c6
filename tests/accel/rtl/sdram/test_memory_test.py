# amaranth: UnusedElaboratable=no
"""The memory tester behind the controller: every fault of a line or a word is found, and where."""
import numpy as np
import pytest
from amaranth import *
from amaranth.lib.wiring import connect
from amaranth.sim import Simulator

from accel.rtl.sdram.controller import SdramController
from accel.rtl.sdram.memory_test import MemoryTest
from accel.sdram import COLUMNS
from sim.sdram_chip import SdramChip
from tests.accel.rtl.sdram.bench import QUICK, Bench
from tests.accel.rtl.sdram.rules import broken


class Together(Elaboratable):
    def __init__(self, chunks):
        self.test, self.controller = MemoryTest(chunks=chunks), SdramController(QUICK)

    def elaborate(self, platform):
        m = Module()
        m.submodules.test, m.submodules.controller = self.test, self.controller
        connect(m, self.test.writes, self.controller.writes)
        connect(m, self.test.reads, self.controller.reads)
        m.d.comb += self.test.word.eq(self.controller.word)
        return m


class FaultyChip(SdramChip):
    """high, low: masks of data bits that are read as ones, zeros. fold: function of (chunk, column) to where its words
    lie. flip: {(chunk, column): bits}, of words as they are read."""
    def __init__(self, *, high=0, low=0, fold=lambda chunk, column: (chunk, column), flip=()):
        super().__init__(QUICK)
        self._high, self._low, self._fold, self._flip = high, low, fold, dict(flip)

    def _column(self, command, n, address):
        chunk, column = super()._column(command, n, address)
        self._read_from = chunk, column
        return self._fold(chunk, column)

    def _read(self, n, address, dq, dq_oe):
        super()._read(n, address, dq, dq_oe)
        self._output[3] = (self._output[3] ^ self._flip.get(self._read_from, 0) | self._high) & ~self._low


def states(seed, count):
    """The words of a test, from the polynomial: state n is (seed + 2^16) * x^n modulo x^25 + x^3 + 1."""
    words, state = [], 1 << 16 | seed
    for _ in range(count):
        words.append(state & 0xFFFF)
        state <<= 1
        if state >> 25:
            state ^= 1 << 25 | 1 << 3 | 1
    return words


def outcome(chip=None, *, chunks=2, seeds=(0x1234,)):
    """(errors, address) of the tests with `seeds`, and the bench."""
    dut, found = Together(chunks), []
    bench = Bench(dut, dut.controller.port, QUICK, words=dut.controller.word, chip=chip)

    async def run(ctx):
        for seed in seeds:
            ctx.set(dut.test.seed, seed)
            ctx.set(dut.test.start, 1)
            await ctx.tick()
            ctx.set(dut.test.start, 0)
            await ctx.tick()
            assert not ctx.get(dut.test.done)
            while not ctx.get(dut.test.done):
                await ctx.tick()
            found.append((ctx.get(dut.test.errors), ctx.get(dut.test.address)))
    bench.run(run)
    return found, bench


@pytest.mark.parametrize("chunks", [1, 5])
def test_a_good_memory(chunks):
    found, bench = outcome(chunks=chunks, seeds=[0, 0xFFFF])
    assert found == [(0, 0)] * 2
    words = np.concatenate([bench.chip.row(chunk) for chunk in range(chunks)])
    assert words.tolist() == states(0xFFFF, chunks * COLUMNS)
    assert broken(bench.commands, clock_hz=131_250_000, power_up_us=0, end=bench.cycle) == []
    writes = [c for c in bench.commands if c.name == "WRITE"]
    assert len(writes) == 2 * chunks * COLUMNS
    assert [data for _, data, _ in bench.words] == states(0, chunks * COLUMNS) + states(0xFFFF, chunks * COLUMNS)


@pytest.mark.parametrize("bit", [0, 7, 15])
@pytest.mark.parametrize("level", [0, 1])
def test_a_data_line_that_is_stuck(bit, level):
    (errors, address), = outcome(FaultyChip(**{"high" if level else "low": 1 << bit}), chunks=1)[0]
    wrong = [n for n, word in enumerate(states(0x1234, COLUMNS)) if word >> bit & 1 != level]
    assert (errors, address) == (len(wrong), wrong[0])


@pytest.mark.parametrize("bit", [0, 4, 8])
def test_a_column_line_that_is_stuck(bit):
    (errors, address), = outcome(FaultyChip(fold=lambda chunk, column: (chunk, column | 1 << bit)), chunks=1)[0]
    assert (errors, address) == (COLUMNS // 2, 0)


@pytest.mark.parametrize("bit", [0, 1, 2])
def test_a_line_of_bank_or_row_that_is_stuck(bit):
    (errors, address), = outcome(FaultyChip(fold=lambda chunk, column: (chunk & ~(1 << bit), column)),
                                chunks=(1 << bit) + 1)[0]
    words = states(0x1234, ((1 << bit) + 1) * COLUMNS)
    assert errors == sum(a != b for a, b in zip(words[:COLUMNS], words[-COLUMNS:], strict=True)) > 500
    assert address == 0


def test_the_address_of_a_single_word():
    assert outcome(FaultyChip(flip={(1, 77): 0x0800}), chunks=3)[0] == [(1, COLUMNS + 77)]
    assert outcome(FaultyChip(flip={(0, 511): 1, (1, 0): 1, (2, 511): 1}), chunks=3)[0] == [(3, 511)]


def test_the_next_test_counts_from_zero():
    chip = FaultyChip(flip={(0, 3): 0xFFFF})
    assert outcome(chip, chunks=1, seeds=[5, 6])[0] == [(1, 3), (1, 3)]


def test_errors_stop_at_their_largest_number():
    """A controller that gives a wrong word each cycle."""
    dut = MemoryTest(chunks=129)

    async def run(ctx):
        ctx.set(dut.writes.ready, 1)
        ctx.set(dut.reads.ready, 1)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        while not ctx.get(dut.reads.valid):
            await ctx.tick()
        words = states(0, 129 * COLUMNS)
        ctx.set(dut.word.valid, 1)
        for word in words:
            assert not ctx.get(dut.done)
            ctx.set(dut.word.data, word ^ 1)
            await ctx.tick()
        ctx.set(dut.word.valid, 0)
        for _ in range(3):
            await ctx.tick()
        assert (ctx.get(dut.done), ctx.get(dut.errors), ctx.get(dut.address)) == (1, 0xFFFF, 0)

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(run)
    simulator.run()


def test_the_period_is_longer_than_the_memory():
    """x has the order 2^25 - 1 = 31 * 601 * 1801 modulo the polynomial, so no two words have one state."""
    def times(a, b):
        product = 0
        for bit in range(25):
            product ^= (a << bit) * (b >> bit & 1)
        for bit in reversed(range(25, 50)):
            if product >> bit & 1:
                product ^= (1 << 25 | 1 << 3 | 1) << bit - 25
        return product

    def power(exponent):
        result, factor = 1, 2
        while exponent:
            result, factor, exponent = times(result, factor) if exponent & 1 else result, times(factor, factor), \
                exponent >> 1
        return result

    order = (1 << 25) - 1
    assert 31 * 601 * 1801 == order > 1 << 24
    assert power(order) == 1 and all(power(order // prime) != 1 for prime in (31, 601, 1801))
