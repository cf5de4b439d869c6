# amaranth: UnusedElaboratable=no
"""The memories of a net: every word where its target says, nothing taken while a picture is classified, and no picture
between the first word of a load and its last."""
import random

import numpy as np
import pytest
from amaranth import Value

from accel import isa, timing
from accel.compiler.compile import compile_net
from accel.config import TINY
from accel.isa import Target
from accel.rtl.memory.net_memories import NetMemories
from tests.accel.simulate import run_cycles
from tests.accel.streams import Monitor, simulate, source
from tests.nets import random_net

PORTS = {Target.PROGRAM: "program", Target.WEIGHTS: "weight", Target.THRESHOLDS: "threshold"}
DEPTHS = {Target.PROGRAM: TINY.program_depth, Target.WEIGHTS: TINY.weight_depth,
          Target.THRESHOLDS: TINY.threshold_depth}
WIDTHS = {Target.PROGRAM: 64, Target.WEIGHTS: 16, Target.THRESHOLDS: 22}                # of TINY


def load_word(target, address=0, data=0):
    return {"target": target, "address": address, "data": data}


async def contents(ctx, dut):
    """All words of all three memories, {target: list}."""
    words = {target: [] for target in PORTS}
    for cycle in range(max(DEPTHS.values()) + timing.BLOCK_MEMORY):
        for target, name in PORTS.items():
            ctx.set(getattr(dut, f"{name}_address"), cycle % DEPTHS[target])
            if cycle >= timing.BLOCK_MEMORY:
                words[target].append(ctx.get(getattr(dut, f"{name}_data")))
        await ctx.tick()
    return {target: read[:DEPTHS[target]] for target, read in words.items()}


def loaded(words, *, image=None, pauses=0.0, seed=0):
    """(contents, settings as a number) after a load of `words`; the core is busy now and then, as `pauses` says."""
    dut, result = NetMemories(TINY, image=image), []
    taken, chance = Monitor(dut.load), random.Random(seed)

    async def busy(ctx):
        while len(taken.payloads) < len(words):
            ctx.set(dut.busy, chance.random() < pauses)
            await ctx.tick()
        for _ in range(timing.LOAD):
            await ctx.tick()
        result.extend((await contents(ctx, dut), ctx.get(Value.cast(dut.settings))))

    simulate(dut, taken.watch, source(dut.load, words, pauses=pauses, seed=seed + 1), busy, done=lambda: result,
             timeout=20_000)
    return result


@pytest.mark.parametrize("pauses", [0.0, 0.5])
def test_every_word_lands_in_the_memory_of_its_target_and_in_no_other(pauses):
    rng = random.Random(3)
    corners = [0, 1, 511, 1023]
    words = [load_word(target, address, rng.getrandbits(64))
             for target in PORTS for address in [*corners, DEPTHS[target] - 1, *rng.sample(range(DEPTHS[target]), 60)]]
    rng.shuffle(words)
    words.append(load_word(Target.SETTINGS, 0, rng.getrandbits(64)))
    expected = {target: [0] * depth for target, depth in DEPTHS.items()}
    for word in words[:-1]:
        expected[word["target"]][word["address"]] = word["data"] % (1 << WIDTHS[word["target"]])
    memories, settings = loaded(words, pauses=pauses)
    assert memories == expected
    assert settings == words[-1]["data"] % (1 << 34)


def test_a_net_is_the_same_at_configuration_and_loaded():
    image = compile_net(random_net(40, TINY), TINY)
    words = [load_word(*word) for word in zip(*(column.tolist() for column in image.load_words()), strict=True)]
    memories, settings = loaded(words)
    dut, configured = NetMemories(TINY, image=image), []

    async def read(ctx):
        configured.append(await contents(ctx, dut))
        assert ctx.get(Value.cast(dut.settings)) == settings == image.settings
        assert not ctx.get(dut.clear) and not ctx.get(dut.hold)
    simulate(dut, read, done=lambda: configured, timeout=5_000)
    assert configured == [memories]
    assert memories[Target.PROGRAM][:len(image.program)] == image.program.tolist()
    assert memories[Target.WEIGHTS][:len(image.weights)] == image.weights.tolist()
    assert memories[Target.THRESHOLDS][:len(image.thresholds)] == [int(t) % (1 << 22) for t in image.thresholds]


