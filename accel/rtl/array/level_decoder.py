"""The weight quantizer in hardware: at the edge of the array, codes become digits of single-scale integer levels.

A weight is stored as a code u. Where level = alpha * u + beta, the array multiplies u itself (alpha and beta are
dealt with behind the array, see `accumulator`), and the table is the identity. Where the level comes from a table,
the table gives one w_bits digit of level - min(levels) for each code, and the pass runs once for each digit.
"""
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["LevelDecoder", "identity_table"]


def identity_table(bits):
    """The table (entry u at bits u * `bits`) that maps each code to itself."""
    return sum(u << u * bits for u in range(1 << bits))


class LevelDecoder(wiring.Component):
    """digits[c] = table[codes[c]], one cycle later.

    Parameters
    ----------
    bits : of a code and of a digit; lanes : codes decoded at once

    Members
    -------
    table : In(bits << bits): entry u at bits u * bits; codes : In; digits : Out, both ArrayLayout(bits, lanes)

    Latency timing.LEVEL_DECODER = 1. About 8 * bits LUT4 a lane.
    """
    def __init__(self, *, bits, lanes):
        self.bits, self.lanes = bits, lanes
        super().__init__({"table": In(bits << bits), "codes": In(data.ArrayLayout(bits, lanes)),
                          "digits": Out(data.ArrayLayout(bits, lanes))})

    def elaborate(self, platform):
        m = Module()
        for lane in range(self.lanes):
            m.d.sync += self.digits[lane].eq(self.table.word_select(self.codes[lane], self.bits))
        return m
