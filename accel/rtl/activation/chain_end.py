"""What stands at the foot of a chain: accumulators, then threshold units and logits, of its two channels.

    sums ---+-> Accumulator -+-> ThresholdUnit (one for each channel and pixel) -> codes
    correction --^           +-> LogitSum -> logit, to the chain before
                                    ^------- shift_in, from the chain behind
"""
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.config import AccelConfig

from .accumulator import Accumulator, AccumulatorControl
from .logit_sum import LogitSum
from .threshold_unit import ThresholdUnit, ThresholdWrite

__all__ = ["ChainEnd"]


class ChainEnd(wiring.Component):
    """Partial sums of channels 2 * chain and 2 * chain + 1 become codes and logits.

    Parameters
    ----------
    config : AccelConfig
    chain : its number; sum_shape : of a partial sum, as it leaves the array

    Members
    -------
    sums, control, correction : In, as `Accumulator` takes them
    threshold_write : In(ThresholdWrite), of all channels; nothing may be in flight
    codes : Out, ArrayLayout(ArrayLayout(a_bits, 2), m)
    shift : In(1), shift_in : In(signed(32)), logit : Out(signed(32)): as `LogitSum` has them

    One pixel group a cycle. Latency, of 16x16x2:

        cycle  0              2            5                  7                  13
               sums, control  correction   new accumulators   in the logits      codes
    """
    def __init__(self, config: AccelConfig, *, chain, sum_shape):
        self.config, self.chain, self.sum_shape = config, chain, sum_shape
        pixels = config.pixels_per_cycle
        super().__init__({
            "sums": In(data.ArrayLayout(sum_shape, 2 * pixels)), "control": In(AccumulatorControl(config)),
            "correction": In(data.ArrayLayout(config.acc_bits, pixels)),
            "threshold_write": In(ThresholdWrite(a_bits=config.a_bits, acc_bits=config.acc_bits,
                                                 channels=config.channels)),
            "codes": Out(data.ArrayLayout(data.ArrayLayout(config.a_bits, 2), pixels)),
            "shift": In(1), "shift_in": In(signed(32)), "logit": Out(signed(32))})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.accumulator = accumulator = Accumulator(config, sum_shape=self.sum_shape)
        m.submodules.logits = logits = LogitSum(config)
        m.d.comb += [
            accumulator.sums.eq(self.sums), accumulator.control.eq(self.control),
            accumulator.correction.eq(self.correction), logits.values.eq(accumulator.values),
            logits.control.eq(accumulator.value_control), logits.shift.eq(self.shift),
            logits.shift_in.eq(self.shift_in), self.logit.eq(logits.logit)]
        for i in range(2):
            for j in range(config.pixels_per_cycle):
                m.submodules[f"threshold{i}_{j}"] = unit = ThresholdUnit(
                    a_bits=config.a_bits, acc_bits=config.acc_bits, channel=2 * self.chain + i,
                    channels=config.channels)
                m.d.comb += [unit.value.eq(accumulator.values[i * config.pixels_per_cycle + j]),
                             unit.write.eq(self.threshold_write), self.codes[j][i].eq(unit.code)]
        return m
