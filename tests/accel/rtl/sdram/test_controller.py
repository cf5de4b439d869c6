# amaranth: UnusedElaboratable=no
"""The SDRAM controller beside the chip's model: data, bandwidth, cycles, and the rules of the data sheets."""
import random
from dataclasses import replace

import pytest

from accel import timing
from accel.rtl.sdram.controller import SdramController
from accel.rtl.sdram.port import WriteWord
from accel.sdram import CHUNKS, COLUMNS, SdramTiming
from sim.sdram_chip import SdramChip, SdramViolation
from tests.accel.rtl.sdram.bench import CLOCKS, LONG, QUICK, SHORT, Bench, quick, random_requests
from tests.accel.rtl.sdram.rules import broken
from tests.accel.streams import put

TIMINGS = {**{f"{hz / 1e6:g} MHz": quick(SdramTiming.of(hz)) for hz in CLOCKS}, "short": SHORT, "long": LONG}
ALL_TIMINGS = pytest.mark.parametrize("cycles", TIMINGS.values(), ids=TIMINGS)


def controller_bench(cycles):
    dut = SdramController(cycles)
    return Bench(dut, dut.port, cycles, words=dut.word)


async def request(ctx, dut, asked):
    """Offers it until it is taken."""
    if len(asked) == 1:
        await put(ctx, dut.reads, *asked)
    else:
        await put(ctx, dut.writes, WriteWord.const(dict(zip(("chunk", "column", "data"), asked, strict=True))))


async def initialized(ctx, dut):
    while not ctx.get(dut.ready):
        await ctx.tick()


async def finished(ctx, dut):
    """Idle, and the last command at the chip."""
    while not ctx.get(dut.idle):
        await ctx.tick()
    for _ in range(timing.SDRAM_WORD):
        await ctx.tick()


def drive(dut, requests):
    """Testbench: all requests, each after its gap."""
    async def bench(ctx):
        await initialized(ctx, dut)
        for gap, *asked in requests:
            for _ in range(gap):
                await ctx.tick()
            await request(ctx, dut, asked)
        await finished(ctx, dut)
    return bench


@ALL_TIMINGS
@pytest.mark.parametrize("seed", range(2))
def test_random_requests(cycles, seed):
    """Every word that is read is the one written last, in the order of the requests; the rules are kept by the chip's
    model and by the list of pairs."""
    bench, requests = controller_bench(cycles), random_requests(seed, 60)
    memory, expected = {}, []
    for _, chunk, *written in requests:
        words = memory.setdefault(chunk, [int(word) for word in bench.chip.row(chunk)])
        if written:
            column, words[column] = written
        else:
            expected += words
    bench.run(drive(bench.dut, requests))
    assert [(data, last) for _, data, last in bench.words] == [
        (word, int(n % COLUMNS == COLUMNS - 1)) for n, word in enumerate(expected)]
    for chunk, words in memory.items():
        assert bench.chip.row(chunk).tolist() == words
    if cycles in [TIMINGS[f"{hz / 1e6:g} MHz"] for hz in CLOCKS]:
        hz = next(hz for hz in CLOCKS if quick(SdramTiming.of(hz)) == cycles)
        assert broken(bench.commands, clock_hz=hz, power_up_us=0, end=bench.cycle) == []


@pytest.mark.parametrize("seed", range(6))
def test_random_timings(seed):
    """Whatever the waits are, none is cut short: fields from the shortest that is allowed on."""
    chance = random.Random(seed)
    cycles = SdramTiming(
        rcd=chance.randrange(2, 7), rp=chance.randrange(2, 7), ras=chance.randrange(1, 14), rc=chance.randrange(1, 20),
        rfc=chance.randrange(4, 20), rrd=chance.randrange(1, 5), wr=chance.randrange(1, 7), mrd=chance.randrange(2, 5),
        refresh_interval=chance.randrange(300, 900), power_up=chance.randrange(1, 5000))
    bench, requests = controller_bench(cycles), random_requests(seed, 40)
    bench.run(drive(bench.dut, requests))
    assert len(bench.words) == COLUMNS * sum(len(asked) == 2 for asked in requests)


@pytest.mark.parametrize("hz", CLOCKS)
def test_power_up_at_its_real_length(hz):
    cycles = SdramTiming.of(hz)
    bench = controller_bench(cycles)
    bench.run(drive(bench.dut, [(0, 3), (0, 3, 7, 0x1234), (0, 3)]))
    assert bench.words[7][1] != bench.words[COLUMNS + 7][1] == 0x1234
    assert broken(bench.commands, clock_hz=hz, end=bench.cycle) == []
    assert [c.name for c in bench.commands if c.name != "REFRESH"][:3] == ["PRECHARGE", "MODE", "ACTIVATE"]


@pytest.mark.parametrize("hz", CLOCKS)
def test_sequential_reads_take_98_5_percent_of_the_pins(hz):
    """Refreshes included."""
    cycles, count = quick(SdramTiming.of(hz)), 34
    bench = controller_bench(cycles)
    bench.run(drive(bench.dut, [(0, CHUNKS - 8 + n if n < 8 else n - 8) for n in range(count)]))
    assert len(bench.words) == count * COLUMNS
    first, last = bench.words[0][0], bench.words[-1][0]
    share = len(bench.words) / (last - first + 1)
    print(f"{share:.2%} of a word a cycle at {hz / 1e6:g} MHz")
    assert share >= 0.985


