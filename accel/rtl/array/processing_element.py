"""Processing element: one multiplier, two weights, m pixels, 2 m multiply-accumulates a cycle.

    x_in ---[x]------------------------------------------> x_out       activations, to the next chain
             |                       +-----+
             +---pack pixels-------> | B   |   unpack    +---+
    w_in -[p]+-[p2]-> w_out          |  *  |--[field]--> | + |-> sums_out
             |                       |     |             +---+
             +-[w active]-pack-----> | A   |               ^
                 ^ swap              +-----+           sums_in
"""
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel import timing
from accel.rtl.timed import Timed

from .multiplier import Multiplier
from .packing import Packing

__all__ = ["ProcessingElement"]


class ProcessingElement(wiring.Component):
    """sums_out[i][j] = sums_in[i][j] + w[i] * x[j] + 1, for two weights i and m pixels j.

    The "+ 1" turns the two operations of the unpacking (add the field, take off the borrow) into one adder with a carry
    in (field + ~borrow); a chain of n elements starts at -n.

    Parameters
    ----------
    bits : bits of a weight digit and of an activation code
    pixels : m
    row : position in the chain (0 first); decides the width of the sums
    bel : placement of the multiplier
    lut : multiply in LUTs instead, one small product each (about 110 LUT4 at 2 x 2 products of 4 x 4 bits)

    Members
    -------
    x_in, x_out : activations, ArrayLayout(bits, m); swap_in, swap_out : take the passing weights for this x and after
    w_in, w_out : passing weights, ArrayLayout(bits, 2), two registers: a word meets the swap in row r if it enters the
        chain one cycle earlier for each row it has to pass beyond the first
    sums_in : ArrayLayout(signed, 2 m), index i * m + j; sums_out

    Latency: x_in to sums_out timing.ELEMENT = 5, x_in to x_out and sums_in to sums_out timing.ELEMENT_HOP = 1, w_in to
    w_out 2. A w_in of cycle t is what a swap_in of cycle t + 1 takes.

        cycle  0                   1 HOP          2    3 PRODUCTS   4 FIELDS       5
               x_in, swap_in       x_out, active       products     sums_in        sums_out
                                   weights             in one       fields of them
    """
    def __init__(self, *, bits, pixels, row, bel=None, lut=False):
        self.bits, self.pixels, self.row, self.bel, self.lut = bits, pixels, row, bel, lut
        self.packing = Packing(bits, pixels)
        super().__init__({
            "x_in": In(data.ArrayLayout(bits, pixels)), "swap_in": In(1),
            "x_out": Out(data.ArrayLayout(bits, pixels)), "swap_out": Out(1),
            "w_in": In(data.ArrayLayout(bits, 2)), "w_out": Out(data.ArrayLayout(bits, 2)),
            "sums_in": In(data.ArrayLayout(signed(self.sum_width(bits, row)), 2 * pixels)),
            "sums_out": Out(data.ArrayLayout(signed(self.sum_width(bits, row + 1)), 2 * pixels))})

    @staticmethod
    def sum_width(bits, rows):
        """Bits of the signed sum of `rows` products, the running "- 1" of the rows to come included."""
        return 2 * bits + max(rows, 1).bit_length() + 1

    def elaborate(self, platform):
        m = Module()
        passing, active = Signal.like(self.w_in), Signal.like(self.w_in)
        m.d.sync += [passing.eq(self.w_in), self.w_out.eq(passing), self.x_out.eq(self.x_in),
                     self.swap_out.eq(self.swap_in)]
        with m.If(self.swap_in):
            m.d.sync += active.eq(passing)

        products = self._lut_products if self.lut else self._packed_products
        for at, (value, no_borrow) in products(m, active):
            m.d.sync += self.sums_out[at].eq(self.sums_in[at] + value + no_borrow)
        return m

    def _packed_products(self, m, active):
        """(index of its sum, (field, not its borrow)) of every product, in cycle timing.ELEMENT_FIELDS."""
        packing = self.packing
        m.submodules.multiplier = multiplier = Multiplier(
            a_width=packing.weight_width, b_width=packing.pixel_width, bel=self.bel)
        for i in range(2):
            m.d.comb += multiplier.a[i * packing.weight_step:][:self.bits].eq(active[i])
        for j in range(self.pixels):
            m.d.comb += multiplier.b[j * packing.pixel_step:][:self.bits].eq(self.x_out[j])
        low_bits = [Timed(m, active[i][0] & self.x_out[j][0], timing.ELEMENT_HOP, name=f"low_{i}_{j}")
                    .at(timing.ELEMENT_PRODUCTS) for i, j in packing.order]

        fields = packing.unpack(multiplier.p, low_bits)
        for (i, j), (field, borrow) in zip(packing.order, fields, strict=True):
            value, no_borrow = Signal(packing.field + 1, name=f"field_{i}_{j}"), Signal(name=f"no_borrow_{i}_{j}")
            m.d.sync += [value.eq(field), no_borrow.eq(~borrow)]
            yield i * self.pixels + j, (value, no_borrow)

    def _lut_products(self, m, active):
        """The same without a multiplier block: bits of the weight two at a time, then the sum of these."""
        weights = Timed(m, active, timing.ELEMENT_HOP, name="weights").at(timing.ELEMENT_PRODUCTS - 1)
        pixels = Timed(m, self.x_out, timing.ELEMENT_HOP, name="pixels").at(timing.ELEMENT_PRODUCTS - 1)
        for i in range(2):
            for j in range(self.pixels):
                w, x, partial = weights[i], pixels[j], []
                for low in range(0, self.bits, 2):
                    part = Signal(self.bits + 2, name=f"partial_{i}_{j}_{low}")
                    m.d.sync += part.eq(sum(Mux(w[k], x, 0) << k - low for k in range(low, min(low + 2, self.bits))))
                    partial.append(part << low)
                value = Signal(2 * self.bits, name=f"product_{i}_{j}")
                m.d.sync += value.eq(sum(partial))
                yield i * self.pixels + j, (value, 1)
