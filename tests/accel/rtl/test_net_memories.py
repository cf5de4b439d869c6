# amaranth: UnusedElaboratable=no
"""The memories of a net, filled by its tape: every word where it belongs, there when the memory says so and for as long
as somebody reads it."""
import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth import Value

from accel import isa, tape, timing
from accel.compiler.compile import compile_net
from accel.config import TINY, TINY_SDRAM
from accel.rtl.memory.net_memories import NetMemories
from tests.accel.simulate import run_cycles
from tests.accel.streams import Monitor, simulate, source
from tests.nets import NetBuilder, random_net

MEMORIES = {"program": 64, "weight": 16, "threshold": 22}                               # bits of TINY
DEPTHS = {name: getattr(TINY, f"{name}_depth") for name in MEMORIES}
# Rings of the fewest words that there may be, one of them of no power of two.
SMALLEST = replace(TINY_SDRAM, name="smallest", weight_depth=12, program_depth=2)


def tape_words(image):
    """Payloads of the words of the tape."""
    words = tape.payload(image.tape).tolist()
    return [{"word": word, "last": k == len(words) - 1} for k, word in enumerate(words)]


async def contents(ctx, dut):
    """All words of all three memories, {name: list}."""
    words = {name: [] for name in MEMORIES}
    for cycle in range(max(DEPTHS.values()) + timing.BLOCK_MEMORY):
        for name in MEMORIES:
            ctx.set(getattr(dut, f"{name}_address"), cycle % DEPTHS[name])
            if cycle >= timing.BLOCK_MEMORY:
                words[name].append(ctx.get(getattr(dut, f"{name}_data")))
        await ctx.tick()
    return {name: read[:DEPTHS[name]] for name, read in words.items()}


def instructions(image):
    """(word, memory, count) of each up to the program's end: the tape has no more. memory, count: as
    `tape.operands_of`."""
    for word in image.program.tolist():
        layout, fields = isa.decode(word)
        yield word, *tape.operands_of(image.config, layout, fields)[:2]
        if layout is isa.Emit and fields.end:
            return


def expected_contents(image):
    memories = {"program": [word for word, *_ in instructions(image)], "weight": image.weights,
                "threshold": image.thresholds}
    return {name: [int(word) % (1 << bits) for word in memories[name]] for name, bits in MEMORIES.items()}


def without_what_nobody_reads(image, words):
    """Contents without the bits of the words of biases that no logit is made of."""
    thresholds, at = list(words["threshold"]), 0
    for word, memory, count in instructions(image):
        if memory == "thresholds":
            if isa.decode(word)[0] is isa.Emit:
                thresholds[at:at + count] = [bias & 0xFFFF for bias in thresholds[at:at + count]]
            at += count
    return words | {"threshold": thresholds}


def loaded(words, *, image=None, pauses=0.0, seed=0):
    """(contents, settings as a number) behind a tape of `words`, after a rewind."""
    dut, result = NetMemories(TINY, image=image), []
    taken = Monitor(dut.words)

    async def read(ctx):
        ctx.set(dut.resident, 1)
        ctx.set(dut.rewind, 1)
        await ctx.tick()
        ctx.set(dut.rewind, 0)
        while len(taken.payloads) < len(words):
            await ctx.tick()
        for _ in range(3):                              # as many as `LoadedTape` and `TapePlayer` wait
            await ctx.tick()
        result.extend((await contents(ctx, dut), ctx.get(Value.cast(dut.settings))))

    async def feed(ctx):
        await ctx.tick()
        await source(dut.words, words, pauses=pauses, seed=seed)(ctx)

    simulate(dut, taken.watch, feed, read, done=lambda: result, timeout=20_000)
    return result


def padded(words):
    return {name: read + [0] * (DEPTHS[name] - len(read)) for name, read in words.items()}


@pytest.mark.parametrize("pauses", [0.0, 0.5])
def test_every_word_lands_where_it_belongs_and_in_no_other_memory(pauses):
    image = compile_net(random_net(40, TINY), TINY)
    memories, settings = loaded(tape_words(image), pauses=pauses)
    assert without_what_nobody_reads(image, memories) == padded(expected_contents(image))
    assert settings == image.settings


