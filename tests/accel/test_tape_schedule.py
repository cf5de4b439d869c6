"""What a tape that is played needs of its rings: configurations whose rings are too small are refused, and programs of
any kind go through the smallest ones."""
from dataclasses import replace

import pytest

from accel import isa, timing
from accel.compiler.compile import compile_net
from accel.config import CONFIGS, TINY, TINY_SDRAM
from accel.cycles import cycles
from accel.tape_schedule import LoadedSchedule, TapeSchedule, tape_schedule
from tests.accel.rtl.tape.programs import random_tape
from tests.nets import random_net

SMALLEST = replace(TINY_SDRAM, weight_depth=8, threshold_depth=64, program_depth=1)
# Two passes, and the thresholds of a tile: of 8 channels.
WIDE = replace(TINY_SDRAM, rows=8, chains=4, weight_depth=16, threshold_depth=128, program_depth=2)


@pytest.mark.parametrize("changes, message", [
    (dict(weight_depth=4), "weight_depth must be at least 8, not 4"),
    (dict(threshold_depth=32), "threshold_depth must be at least 60, not 32"),
    (dict(weight_depth=10), "weight_depth must be a multiple of 4 rows, not 10"),
    (dict(threshold_depth=60), "threshold_depth of a core with SDRAM must be a power of two, not 60"),
    (dict(program_depth=12), "program_depth of a core with SDRAM must be a power of two, not 12"),
    (dict(program_depth=0), "program_depth must be an integer in 1 "),
    (dict(sdram_hz=0), "sdram_hz must be None or an integer of at least 20000000, not 0"),
])
def test_rings_that_are_too_small_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY_SDRAM, **changes)


def test_rings_hold_the_largest_blocks():
    """Those of every configuration: two passes, the thresholds of a tile, the biases of as many logits as one `Emit`
    sends."""
    for config in (*CONFIGS.values(), SMALLEST, WIDE):
        assert config.weight_depth >= 2 * config.rows
        assert config.threshold_depth >= config.threshold_words >= 2 * config.channels


def run(config, net):
    """Follows the program through its schedule as a core that does every instruction at once does."""
    schedule, cycle, held = TapeSchedule(config, net.program), 0, False
    for word in net.program:
        layout, fields = isa.decode(word)
        there = schedule.instruction()
        cycle = max(cycle + timing.FETCH, there)
        schedule.instruction_taken(cycle)
        if layout is isa.Pass and not fields.repeat:
            for _ in range(int(fields.more) + 1):
                cycle = max(cycle + 1, schedule.weights())
                if held:
                    schedule.weights_free(cycle)
                held = True
        count = (config.threshold_words if layout is isa.Tile and fields.thresholds else
                 2 * int(fields.count) if layout is isa.Emit else 0)
        if count:
            bits = 16 if layout is isa.Emit or fields.short else config.acc_bits
            cycle = max(cycle, schedule.thresholds(count, bits))
            schedule.thresholds_read(cycle, count)
            cycle += count
    return cycle


@pytest.mark.parametrize("config", [SMALLEST, TINY_SDRAM, WIDE])
def test_no_program_locks_the_schedule_up(config):
    """What needs room never waits for what comes behind it; more room never makes it later."""
    roomy = replace(config, weight_depth=64, threshold_depth=512, program_depth=64)
    for seed in range(30):
        net = random_tape(config, seed, 60, end="end" if seed % 2 else "emit", begin=[("run", {"more": 63})])
        assert run(roomy, net) <= run(config, net)
        # No word is taken before the one in front of it.
        assert run(config, net) > len(net.words) - 4 * 511 - 64


@pytest.mark.parametrize("seed", range(4))
def test_nets_go_through_the_smallest_rings(seed):
    net = random_net(seed, SMALLEST)
    played, loaded = (cycles(compile_net(net, config)) for config in (SMALLEST, TINY))
    assert played > loaded


def test_a_resident_net_waits_for_nothing():
    net = random_net(0, TINY)
    assert isinstance(tape_schedule(compile_net(net, TINY)), LoadedSchedule)
    assert isinstance(tape_schedule(compile_net(net, TINY_SDRAM)), TapeSchedule)
    image = compile_net(net, replace(TINY, sdram_hz=125_000_000))
    assert image.resident and cycles(image) == cycles(compile_net(net, TINY))
