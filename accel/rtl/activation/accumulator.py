"""Accumulators of one chain: aligns the partial sums of a pass, adds them to what the passes before left.

    cycle  0            2 ALIGNED      3 OPERANDS         4 RESULTS        5
           sums         sums << shift  t = that            old + t         new: one of the two,
           read index   correction       + correction      max(old, t)     written back, and offered
                        old            old (0: clear)

The correction beta * S << beta_shift is the same for all channels of a pixel: it is computed once and passes from
chain to chain with the control. Everything is modulo 2**acc_bits.
"""
import numpy as np
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, timing
from accel.config import AccelConfig
from accel.rtl.memory.block_memory import BlockMemory
from accel.rtl.timed import Timed

__all__ = ["Accumulator", "AccumulatorControl", "shift_left"]


class AccumulatorControl(data.StructLayout):
    """What travels with a token's partial sums. index: pixel group in the tile. clear: do not add the old value.
    final: offer the new value to the threshold unit; logits: to the logit sums. first: first token of its pass.
    inside: pixels that lie inside the output picture."""
    def __init__(self, config):
        super().__init__({
            "valid": 1, "first": 1, "index": range(config.accumulator_depth), "clear": 1, "final": 1, "maximum": 1,
            "logits": 1, "shift": isa.SHIFT_BITS, "inside": config.pixels_per_cycle})


def shift_left(m, value, shift, width, *, name):
    """`value << shift` in `width` bits, timing.SHIFT = 2 cycles later: two bits of the shift a cycle.

    shift: Timed(isa.SHIFT_BITS), in the cycle of `value`; values that are shifted alike share its registers.
    """
    shifted = Signal(signed(width), name=f"{name}_0")
    m.d.comb += shifted.eq(value)
    for step, low in enumerate(range(0, isa.SHIFT_BITS, 2)):
        by = shift.at(shift.cycle + step)[low:low + 2]
        following = Signal(width, name=f"{name}_{step + 1}")
        m.d.sync += following.eq(Array(Cat(C(0, n << low), shifted)[:width] for n in range(4))[by])
        shifted = following
    return shifted


class Accumulator(wiring.Component):
    """Accumulators of the two channels of a chain, m pixels at once, one pixel group a cycle.

    Parameters
    ----------
    config : AccelConfig
    sum_shape : shape of a partial sum, as it leaves the array

    Members
    -------
    sums : In, ArrayLayout(sum_shape, 2 * m); control : In(AccumulatorControl), with the sums
    correction : In, ArrayLayout(acc_bits, m), timing.ACCUMULATOR_ALIGNED = 2 cycles after the sums
    values : Out, ArrayLayout(signed(acc_bits), 2 * m); value_control : Out(AccumulatorControl): the new values,
        timing.ACCUMULATOR = 5 cycles after the sums
    An index may come again timing.ACCUMULATOR_REUSE = 6 cycles after it came (passes are at least that long).

    ceil(2 * m * acc_bits / 18) DP16KD up to 1024 pixel groups.
    """

    def __init__(self, config: AccelConfig, *, sum_shape):
        self.config, self.sum_shape = config, sum_shape
        self.lanes = 2 * config.pixels_per_cycle
        super().__init__({
            "sums": In(data.ArrayLayout(sum_shape, self.lanes)), "control": In(AccumulatorControl(config)),
            "correction": In(data.ArrayLayout(config.acc_bits, config.pixels_per_cycle)),
            "values": Out(data.ArrayLayout(signed(config.acc_bits), self.lanes)),
            "value_control": Out(AccumulatorControl(config))})

    @staticmethod
    def model(old, sums, correction, *, shift, clear, maximum, acc_bits, a_bits):
        """New accumulators, int64, from old ones, partial sums and corrections of one shape."""
        wrap = 1 << acc_bits
        t = (sums.astype(np.int64) << shift) + correction
        old = np.zeros_like(t) if clear else old
        codes = (1 << a_bits) - 1
        new = np.maximum(old & codes, t & codes) if maximum else old + t
        return (new + wrap // 2) % wrap - wrap // 2

    def elaborate(self, platform):
        m = Module()
        config = self.config
        acc_bits, a_bits = config.acc_bits, config.a_bits
        m.submodules.storage = storage = BlockMemory(width=self.lanes * acc_bits, depth=config.accumulator_depth)
        control = Timed(m, self.control, 0, name="control")
        shift = Timed(m, self.control.shift, 0, name="shift")
        clear, maximum = control.at(timing.ACCUMULATOR_ALIGNED).clear, control.at(timing.ACCUMULATOR_RESULTS).maximum
        m.d.comb += [self.value_control.eq(control.at(timing.ACCUMULATOR)), storage.read_address.eq(self.control.index),
                     storage.write_address.eq(self.value_control.index),
                     storage.write_enable.eq(self.value_control.valid),
                     storage.write_data.eq(self.values.as_value())]
        stored = data.View(data.ArrayLayout(acc_bits, self.lanes), storage.read_data)
        aligned_stored = Timed(m, stored, timing.BLOCK_MEMORY, name="stored").at(timing.ACCUMULATOR_ALIGNED)
        for lane in range(self.lanes):
            shifted = shift_left(m, self.sums[lane], shift, acc_bits, name=f"shifted_{lane}")
            aligned = Timed(m, shifted, timing.SHIFT, name=f"shifted_{lane}").at(timing.ACCUMULATOR_ALIGNED)
            old, t = Signal(acc_bits, name=f"old_{lane}"), Signal(acc_bits, name=f"t_{lane}")
            m.d.sync += [old.eq(Mux(clear, 0, aligned_stored[lane])),
                         t.eq(aligned + self.correction[lane % config.pixels_per_cycle])]
            total, larger = Signal(acc_bits, name=f"total_{lane}"), Signal(a_bits, name=f"larger_{lane}")
            keep_old = old[:a_bits] >= t[:a_bits]
            m.d.sync += [total.eq(old + t), larger.eq(Mux(keep_old, old[:a_bits], t[:a_bits])),
                         self.values[lane].eq(Mux(maximum, larger, total))]
        return m