def test_nothing_is_taken_while_a_picture_is_classified():
    """The word on offer waits, keeps the next picture from starting, and is the one that is taken in the end."""
    dut, classified = NetMemories(TINY), 12

    def stimulus(ctx, cycle):
        ctx.set(dut.busy, cycle < classified)
        ctx.set(dut.load.valid, 0 < cycle <= classified)
        ctx.set(dut.load.payload, load_word(Target.PROGRAM, 9, 100 + cycle if cycle < classified else 77))
        ctx.set(dut.program_address, 9)

    seen = run_cycles(dut, stimulus, lambda ctx, cycle: [ctx.get(value) for value in (
        dut.load.ready, dut.hold, dut.program_data)], classified + timing.LOAD + timing.BLOCK_MEMORY + 1)
    ready, hold, read = seen.T
    assert ready.tolist() == [0] * classified + [1] * (len(seen) - classified)
    assert hold.tolist() == [0, *[1] * (classified + 1), *[0] * (len(seen) - classified - 2)]
    assert read.tolist() == [0] * (len(seen) - 1) + [77]


#                      cycle 0123456789012345678901
LOAD, HOLD, CLEAR, WITH_A_NET = (
                            "..P.WT...S....SS...P..",
                            "..11111..11...111..11.",
                            "11111111111....11...11",
                            "...11111111....11...11")
LETTERS = {"P": Target.PROGRAM, "W": Target.WEIGHTS, "T": Target.THRESHOLDS, "S": Target.SETTINGS}


@pytest.mark.parametrize("image, expected_clear", [(False, CLEAR), (True, WITH_A_NET)])
def test_there_is_no_net_from_the_first_word_of_a_load_until_its_settings(image, expected_clear):
    dut = NetMemories(TINY, image=compile_net(random_net(40, TINY), TINY) if image else None)

    def stimulus(ctx, cycle):
        ctx.set(dut.load.valid, LOAD[cycle] != ".")
        ctx.set(dut.load.payload, load_word(LETTERS.get(LOAD[cycle], Target.SETTINGS), 0, cycle))

    seen = run_cycles(dut, stimulus, lambda ctx, cycle: [ctx.get(dut.hold), ctx.get(dut.clear),
                                                         ctx.get(Value.cast(dut.settings))], len(LOAD))
    hold, clear, settings = seen.T
    assert "".join(".1"[bit] for bit in hold) == HOLD
    assert "".join(".1"[bit] for bit in clear) == expected_clear
    taken = [cycle for cycle, letter in enumerate(LOAD) if letter == "S"]
    for cycle, number in enumerate(settings):
        assert number == max([t for t in taken if t + timing.LOAD <= cycle], default=settings[0])
    assert settings[0] == (dut.image.settings if image else 0)


@pytest.mark.parametrize("target", PORTS)
def test_a_word_can_be_read_two_cycles_after_it_was_taken_and_not_before(target):
    dut = NetMemories(TINY)
    address, data = (getattr(dut, f"{PORTS[target]}_{side}") for side in ("address", "data"))

    def stimulus(ctx, cycle):
        ctx.set(dut.load.valid, cycle == 0)
        ctx.set(dut.load.payload, load_word(target, 5, 0x2345))
        ctx.set(address, 5)

    seen = run_cycles(dut, stimulus, lambda ctx, cycle: ctx.get(data), 8)
    first = timing.LOAD + timing.BLOCK_MEMORY
    assert seen.tolist() == [0] * first + [0x2345] * (8 - first)


def test_settings_are_the_last_word_of_every_load():
    targets, _, _ = compile_net(random_net(40, TINY), TINY).load_words()
    assert [isa.Target(int(t)) for t in targets].index(Target.SETTINGS) == len(targets) - 1
    assert np.bincount(targets).min() > 0
