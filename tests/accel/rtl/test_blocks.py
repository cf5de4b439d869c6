# amaranth: UnusedElaboratable=no
"""Arithmetic blocks and memories against their numpy models: exhaustive or seeded random, corners, latency pinned."""
import numpy as np
import pytest
from amaranth import signed

from accel import timing
from accel.config import TINY
from accel.isa import heap_order
from accel.rtl.activation.accumulator import Accumulator, AccumulatorControl
from accel.rtl.activation.logit_sum import LogitSum
from accel.rtl.activation.threshold_unit import ThresholdUnit
from accel.rtl.array.level_decoder import LevelDecoder, identity_table
from accel.rtl.array.multiplier import Multiplier
from accel.rtl.memory.block_memory import BlockMemory
from tests.accel.simulate import run_cycles


def test_multiplier():
    dut = Multiplier(a_width=11, b_width=18)
    rng = np.random.default_rng(1)
    pairs = [(0, 0), (2**11 - 1, 2**18 - 1), *zip(rng.integers(0, 2**11, 200).tolist(),
                                                  rng.integers(0, 2**18, 200).tolist(), strict=True)]

    def stimulus(ctx, cycle):
        a, b = pairs[cycle % len(pairs)]
        ctx.set(dut.a, a)
        ctx.set(dut.b, b)

    products = run_cycles(dut, stimulus, lambda ctx, cycle: ctx.get(dut.p), len(pairs) + timing.MULTIPLIER)
    np.testing.assert_array_equal(products[timing.MULTIPLIER:], [a * b for a, b in pairs])


def test_multiplier_wider_than_the_block_is_refused():
    with pytest.raises(ValueError, match="18 bits a side"):
        Multiplier(a_width=19, b_width=4)


@pytest.mark.parametrize("depth, blocks_of", [(1, (512, 36)), (512, (512, 36)), (1000, (1024, 18)), (2048, (2048, 9)),
                                              (3072, (4096, 4)), (4096, (4096, 4)), (8192, (8192, 2)),
                                              (16384, (16384, 1)), (6144, 4096), (10240, 8192), (16385, 16384),
                                              (18432, 16384), (32768, 16384)])
def test_block_memory(depth, blocks_of):
    """blocks_of: their shape, or how many words are in the first of two memories: 6144 words of 20 bits take 5 + 3
    blocks and not 10, 3072 take 5 either way."""
    dut = BlockMemory(width=20, depth=depth)
    if isinstance(blocks_of, tuple):
        assert dut.low_depth is None and dut.block_shape == blocks_of
    else:
        assert dut.low_depth == blocks_of
    rng = np.random.default_rng(depth)
    seam = blocks_of if isinstance(blocks_of, int) else depth // 2
    corners = sorted({0, seam - 1, seam, depth - 1} & set(range(depth)))
    addresses = np.concatenate([corners, rng.permutation(np.setdiff1d(np.arange(depth), corners))[:60]])
    words = rng.integers(0, 1 << 20, len(addresses))
    n = len(addresses)

    def stimulus(ctx, cycle):
        writing = cycle < n
        ctx.set(dut.write_enable, int(writing))
        ctx.set(dut.write_address, int(addresses[cycle % n]))
        ctx.set(dut.write_data, int(words[cycle % n]) if writing else 0)
        if cycle >= timing.BLOCK_MEMORY_WRITE:          # the first cycle in which a word can be read
            ctx.set(dut.read_address, int(addresses[(cycle - timing.BLOCK_MEMORY_WRITE) % n]))

    first = timing.BLOCK_MEMORY_WRITE + timing.BLOCK_MEMORY
    seen = run_cycles(dut, stimulus, lambda ctx, cycle: ctx.get(dut.read_data), 2 * n + first)
    np.testing.assert_array_equal(seen[first:][:n], words)
    np.testing.assert_array_equal(seen[first + n:][:n], words)


@pytest.mark.parametrize("depth, seam", [(18432, 16384), (6144, 4096)])
def test_initial_words_on_both_sides_of_the_seam(depth, seam):
    init = np.random.default_rng(1).integers(0, 1 << 20, depth)
    dut, addresses = BlockMemory(width=20, depth=depth, init=init), [0, seam - 1, seam, depth - 1]
    seen = run_cycles(dut, lambda ctx, cycle: ctx.set(dut.read_address, addresses[cycle % 4]),
                      lambda ctx, cycle: ctx.get(dut.read_data), 4 + timing.BLOCK_MEMORY)
    np.testing.assert_array_equal(seen[timing.BLOCK_MEMORY:], init[addresses])