def test_a_net_is_the_same_at_configuration_and_loaded():
    image, configured = compile_net(random_net(40, TINY), TINY), []
    dut = NetMemories(TINY, image=image)

    async def read(ctx):
        ctx.set(dut.resident, 1)
        await ctx.tick()
        assert all(ctx.get(getattr(dut, f"{what}_there")) for what in ("instruction", "weights", "thresholds"))
        configured.extend((await contents(ctx, dut), ctx.get(Value.cast(dut.settings))))
    simulate(dut, read, done=lambda: configured, timeout=5_000)
    memories, settings = loaded(tape_words(image))
    assert configured == [without_what_nobody_reads(image, memories), settings]


def test_another_net_takes_the_place_of_the_first():
    """From address 0 on; what is behind it is what was there."""
    first, second = (compile_net(random_net(seed, TINY), TINY) for seed in (40, 42))
    memories, settings = loaded(tape_words(second), image=first)
    before, behind = padded(expected_contents(first)), expected_contents(second)
    assert without_what_nobody_reads(second, memories) == {
        name: behind[name] + before[name][len(behind[name]):] for name in MEMORIES}
    assert settings == second.settings != first.settings


def test_latency():
    """Settings, then an instruction with four weight words of one word of the tape each: there three cycles after their
    last words were taken, and read by the address of that cycle; the settings are the picture's then too."""
    config = replace(TINY_SDRAM, name="one")
    one = isa.Pass.const({"op": isa.Op.PASS, "base": 5}).as_bits()
    settings = isa.Settings.const({"op": isa.Op.SETTINGS, "width": 3, "height": 2}).as_bits()
    words = [number >> 16 * k & 0xFFFF for number in (settings, one) for k in range(4)] + [11, 22, 33, 44]
    dut, taken, at = NetMemories(config), [], 0

    def stimulus(ctx, cycle):
        ctx.set(dut.words.valid, at < len(words))
        ctx.set(dut.words.payload, {"word": words[min(at, len(words) - 1)], "last": 0})
        ctx.set(dut.weight_address, 3)

    def sample(ctx, cycle):
        nonlocal at
        taken.append(int(at < len(words) and ctx.get(dut.words.ready)))
        at += taken[-1]
        return [ctx.get(value) for value in (dut.instruction_there, dut.weights_there, dut.program_data,
                                             dut.weight_data, dut.settings.width)]

    instruction, weights, program, weight, width = run_cycles(dut, stimulus, sample, 40).T
    last = [cycle for cycle, one in enumerate(taken) if one][3::4]
    assert len(last) == 3
    there = timing.RING_WRITE + timing.BLOCK_MEMORY_WRITE + 1
    assert width.tolist().index(3) == last[0] + 2
    assert instruction.tolist().index(1) == last[1] + 1 + there
    assert weights.tolist().index(1) == last[2] + there
    assert program.tolist().index(one) <= last[1] + 1 + there + timing.BLOCK_MEMORY
    assert weight.tolist().index(44) <= last[2] + there + timing.BLOCK_MEMORY


