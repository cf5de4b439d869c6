"""The memories of a net: rings of the smallest sizes, that the tape fills and a reader empties as the core does."""
import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth import Value
from amaranth.sim import Simulator

from accel import isa, timing
from accel.compiler.compile import compile_net
from accel.config import TINY, TINY_SDRAM
from accel.rtl.memory.net_memories import NetMemories
from tests.accel.rtl.tape.programs import SETTINGS, random_tape
from tests.accel.simulate import run_cycles
from tests.accel.streams import source
from tests.nets import random_net

SMALLEST = replace(TINY_SDRAM, weight_depth=8, threshold_depth=64, program_depth=1)
THREE_PASSES = replace(TINY_SDRAM, weight_depth=12, threshold_depth=64, program_depth=2)


class Reader:
    """Reads what `dut` holds as the core does: one instruction after the other, the words of a pass until the next
    one's are there, thresholds one by one. Nothing is read before it is said to be there.

    program, weights, thresholds: what was read.
    """
    def __init__(self, dut, config, *, instructions, pauses, seed):
        self.program, self.weights, self.thresholds = [], [], []
        self._dut, self._config, self._count = dut, config, instructions
        self._chance, self._pauses = random.Random(seed), pauses
        self._held = False
        self._at = dict.fromkeys(("program", "weight", "threshold"), 0)

    async def _pause(self, ctx):
        while self._chance.random() < self._pauses:
            await ctx.tick()

    async def _there(self, ctx, what):
        await self._pause(ctx)
        for _ in range(3_000):
            if ctx.get(getattr(self._dut, f"{what}_there")):
                return
            await ctx.tick()
        raise AssertionError(f"no {what} after {len(self.program)} instructions: the rings are locked up")

    async def _word(self, ctx, name, depth):
        """The word at the address, in its cycle."""
        ctx.set(getattr(self._dut, f"{name}_address"), self._at[name])
        self._at[name] = (self._at[name] + 1) % depth
        for _ in range(timing.BLOCK_MEMORY):
            await ctx.tick()
        return ctx.get(getattr(self._dut, f"{name}_data"))

    async def _pulse(self, ctx, name):
        ctx.set(getattr(self._dut, name), 1)
        await ctx.tick()
        ctx.set(getattr(self._dut, name), 0)

    async def run(self, ctx):
        config = self._config
        while len(self.program) < self._count:
            await self._there(ctx, "instruction")
            word = await self._word(ctx, "program", config.program_depth)
            await self._pulse(ctx, "instruction_taken")
            await ctx.tick()                    # it is executed; what is there now may be said of this one still
            self.program.append(word)
            layout, fields = isa.decode(word)
            if layout is isa.Pass and not fields.repeat:
                for _ in range(int(fields.more) + 1):
                    await self._there(ctx, "weights")
                    await self._pulse(ctx, "weights_taken")
                    if self._held:
                        await self._pulse(ctx, "words_free")
                    self._held = True
                    self.weights += [await self._word(ctx, "weight", config.weight_depth) for _ in range(config.rows)]
            count = 0
            if layout is isa.Tile and fields.thresholds:
                count = config.threshold_words
            if layout is isa.Emit:
                count = 2 * int(fields.count)
            if count:
                await self._there(ctx, "thresholds")
                await self._pulse(ctx, "thresholds_taken")
                for _ in range(count):
                    self.thresholds.append(await self._word(ctx, "threshold", config.threshold_depth))
                    await self._pulse(ctx, "threshold_read")


@pytest.mark.parametrize("config", [SMALLEST, THREE_PASSES])
@pytest.mark.parametrize("seed, end, pauses, slow", [
    (0, "emit", 0.0, 0.0), (1, "end", 0.6, 0.0), (2, "emit", 0.0, 0.7)])
