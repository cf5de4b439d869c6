# amaranth: UnusedElaboratable=no
"""The packed multiplier: every operand, in numpy (`unpack` is the very lines the hardware uses) and in the processing
element."""
from itertools import product

import numpy as np
import pytest

from accel import timing
from accel.rtl.array.packing import Packing
from accel.rtl.array.processing_element import ProcessingElement
from tests.accel.simulate import run_cycles

SHAPES = [(4, 1), (4, 2), (3, 1), (3, 2), (3, 3), (2, 1), (2, 2), (2, 3), (2, 4)]


@pytest.mark.parametrize("bits, pixels", SHAPES)
def test_every_operand_comes_back_exactly(bits, pixels):
    packing = Packing(bits, pixels)
    codes = np.arange(1 << bits)
    grid = np.stack(np.meshgrid(*[codes] * (2 + pixels), indexing="ij")).reshape(2 + pixels, -1)
    weights, values = grid[:2], grid[2:]
    packed = packing.pack_weights(weights) * packing.pack_pixels(values)
    low_bits = [weights[i] & values[j] & 1 for i, j in packing.order]
    for (i, j), (field, borrow) in zip(packing.order, packing.unpack(packed, low_bits), strict=True):
        np.testing.assert_array_equal(field - borrow, weights[i] * values[j])


@pytest.mark.parametrize("bits, pixels, macs", [(4, 2, 4), (3, 3, 6), (2, 4, 8)])
def test_macs_per_multiplier(bits, pixels, macs):
    packing = Packing(bits, pixels)
    assert len(packing.order) == macs
    assert sorted(packing.order) == list(product(range(2), range(pixels)))
    assert max(packing.weight_width, packing.pixel_width) <= 18


@pytest.mark.parametrize("bits, pixels", [(4, 3), (4, 4), (3, 4)])
def test_what_does_not_fit_is_refused(bits, pixels):
    with pytest.raises(ValueError, match="do not fit in 18 x 18 bits"):
        Packing(bits, pixels)


def test_processing_element_on_every_operand():
    """2 x 2 bits, four pixels: all 4096 combinations of two weights and four activations through one element."""
    bits, pixels = 2, 4
    dut = ProcessingElement(bits=bits, pixels=pixels, row=0)
    codes = np.arange(1 << bits)
    grid = np.stack(np.meshgrid(*[codes] * (2 + pixels), indexing="ij")).reshape(2 + pixels, -1).T
    weights, values = grid[:, :2], grid[:, 2:]

    def stimulus(ctx, cycle):                       # a weight enters one cycle before the swap that takes it
        ctx.set(dut.w_in, weights[cycle % len(grid)].tolist())
        ctx.set(dut.x_in, values[(cycle - 1) % len(grid)].tolist())
        ctx.set(dut.swap_in, 1)
        ctx.set(dut.sums_in, [-1] * 2 * pixels)

    seen = run_cycles(dut, stimulus, lambda ctx, cycle: [ctx.get(dut.sums_out[k]) for k in range(2 * pixels)],
                      1 + len(grid) + timing.ELEMENT)
    expected = (weights[:, :, None] * values[:, None, :]).reshape(len(grid), -1)
    np.testing.assert_array_equal(seen[1 + timing.ELEMENT:], expected)
