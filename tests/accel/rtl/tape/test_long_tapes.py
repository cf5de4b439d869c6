"""Nets that come straight into the memories, and such that are too large for them."""
from dataclasses import replace

import numpy as np
import pytest
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa
from accel.compiler.compile import compile_net
from accel.config import TINY
from accel.rtl.memory.net_memories import NetMemories
from accel.rtl.tape.loaded_tape import LoadedTape
from tests.accel.streams import put, simulate
from tests.nets import NetBuilder


class Loading(wiring.Component):
    """`LoadedTape` and the memories of `config`, as in a core without pictures."""
    def __init__(self, config):
        self.config = config
        super().__init__({"load": In(stream.Signature(isa.LoadWord)), "whole": Out(1), "damaged": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.tape = tape = LoadedTape()
        m.submodules.memories = memories = NetMemories(self.config)
        wiring.connect(m, wiring.flipped(self.load), tape.load)
        wiring.connect(m, tape.words, memories.words)
        m.d.comb += [tape.waiting.eq(memories.waiting), memories.rewind.eq(tape.rewind),
                     memories.resident.eq(tape.resident), self.whole.eq(tape.whole), self.damaged.eq(tape.damaged)]
        return m


@pytest.mark.parametrize("memory", ["weight_depth", "threshold_depth", "program_depth"])
def test_a_tape_that_is_too_long_is_damaged_and_the_next_one_gets_in(memory):
    build = NetBuilder(np.random.default_rng(1), (3, 5, 6), "net")
    build.logits(build.layer(build.conv("image", 8)), 4)
    image = compile_net(build.net(), TINY)
    need = {"weight_depth": len(image.weights), "threshold_depth": len(image.thresholds),
            "program_depth": len(image.program)}[memory]
    results = []

    async def load(ctx, dut):
        kinds, words = image.load_words()
        for kind, word in zip(kinds.tolist(), words.tolist(), strict=True):
            await put(ctx, dut.load, {"kind": kind, "data": word})
        while not (ctx.get(dut.whole) or ctx.get(dut.damaged)):
            await ctx.tick()
        results.append(ctx.get(dut.whole))

    for depth, whole in ((need, 1), (need - TINY.rows, 0)):
        config = replace(TINY, **{memory: depth})
        dut = Loading(config)

        async def bench(ctx, dut=dut):
            for _ in range(2):
                await load(ctx, dut)
        results.clear()
        simulate(dut, bench, done=lambda: len(results) == 2, timeout=10_000)
        assert results == [whole, whole]
