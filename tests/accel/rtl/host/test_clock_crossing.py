# amaranth: UnusedElaboratable=no
"""The clock crossing between clocks of random periods: nothing lost, nothing twice, order kept; latency and rate.

Periods and phases are whole picoseconds, the edges of a clock at phase + k * period.
"""
import json
import random
import subprocess
from collections import Counter
from dataclasses import dataclass

import pytest
from amaranth import *
from amaranth.back import rtlil
from amaranth.sim import Simulator

from accel import isa
from accel.rtl.host.clock_crossing import ClockCrossing
from model.common.tools import find_tool
from tests.accel.streams import Monitor, sink, source

PICO = 1e-12
DEPTH = 16
WORDS = [random.Random(1).randrange(256) for _ in range(120)]


@dataclass(frozen=True)
class Clock:
    period: int
    phase: int

    def edge(self, k):
        return self.phase + k * self.period

    def next_edge(self, time):
        """Number of the first edge behind `time`."""
        return max(0, (time - self.phase) // self.period + 1)


def random_clocks(seed):
    """Two clocks, of which neither is more than 20 times as fast as the other."""
    chance = random.Random(seed)
    periods = [10_000, round(10_000 * 20 ** chance.uniform(-1, 1))]
    chance.shuffle(periods)
    return [Clock(period, chance.randrange(1, 3 * period)) for period in periods]


def run(dut, write, read, *, offer, take, expected, edges=50):
    """Monitors of both sides, once `expected` words have come out and `edges` more of either clock have passed.

    offer, take: testbenches of the source and of the sink.
    """
    came, went = Monitor(dut.i, domain="write"), Monitor(dut.o, domain="read")
    m = Module()
    m.domains += [ClockDomain(name, reset_less=True) for name in ("write", "read")]
    m.submodules.dut = dut

    async def finish(ctx):
        left = 200 * len(WORDS)
        while len(went.payloads) < expected and left:
            await ctx.tick("read")
            left -= 1
        assert left, f"{len(went.payloads)} words of {expected} have come out"
        for domain in ("write", "read"):
            await ctx.tick(domain).repeat(edges)

    simulator = Simulator(m)
    for clock, domain in ((write, "write"), (read, "read")):
        simulator.add_clock(clock.period * PICO, phase=clock.phase * PICO, domain=domain)
    for bench in (offer, take, came.watch, went.watch):
        simulator.add_testbench(bench, background=True)
    simulator.add_testbench(finish)
    simulator.run()
    return came, went


def pass_words(write, read, *, words=WORDS, before=0.0, behind=0.0, seed=0):
    dut = ClockCrossing(8)
    return run(dut, write, read, expected=len(words), edges=20,
               offer=source(dut.i, words, pauses=before, seed=seed, domain="write"),
               take=sink(dut.o, pauses=behind, seed=seed + 1, domain="read"))


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_lost_doubled_or_reordered(seed):
    chance = random.Random(seed)
    before, behind = chance.choice([0.0, 0.5, 0.95]), chance.choice([0.0, 0.5, 0.95])
    came, went = pass_words(*random_clocks(seed), before=before, behind=behind, seed=seed)
    assert came.payloads == went.payloads == WORDS


@pytest.mark.parametrize("seed", range(6))
def test_latency(seed):
    """A word alone is on offer from the third edge on, so it is taken on the fourth."""
    write, read = random_clocks(seed)
    gap = 8 * read.period // write.period + 8
    dut = ClockCrossing(8)

    async def offer(ctx):
        for word in WORDS[:20]:
            ctx.set(dut.i.payload, word)
            ctx.set(dut.i.valid, 1)
            await ctx.tick("write")
            ctx.set(dut.i.valid, 0)
            await ctx.tick("write").repeat(gap)

    came, went = run(dut, write, read, offer=offer, take=sink(dut.o, domain="read"), expected=20)
    assert came.payloads == went.payloads == WORDS[:20]
    assert went.cycles == [read.next_edge(write.edge(k)) + 3 for k in came.cycles]


@pytest.mark.parametrize("seed", range(6))
def test_a_full_crossing(seed):
    """It holds `depth` words and one more. Room is seen from the second edge on after a word has left the queue, which
    it does on the edge after the register was emptied."""
    write, read = random_clocks(seed)
    dut = ClockCrossing(8)
    full = 60 * max(write.period, read.period)          # by then nothing more is taken
    start = read.next_edge(full)

    async def take(ctx):
        await ctx.tick("read").repeat(start)
        ctx.set(dut.o.ready, 1)
        await ctx.tick("read")
        ctx.set(dut.o.ready, 0)
        await ctx.tick("read").repeat(60 * max(1, write.period // read.period))
        ctx.set(dut.o.ready, 1)

    came, went = run(dut, write, read, offer=source(dut.i, WORDS[:30], domain="write"), take=take, expected=30)
    assert came.payloads == went.payloads == WORDS[:30]
    assert went.cycles[0] == start
    assert write.edge(came.cycles[DEPTH]) < full        # the one that is behind the first, which went to the register
    assert came.cycles[DEPTH + 1] == write.next_edge(read.edge(start + 1)) + 2


def test_rate():
    """A word every 2 cycles of a slow reader; every cycle of a slow writer."""
    _, went = pass_words(Clock(9_000, 4_000), Clock(10_000, 3_333))
    assert went.cycles == list(range(went.cycles[0], went.cycles[0] + 2 * len(WORDS), 2))
    came, _ = pass_words(Clock(10_000, 4_000), Clock(4_900, 3_333))
    assert came.cycles == list(range(len(WORDS)))


def test_a_reader_whose_clock_starts_late():
    """As a core's does, that waits for its PLL."""
    read = Clock(8_000, 4_000_001)
    came, went = pass_words(Clock(20_000, 1), read)
    assert came.payloads == went.payloads == WORDS
    assert [k for k in came.cycles if Clock(20_000, 1).edge(k) < read.phase] == list(range(DEPTH))
    assert went.cycles[0] == 3


def test_payloads_keep_their_shape():
    dut = ClockCrossing(isa.PixelWord)
    assert dut.i.payload.shape() == dut.o.payload.shape() == isa.PixelWord


@pytest.mark.parametrize("depth", [0, 1, 12])
def test_a_depth_that_is_no_power_of_two(depth):
    with pytest.raises(ValueError, match=f"^the depth of a clock crossing is a power of two, not {depth}$"):
        ClockCrossing(8, depth=depth)


@pytest.mark.synth
@pytest.mark.parametrize("bits", [24, 66, 82])
def test_resources(bits, tmp_path):
    """The queue is distributed RAM and takes no block."""
    dut, m = ClockCrossing(bits), Module()
    clocks = [ClockDomain(name, reset_less=True) for name in ("write", "read")]
    m.domains += clocks
    m.submodules.dut = dut
    ports = [*(clock.clk for clock in clocks), *(
        value for port in (dut.i, dut.o) for value in (port.valid, port.ready, port.payload))]
    (tmp_path / "top.il").write_text(rtlil.convert(m, name="top", ports=ports, emit_src=False))
    subprocess.run([find_tool("yosys"), "-q", "-p", "read_rtlil top.il; synth_ecp5 -top top; write_json top.json"],
                   cwd=tmp_path, check=True)
    cells = json.loads((tmp_path / "top.json").read_text())["modules"]["top"]["cells"].values()
    count = Counter(cell["type"] for cell in cells)
    assert (count["TRELLIS_DPR16X4"], count["DP16KD"], count["TRELLIS_FF"]) == (-(-bits // 4), 0, 41 + 2 * bits)
    assert count["LUT4"] <= 40 and count["CCU2C"] <= 6
