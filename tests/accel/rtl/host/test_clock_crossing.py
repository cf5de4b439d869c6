# amaranth: UnusedElaboratable=no
"""The clock crossing between clocks of random periods: nothing lost, nothing twice, order kept; latency and rate.

Periods and phases are whole picoseconds, the edges of a clock at phase + k * period.
"""
import json
import random
import subprocess
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import pytest
from amaranth import *
from amaranth.back import rtlil
from amaranth.sim import Simulator

from accel import isa
from accel.rtl.host.clock_crossing import ClockCrossing
from model.common.tools import find_tool
from tests.accel.streams import Monitor, sink, source

PICO = 1e-12
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
def test_two_words_are_held(seed):
    """One on offer, one in the register. The second is captured on the edge after the first has gone, and room seen on
    the second edge from there, so the third is taken on the third."""
    write, read = random_clocks(seed)
    dut = ClockCrossing(8)
    full = 20 * max(write.period, read.period)          # by then nothing more is taken
    start = read.next_edge(full)

    async def take(ctx):
        await ctx.tick("read").repeat(start)
        ctx.set(dut.o.ready, 1)

    came, went = run(dut, write, read, offer=source(dut.i, WORDS[:30], domain="write"), take=take, expected=30)
    assert came.payloads == went.payloads == WORDS[:30]
    assert write.edge(came.cycles[1]) < full
    assert went.cycles[:2] == [start, start + 2]
    assert came.cycles[2] == write.next_edge(read.edge(start + 1)) + 2


@pytest.mark.parametrize("seed", range(6))
def test_rate_and_empty(seed):
    """A word after the other as fast as they pass. From the edge that takes one to the second after its capture the
    crossing is not empty."""
    write, read = random_clocks(seed)
    dut = ClockCrossing(8)
    busy = []

    async def take(ctx):
        ctx.set(dut.o.ready, 1)
        cycle = 0
        async for _, _, empty in ctx.tick("write").sample(dut.empty):
            if not empty:
                busy.append(cycle)
            cycle += 1

    came, went = run(dut, write, read, offer=source(dut.i, WORDS, domain="write"), take=take, expected=len(WORDS))
    captured = [k - 1 for k in went.cycles]
    assert captured == [read.next_edge(write.edge(k)) + 2 for k in came.cycles]
    room = [write.next_edge(read.edge(k)) + 2 for k in captured]
    assert came.cycles == [0, *room[:-1]]
    assert busy == [cycle for a, b in zip(came.cycles, room, strict=True) for cycle in range(a + 1, b)]
    for a, b in pairwise(came.cycles[1:]):              # while both clocks run
        assert 2 * read.period + 2 * write.period < (b - a) * write.period <= 3 * read.period + 3 * write.period


@pytest.mark.parametrize("write, read, cycles", [
    (Clock(10_000, 4_000), Clock(10_000, 4_000), 6),            # of the slower clock, for a word
    (Clock(10_000, 4_000), Clock(10_000, 3_333), 5),
    (Clock(10_000, 4_000), Clock(500, 33), 3),
    (Clock(500, 33), Clock(10_000, 4_000), 3),
])
def test_rates(write, read, cycles):
    """Of two clocks that are one, of two of one period, and where a clock is far slower than the other."""
    came, went = pass_words(write, read, words=WORDS[:40])
    monitor = came if write.period >= read.period else went
    assert monitor.cycles == [monitor.cycles[0] + cycles * k for k in range(40)]


def test_rate_of_a_reader_that_is_late():
    """A word that waits behind one on offer is captured on the edge after that has gone."""
    dut = ClockCrossing(8)

    async def take(ctx):
        while True:                                     # ready in the eighth cycle of an offer
            offered = 0
            while offered < 7:
                _, _, valid = await ctx.tick("read").sample(dut.o.valid)
                offered += valid
            ctx.set(dut.o.ready, 1)
            await ctx.tick("read")
            ctx.set(dut.o.ready, 0)

    _, went = run(dut, Clock(10_000, 4_000), Clock(10_000, 3_333), offer=source(dut.i, WORDS[:20], domain="write"),
                  take=take, expected=20)
    assert went.payloads == WORDS[:20]
    assert went.cycles == [went.cycles[0] + 9 * k for k in range(20)]