@pytest.mark.parametrize("config", [TINY_SDRAM, SMALLEST], ids=lambda config: config.name)
@pytest.mark.parametrize("slow_words, slow_reader", [(0.0, 0.0), (0.6, 0.0), (0.0, 0.8)])
def test_a_ring_is_read_in_order_and_never_written_over(config, slow_words, slow_reader):
    """A reader goes through the program as the sequencer does, twice over, and finds each word until it gives it up: a
    pass's weight words when the next pass has its own. What is not there yet it waits for."""
    build = NetBuilder(np.random.default_rng(0), (3, 4, 4))
    build.logits(build.layer(build.conv("image", 7)), 5)
    image = compile_net(build.net(), config)
    assert not image.resident
    words = tape_words(image) * 2
    dut, over, chance = NetMemories(config), [], random.Random(1)
    taken, waits = Monitor(dut.words), []
    flags = [f"{what}_taken" for what in ("instruction", "weights", "thresholds")] + ["words_free", "threshold_read"]

    async def tick(ctx, *up):
        """A cycle with those flags up."""
        for name in flags:
            ctx.set(getattr(dut, name), name in up)
        waits.append(ctx.get(dut.waiting))
        await ctx.tick()
        for name in flags:
            ctx.set(getattr(dut, name), 0)

    async def block(ctx, what, memory, first, count, depth, *, each=()):
        """Waits for the next block, takes it, reads it: a list. each: flags that are up while a word is addressed."""
        while chance.random() < slow_reader:
            await tick(ctx)
        while not ctx.get(getattr(dut, f"{what}_there")):
            await tick(ctx)
        await tick(ctx, f"{what}_taken")
        read = []
        for k in range(count):
            ctx.set(getattr(dut, f"{memory}_address"), (first + k) % depth)
            for _ in range(timing.BLOCK_MEMORY):
                await tick(ctx)
            read.append(ctx.get(getattr(dut, f"{memory}_data")))
            if each:
                await tick(ctx, *each)
        return read

    async def reader(ctx):
        instruction = weight = threshold = 0
        for _ in range(2):
            weights, thresholds, held = image.weights.tolist(), image.thresholds.tolist(), False
            for word, memory, count in instructions(image):
                # The room of an instruction is free when it is taken: it is read before.
                while not ctx.get(dut.instruction_there):
                    await tick(ctx)
                ctx.set(dut.program_address, instruction % config.program_depth)
                for _ in range(timing.BLOCK_MEMORY):
                    await tick(ctx)
                assert ctx.get(dut.program_data) == word
                await tick(ctx, "instruction_taken")
                await tick(ctx)                 # it is executed; what is there now may be said of this one still
                instruction += 1
                for _ in range(count // config.rows if memory == "weights" else 0):
                    expected, weights = weights[:config.rows], weights[config.rows:]
                    read = await block(ctx, "weights", "weight", weight, config.rows, config.weight_depth)
                    assert read == expected
                    if held:
                        await tick(ctx, "words_free")
                    held, weight = True, weight + config.rows
                if memory == "thresholds":
                    expected, thresholds = thresholds[:count], thresholds[count:]
                    read = await block(ctx, "thresholds", "threshold", threshold, count, config.threshold_depth,
                                       each=["threshold_read"])
                    # Biases are 16 bits of a word.
                    mask = (1 << (16 if isa.decode(word)[0] is isa.Emit else config.acc_bits)) - 1
                    assert [one & mask for one in read] == [one & mask for one in expected]
                    threshold += count
            assert not weights and not thresholds
            if held:
                await tick(ctx, "words_free")
        over.append(True)

    simulate(dut, taken.watch, source(dut.words, words, pauses=slow_words), reader,
             done=lambda: over and len(taken.payloads) == len(words), timeout=100_000)
    assert any(waits)


def test_resident_words_are_not_used_up():
    """What is read, freed and taken stays there, and no room comes of it."""
    image = compile_net(random_net(3, TINY), TINY)
    dut, over = NetMemories(TINY, image=image), []
    flags = ("instruction_taken", "weights_taken", "thresholds_taken", "words_free", "threshold_read")

    async def reader(ctx):
        ctx.set(dut.resident, 1)
        await ctx.tick()
        for _ in range(2 * TINY.program_depth):
            for name in flags:
                ctx.set(getattr(dut, name), 1)
            await ctx.tick()
            assert all(ctx.get(getattr(dut, f"{what}_there")) for what in ("instruction", "weights", "thresholds"))
        for name in flags:
            ctx.set(getattr(dut, name), 0)
        ctx.set(dut.resident, 0)                        # the counters are as they were: nothing is there
        await ctx.tick()
        assert not any(ctx.get(getattr(dut, f"{what}_there")) for what in ("instruction", "weights", "thresholds"))
        over.append(True)
    simulate(dut, reader, done=lambda: over, timeout=5_000)
