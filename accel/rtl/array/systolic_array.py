"""Weight-stationary systolic array of packed multipliers.

Activations enter at the left, one row for each input channel, row r one cycle later than row r - 1, and move one
chain to the right each cycle. Partial sums run down the chains. The next weight tile passes down beside the active
one, and a swap flag that travels with the first token of a pass makes each element take its new weights just in
time, so passes follow each other without a gap.

              chain 0    chain 1    chain 2
    x row 0  ->[PE]------>[PE]------>[PE]
                |          |          |           token t reaches row r of chain c at cycle t + r + c
    x row 1  ->[PE]------>[PE]------>[PE]
                |          |          |
             sums[0]    sums[1]    sums[2]        out at t + timing.array(rows) + c
"""
import numpy as np
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel import timing
from accel.rtl.timed import Timed

from .processing_element import ProcessingElement

__all__ = ["SystolicArray"]


class SystolicArray(wiring.Component):
    """sums[c][i][j] = sum over rows r of w[r][2c + i] * x[r][j].

    Parameters
    ----------
    rows, chains, bits, pixels : shape of the array, bits of both operands
    floorplan : function (row, chain) -> BEL of the multiplier, or None
    lut_elements : elements, the last of the last chains, that multiply in LUTs

    Members
    -------
    x : In, ArrayLayout(ArrayLayout(bits, pixels), rows): all rows of a token at once; the array skews them
    swap : In(1): this token starts a pass and uses the new weights
    w : In, ArrayLayout(ArrayLayout(bits, 2), chains): a row of the next weight tile, row rows - 1 first; row 0 in the
        cycle before the swap, the others in the cycles before that
    sums : Out, ArrayLayout(ArrayLayout(signed, 2 * pixels), chains); index i * pixels + j

    Latency from x to sums[c]: timing.array(rows) + c. One token a cycle. rows * chains - lut_elements MULT18X18D.
    """
    def __init__(self, *, rows, chains, bits, pixels, floorplan=None, lut_elements=0):
        if rows > 2 << 2 * bits:
            raise ValueError(f"a chain of {bits}-bit products has at most {2 << 2 * bits} rows, not {rows}")
        self.rows, self.chains, self.bits, self.pixels = rows, chains, bits, pixels
        self.floorplan, self.lut_elements = floorplan, lut_elements
        self.sum_shape = signed(ProcessingElement.sum_width(bits, rows))
        super().__init__({
            "x": In(data.ArrayLayout(data.ArrayLayout(bits, pixels), rows)), "swap": In(1),
            "w": In(data.ArrayLayout(data.ArrayLayout(bits, 2), chains)),
            "sums": Out(data.ArrayLayout(data.ArrayLayout(self.sum_shape, 2 * pixels), chains))})

    @staticmethod
    def model(weights, x):
        """int64 (chains, 2 * pixels) from weights (rows, 2 * chains) and x (rows, pixels)."""
        sums = weights.astype(np.int64).T @ x.astype(np.int64)              # (2 * chains, pixels)
        return sums.reshape(weights.shape[1] // 2, -1)

    def elaborate(self, platform):
        m = Module()
        first_lut = self.rows * self.chains - self.lut_elements
        elements = [[ProcessingElement(bits=self.bits, pixels=self.pixels, row=r, lut=c * self.rows + r >= first_lut,
                                       bel=self.floorplan and self.floorplan(r, c))
                     for c in range(self.chains)] for r in range(self.rows)]
        swap = Timed(m, self.swap, 0, name="swap")
        for c in range(self.chains):
            w = Timed(m, self.w[c], 0, name=f"w_{c}").at(c * timing.ELEMENT_HOP)
            sums = None
            for r in range(self.rows):
                m.submodules[f"pe_{r}_{c}"] = element = elements[r][c]
                if c == 0:
                    at = r * timing.ELEMENT_HOP
                    m.d.comb += [element.x_in.eq(Timed(m, self.x[r], 0, name=f"x_{r}").at(at)),
                                 element.swap_in.eq(swap.at(at))]
                else:
                    m.d.comb += [element.x_in.eq(elements[r][c - 1].x_out),
                                 element.swap_in.eq(elements[r][c - 1].swap_out)]
                m.d.comb += element.w_in.eq(w)
                for k in range(2 * self.pixels):
                    m.d.comb += element.sums_in[k].eq(-self.rows if sums is None else sums[k])
                w, sums = element.w_out, element.sums_out
            m.d.comb += self.sums[c].eq(sums)
        return m
