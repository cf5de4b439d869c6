# amaranth: UnusedElaboratable=no
"""Answers to INFER against docs/uart.md packed by hand."""
import random
import struct

import pytest

from accel.rtl.host.picture_answer import PictureAnswer
from tests.accel.streams import Monitor, put, simulate

LARGEST, SMALLEST = (1 << 31) - 1, -(1 << 31)
PICTURES = [
    ([0], 0), ([SMALLEST], 0xFFFFFFFF), ([SMALLEST, SMALLEST], 1), ([-1, 0], 2), ([0, -1], 3), ([5, 7, 7, 6], 4),
    ([LARGEST, SMALLEST], 5), ([SMALLEST, LARGEST], 6), ([SMALLEST, -1, LARGEST - 1, LARGEST], 0x80000001)]


def answer(logits, cycles):
    return struct.pack(f"<{len(logits)}iHI", *logits, logits.index(max(logits)), cycles)


def run(pictures, *, n_logits=None, before=0.0, behind=0.0, seed=0):
    """(answers, classes while they are due, transfers of logits, of bytes, cycles from which on one was due). n_logits:
    that the net has; by default as many as come. An answer is None where as many have not come."""
    dut = PictureAnswer()
    came, went = Monitor(dut.logits), Monitor(dut.octets)
    answers, best, due_at, chance = [], [], [], random.Random(seed)

    async def core(ctx):
        for logits, cycles in pictures:
            for k, logit in enumerate(logits):
                last = k == len(logits) - 1
                while chance.random() < before:
                    await ctx.tick()
                ctx.set(dut.cycles, cycles if last else chance.randrange(1 << 32))
                await put(ctx, dut.logits, {"logit": logit, "last": last})
                ctx.set(dut.cycles, chance.randrange(1 << 32))

    async def replies(ctx):
        cycle = 0
        for logits, _ in pictures:
            ctx.set(dut.n_logits, n_logits or len(logits))
            octets, due = bytearray(), 0
            while not due:
                _, _, due, whole, index = await ctx.tick().sample(dut.due, dut.whole, dut.best)
                cycle += 1
            due_at.append(cycle - 1)
            best.append(index)
            last = not whole
            while not last:
                ctx.set(dut.octets.ready, chance.random() >= behind)
                ports = (dut.octets.valid, dut.octets.ready, dut.octets.payload, dut.due, dut.best)
                _, _, valid, ready, word, due, index = await ctx.tick().sample(*ports)
                cycle += 1
                assert due and index == best[-1]
                if valid and ready:
                    octets.append(word.octet)
                    last = word.last
            ctx.set(dut.octets.ready, 0)
            for _ in range(5):
                assert ctx.get(dut.due) and not ctx.get(dut.octets.valid)
                await ctx.tick()
                cycle += 1
            answers.append(bytes(octets) if whole else None)
            ctx.set(dut.answered, 1)
            await ctx.tick()
            cycle += 1
            ctx.set(dut.answered, 0)
            assert not ctx.get(dut.due)

    count = sum(10 * len(logits) + 40 for logits, _ in pictures)
    simulate(dut, core, replies, came.watch, went.watch, done=lambda: len(answers) == len(pictures),
             timeout=20 * count)
    return answers, best, came.cycles, went.cycles, due_at


@pytest.mark.parametrize("before", [0.0, 0.9])
@pytest.mark.parametrize("behind", [0.0, 0.7])
def test_logits_class_and_cycles(before, behind):
    chance = random.Random(1)
    pictures = [*PICTURES, *(([chance.choice([chance.randrange(-3, 3), chance.randrange(SMALLEST, LARGEST)])
                               for _ in range(chance.randrange(1, 12))], chance.randrange(1 << 32)) for _ in range(12))]
    answers, best, *_ = run(pictures, before=before, behind=behind, seed=2)
    assert answers == [answer(*picture) for picture in pictures]
    assert best == [logits.index(max(logits)) for logits, _ in pictures]


@pytest.mark.parametrize("count", [300, 1022])
def test_as_many_logits_as_an_answer_carries(count):
    logits = list(range(-count + 1, 1))
    assert run([(logits, 9)])[0] == [answer(logits, 9)]


@pytest.mark.parametrize("n_logits", [1, 3, pytest.param(1022, marks=pytest.mark.slow)])
def test_another_number_of_logits_than_the_net_has_makes_no_answer(n_logits):
    right = list(range(n_logits)), 5
    others = [([7] * count, 6) for count in (n_logits - 1, n_logits + 1, 1023, 1024, 1025, 2048 + n_logits) if count]
    answers, *_ = run([right, *(picture for other in others for picture in (other, right))], n_logits=n_logits)
    assert answers == [answer(*right)] + [None, answer(*right)] * len(others)