@ALL_TIMINGS
def test_latency_and_gapless_chunks(cycles):
    """From rest to the first word, and a chunk every 513 cycles; a bank that is asked for twice is closed between."""
    bench = controller_bench(cycles)

    async def reads(ctx):
        await initialized(ctx, bench.dut)
        for _ in range(cycles.mrd):
            await ctx.tick()
        for chunk in (8, 9, 13):
            await request(ctx, bench.dut, [chunk])
        await finished(ctx, bench.dut)

    bench.run(reads)
    first = [cycle for cycle, _, _ in bench.words[::COLUMNS]]
    last = [cycle for cycle, _, last in bench.words if last]
    activate = [c.cycle for c in bench.commands if c.name == "ACTIVATE"]
    assert first[0] == activate[0] + cycles.rcd + timing.SDRAM_WORD
    assert first[1] == first[0] + COLUMNS + 1 == last[0] + 1
    assert first[2] == last[1] + 1 + cycles.rp + cycles.rcd
    assert last == [cycle + COLUMNS for cycle in first]


@ALL_TIMINGS
def test_a_word_is_written_a_cycle(cycles):
    """As long as the chunk is the same; what another chunk costs."""
    bench, chunks = controller_bench(cycles), (5, 6)
    bench.run(drive(bench.dut, [(0, chunk, column, column ^ chunk) for chunk in chunks for column in range(40)]))
    writes = [c.cycle for c in bench.commands if c.name == "WRITE"]
    assert writes[:40] == list(range(writes[0], writes[0] + 40))
    assert writes[40:] == list(range(writes[40], writes[40] + 40))
    leaving = max(cycles.wr - 1, cycles.ras - cycles.rcd, cycles.rc - cycles.rcd - cycles.rp, 2)
    assert writes[40] - writes[39] == 1 + leaving + cycles.rp + cycles.rcd
    assert all(bench.chip.row(chunk)[column] == column ^ chunk for chunk in chunks for column in range(40))


def test_a_row_that_is_written_makes_way_for_refreshes():
    bench = controller_bench(QUICK)
    bench.run(drive(bench.dut, [(3 if n % 2 else 0, 77, n % COLUMNS, n) for n in range(4500)]))
    assert bench.chip.commands["REFRESH"] >= 8 + 8
    assert broken(bench.commands, clock_hz=CLOCKS[1], power_up_us=0, end=bench.cycle) == []


def test_at_rest_refreshes_go_on():
    bench = controller_bench(SHORT)

    async def rest(ctx):
        await initialized(ctx, bench.dut)
        for _ in range(20 * SHORT.refresh_interval):
            await ctx.tick()
        assert ctx.get(bench.dut.idle)
    bench.run(rest)
    refreshes = [c.cycle for c in bench.commands if c.name == "REFRESH"][8:]
    assert len(refreshes) >= 16 and refreshes[1::4] == [cycle + SHORT.rfc for cycle in refreshes[::4]]


@pytest.mark.parametrize("up", [1, 4, 8, 12, 20])
def test_of_restarts_that_are_given_up_every_refresh_is_done(up):
    """Each comes just before refreshes are due, and is given up after `up` cycles; then one is waited for."""
    bench = controller_bench(SHORT)
    waits = random.Random(up)

    async def restarts(ctx):
        dut = bench.dut
        await initialized(ctx, dut)
        for n in range(60):
            ctx.set(dut.restart, 1)
            await (ctx.tick().until(dut.restarted) if n % 2 else ctx.tick().repeat(up))
            ctx.set(dut.restart, 0)
            await ctx.tick().repeat(int(waits.uniform(2.8, 3.99) * SHORT.refresh_interval))
    bench.run(restarts)                                     # the chip counts


def test_refresh_starved_on_purpose_is_found():
    """A controller that believes in an interval three times as long."""
    dut = SdramController(replace(QUICK, refresh_interval=3 * QUICK.refresh_interval))
    bench = Bench(dut, dut.port, QUICK, words=dut.word)
    with pytest.raises(SdramViolation, match="refreshes are owed") as caught:
        bench.run(drive(dut, [(0, n) for n in range(60)]))
    assert caught.value.rule == "refresh"
    assert any(rule.startswith("refresh")
               for rule in broken(bench.commands, clock_hz=CLOCKS[1], power_up_us=0, end=bench.cycle + 10))


@pytest.mark.parametrize("field", ["rcd", "rp", "rfc", "wr", "ras"])
def test_a_wait_that_is_too_short_is_found(field):
    """The others are made shorter where they would hide it."""
    cycles = replace(LONG, refresh_interval=400)
    fast = {"rcd": dict(rcd=4), "rp": dict(rp=3), "rfc": dict(rfc=15), "wr": dict(wr=2, ras=6, rc=2),
            "ras": dict(ras=5, wr=1, rc=2)}
    slow = {"wr": dict(ras=6, rc=2), "ras": dict(wr=1, rc=2)}
    dut = SdramController(replace(cycles, **fast[field]))
    bench = Bench(dut, dut.port, cycles, chip=SdramChip(replace(cycles, **slow.get(field, {}))))
    with pytest.raises(SdramViolation) as caught:
        bench.run(drive(dut, [(0, 1), (0, 1), *[(0, 4 * n, 0, n) for n in range(200)]]))
    assert caught.value.rule == f"t{field.upper()}"
