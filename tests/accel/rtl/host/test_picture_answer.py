# amaranth: UnusedElaboratable=no
"""Answers to INFER against docs/uart.md packed by hand."""
import random
import struct

import pytest

from accel.rtl.host.picture_answer import PictureAnswer
from tests.accel.streams import Monitor, put, simulate, sink

LARGEST, SMALLEST = (1 << 31) - 1, -(1 << 31)
PICTURES = [
    ([0], 0), ([SMALLEST], 0xFFFFFFFF), ([SMALLEST, SMALLEST], 1), ([-1, 0], 2), ([0, -1], 3), ([5, 7, 7, 6], 4),
    ([LARGEST, SMALLEST], 5), ([SMALLEST, LARGEST], 6), ([SMALLEST, -1, LARGEST - 1, LARGEST], 0x80000001)]


def answer(logits, cycles):
    return struct.pack(f"<{len(logits)}iHI", *logits, logits.index(max(logits)), cycles)


def run(pictures, *, before=0.0, behind=0.0, seed=0):
    """(answers, classes while their last byte is on offer, transfers of logits, of bytes)."""
    dut = PictureAnswer()
    came, went = Monitor(dut.logits), Monitor(dut.octets)
    best, chance = [], random.Random(seed)

    async def core(ctx):
        for logits, cycles in pictures:
            for k, logit in enumerate(logits):
                last = k == len(logits) - 1
                while chance.random() < before:
                    await ctx.tick()
                ctx.set(dut.cycles, cycles if last else chance.randrange(1 << 32))
                await put(ctx, dut.logits, {"logit": logit, "last": last})
                ctx.set(dut.cycles, chance.randrange(1 << 32))

    async def watch(ctx):
        ports = (dut.octets.valid, dut.octets.p.last, dut.best)
        async for _, _, valid, last, index in ctx.tick().sample(*ports):
            if valid and last:
                best.append(index)

    count = sum(4 * len(logits) + 6 for logits, _ in pictures)
    simulate(dut, core, watch, came.watch, went.watch, sink(dut.octets, pauses=behind, seed=seed),
             done=lambda: len(went.payloads) == count, timeout=100 * count)
    answers = [bytearray()]
    for word in went.payloads:
        answers[-1].append(word & 0xFF)
        if word >> 8:
            answers.append(bytearray())
    assert answers.pop() == b""
    return [bytes(octets) for octets in answers], best, came.cycles, went.cycles


@pytest.mark.parametrize("before", [0.0, 0.9])
@pytest.mark.parametrize("behind", [0.0, 0.7])
def test_logits_class_and_cycles(before, behind):
    chance = random.Random(1)
    pictures = [*PICTURES, *(([chance.choice([chance.randrange(-3, 3), chance.randrange(SMALLEST, LARGEST)])
                               for _ in range(chance.randrange(1, 12))], chance.randrange(1 << 32)) for _ in range(12))]
    answers, best, *_ = run(pictures, before=before, behind=behind, seed=2)
    assert answers == [answer(*picture) for picture in pictures]
    if not behind:
        assert best == [logits.index(max(logits)) for logits, _ in pictures]


def test_more_logits_than_a_byte_counts():
    logits = [0] * 300 + [1]
    assert run([(logits, 9)])[0] == [answer(logits, 9)]


def test_latency_and_rate():
    _, _, came, went = run([([1, 2, 3], 4), ([5], 6)])
    assert came == [came[0] + cycles for cycles in (0, 11, 22, 45)]
    assert went[:5] == [came[0] + cycles for cycles in (4, 6, 8, 10, 15)]
