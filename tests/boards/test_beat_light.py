"""The LED of the core's clock: a flash at every 16th edge of the beat, dark without a clock, lit while busy."""
import random
from fractions import Fraction

import pytest
from amaranth.sim import Simulator

from boards.beat_light import BeatLight

FLASH = 5                       # cycles, of a clock of 125 Hz


def levels(inputs):
    """Levels of the LED, a cycle each, for (busy, beat) of every cycle."""
    dut = BeatLight(clock_hz=Fraction(25 * FLASH))
    seen = []

    async def drive(ctx):
        for busy, beat in inputs:
            ctx.set(dut.busy, busy)
            ctx.set(dut.beat, beat)
            seen.append(ctx.get(dut.led))
            await ctx.tick()
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    return "".join(map(str, seen))


def beats(periods):
    """The beat's level in every cycle; it holds each level for so many cycles."""
    return [k % 2 for k, cycles in enumerate(periods) for _ in range(cycles)]


@pytest.mark.parametrize("seed", range(3))
def test_every_16th_edge_gives_one_flash_of_its_own_length(seed):
    """Edges at random distances, none shorter than a flash's sixteenth: three cycles later, for FLASH cycles."""
    random.seed(seed)
    periods = [random.randrange(2, 9) for _ in range(80)]
    edges = [sum(periods[:k]) for k in range(1, 80)]
    lit = {start + 3 + k for start in edges[15::16] for k in range(FLASH)}
    seen = levels([(0, beat) for beat in beats(periods)])
    assert seen == "".join(str(int(cycle in lit)) for cycle in range(len(seen)))
    assert seen.count("1") >= 4 * FLASH


@pytest.mark.parametrize("level", [0, 1])
def test_no_beat_no_light(level):
    """Not even where the clock stops in a flash."""
    assert "1" not in levels([(0, level)] * 100)
    stopped = levels([(0, beat) for beat in beats([2] * 16 + [200])])
    assert stopped.count("1") == FLASH and stopped.endswith("0" * 100)


def test_busy_is_seen_at_once():
    assert levels([(0, 0), (1, 0), (1, 0), (0, 0)] * 2) == "01100110"
