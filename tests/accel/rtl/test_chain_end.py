# amaranth: UnusedElaboratable=no
"""What stands at the foot of a chain, as a whole: passes through it become codes and logits, latencies pinned."""
from dataclasses import replace

import numpy as np
import pytest
from amaranth import signed

from accel import timing
from accel.config import TINY, TINY_1PX
from accel.isa import heap_order
from accel.rtl.activation.accumulator import Accumulator, AccumulatorControl
from accel.rtl.activation.chain_end import ChainEnd
from accel.rtl.activation.threshold_unit import ThresholdUnit
from tests.accel.simulate import run_cycles

TWO_BITS = replace(TINY, name="two-bits", w_bits=2, a_bits=2)


@pytest.mark.parametrize("config", [TINY, TINY_1PX, TWO_BITS], ids=lambda config: config.name)
def test_sums_become_codes_and_logits(config):
    """Three passes over eight groups: the first clears, the second goes on to codes, the third to logits."""
    rng = np.random.default_rng(3)
    groups, lanes, m = 8, 2 * config.pixels_per_cycle, config.pixels_per_cycle
    dut = ChainEnd(config, chain=1, sum_shape=signed(13))
    thresholds = np.sort(rng.integers(-2000, 2000, (config.channels, config.thresholds)))
    nodes = heap_order(thresholds)
    writes = [(channel, node + 1, int(nodes[channel, node])) for channel, node in np.ndindex(nodes.shape)]
    sums = rng.integers(-1000, 1000, (3, groups, lanes))
    corrections = rng.integers(-300, 300, (3, groups, m))
    inside = rng.integers(0, 2, (groups, m))
    old, values = np.zeros((groups, lanes), int), []
    for number in range(3):
        old = Accumulator.model(old, sums[number], np.tile(corrections[number], (1, 2)), shift=1, clear=number == 0,
                                maximum=False, acc_bits=config.acc_bits, a_bits=config.a_bits)
        values.append(old)
    start, total = len(writes) + 3, 3 * groups

    def stimulus(ctx, cycle):
        channel, node, value = writes[cycle % len(writes)]
        ctx.set(dut.threshold_write, {"valid": int(cycle < len(writes)), "channel": channel, "node": node,
                                      "value": value})
        control = {}
        if 0 <= cycle - start < total:
            number, group = divmod(cycle - start, groups)
            ctx.set(dut.sums, sums[number, group].tolist())
            control = {"valid": 1, "first": int(group == 0), "index": group, "clear": int(number == 0), "shift": 1,
                       "final": int(number > 0), "logits": int(number == 2),
                       "inside": sum(int(bit) << j for j, bit in enumerate(inside[group]))}
        ctx.set(dut.control, AccumulatorControl(config).const(control))
        late = cycle - start - timing.ACCUMULATOR_ALIGNED
        if 0 <= late < total:
            ctx.set(dut.correction, [int(v) % (1 << config.acc_bits) for v in corrections[divmod(late, groups)]])
        ctx.set(dut.shift, int(cycle in (end, end + 1)))
        ctx.set(dut.shift_in, -7)

    codes_at = start + timing.ACCUMULATOR + timing.threshold_unit(config.a_bits)
    end = start + total - 1 + timing.ACCUMULATOR + timing.LOGIT_SUM             # the last value is in its logit
    seen = run_cycles(dut, stimulus, lambda ctx, cycle: [
        *(ctx.get(dut.codes[j][i]) for i in range(2) for j in range(m)), ctx.get(dut.logit)],
        max(codes_at + total, end + 3))
    np.testing.assert_array_equal(
        seen[codes_at + groups:codes_at + 2 * groups, :lanes],
        np.concatenate([ThresholdUnit.model(values[1][:, i * m:(i + 1) * m], thresholds[2 + i]) for i in range(2)],
                       axis=1))
    logits = (values[2].reshape(groups, 2, m) * inside[:, None]).sum(axis=(0, 2))
    assert seen[end, -1] == logits[0] != seen[end - 1, -1]
    assert seen[end + 1:end + 3, -1].tolist() == [logits[1], -7]                  # then the next chain's


def test_thresholds_of_other_channels_are_left_alone():
    config = TINY
    dut = ChainEnd(config, chain=0, sum_shape=signed(13))

    def stimulus(ctx, cycle):           # all thresholds of channels 2 and 3 are low enough to be reached by a 0
        channel, node = divmod(cycle, config.thresholds)
        ctx.set(dut.threshold_write, {"valid": int(channel < 4), "channel": channel % 4, "node": node + 1,
                                      "value": 5 if channel < 2 else -5})

    seen = run_cycles(dut, stimulus, lambda ctx, cycle: [ctx.get(dut.codes[j][i]) for i in range(2) for j in range(2)],
                      4 * config.thresholds + 20)
    assert not seen[-1].any()
