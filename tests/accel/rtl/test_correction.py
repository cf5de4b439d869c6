# amaranth: UnusedElaboratable=no
"""The correction beta * S << beta_shift, and the shift that it shares with the accumulators, against numbers."""
import numpy as np
import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel import isa, timing
from accel.config import TINY, TINY_1PX
from accel.rtl.activation.accumulator import shift_left
from accel.rtl.activation.correction import Correction
from accel.rtl.timed import Timed
from tests.accel.simulate import run_cycles

LARGEST_BETA, SHIFTS = 1 << isa.BETA_BITS - 1, 1 << isa.SHIFT_BITS


@pytest.mark.parametrize("config", [TINY, TINY_1PX], ids=lambda config: config.name)
@pytest.mark.parametrize("sum_bits", [6, 18])
def test_correction(config, sum_bits):
    """Other operands each cycle: every pair of extremes, then random ones."""
    rng = np.random.default_rng(sum_bits)
    largest, pixels = (1 << sum_bits) - 1, config.pixels_per_cycle
    corners = [(beta, s, shift) for beta in (-LARGEST_BETA, -1, 0, 1, LARGEST_BETA - 1) for s in (0, 1, largest)
               for shift in (0, 1, 3, 4, SHIFTS - 1)]
    randoms = zip(rng.integers(-LARGEST_BETA, LARGEST_BETA, 200), rng.integers(0, largest + 1, 200),
                  rng.integers(0, SHIFTS, 200), strict=True)
    beta, sums, shift = np.array([*corners, *randoms]).T
    sums = np.stack([sums, rng.integers(0, largest + 1, len(sums))][:pixels], axis=1)           # (cycles, m)
    dut = Correction(config, sum_bits=sum_bits)

    def stimulus(ctx, cycle):
        at = cycle % len(beta)
        ctx.set(dut.beta, int(beta[at]))
        ctx.set(dut.beta_shift, int(shift[at]))
        ctx.set(dut.sums, sums[at].tolist())

    seen = run_cycles(dut, stimulus, lambda ctx, cycle: [ctx.get(dut.correction[j]) for j in range(pixels)],
                      len(beta) + timing.CORRECTION)
    expected = (beta[:, None] * sums << shift[:, None]) % (1 << config.acc_bits)
    np.testing.assert_array_equal(seen[timing.CORRECTION:], expected)


class ShiftLeft(wiring.Component):
    def __init__(self, *, value, width):
        self.width = width
        super().__init__({"value": In(value), "shift": In(isa.SHIFT_BITS), "shifted": Out(width)})

    def elaborate(self, platform):
        m = Module()
        shift = Timed(m, self.shift, -3, name="shift")
        m.d.comb += self.shifted.eq(shift_left(m, self.value, shift, self.width, name="shifted"))
        return m


@pytest.mark.parametrize("value, low, high", [(signed(6), -32, 31), (unsigned(6), 0, 63)])
@pytest.mark.parametrize("width", [6, 16, 22])
def test_shift_left_by_every_number(value, low, high, width):
    dut = ShiftLeft(value=value, width=width)
    cases = [(number, shift) for number in (low, -1 if low else 1, 0, 5, high) for shift in range(SHIFTS)]

    def stimulus(ctx, cycle):
        number, shift = cases[cycle % len(cases)]
        ctx.set(dut.value, number)
        ctx.set(dut.shift, shift)

    seen = run_cycles(dut, stimulus, lambda ctx, cycle: ctx.get(dut.shifted), len(cases) + timing.SHIFT)
    assert seen[timing.SHIFT:].tolist() == [(number << shift) % (1 << width) for number, shift in cases]
