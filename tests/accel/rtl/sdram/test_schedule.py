# amaranth: UnusedElaboratable=no
"""`SdramSchedule` says in which cycles the controller takes requests and gives words."""
import random

import pytest
from amaranth.sim import Simulator

from accel.rtl.sdram.controller import SdramController
from accel.sdram import COLUMNS, SdramSchedule, SdramTiming
from sim.sdram_chip import SdramChip
from tests.accel.rtl.sdram.bench import CLOCKS, LONG, SHORT, quick

TIMINGS = {**{f"{hz / 1e6:g} MHz": quick(SdramTiming.of(hz)) for hz in CLOCKS}, "short": SHORT, "long": LONG}


def played(cycles, chunks, delays, *, restarts, seed):
    """Reads in the RTL, for each of `restarts` runs: [(valid_at, taken, first word, last word)] of each read, in cycles
    since `restarted`. delays: of a request after the one before was taken. A restart comes at a random time after
    writes and reads."""
    dut, chip, chance, runs = SdramController(cycles), SdramChip(cycles), random.Random(seed), []
    offered, taken, words = [], [], []

    async def watch(ctx):
        cycle, valid_before = None, 0
        async for _, _, restarted, valid, ready, word, last in ctx.tick().sample(
                dut.restarted, dut.reads.valid, dut.reads.ready, dut.word.valid, dut.word.last):
            if restarted:
                for events in (offered, taken, words):
                    events.clear()
                cycle = 0
            if cycle is not None:
                if valid and not valid_before:
                    offered.append(cycle)
                if valid and ready:
                    taken.append(cycle)
                if word:
                    words.append(cycle)
                    assert last == (len(words) % COLUMNS == 0)
                cycle += 1
            valid_before = valid and not ready

    async def bench(ctx):
        for _ in range(restarts):
            for _ in range(chance.randrange(20)):
                ctx.set(dut.writes.valid, 1)
                ctx.set(dut.writes.p.chunk, chance.randrange(3))
                await wait(ctx, dut.writes.ready)
            ctx.set(dut.writes.valid, 0)
            for _ in range(chance.randrange(1500)):
                await ctx.tick()
            ctx.set(dut.restart, 1)
            await wait(ctx, dut.restarted)
            ctx.set(dut.restart, 0)
            # The cycle now is the first one after `restarted`.
            for chunk, delay in zip(chunks, delays, strict=True):
                for _ in range(delay):
                    await ctx.tick()
                ctx.set(dut.reads.valid, 1)
                ctx.set(dut.reads.payload, chunk)
                await wait(ctx, dut.reads.ready)
                ctx.set(dut.reads.valid, 0)
            while not ctx.get(dut.idle):
                await ctx.tick()
            await ctx.tick()
            runs.append(list(zip(offered, taken, words[::COLUMNS], words[COLUMNS - 1::COLUMNS], strict=True)))

    async def wait(ctx, signal):
        seen = False
        while not seen:
            _, _, seen = await ctx.tick().sample(signal)

    async def guard(ctx):
        for _ in range(300_000):
            await ctx.tick()
        raise TimeoutError

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_process(chip.process(dut.port))
    simulator.add_testbench(watch, background=True)
    simulator.add_testbench(guard, background=True)
    simulator.add_testbench(bench)
    simulator.run()
    return runs


def scheduled(cycles, chunks, valid_at):
    schedule, before, found = SdramSchedule(cycles), None, []
    for chunk, valid in zip(chunks, valid_at, strict=True):
        found.append((valid, *schedule.read(valid, same_bank=before is not None and before % 4 == chunk % 4)))
        before = chunk
    return found


@pytest.mark.parametrize("cycles", TIMINGS.values(), ids=TIMINGS)
@pytest.mark.parametrize("kind", ["at once", "about a row", "anything"])
def test_to_the_cycle(cycles, kind):
    chance = random.Random(kind)
    count = 20 if cycles in (SHORT, LONG) else 12
    chunks = [chance.randrange(1 << 15) if chance.random() < 0.3 else n for n in range(count)]
    delays = {"at once": lambda: 0, "about a row": lambda: COLUMNS - 12 + chance.randrange(30),
              "anything": lambda: chance.choice([0, 3, 100, 498 + chance.randrange(20), chance.randrange(6000)])}[kind]
    delays = [delays() for _ in range(count)]
    runs = played(cycles, chunks, delays, restarts=2, seed=kind)
    for run in runs:
        assert run == scheduled(cycles, chunks, [valid for valid, *_ in run])
    assert runs[0] == runs[1], "what went before a restart is not forgotten"


@pytest.mark.parametrize("hz", CLOCKS)
def test_requests_at_once_take_98_5_percent_of_the_pins_for_ever(hz):
    """All 32 MB."""
    schedule = SdramSchedule(SdramTiming.of(hz))
    first = last = taken = None
    for _ in range(1 << 15):
        taken, word, last = schedule.read(0 if taken is None else taken + 1)
        first = word if first is None else first
    assert 0.985 < (COLUMNS << 15) / (last - first + 1) < 0.99


def test_restart_forgets_everything():
    schedule = SdramSchedule(SHORT)
    times = [schedule.read(n * 300) for n in range(20)]
    schedule.restart()
    assert [schedule.read(n * 300) for n in range(20)] == times


def restarts(cycles, *, read_at, again):
    """In the RTL, since `restarted`: a chunk is on offer from `read_at` on, and `restart` is up from `again` on. The
    cycle of the next `restarted`."""
    dut, chip, found = SdramController(cycles), SdramChip(cycles), []

    async def bench(ctx):
        ctx.set(dut.restart, 1)
        await ctx.tick().until(dut.restarted)
        for cycle in range(1, 10**5):
            # Values of cycle `cycle` since `restarted`.
            ctx.set(dut.restart, cycle >= again)
            if cycle == read_at:
                ctx.set(dut.reads.valid, 1)
            _, _, valid, ready, restarted = await ctx.tick().sample(dut.reads.valid, dut.reads.ready, dut.restarted)
            if valid and ready:
                ctx.set(dut.reads.valid, 0)
            if restarted:
                found.append(cycle)
                return

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_process(chip.process(dut.port))
    simulator.add_testbench(bench)
    simulator.run()
    return found[0]


@pytest.mark.parametrize("name", TIMINGS)
@pytest.mark.parametrize("seed", range(6))
def test_restart_is_where_the_schedule_has_it(name, seed):
    cycles, chance = TIMINGS[name], random.Random(seed)
    read_at = chance.randrange(1, 40)
    again = 640 + read_at + chance.randrange(4 * cycles.refresh_interval)
    schedule = SdramSchedule(cycles)
    schedule.read(read_at)
    assert schedule.restarted(again) == restarts(cycles, read_at=read_at, again=again)