def test_block_memory_too_deep_is_refused():
    with pytest.raises(ValueError, match="at most 32768 words"):
        BlockMemory(width=1, depth=32769)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("identity", [True, False])
def test_level_decoder(bits, identity):
    rng = np.random.default_rng(bits)
    dut = LevelDecoder(bits=bits, lanes=3)
    table = np.arange(1 << bits) if identity else rng.integers(0, 1 << bits, 1 << bits)
    packed = sum(int(digit) << code * bits for code, digit in enumerate(table))
    assert not identity or packed == identity_table(bits)
    codes = rng.integers(0, 1 << bits, (60, 3))

    def stimulus(ctx, cycle):
        ctx.set(dut.table, packed)
        ctx.set(dut.codes, codes[cycle % 60].tolist())

    seen = run_cycles(dut, stimulus, lambda ctx, cycle: [ctx.get(dut.digits[i]) for i in range(3)],
                      60 + timing.LEVEL_DECODER)
    np.testing.assert_array_equal(seen[timing.LEVEL_DECODER:], table[codes])


def threshold_cases():
    rng = np.random.default_rng(3)
    for a_bits in (2, 3, 4):
        count = (1 << a_bits) - 1
        limit = 1 << 15
        yield a_bits, np.sort(rng.integers(-300, 300, count))
        yield a_bits, np.zeros(count, int)                                       # all equal
        yield a_bits, np.sort(rng.choice([-limit, -1, 0, 1, limit - 1], count))  # equal neighbours, both ends
        yield a_bits, np.full(count, limit - 1)
        yield a_bits, np.full(count, -limit)


@pytest.mark.parametrize("a_bits, thresholds", list(threshold_cases()))
def test_threshold_unit_counts(a_bits, thresholds):
    dut = ThresholdUnit(a_bits=a_bits, acc_bits=16, channel=2, channels=4)
    rng = np.random.default_rng(4)
    near = (thresholds[:, None] + [-1, 0, 1]).ravel()
    values = np.clip(np.concatenate([near, rng.integers(-400, 400, 100), [-1 << 15, (1 << 15) - 1]]),
                     -1 << 15, (1 << 15) - 1)
    nodes = heap_order(thresholds)

    def stimulus(ctx, cycle):
        # Words of another channel come between ours and must not be taken.
        ours, node = cycle % 2 == 0, cycle // 2
        ctx.set(dut.write, {"valid": int(node < len(nodes)), "channel": 2 if ours else 1,
                            "node": node % len(nodes) + 1, "value": int(nodes[node % len(nodes)]) if ours else 77})
        start = 2 * len(nodes)
        ctx.set(dut.value, int(values[(cycle - start) % len(values)]) if cycle >= start else 0)

    start = 2 * len(nodes) + timing.threshold_unit(a_bits)
    seen = run_cycles(dut, stimulus, lambda ctx, cycle: ctx.get(dut.code), start + len(values))
    np.testing.assert_array_equal(seen[start:], ThresholdUnit.model(values, thresholds))


def test_threshold_model_is_the_counting_definition():
    thresholds = np.array([0, 332, 599, 842, 1080, 1332, 1625])                 # the paper's Figure 1
    values = np.array([-5, 0, 331, 332, 600, 1624, 1625, 9999])
    assert ThresholdUnit.model(values, thresholds).tolist() == [0, 1, 1, 2, 3, 6, 7, 7]


