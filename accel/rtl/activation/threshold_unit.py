"""The activation unit: batch-norm, ReLU and the non-uniform quantizer as a binary search in per-channel thresholds.

    code = #{k : value >= thresholds[k]}            (arXiv 1811.10869; no multiplier, no scale)

A stage holds the 2**s thresholds of level s of the search tree and decides one bit of the code, highest first:

    value --+--[ >= t1 ]--+--[ >= t2 or t3 ]--+--[ >= t4 .. t7 ]-- ...     threshold of node h = 1, then 2h + bit
            bit 3         bit 2               bit 1
"""
import numpy as np
from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from accel import timing
from accel.rtl.timed import Timed

__all__ = ["ThresholdUnit", "ThresholdWrite"]


class ThresholdWrite(data.StructLayout):
    """A threshold on its way to the units of its channel: node of the search tree, 1 .. 2**a_bits - 1."""
    def __init__(self, *, a_bits, acc_bits, channels):
        super().__init__({"valid": 1, "channel": range(channels), "node": a_bits, "value": signed(acc_bits)})


class ThresholdUnit(wiring.Component):
    """code = number of thresholds that value reaches, timing.threshold_unit(a_bits) cycles later, one value a cycle.

    Parameters
    ----------
    a_bits, acc_bits : widths of code and value; channel : the channel it belongs to; channels : how many there are

    Members
    -------
    value : In(signed(acc_bits)); code : Out(a_bits)
    write : In(ThresholdWrite): taken if the channel is this unit's; nothing may be in flight

    Stage s takes cycles 2 * s and 2 * s + 1, timing.THRESHOLD_STAGE = 2 in all: it reads its threshold, then compares.

    Per stage s > 0: ceil(acc_bits / 4) DPR16X4, a comparator, 3 * acc_bits flip-flops (the last: 2 * acc_bits); stage
    0 keeps its threshold in a register.
    """
    def __init__(self, *, a_bits, acc_bits, channel, channels):
        self.a_bits, self.acc_bits, self.channel = a_bits, acc_bits, channel
        super().__init__({
            "value": In(signed(acc_bits)), "code": Out(a_bits),
            "write": In(ThresholdWrite(a_bits=a_bits, acc_bits=acc_bits, channels=channels))})

    @staticmethod
    def model(values, thresholds):
        """uint8 codes (...) from values (...) and ascending thresholds (2**a_bits - 1,): the counting definition."""
        return (np.asarray(values)[..., None] >= thresholds).sum(axis=-1).astype(np.uint8)

    def elaborate(self, platform):
        m = Module()
        selected = self.write.valid & (self.write.channel == self.channel)
        value, code = Timed(m, self.value, 0, name="value"), None
        for stage in range(self.a_bits):
            threshold = Signal(signed(self.acc_bits), name=f"threshold_{stage}")
            enable = selected & (self.write.node >> stage == 1)
            if stage == 0:
                with m.If(enable):
                    m.d.sync += threshold.eq(self.write.value)
            else:
                m.submodules[f"stage{stage}"] = nodes = memory.Memory(
                    shape=signed(self.acc_bits), depth=1 << stage, init=[], attrs={"ram_style": "distributed"})
                write, read = nodes.write_port(), nodes.read_port(domain="comb")
                m.d.comb += [write.addr.eq(self.write.node[:stage]), write.data.eq(self.write.value),
                             write.en.eq(enable), read.addr.eq(code)]
                m.d.sync += threshold.eq(read.data)
            decided = timing.threshold_unit(stage + 1)
            reached = Signal(name=f"reached_{stage}")
            m.d.sync += reached.eq(value.at(decided - 1) >= threshold)
            if stage == 0:
                code = reached
            else:
                higher = Timed(m, code, timing.threshold_unit(stage), name=f"code_{stage}")
                code = Cat(reached, higher.at(decided))
        m.d.comb += self.code.eq(code)
        return m