def test_a_reader_whose_clock_starts_late():
    """As a core's does, that waits for its PLL."""
    write, read = Clock(20_000, 1), Clock(8_000, 4_000_001)
    came, went = pass_words(write, read)
    assert came.payloads == went.payloads == WORDS
    assert [k for k in came.cycles if write.edge(k) < read.phase] == [0]
    assert went.cycles[0] == 3


def test_a_writer_whose_clock_starts_late():
    write, read = Clock(20_000, 4_000_001), Clock(8_000, 1)
    came, went = pass_words(write, read)
    assert came.payloads == went.payloads == WORDS
    assert came.cycles[0] == 0 and read.edge(went.cycles[0]) > write.phase


def test_payloads_keep_their_shape():
    dut = ClockCrossing(isa.PixelWord)
    assert dut.i.payload.shape() == dut.o.payload.shape() == isa.PixelWord


def netlist(bits, folder):
    """Cells of an ECP5 that yosys makes of a crossing of `bits` bits, and the bits of its ports by name."""
    dut, m = ClockCrossing(bits), Module()
    clocks = [ClockDomain(name, reset_less=True) for name in ("write", "read")]
    m.domains += clocks
    m.submodules.dut = dut
    ports = [*(clock.clk for clock in clocks), dut.empty, *(
        value for port in (dut.i, dut.o) for value in (port.valid, port.ready, port.payload))]
    (folder / "top.il").write_text(rtlil.convert(m, name="top", ports=ports, emit_src=False))
    subprocess.run([find_tool("yosys"), "-q", "-p", "read_rtlil top.il; synth_ecp5 -top top; write_json top.json"],
                   cwd=folder, check=True)
    top = json.loads((folder / "top.json").read_text())["modules"]["top"]
    return list(top["cells"].values()), {name: port["bits"] for name, port in top["ports"].items()}


@pytest.mark.synth
@pytest.mark.parametrize("bits", [24, 66, 82])
def test_resources(bits, tmp_path):
    """Flip-flops and next to nothing else: no memory, no carry."""
    cells, _ = netlist(bits, tmp_path)
    count = Counter(cell["type"] for cell in cells)
    assert [count[cell] for cell in ("DP16KD", "TRELLIS_DPR16X4", "CCU2C", "TRELLIS_FF")] == [0, 0, 0, 2 * bits + 7]
    assert count["LUT4"] == 6


@pytest.mark.synth
def test_what_crosses(tmp_path):
    """A word and a bit forth, a bit back, each from a flip-flop straight to another; outputs are of their own clock."""
    cells, ports = netlist(24, tmp_path)
    made = {bit: cell for cell in cells for name, wires in cell["connections"].items()
            if cell["port_directions"][name] == "output" for bit in wires}

    def clocks(bit):
        """Of the flip-flops that `bit` depends on within a cycle."""
        cell = made.get(bit)
        if cell is None:                                    # a constant, or an input of the crossing
            return set()
        if cell["type"] == "TRELLIS_FF":
            return {*cell["connections"]["CLK"]}
        return {clock for name, wires in cell["connections"].items() if cell["port_directions"][name] == "input"
                for wire in wires for clock in clocks(wire)}

    crossings = Counter()
    for cell in cells:
        if cell["type"] != "TRELLIS_FF":
            continue
        wires = cell["connections"]
        own, data = wires["CLK"][0], wires["DI"][0]
        if data in made and made[data]["type"] == "TRELLIS_FF":
            crossings[*clocks(data), own] += 1
        else:
            assert clocks(data) <= {own}
        for name in {"CE", "LSR"} & wires.keys():
            assert clocks(wires[name][0]) <= {own}
    (write,), (read,) = ports["write_clk"], ports["read_clk"]
    assert crossings[write, read] == 24 + 1 and crossings[read, write] == 1
    for own, names in ((write, ("i__ready", "empty")), (read, ("o__valid", "o__payload"))):
        assert {clock for name in names for bit in ports[name] for clock in clocks(bit)} == {own}
