# amaranth: UnusedElaboratable=no
"""ThresholdReader against the time table of its docstring: every output in every cycle, from the inputs alone."""
import random
from dataclasses import replace

import pytest

from accel import timing
from accel.config import TINY
from accel.rtl.control.thresholds import ThresholdReader
from tests.accel.simulate import run_cycles

# A ring of hardly more words than a tile has.
TWO_BITS = replace(TINY, name="two-bits", w_bits=2, a_bits=2, threshold_depth=16)
THREE_BITS = replace(TINY, name="three-bits", w_bits=3, a_bits=3, rows=8, chains=4)


IDLE = {"rewind": 0, "clear": 0, "request": 0, "there": 1, "free": 1, "next_word": 0}


def word(address):
    return address * 40503 % 65521


def when(values):
    """Cycles in which it is not 0."""
    return [cycle for cycle, value in enumerate(values) if value]


def run(config, inputs, cycles):
    """(inputs, outputs) of every cycle. inputs(busy, cycle) gives rewind, clear, request, there, free and next_word;
    the memory answers as a block memory does."""
    dut, given, addresses = ThresholdReader(config), [], [0] * timing.BLOCK_MEMORY

    def stimulus(ctx, cycle):
        given.append(inputs(ctx.get(dut.busy), cycle))
        for name, value in given[-1].items():
            ctx.set(getattr(dut, name), value)
        ctx.set(dut.data, word(addresses[-timing.BLOCK_MEMORY]))
        addresses.append(ctx.get(dut.address))

    def sample(ctx, cycle):
        write = ctx.get(dut.write)
        return (ctx.get(dut.busy), ctx.get(dut.address), ctx.get(dut.taken), ctx.get(dut.word_taken),
                (write.channel, write.node, write.value) if write.valid else 0)

    outputs = []
    run_cycles(dut, stimulus, lambda ctx, cycle: outputs.append(sample(ctx, cycle)), cycles)
    return given, outputs


def reference(config, given):
    """The outputs that follow from the inputs."""
    cycles = len(given)
    busy, address, taken, word_taken, write = ([0] * cycles for _ in range(5))
    words = [(channel, node) for channel in range(config.channels) for node in range(1, config.thresholds + 1)]
    reading, begin = {}, None                      # cycle -> channel and node; when the request is seen
    at = 0
    for cycle, now in enumerate(given):
        address[cycle] = at
        if begin is not None and cycle >= begin and now["free"] and now["there"]:
            taken[cycle] = 1
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
        word_taken[cycle] = int(cycle in reading or now["next_word"])
        if now["clear"]:
            begin, reading = None, {}
            busy[cycle + 1:] = [0] * (cycles - cycle - 1)
        if now["rewind"]:
            at = 0
        elif word_taken[cycle]:
            at = (at + 1) % config.threshold_depth
    return list(zip(busy, address, taken, word_taken, write, strict=True))


@pytest.mark.parametrize("config", [TINY, TWO_BITS, THREE_BITS], ids=lambda config: config.name)
def test_time_table(config):
    n = config.threshold_words
    _, outputs = run(config, lambda busy, cycle: IDLE | {"request": cycle == 0}, n + 8)
    busy, address, taken, word_taken, write = zip(*outputs, strict=True)
    assert when(busy) == list(range(1, n + 2))
    assert list(address) == [0, 0, *range(n), *[n % config.threshold_depth] * 6]
    assert when(taken) == [1] and when(word_taken) == list(range(2, n + 2))
    writes = {cycle: now for cycle, now in enumerate(write) if now}
    assert list(writes) == list(range(4, n + 4))
    assert writes[4] == (0, 1, word(0)) and writes[n + 3] == (config.channels - 1, config.thresholds, word(n - 1))


def test_thresholds_that_are_not_there_are_waited_for():
    """All behind it is as much later; they count once, in the cycle in which both they and the units are free."""
    n = TINY.threshold_words
    _, outputs = run(TINY, lambda busy, cycle: IDLE | {
        "request": cycle == 0, "there": cycle == 3 or cycle >= 7, "free": cycle >= 5}, n + 12)
    busy, address, taken, word_taken, _ = zip(*outputs, strict=True)
    assert when(taken) == [7] and when(word_taken) == list(range(8, n + 8))
    assert when(busy) == list(range(1, n + 8)) and max(address) == n


@pytest.mark.parametrize("config", [TINY, TWO_BITS, THREE_BITS], ids=lambda config: config.name)
@pytest.mark.parametrize("free, there", [(1.0, 1.0), (0.5, 0.8), (0.02, 1.0), (1.0, 0.1)])
def test_tiles_and_biases_in_any_order(config, free, there):
    """Requests, words for somebody else and rewinds, as soon as allowed or later; `free` and `there` fall at any time.
    Now and then all is cleared."""
    rng = random.Random(3)
    counts = dict.fromkeys(("rewind", "request", "next_word", "clear"), 0)

    def inputs(busy, cycle):
        now = IDLE | {"free": int(rng.random() < free), "there": int(rng.random() < there)}
        kind = rng.choice(["request", "next_word", "next_word", "rewind", None])
        if rng.random() < 0.003:
            kind = "clear"
        if kind and (not busy or kind == "clear"):
            now[kind] = 1
            counts[kind] += 1
        return now

    given, outputs = run(config, inputs, 1500)
    assert all(counts.values())
    assert outputs == reference(config, given)