def test_accumulator_against_its_model():
    """Random passes over 6 pixel groups, back to back: the shortest distance at which an index may come again."""
    config, groups, passes = TINY, timing.ACCUMULATOR_REUSE, 12
    lanes = 2 * config.pixels_per_cycle
    dut = Accumulator(config, sum_shape=signed(13))
    rng = np.random.default_rng(6)
    wrap = 1 << config.acc_bits
    sums = rng.integers(-16, 3600, (passes, groups, lanes))
    correction = rng.integers(-4000, 4000, (passes, groups, config.pixels_per_cycle))
    shifts = rng.integers(0, 10, passes)
    kinds = [("clear", False)] + [(("add", "maximum", "clear")[rng.integers(3)], bool(rng.integers(2)))
                                  for _ in range(passes - 1)]
    shifts[[kind == "maximum" for kind, _ in kinds]] = 0
    old, expected = np.zeros((groups, lanes), int), []
    for p, (kind, _) in enumerate(kinds):
        per_lane = np.tile(correction[p], (1, 2))
        old = Accumulator.model(old, sums[p], per_lane, shift=int(shifts[p]), clear=kind == "clear",
                                maximum=kind == "maximum", acc_bits=config.acc_bits, a_bits=config.a_bits)
        expected.append(old)
    total = passes * groups

    def stimulus(ctx, cycle):
        if cycle < total:
            p, g = divmod(cycle, groups)
            kind, last = kinds[p]
            ctx.set(dut.sums, sums[p, g].tolist())
            ctx.set(dut.control, AccumulatorControl(config).const({
                "valid": 1, "index": g, "clear": int(kind == "clear"), "maximum": int(kind == "maximum"),
                "final": int(last), "shift": int(shifts[p])}))
        else:
            ctx.set(dut.control, AccumulatorControl(config).const({}))
        late = cycle - timing.ACCUMULATOR_ALIGNED
        if 0 <= late < total:
            p, g = divmod(late, groups)
            ctx.set(dut.correction, [int(v) % wrap for v in correction[p, g]])

    seen = run_cycles(dut, stimulus, lambda ctx, cycle: [ctx.get(dut.values[i]) for i in range(lanes)],
                      total + timing.ACCUMULATOR)
    np.testing.assert_array_equal(seen[timing.ACCUMULATOR:].reshape(passes, groups, lanes), expected)


@pytest.mark.parametrize("distance", [timing.ACCUMULATOR_REUSE - 1, timing.ACCUMULATOR_REUSE])
def test_an_index_may_come_again_when_its_accumulators_are_back_and_not_before(distance):
    dut = Accumulator(TINY, sum_shape=signed(13))

    def stimulus(ctx, cycle):                           # 3, then 5 is added to it
        ctx.set(dut.sums, [3 if cycle == 0 else 5] * 4)
        ctx.set(dut.control, AccumulatorControl(TINY).const({
            "valid": int(cycle in (0, distance)), "index": 7, "clear": int(cycle == 0)}))

    seen = run_cycles(dut, stimulus, lambda ctx, cycle: ctx.get(dut.values[0]), distance + timing.ACCUMULATOR + 1)
    assert seen[timing.ACCUMULATOR] == 3
    assert (seen[-1] == 8) == (distance >= timing.ACCUMULATOR_REUSE)


def test_accumulator_model_wraps_and_maximum_compares_codes():
    new = Accumulator.model(np.array([5, 9]), np.array([7, 3]), 0, shift=0, clear=False, maximum=True,
                            acc_bits=16, a_bits=4)
    assert new.tolist() == [7, 9]
    top = Accumulator.model(np.array([32767]), np.array([1]), 0, shift=0, clear=False, maximum=False,
                            acc_bits=16, a_bits=4)
    assert top.tolist() == [-32768]


def test_logit_sum_masks_and_shifts():
    config = TINY
    dut = LogitSum(config)
    rng = np.random.default_rng(8)
    n = 20
    limit = 1 << config.acc_bits - 1
    values = rng.choice([-limit, limit - 1, 0, 1000, -1000], (n, 2, config.pixels_per_cycle))
    inside = rng.integers(0, 2, (n, config.pixels_per_cycle))
    valid = rng.integers(0, 2, n)
    valid[0] = 1
    expected = (values * (inside * valid[:, None])[:, None]).sum(axis=(0, 2))

    def stimulus(ctx, cycle):
        running = cycle < n
        k = min(cycle, n - 1)
        ctx.set(dut.values, values[k].ravel().tolist())
        ctx.set(dut.control, AccumulatorControl(config).const({
            "valid": int(valid[k] and running), "first": int(cycle == 0), "final": 1, "logits": 1,
            "inside": int(inside[k] @ (1 << np.arange(config.pixels_per_cycle)))}))
        ctx.set(dut.shift, int(cycle == n + timing.LOGIT_SUM))
        ctx.set(dut.shift_in, -123456)

    seen = run_cycles(dut, stimulus, lambda ctx, cycle: ctx.get(dut.logit), n + timing.LOGIT_SUM + 3)
    assert seen[n + timing.LOGIT_SUM] == expected[0]
    assert seen[n + timing.LOGIT_SUM + 1] == expected[1]

