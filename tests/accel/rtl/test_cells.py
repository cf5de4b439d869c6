# amaranth: UnusedElaboratable=no
"""The blocks as an ECP5 has them, pin by pin, in pysim: what `test_rtl_ecp5` only counts is wired right here.

A whole core of them: tests/sim/test_cells.py."""
import numpy as np
import pytest

from accel import timing
from accel.rtl.array.multiplier import Multiplier
from accel.rtl.memory.block_memory import SHAPES, BlockMemory
from tests.accel.ecp5_cells import use_cells
from tests.accel.simulate import run_cycles


@pytest.fixture(autouse=True)
def cells(monkeypatch):
    use_cells(monkeypatch)


@pytest.mark.parametrize("depth, bits", SHAPES)
def test_a_memory_of_every_shape_keeps_initial_and_written_words(depth, bits):
    """One bit more than a block has, so that there are two; every address pin is used alone."""
    width = bits + 1
    rng = np.random.default_rng(depth)
    init = rng.integers(0, 1 << width, depth).tolist()
    dut = BlockMemory(width=width, depth=depth, init=init)
    addresses = [0, depth - 1, *(1 << i for i in range((depth - 1).bit_length())), *rng.integers(0, depth, 20).tolist()]
    written = {address: int(rng.integers(1 << width)) for address in addresses[1::2]}
    count = len(addresses)

    def stimulus(ctx, cycle):
        ctx.set(dut.read_address, addresses[cycle % count])
        if count <= cycle < count + len(written):                       # while others are read: none of these
            address, word = list(written.items())[cycle - count]
            ctx.set(dut.write_enable, 1)
            ctx.set(dut.write_address, address)
            ctx.set(dut.write_data, word)
        else:
            ctx.set(dut.write_enable, 0)

    seen = run_cycles(dut, stimulus, lambda ctx, cycle: ctx.get(dut.read_data), 3 * count + timing.BLOCK_MEMORY)
    read = seen[timing.BLOCK_MEMORY:].tolist()
    assert read[:count] == [init[address] for address in addresses]
    assert read[2 * count:] == [written.get(address, init[address]) for address in addresses]


def test_a_word_is_readable_in_the_cycle_after_its_write_and_not_before():
    dut = BlockMemory(width=20, depth=1024)

    def stimulus(ctx, cycle):
        ctx.set(dut.write_enable, cycle == 0)
        ctx.set(dut.write_address, 5)
        ctx.set(dut.write_data, 0x12345)
        ctx.set(dut.read_address, 5)

    seen = run_cycles(dut, stimulus, lambda ctx, cycle: ctx.get(dut.read_data), 4)
    first = timing.BLOCK_MEMORY + timing.BLOCK_MEMORY_WRITE
    assert seen[first - 1:].tolist() == [0xFFFFF, 0x12345]              # undefined, which the model shows as this


def test_the_multiplier():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 1 << 11, 40), rng.integers(0, 1 << 18, 40)
    a[:2], b[:2] = [0, (1 << 11) - 1], [(1 << 18) - 1] * 2
    dut = Multiplier(a_width=11, b_width=18, bel="X4/Y10/MULT18_0")

    def stimulus(ctx, cycle):
        ctx.set(dut.a, int(a[cycle % 40]))
        ctx.set(dut.b, int(b[cycle % 40]))

    seen = run_cycles(dut, stimulus, lambda ctx, cycle: ctx.get(dut.p), 40 + timing.MULTIPLIER)
    np.testing.assert_array_equal(seen[timing.MULTIPLIER:], a * b)