@pytest.mark.parametrize("wait", range(0, 60, 3))
def test_after_clearing_nothing_of_the_pictures_before_is_left(wait):
    """Whatever it was at; logits that come meanwhile are dropped."""
    dut, over, octets = PictureAnswer(), [], bytearray()

    async def host(ctx):
        ctx.set(dut.n_logits, 3)
        ctx.set(dut.octets.ready, 1)
        ctx.set(dut.logits.valid, 1)
        ctx.set(dut.logits.payload, {"logit": 100, "last": 0})
        for cycle in range(wait):
            ctx.set(dut.logits.p.last, cycle > 8)
            await ctx.tick()
        ctx.set(dut.clear, 1)
        await ctx.tick()
        for _ in range(10):                                 # one a cycle
            assert ctx.get(dut.logits.ready) and not ctx.get(dut.due) and not ctx.get(dut.octets.valid)
            await ctx.tick()
        ctx.set(dut.logits.valid, 0)
        ctx.set(dut.clear, 0)
        await ctx.tick()
        ctx.set(dut.cycles, 77)
        for k, logit in enumerate((4, 6, 5)):
            await put(ctx, dut.logits, {"logit": logit, "last": k == 2})
        while len(octets) < 18:
            _, _, valid, word = await ctx.tick().sample(dut.octets.valid, dut.octets.payload)
            if valid:
                octets.append(word.octet)
        over.append(True)
    simulate(dut, host, done=lambda: over, timeout=1000)
    assert bytes(octets) == answer([4, 6, 5], 77)


def test_latency_and_rate():
    _, _, came, went, due = run([([1, 2, 3], 4), ([5], 6)])
    assert came[:3] == [came[0], came[0] + 4, came[0] + 8]
    assert due[0] == came[2] + 5
    assert went[:5] == [due[0] + cycles for cycles in (3, 5, 7, 9, 13)]
    assert went[17] - went[8] == 2 * 9 and len(went) == 18 + 10
    assert came[3] == went[17] + 7                          # taken as soon as the first is answered


@pytest.mark.parametrize("held", [0, 3, 20])
@pytest.mark.parametrize("ready", [0, 1])
def test_a_picture_whose_bytes_nobody_wants(ready, held):
    """It is due as ever, with its class, and whole or not; not a byte is on offer. `answered` is up until it is over,
    or comes `held` cycles after it is due; then the next picture is taken."""
    dut, over = PictureAnswer(), []
    chance = random.Random(held)
    pictures = [[chance.randrange(-9, 9) for _ in range(count)] for count in (3, 3, 1, 3, 4, 3)]
    came, cycle = Monitor(dut.logits), [0]

    async def core(ctx):
        for logits in pictures:
            for k, logit in enumerate(logits):
                await put(ctx, dut.logits, {"logit": logit, "last": k == len(logits) - 1})

    async def watch(ctx):
        async for _, _, valid in ctx.tick().sample(dut.octets.valid):
            assert not valid
            cycle[0] += 1

    async def run_of_pictures(ctx):
        ctx.set(dut.unsent, 1)
        ctx.set(dut.octets.ready, ready)
        ctx.set(dut.n_logits, 3)
        taken = 0
        for logits in pictures:
            while not ctx.get(dut.due):
                await ctx.tick()
            due, taken = cycle[0], taken + len(logits)
            assert due == came.cycles[taken - 1] + 5
            assert (ctx.get(dut.whole), ctx.get(dut.best)) == (len(logits) == 3, logits.index(max(logits)))
            for _ in range(held):
                await ctx.tick()
                assert ctx.get(dut.due) and ctx.get(dut.best) == logits.index(max(logits))
            ctx.set(dut.answered, 1)
            while ctx.get(dut.due):
                await ctx.tick()
            ctx.set(dut.answered, 0)
            assert cycle[0] == due + max(held + 1, 4)
        over.append(True)
    simulate(dut, core, came.watch, watch, run_of_pictures, done=lambda: over, timeout=2000)


@pytest.mark.parametrize("unsent", [(1, 0, 1, 0, 0), (0, 1, 1, 0, 1)])
def test_pictures_whose_bytes_are_wanted_and_others(unsent):
    """As runs and pictures of the line follow each other."""
    dut, over, chance = PictureAnswer(), [], random.Random(5)
    octets = Monitor(dut.octets)
    pictures = [[chance.randrange(SMALLEST, LARGEST) for _ in range(3)] for _ in unsent]

    async def core(ctx):
        for logits, nobody in zip(pictures, unsent, strict=True):
            ctx.set(dut.n_logits, 3)
            ctx.set(dut.cycles, 99)
            ctx.set(dut.octets.ready, 1)
            ctx.set(dut.unsent, nobody)
            before = len(octets.payloads)
            for k, logit in enumerate(logits):
                await put(ctx, dut.logits, {"logit": logit, "last": k == 2})
            while not ctx.get(dut.due) or not nobody and len(octets.payloads) < before + 4 * 3 + 6:
                await ctx.tick()
            ctx.set(dut.answered, 1)
            while ctx.get(dut.due):
                await ctx.tick()
            ctx.set(dut.answered, 0)
        over.append(True)
    simulate(dut, core, octets.watch, done=lambda: over, timeout=2000)
    expected = b"".join(answer(logits, 99) for logits, nobody in zip(pictures, unsent, strict=True) if not nobody)
    assert bytes(octet & 0xFF for octet in octets.payloads) == expected
