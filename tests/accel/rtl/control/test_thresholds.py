# amaranth: UnusedElaboratable=no
"""ThresholdReader against the time table of its docstring: every output in every cycle, from the inputs alone."""
import random
from dataclasses import replace

import pytest

from accel import timing
from accel.config import TINY
from accel.rtl.control.thresholds import ThresholdReader
from tests.accel.simulate import run_cycles

TWO_BITS = replace(TINY, name="two-bits", w_bits=2, a_bits=2)
THREE_BITS = replace(TINY, name="three-bits", w_bits=3, a_bits=3, rows=8, chains=4)


def word(address):
    return address * 40503 % 65521


def run(config, inputs, cycles):
    """(inputs, outputs) of every cycle. inputs(busy, cycle) gives start, request, free and next_word; the memory
    answers as a block memory does."""
    dut, given, addresses = ThresholdReader(config), [], [0] * timing.BLOCK_MEMORY

    def stimulus(ctx, cycle):
        given.append(inputs(ctx.get(dut.busy), cycle))
        for name, value in given[-1].items():
            ctx.set(getattr(dut, name), value)
        ctx.set(dut.data, word(addresses[-timing.BLOCK_MEMORY]))
        addresses.append(ctx.get(dut.address))

    def sample(ctx, cycle):
        write = ctx.get(dut.write)
        return ctx.get(dut.busy), ctx.get(dut.address), (write.channel, write.node, write.value) if write.valid else 0

    outputs = []
    run_cycles(dut, stimulus, lambda ctx, cycle: outputs.append(sample(ctx, cycle)), cycles)
    return given, outputs


def reference(config, given):
    """The outputs that follow from the inputs."""
    cycles = len(given)
    busy, address, write = [0] * cycles, [0] * cycles, [0] * cycles
    words = [(channel, node) for channel in range(config.channels) for node in range(1, config.thresholds + 1)]
    reading, begin = {}, None                      # cycle -> channel and node; when the request is seen
    at = 0
    for cycle, now in enumerate(given):
        address[cycle] = at
        if begin is not None and cycle >= begin and now["free"]:
            reading = {cycle + 1 + k: place for k, place in enumerate(words)}
            begin = None
            for k in range(cycle, min(cycle + 1 + len(words), cycles)):
                busy[k] = 1
        if begin is not None and cycle >= begin:
            busy[cycle] = 1
        if cycle in reading and cycle + timing.BLOCK_MEMORY < cycles:
            write[cycle + timing.BLOCK_MEMORY] = (*reading[cycle], word(at))
        if now["request"]:
            begin = cycle + 1
        if now["start"]:
            at = 0
        elif cycle in reading or now["next_word"]:
            at += 1
    return list(zip(busy, address, write, strict=True))


@pytest.mark.parametrize("config", [TINY, TWO_BITS, THREE_BITS], ids=lambda config: config.name)
def test_time_table(config):
    n = config.threshold_words
    _, outputs = run(config, lambda busy, cycle: {"start": 0, "request": cycle == 0, "free": 1, "next_word": 0}, n + 8)
    assert [cycle for cycle, (busy, _, _) in enumerate(outputs) if busy] == list(range(1, n + 2))
    assert [address for _, address, _ in outputs] == [0, 0, *range(n), *[n] * 6]
    writes = {cycle: write for cycle, (_, _, write) in enumerate(outputs) if write}
    assert list(writes) == list(range(4, n + 4))
    assert writes[4] == (0, 1, word(0)) and writes[n + 3] == (config.channels - 1, config.thresholds, word(n - 1))


@pytest.mark.parametrize("config", [TINY, TWO_BITS, THREE_BITS], ids=lambda config: config.name)
@pytest.mark.parametrize("free", [1.0, 0.5, 0.02])
def test_tiles_and_biases_in_any_order(config, free):
    """Requests, words for somebody else and new pictures, as soon as allowed or later; `free` falls at any time."""
    rng = random.Random(3)
    counts = dict.fromkeys(("start", "request", "next_word"), 0)

    def inputs(busy, cycle):
        now = {"start": 0, "request": 0, "next_word": 0, "free": int(rng.random() < free)}
        kind = rng.choice(["request", "next_word", "next_word", "start", None])
        if not busy and kind:
            now[kind] = 1
            counts[kind] += 1
        return now

    given, outputs = run(config, inputs, 1500)
    assert all(counts.values())
    assert outputs == reference(config, given)