def test_the_smallest_rings_never_lock_up(config, seed, end, pauses, slow):
    """Whichever side is slow: the whole of a random program comes through, and its words are the tape's."""
    net = random_tape(config, seed, 12, end=end, begin=[("run", {"more": 4}), ("tile", {}), ("tile", {})])
    dut = NetMemories(config)
    reader = Reader(dut, config, instructions=len(net.program), pauses=slow, seed=seed)
    last = len(net.words) - 1
    words = [{"word": word, "last": n == last} for n, word in enumerate(net.words)]
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(source(dut.words, words, pauses=pauses, seed=seed), background=True)
    simulator.add_testbench(reader.run)
    simulator.run()
    assert reader.program == net.program.tolist()
    assert reader.weights == net.weights.tolist()
    assert reader.thresholds == [t % (1 << config.acc_bits) for t in net.thresholds.tolist()]


def given(net, sample, *, words, rewind=None, cycles):
    """(cycles in which the words of a tape are taken, samples), of memories that are offered the first `words` of it
    and have a rewind in cycle `rewind`."""
    dut, taken = NetMemories(TINY_SDRAM), []

    def stimulus(ctx, cycle):
        ctx.set(dut.words.valid, len(taken) < words)
        ctx.set(dut.words.p.word, net.words[len(taken)])
        ctx.set(dut.rewind, cycle == rewind)

    def sampled(ctx, cycle):
        values = sample(ctx, dut)
        if ctx.get(dut.words.valid & dut.words.ready):
            taken.append(cycle)
        return values
    return taken, run_cycles(dut, stimulus, sampled, cycles)


def test_when_things_are_there():
    """An instruction 4 cycles after its last word, a block of operands 3; nothing before."""
    net = random_tape(TINY_SDRAM, 0, 0, begin=[("run", {}), ("tile", {"short": True})])
    taken, seen = given(net, lambda ctx, dut: [ctx.get(port) for port in (
        dut.instruction_there, dut.weights_there, dut.thresholds_there)], words=76, cycles=120)
    instruction, weights, thresholds = (int(np.flatnonzero(column)[0]) for column in seen.T)
    # After the Settings: the pass, its weight words, the tile, its thresholds.
    assert (instruction, weights, thresholds) == (taken[7] + 4, taken[11] + 3, taken[75] + 3)


def test_a_resident_net_is_always_there_and_nothing_of_it_is_used_up():
    image = compile_net(random_net(40, TINY), TINY)
    dut, rng = NetMemories(TINY, image=image), random.Random(1)
    places = [(name, rng.randrange(len(words))) for name, words in (
        ("program", image.program), ("weight", image.weights), ("threshold", image.thresholds)) for _ in range(40)]
    words = {"program": image.program, "weight": image.weights, "threshold": image.thresholds}

    async def read(ctx):
        ctx.set(dut.resident, 1)
        await ctx.tick()
        for pulse in ("instruction_taken", "weights_taken", "thresholds_taken", "words_free", "threshold_read"):
            ctx.set(getattr(dut, pulse), 1)
        for name, address in places:
            ctx.set(getattr(dut, f"{name}_address"), address)
            for _ in range(timing.BLOCK_MEMORY):
                await ctx.tick()
            data = getattr(dut, f"{name}_data")
            assert ctx.get(data) == int(words[name][address]) % (1 << len(data))
            assert all(ctx.get(getattr(dut, f"{what}_there")) for what in ("instruction", "weights", "thresholds"))
        assert ctx.get(Value.cast(dut.settings)) == image.settings
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(read)
    simulator.run()


def test_a_rewind_empties_the_rings():
    """The Settings stay."""
    net = random_tape(TINY_SDRAM, 0, 0, begin=[("run", {}), ("tile", {"short": True})])
    _, seen = given(net, lambda ctx, dut: [ctx.get(dut.instruction_there), ctx.get(dut.weights_there),
                                           ctx.get(dut.thresholds_there), ctx.get(Value.cast(dut.settings))],
                    words=76, rewind=115, cycles=122)
    assert seen[115].tolist() == [1, 1, 1, SETTINGS]
    assert (seen[116:] == [0, 0, 0, SETTINGS]).all()
