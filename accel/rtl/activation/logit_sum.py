"""Logits of one chain: the linear layer's accumulators summed over all pixels (the average pool's integer sum).

    cycle  0        1 GROUP               2
           values   masked, m summed      in the logit
"""
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel import timing
from accel.config import AccelConfig
from accel.rtl.timed import Timed

from .accumulator import AccumulatorControl

__all__ = ["LogitSum"]


class LogitSum(wiring.Component):
    """Two int32 logits; also a piece of the shift register that takes all logits out, lowest channel first.

    Members
    -------
    values, control : In, as they leave the accumulator
    shift : In(1): logits move one place down; shift_in : In(signed(32)), from the next chain
    logit : Out(signed(32)): the lower of the two

    A value counts in the logit timing.LOGIT_SUM = 2 cycles later. The first token of a pass with `logits` clears.
    """
    def __init__(self, config: AccelConfig):
        self.config = config
        super().__init__({
            "values": In(data.ArrayLayout(signed(config.acc_bits), 2 * config.pixels_per_cycle)),
            "control": In(AccumulatorControl(config)),
            "shift": In(1), "shift_in": In(signed(32)), "logit": Out(signed(32))})

    def elaborate(self, platform):
        m = Module()
        pixels = self.config.pixels_per_cycle
        count = self.control.valid & self.control.final & self.control.logits
        add = Timed(m, count, 0, name="add").at(timing.LOGIT_GROUP)
        clear = Timed(m, self.control.first, 0, name="clear").at(timing.LOGIT_GROUP)
        logits = [Signal(signed(32), name=f"logit_{i}") for i in range(2)]
        m.d.comb += self.logit.eq(logits[0])
        for i, following in enumerate([logits[1], self.shift_in]):
            group = Signal(signed(self.config.acc_bits + pixels.bit_length()), name=f"group_{i}")
            m.d.sync += group.eq(sum(Mux(self.control.inside[j], self.values[i * pixels + j], 0)
                                     for j in range(pixels)))
            with m.If(add):
                m.d.sync += logits[i].eq(Mux(clear, 0, logits[i]) + group)
            with m.Elif(self.shift):
                m.d.sync += logits[i].eq(following)
        return m
