"""Accumulators of one chain: aligns the partial sums of a pass, adds them to what the passes before left.

    cycle  0            1, 2            3                 4                    5
           sums         << shift        + correction      old + t, old >= t    new: sum or max
           read index   (memory)        old (0: clear)                        written back, and offered

The correction beta * S << beta_shift is the same for all channels of a pixel: it is computed once and passes from
chain to chain with the control. Everything is modulo 2**acc_bits.
"""
import numpy as np
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel import isa
from accel.config import AccelConfig
from accel.rtl.delay import delay
from accel.rtl.memory.block_memory import BlockMemory

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
    """`value << shift` in `width` bits, two cycles later (four-way multiplexers)."""
    low, high = Signal(width, name=f"{name}_low"), Signal(width, name=f"{name}_high")
    later = delay(m, shift[2:], 1, name=f"{name}_by")
    extended = Signal(signed(width), name=f"{name}_in")
    m.d.comb += extended.eq(value)
    m.d.sync += [low.eq(Array(Cat(C(0, n), extended)[:width] for n in range(4))[shift[:2]]),
                 high.eq(Array(Cat(C(0, 4 * n), low)[:width] for n in range(1 << isa.SHIFT_BITS - 2))[later])]
    return high


class Accumulator(wiring.Component):
    """Accumulators of the two channels of a chain, m pixels at once.

    Parameters
    ----------
    config : AccelConfig
    sum_shape : shape of a partial sum, as it leaves the array

    Members
    -------
    sums : In, ArrayLayout(sum_shape, 2 * m); control : In(AccumulatorControl), with the sums
    correction : In, ArrayLayout(acc_bits, m), `correction_lag` cycles after the sums
    values : Out, ArrayLayout(signed(acc_bits), 2 * m); value_control : Out(AccumulatorControl): the new values,
        `latency` cycles after the sums
    An index may come again `reuse` cycles after it came (passes are at least that long).

    ceil(2 * m * acc_bits / 18) DP16KD up to 1024 pixel groups.
    """
    latency = 5
    correction_lag = 2
    reuse = 6

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
        stages = [self.control]
        for n in range(self.latency):
            stages.append(delay(m, stages[-1], 1, name=f"control_{n + 1}"))
        m.d.comb += [storage.read_address.eq(self.control.index), self.value_control.eq(stages[5]),
                     storage.write_address.eq(stages[5].index), storage.write_enable.eq(stages[5].valid),
                     storage.write_data.eq(self.values.as_value())]
        stored = data.View(data.ArrayLayout(acc_bits, self.lanes), storage.read_data)
        for lane in range(self.lanes):
            shifted = shift_left(m, self.sums[lane], self.control.shift, acc_bits, name=f"shifted_{lane}")
            old, t = Signal(acc_bits, name=f"old_{lane}"), Signal(acc_bits, name=f"t_{lane}")
            m.d.sync += [old.eq(Mux(stages[2].clear, 0, stored[lane])),
                         t.eq(shifted + self.correction[lane % config.pixels_per_cycle])]
            total, larger = Signal(acc_bits, name=f"total_{lane}"), Signal(a_bits, name=f"larger_{lane}")
            keep_old = old[:a_bits] >= t[:a_bits]
            m.d.sync += [total.eq(old + t), larger.eq(Mux(keep_old, old[:a_bits], t[:a_bits])),
                         self.values[lane].eq(Mux(stages[4].maximum, larger, total))]
        return m
