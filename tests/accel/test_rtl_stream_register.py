# amaranth: UnusedElaboratable=no
"""The register stage of streams: pauses on both sides, latency and rate pinned, no path through it."""
import random

import pytest
from amaranth.sim import Simulator

from accel.rtl.stream_register import StreamRegister

from .streams import Monitor, simulate, sink, source

WORDS = [random.Random(1).randrange(256) for _ in range(300)]


def run(words, *, before=0.0, behind=0.0):
    """Monitors of both sides. before, behind: chance of a pause of the source, of the sink."""
    dut = StreamRegister(8)
    came, went = Monitor(dut.i), Monitor(dut.o)
    simulate(dut, source(dut.i, words, pauses=before, seed=2), sink(dut.o, pauses=behind, seed=3), came.watch,
             went.watch, done=lambda: len(went.payloads) >= len(words), timeout=40 * len(words))
    return came, went


@pytest.mark.parametrize("before", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("behind", [0.0, 0.5, 0.9])
def test_nothing_is_lost_doubled_or_reordered(before, behind):
    came, went = run(WORDS, before=before, behind=behind)
    assert came.payloads == went.payloads == WORDS
    assert all(b > a for a, b in zip(came.cycles, went.cycles, strict=True))


def test_latency_and_rate():
    came, went = run(WORDS)
    assert [b - a for a, b in zip(came.cycles, went.cycles, strict=True)] == [StreamRegister.latency] * len(WORDS)
    assert went.cycles == list(range(went.cycles[0], went.cycles[0] + 2 * len(WORDS), 2))


@pytest.mark.parametrize("full", [0, 1])
def test_nothing_passes_within_a_cycle(full):
    dut = StreamRegister(8)

    async def bench(ctx):
        ctx.set(dut.i.valid, full)
        ctx.set(dut.i.payload, 0x5A)
        await ctx.tick()
        for ready in (0, 1):
            for valid in (0, 1):
                for payload in (0, 0xFF):
                    ctx.set(dut.o.ready, ready)
                    ctx.set(dut.i.valid, valid)
                    ctx.set(dut.i.payload, payload)
                    assert (ctx.get(dut.i.ready), ctx.get(dut.o.valid), ctx.get(dut.o.payload)) == (
                        not full, full, 0x5A)

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
