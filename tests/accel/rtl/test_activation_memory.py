# amaranth: UnusedElaboratable=no
"""The activation memory: codes and pictures into all banks and parts, codes first, and what is read when."""
from dataclasses import replace

import numpy as np
import pytest

from accel import timing
from accel.config import TINY, TINY_1PX
from accel.rtl.memory.activation_memory import ActivationMemory
from tests.accel.simulate import run_cycles

PARTS = replace(TINY, name="tiny-parts", rows=8, chains=2)
CONFIGS = pytest.mark.parametrize("config", [TINY, TINY_1PX, PARTS], ids=lambda config: config.name)


def set_codes(ctx, dut, row, half, part, codes):
    ctx.set(dut.code_valid, 1)
    ctx.set(dut.code_place, {"row": row, "half": half, "part": part})
    ctx.set(dut.codes, codes.tolist())


def read_words(ctx, dut):
    """Codes (banks, rows)."""
    return [[ctx.get(dut.read_word[bank][lane]) for lane in range(dut.config.rows)]
            for bank in range(dut.config.banks)]


@CONFIGS
def test_what_was_written_is_read(config):
    """Codes in random cycles, a picture's words in the others; a word waits where a code comes."""
    rng = np.random.default_rng(1)
    rows = [0, 1, 5, config.activation_depth - 1]
    expected = np.zeros((config.activation_depth, config.banks, config.rows), int)
    dut, m, channels = ActivationMemory(config), config.pixels_per_cycle, config.channels
    cycles, waiting, waits = 200, None, []

    def stimulus(ctx, cycle):
        nonlocal waiting
        ctx.set(dut.code_valid, 0)
        ctx.set(dut.picture.valid, 0)
        if cycle < cycles:
            code = rng.random() < 0.5
            if code:
                row, half, part = int(rng.choice(rows)), int(rng.integers(2)), int(rng.integers(config.parts))
                codes = rng.integers(0, 1 << config.a_bits, (m, channels))
                set_codes(ctx, dut, row, half, part, codes)
                expected[row, half * m:(half + 1) * m, part * channels:(part + 1) * channels] = codes
            if waiting is None and rng.random() < 0.7:
                waiting = (int(rng.choice(rows)), int(rng.integers(config.banks)),
                           rng.integers(0, 1 << config.a_bits, config.rows))
            if waiting:
                row, bank, lanes = waiting
                ctx.set(dut.picture.valid, 1)
                ctx.set(dut.picture.payload, {"row": row, "bank": bank, "lanes": lanes.tolist()})
                waits.append(code)
                assert ctx.get(dut.picture.ready) == (not code)
                if not code:
                    expected[row, bank] = lanes
                    waiting = None
        else:
            ctx.set(dut.read_row, [rows[(cycle - cycles + bank) % len(rows)] for bank in range(config.banks)])

    seen = run_cycles(dut, stimulus, lambda ctx, cycle: read_words(ctx, dut),
                      cycles + 1 + len(rows) + timing.ACTIVATION_READ)
    assert 20 < sum(waits) < len(waits) - 20
    for step in range(2, len(rows) + 1):                # the last write is in its memory by then
        for bank in range(config.banks):
            np.testing.assert_array_equal(seen[cycles + step + timing.ACTIVATION_READ, bank],
                                          expected[rows[(step + bank) % len(rows)], bank])


@CONFIGS
def test_codes_can_be_read_two_cycles_after_they_came_and_not_before(config):
    dut, ones = ActivationMemory(config), (1 << config.a_bits) - 1
    codes = np.full((config.pixels_per_cycle, config.channels), ones)

    def stimulus(ctx, cycle):
        set_codes(ctx, dut, 3, 0, 0, codes)
        ctx.set(dut.code_valid, cycle == 0)
        ctx.set(dut.read_row, [3] * config.banks)

    seen = run_cycles(dut, stimulus, lambda ctx, cycle: read_words(ctx, dut), 8)[:, 0, 0]
    first = timing.ACTIVATION_WRITE + timing.ACTIVATION_READ
    assert seen.tolist() == [0] * first + [ones] * (8 - first)
