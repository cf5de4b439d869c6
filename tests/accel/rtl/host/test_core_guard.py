# amaranth: UnusedElaboratable=no
"""The handshake that clears the core, with a core that answers late or never, and the limit of patience."""
import pytest

from accel.rtl.host.core_guard import LONG, CoreGuard
from tests.accel.streams import simulate

PATIENCE = 50


def run(host, *, rises=3, falls=2):
    """Signals of each cycle. host: async function of (ctx, dut). rises, falls: cycles from `clear` to `cleared`."""
    dut, over, seen = CoreGuard(patience=PATIENCE), [], []

    async def core(ctx):
        up = down = 0
        async for _, _, clear, cleared in ctx.tick().sample(dut.clear, dut.cleared):
            up, down = (up + 1, 0) if clear else (0, down + 1)
            ctx.set(dut.cleared, up >= rises or (cleared and down < falls))

    async def watch(ctx):
        names = ("begin", "forget", "clear", "cleared", "clearing", "stalled")
        async for _, _, *values in ctx.tick().sample(*(getattr(dut, name) for name in names)):
            seen.append(dict(zip(names, values, strict=True)))

    async def whole(ctx):
        await host(ctx, dut)
        over.append(True)
    simulate(dut, core, watch, whole, done=lambda: over, timeout=10_000, after=1)
    return seen


async def pulse(ctx, signal):
    ctx.set(signal, 1)
    await ctx.tick()
    ctx.set(signal, 0)


def when(seen, name):
    return [cycle for cycle, now in enumerate(seen) if now[name]]


@pytest.mark.parametrize("rises, falls", [(1, 1), (1, 9), (9, 1), (20, 20)])
def test_the_handshake_goes_its_four_phases(rises, falls):
    async def host(ctx, dut):
        for _ in range(3):
            await ctx.tick().repeat(4)
            await pulse(ctx, dut.begin)
            await pulse(ctx, dut.forget)
            while ctx.get(dut.clearing):
                await ctx.tick()
    seen = run(host, rises=rises, falls=falls)
    phases = [(now["clear"], now["cleared"]) for now in seen]
    changes = [now for before, now in zip(phases, phases[1:], strict=False) if before != now]
    assert changes == [(1, 0), (1, 1), (0, 1), (0, 0)] * 3
    assert not when(seen, "stalled")
    for now, following in zip(seen, seen[1:], strict=False):
        assert following["clearing"] >= now["forget"]
        assert now["clearing"] >= max(now["clear"], now["cleared"])


def test_time_table():
    async def host(ctx, dut):
        await pulse(ctx, dut.forget)
        await ctx.tick().repeat(12)
    seen = run(host, rises=1, falls=2)
    at = seen[0]["forget"] and 0
    assert [when(seen, name) for name in ("clear", "cleared", "clearing")] == [
        [at + 2, at + 3], [at + 3, at + 4, at + 5], [at + k for k in range(1, 7)]]


def test_patience_is_of_all_waits_of_a_command_together():
    async def host(ctx, dut):
        for waits in ([30, 19, 1], [PATIENCE + 1], [49, 2], [30, 20], [10, 10, 10, 10, 10, 1]):
            await pulse(ctx, dut.begin)
            for count in waits:
                ctx.set(dut.waits, 1)
                await ctx.tick().repeat(count)
                ctx.set(dut.waits, 0)
                await ctx.tick().repeat(3)
    seen = run(host)
    begins = [*when(seen, "begin"), len(seen)]
    stalled = [sum(seen[cycle]["stalled"] for cycle in range(begin, end))
               for begin, end in zip(begins, begins[1:], strict=False)]
    assert stalled == [0, 1, 1, 0, 1]


@pytest.mark.parametrize("clears", [False, True])
def test_patience_is_longer_where_the_core_computes(clears):
    """But for a core that is to forget what it computes."""
    async def host(ctx, dut):
        ctx.set(dut.long, 1)
        await pulse(ctx, dut.begin)
        await pulse(ctx, dut.forget if clears else dut.begin)
        ctx.set(dut.waits, 1)
        await ctx.tick().repeat(LONG * PATIENCE + 10)
    seen = run(host, rises=400)
    first = when(seen, "stalled")[0] - when(seen, "begin")[-1]
    assert first == 1 + (1 + PATIENCE if clears else LONG * PATIENCE)


def test_a_core_that_does_not_answer_stalls_every_command_that_waits_and_is_cleared_when_it_does():
    async def host(ctx, dut):
        for _ in range(3):
            await pulse(ctx, dut.begin)
            await pulse(ctx, dut.forget)
            while not ctx.get(dut.stalled):
                assert ctx.get(dut.clearing)
                await ctx.tick()
            await ctx.tick().repeat(5)
        while ctx.get(dut.clearing):
            await ctx.tick()
    seen = run(host, rises=400)
    begins, stalled = when(seen, "begin"), when(seen, "stalled")
    assert [cycle for cycle in stalled if cycle - 1 not in stalled] == [begins[0] + 2 + PATIENCE, *(
        begin + 1 + PATIENCE for begin in begins[1:])]
    assert len(when(seen, "clear")) > 400 and when(seen, "clear")[-1] < when(seen, "cleared")[-1]
    assert not seen[-1]["clear"] and not seen[-1]["clearing"]
