# amaranth: UnusedElaboratable=no
"""LogitSender: which logits, with which bias, in which cycles, whoever is slow."""
import random

import pytest

from accel import isa, timing
from accel.config import TINY
from accel.rtl.control.logits import LogitSender
from tests.accel.streams import Monitor, simulate, sink, source


class Bench:
    """Sends `emits`, (count, last) each. What the sender may not look at is noise: the logit until the last cycle in
    which it may come, data of the memory in all cycles but those of a word that was read, its bits from 16 on.

    pauses: of the source of requests, of the sink of logits.
    """
    def __init__(self, emits, *, before=0.0, behind=0.0, seed=0):
        self.dut = dut = LogitSender(TINY)
        rng = random.Random(seed)
        count = sum(count for count, _ in emits)
        self.sums = [rng.choice([-1 << 31, -1, 0, (1 << 31) - 1, rng.randrange(-1 << 31, 1 << 31)])
                     for _ in range(count)]
        self.biases = [rng.choice([-1 << 31, -1, 0, 0xFFFF, 0x10000, rng.randrange(-1 << 31, 1 << 31)])
                       for _ in range(count)]
        self.emits, self.logits = Monitor(dut.emits), Monitor(dut.logits)
        self.requested, self.shifts, self.words = [], [], []

        async def surroundings(ctx):
            offered, patience, sums, cycle = False, 0, iter(self.sums), 0
            words = [half for bias in self.biases for half in (bias & 0xFFFF, bias >> 16 & 0xFFFF)]
            logit, due = None, {}                           # due: cycle -> word of the memory
            while True:
                if patience == 0:
                    logit = next(sums, 0) if logit is None else logit
                ctx.set(dut.logit, logit if logit is not None else rng.randrange(-1 << 31, 1 << 31))
                ctx.set(dut.word, due.get(cycle, rng.randrange(1 << 16)) | rng.randrange(1 << TINY.acc_bits - 16) << 16)
                _, _, valid, ready, read, shift = await ctx.tick().sample(
                    dut.emits.valid, dut.emits.ready, dut.next_word, dut.shift)
                if read:
                    due[cycle + timing.BLOCK_MEMORY] = words[len(self.words)]
                    self.words.append(cycle)
                patience -= patience > 0
                if valid and not offered:
                    self.requested.append(cycle)
                if shift:
                    self.shifts.append(cycle)
                if shift or valid and not offered and logit is None:
                    logit, patience = None, timing.LOGIT - 1
                offered = valid and not ready
                cycle += 1

        payloads = [{"op": isa.Op.EMIT, "count": count, "last": last} for count, last in emits]
        simulate(dut, surroundings, source(dut.emits, payloads, pauses=before, seed=seed),
                 sink(dut.logits, pauses=behind, seed=seed + 1), self.emits.watch, self.logits.watch,
                 done=lambda: len(self.emits.payloads) == len(emits), timeout=100_000)


EMITS = [(1, 0), (3, 1), (1, 1), (10, 0), (2, 1), (127, 1)]


@pytest.mark.parametrize("before", [0.0, 0.7])
@pytest.mark.parametrize("behind", [0.0, 0.5, 0.9])
def test_logits_and_their_cycles(before, behind):
    bench = Bench(EMITS, before=before, behind=behind, seed=7)
    last = [flag and k + 1 == count for count, flag in EMITS for k in range(count)]
    expected = [(total + bias) % (1 << 32) | flag << 32
                for total, bias, flag in zip(bench.sums, bench.biases, last, strict=True)]
    assert bench.logits.payloads == expected
    # The last logit of a request takes the request along; the shift comes with every logit.
    counts = [count for count, _ in EMITS]
    ends = [sum(counts[:k + 1]) - 1 for k in range(len(counts))]
    assert bench.emits.cycles == [bench.logits.cycles[k] for k in ends]
    assert bench.shifts == bench.logits.cycles
    # Words are read in the two cycles behind a request or a logit that was taken, if it was not the last.
    begins = sorted(bench.requested + [cycle for k, cycle in enumerate(bench.logits.cycles) if k not in ends])
    assert bench.words == [cycle + k for cycle in begins for k in (1, 2)]


def test_latency_and_throughput():
    bench = Bench([(4, 1), (1, 1)])
    assert bench.requested[0] == 0
    assert bench.logits.cycles[:4] == [(timing.LOGIT + 1) * (k + 1) for k in range(4)]
    assert bench.requested[1] == bench.emits.cycles[0] + 1
    assert bench.logits.cycles[4] == bench.requested[1] + timing.LOGIT + 1
