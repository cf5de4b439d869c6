# amaranth: UnusedElaboratable=no
"""The register stage of streams: pauses on both sides, latency and rate pinned, no path through it, and a proof."""
import random

import pytest
from amaranth import *
from amaranth.hdl import Assert
from amaranth.sim import Simulator

from accel import timing
from accel.rtl.stream_register import StreamRegister
from tests.accel.rtl.proof import holds
from tests.accel.streams import Monitor, simulate, sink, source

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
    assert [b - a for a, b in zip(came.cycles, went.cycles, strict=True)] == [timing.STREAM_REGISTER] * len(WORDS)
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


class Contract(Elaboratable):
    """Whatever both sides do, in every cycle: what was taken, and nothing else, is on offer until it has gone."""
    def __init__(self, dut):
        self.dut = dut

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        held, word = Signal(), Signal.like(dut.o.payload)
        m.d.comb += Assert(dut.o.valid == held)
        with m.If(held):
            m.d.comb += Assert(dut.o.payload == word)
        with m.If(dut.o.valid & dut.o.ready):
            m.d.sync += held.eq(0)
        with m.If(dut.i.valid & dut.i.ready):
            m.d.comb += Assert(~held | dut.o.ready)
            m.d.sync += [held.eq(1), word.eq(dut.i.payload)]
        return m


class Overwriting(StreamRegister):
    """Takes a payload whether the one before has gone or not."""
    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.i.valid):
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(self.i.payload)]
        return m


@pytest.mark.synth
@pytest.mark.parametrize("kind, sound", [(StreamRegister, True), (Overwriting, False)])
def test_proof(kind, sound, tmp_path):
    """By induction, so for runs of any length; a stage that loses words is found out."""
    dut = kind(8)
    ports = [dut.i.valid, dut.i.payload, dut.o.ready]
    assert holds(Contract(dut), ports, tmp_path, refute=0 if sound else 8) == sound
