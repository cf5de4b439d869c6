# amaranth: UnusedElaboratable=no
"""The systolic array against a matrix product: every packing, changing weights, gaps between tokens, latency pinned."""
import numpy as np
import pytest

from accel import timing
from accel.rtl.array.systolic_array import SystolicArray
from tests.accel.simulate import run_cycles


def run_array(rows, chains, bits, pixels, lengths, gap, extreme=None, lut_elements=0):
    """Passes of `lengths` tokens, `gap` idle cycles between tokens; returns what came out and what should have."""
    rng = np.random.default_rng(rows * 100 + bits * 10 + pixels)
    dut = SystolicArray(rows=rows, chains=chains, bits=bits, pixels=pixels, lut_elements=lut_elements)
    top = (1 << bits) - 1
    tokens, loads, expected, cycle = {}, {}, {}, rows + 3
    for length in lengths:
        w = rng.integers(0, top + 1, (rows, 2 * chains)) if extreme is None else np.full((rows, 2 * chains), extreme)
        for r in range(rows):
            loads[cycle - 1 - r] = w[r]
        first = True
        for _ in range(max(length, -(-rows // (gap + 1)))):
            x = rng.integers(0, top + 1, (rows, pixels)) if extreme is None else np.full((rows, pixels), extreme)
            tokens[cycle] = (x, first)
            expected[cycle] = dut.model(w, x)
            first = False
            cycle += 1 + gap
    total = cycle + timing.array(rows) + chains + 1

    def stimulus(ctx, cycle):
        x, swap = tokens.get(cycle, (rng.integers(0, top + 1, (rows, pixels)), False))
        ctx.set(dut.x, x.tolist())
        ctx.set(dut.swap, int(swap))
        w = loads.get(cycle, rng.integers(0, top + 1, 2 * chains))
        ctx.set(dut.w, w.reshape(chains, 2).tolist())

    def sample(ctx, cycle):
        return [[int(ctx.get(dut.sums[c][k])) for k in range(2 * pixels)] for c in range(chains)]

    seen = run_cycles(dut, stimulus, sample, total)
    for token, sums in expected.items():
        for c in range(chains):
            np.testing.assert_array_equal(seen[token + timing.array(rows) + c, c], sums[c])


@pytest.mark.parametrize("bits, pixels", [(4, 1), (4, 2), (3, 3), (2, 4)])
@pytest.mark.parametrize("gap", [0, 2])
def test_array_multiplies_matrices(bits, pixels, gap):
    run_array(5, 3, bits, pixels, [5, 9, 6, 5], gap)


@pytest.mark.parametrize("bits, pixels", [(4, 1), (4, 2), (3, 3), (2, 4)])
@pytest.mark.parametrize("lut_elements", [1, 6, 10])
def test_elements_without_a_multiplier_block_do_the_same(bits, pixels, lut_elements):
    run_array(5, 2, bits, pixels, [5, 9, 6], 0, lut_elements=lut_elements)
    run_array(5, 2, bits, pixels, [5], 0, lut_elements=lut_elements, extreme=(1 << bits) - 1)


@pytest.mark.parametrize("bits, pixels", [(4, 2), (3, 3), (2, 4)])
def test_largest_operands_do_not_overflow(bits, pixels):
    run_array(16, 1, bits, pixels, [16, 17], 0, extreme=(1 << bits) - 1)


@pytest.mark.parametrize("bits, pixels", [(4, 2), (3, 3), (2, 4)])
def test_zero_operands(bits, pixels):
    run_array(7, 2, bits, pixels, [7], 0, extreme=0)
