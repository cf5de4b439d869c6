"""The part of a weight level that is the same for all weights: where level = alpha * u + beta, beta * sum(activations).

The array multiplies the codes u alone; alpha is a shift in the accumulator, and beta * S << beta_shift is added there,
the same for all channels of a pixel. So it is computed once, and passes from chain to chain.
"""
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, timing
from accel.config import AccelConfig
from accel.rtl.array.multiplier import Multiplier
from accel.rtl.timed import Timed

from .accumulator import shift_left

__all__ = ["Correction"]


class Correction(wiring.Component):
    """correction[j] = beta * sums[j] << beta_shift, modulo 2**acc_bits, for each pixel j of m.

    Parameters
    ----------
    config : AccelConfig
    sum_bits : of an unsigned sum, at most 18

    Members
    -------
    sums : In, ArrayLayout(sum_bits, m)
    beta : In(signed(isa.BETA_BITS)), beta_shift : In(isa.SHIFT_BITS), with the sums
    correction : Out, ArrayLayout(acc_bits, m), timing.CORRECTION = 5 cycles later

    One pixel group a cycle. m MULT18X18D. The multiplier is unsigned, so it gets beta + offset, offset being
    2**(isa.BETA_BITS - 1), and offset * S is taken off its product.

        cycle  0                 2                       3 PRODUCT     5
               beta, S           (beta + offset) * S     beta * S      << beta_shift
    """
    def __init__(self, config: AccelConfig, *, sum_bits):
        self.config, self.sum_bits = config, sum_bits
        super().__init__({
            "sums": In(data.ArrayLayout(sum_bits, config.pixels_per_cycle)), "beta": In(signed(isa.BETA_BITS)),
            "beta_shift": In(isa.SHIFT_BITS),
            "correction": Out(data.ArrayLayout(config.acc_bits, config.pixels_per_cycle))})

    def elaborate(self, platform):
        m = Module()
        sums = Timed(m, self.sums, 0, name="sums").at(timing.MULTIPLIER)
        beta_shift = Timed(m, self.beta_shift, 0, name="beta_shift").at(timing.CORRECTION_PRODUCT)
        shift = Timed(m, beta_shift, timing.CORRECTION_PRODUCT, name="shift")
        for j in range(self.config.pixels_per_cycle):
            m.submodules[f"multiplier{j}"] = multiplier = Multiplier(a_width=isa.BETA_BITS, b_width=self.sum_bits)
            product = Signal(signed(isa.BETA_BITS + self.sum_bits), name=f"product_{j}")
            m.d.comb += [multiplier.a.eq(self.beta ^ 1 << isa.BETA_BITS - 1), multiplier.b.eq(self.sums[j])]
            m.d.sync += product.eq(multiplier.p - (sums[j] << isa.BETA_BITS - 1))
            m.d.comb += self.correction[j].eq(
                shift_left(m, product, shift, self.config.acc_bits, name=f"shifted_{j}"))
        return m
