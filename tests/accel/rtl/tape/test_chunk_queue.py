"""Chunks on their way: none is passed on before it is good, none is lost, a slot is free when its last word is out."""
import random

import numpy as np
import pytest

from accel import tape, timing
from accel.rtl.tape.chunk_queue import ChunkQueue
from tests.accel.simulate import run_cycles

PAYLOAD, SLOTS = 511, 4


class Bench:
    """Puts chunks of a tape in, as long as there are slots, and takes words out.

    wait: cycles from a chunk's end to its commit. pauses: chance of a cycle without a word in. ready: function of the
    cycle. taken: (cycle, word, last) each; freed, committed, full: cycles; offered: whether a word was, of each cycle.
    """
    def __init__(self, *, chunks=SLOTS + 3, last=2, wait=2, pauses=0.0, ready=lambda cycle: True, seed=0, rewind=None,
                 cycles=None):
        rng = np.random.default_rng(seed)
        self.tape = rng.integers(0, 1 << 16, (last + 1, PAYLOAD))
        self.taken, self.freed, self.committed, self.full, self.offered = [], [], [], [], []
        chance, dut = random.Random(seed), ChunkQueue()
        given = [[chunk, 0] for chunk in range(chunks)]     # chunk, words that are in
        slots, commits = SLOTS, []

        def stimulus(ctx, cycle):
            nonlocal slots
            ctx.set(dut.last, last)
            ctx.set(dut.rewind, cycle == rewind)
            if cycle == rewind:
                given[:] = [[chunk, 0] for chunk in range(chunks)]
                slots, commits[:] = SLOTS, []
            word, end = None, False
            # In the cycle of a rewind nothing comes.
            if given and cycle != rewind and (given[0][1] or slots) and chance.random() >= pauses:
                if given[0][1] == 0:
                    slots -= 1
                if given[0][1] == PAYLOAD:
                    end = True
                    given.pop(0)
                    commits.append(cycle + wait)
                else:
                    word = self.tape[given[0][0] % (last + 1), given[0][1]]
                    given[0][1] += 1
            ctx.set(dut.valid, word is not None)
            ctx.set(dut.word, 0xBAD if word is None else int(word))
            ctx.set(dut.end, end)
            commit = bool(commits) and commits[0] == cycle
            ctx.set(dut.commit, commit)
            if commit:
                self.committed.append(commits.pop(0))
            ctx.set(dut.o.ready, ready(cycle))

        def sample(ctx, cycle):
            nonlocal slots
            word, last = ctx.get(dut.o.p.word), ctx.get(dut.o.p.last)
            self.offered.append(ctx.get(dut.o.valid))
            if self.offered[-1] and ready(cycle):
                self.taken.append((cycle, word, last))
            if ctx.get(dut.freed):
                self.freed.append(cycle)
                slots += 1
            if ctx.get(dut.full):
                self.full.append(cycle)
        run_cycles(dut, stimulus, sample, cycles or 2 * chunks * tape.CHUNK_WORDS + 60)

    def expected(self, chunks):
        """(word, last) of so many chunks."""
        words = [(int(word), 0) for word in self.tape.reshape(-1)]
        words[-1] = words[-1][0], 1
        return (words * chunks)[:chunks * PAYLOAD]


def test_latency_and_throughput():
    """The first word comes timing.CHUNK_QUEUE cycles after its chunk's commit, then one a cycle, from one chunk to the
    next too."""
    bench = Bench(chunks=3, wait=2)
    assert [word for _, *word in bench.taken] == [list(word) for word in bench.expected(3)]
    cycles = [cycle for cycle, *_ in bench.taken]
    first = bench.committed[0] + timing.CHUNK_QUEUE
    assert cycles[:PAYLOAD] == list(range(first, first + PAYLOAD))
    # 512 cycles to bring a chunk in, 511 to take it out: it waits for the next commit.
    assert cycles[PAYLOAD] == bench.committed[1] + timing.CHUNK_QUEUE == cycles[PAYLOAD - 1] + 2


def test_without_a_gap_where_chunks_wait():
    stop = 4 * tape.CHUNK_WORDS + 20
    bench = Bench(chunks=4, ready=lambda cycle: cycle >= stop)
    assert [cycle for cycle, *_ in bench.taken] == list(range(stop, stop + 4 * PAYLOAD))
    assert bench.freed == [stop + (n + 1) * PAYLOAD - 1 + timing.SLOT_FREE for n in range(4)]


@pytest.mark.parametrize("taken", [0, 1, PAYLOAD - timing.QUEUE_DEPTH, PAYLOAD - 1])
def test_full_with_words_at_the_exit(taken):
    """From two cycles after the third commit on; also where the last words of a chunk, whose slot they keep, are all
    that is left of it."""
    stop = 4 * tape.CHUNK_WORDS + 20
    bench = Bench(chunks=4, cycles=stop + PAYLOAD + 200, ready=lambda cycle: stop <= cycle < stop + taken)
    begin = bench.committed[2] + 2
    assert bench.full[:stop - begin] == list(range(begin, stop))
    settled = stop + taken + timing.QUEUE_FULL
    assert bench.full[-100:] == list(range(stop + PAYLOAD + 100, stop + PAYLOAD + 200))
    assert set(range(settled, stop + PAYLOAD + 200)) <= set(bench.full)
    assert not bench.freed


def test_nothing_is_passed_on_before_its_commit():
    bench = Bench(chunks=2, wait=900, cycles=3_000)
    assert not any(bench.offered[:bench.committed[0] + timing.CHUNK_QUEUE])
    assert len(bench.taken) == 2 * PAYLOAD


def test_a_slot_is_free_after_the_last_word_of_its_chunk():
    bench = Bench(chunks=5, pauses=0.1, seed=3, ready=lambda cycle: cycle % 3 != 1)
    assert bench.freed == [bench.taken[PAYLOAD * (n + 1) - 1][0] + timing.SLOT_FREE for n in range(5)]


@pytest.mark.parametrize("last", [0, 1, 3])
@pytest.mark.parametrize("pauses, busy", [(0.0, 0.5), (0.5, 0.0), (0.3, 0.3)])
def test_back_pressure(last, pauses, busy):
    """Tapes of one, two and four chunks, round and round."""
    chance = random.Random(last)
    open_cycles = [chance.random() >= busy for _ in range(12_000)]
    bench = Bench(last=last, pauses=pauses, ready=lambda cycle: open_cycles[cycle], seed=last, cycles=9_000)
    assert [tuple(word) for _, *word in bench.taken] == bench.expected(SLOTS + 3)


@pytest.mark.parametrize("rewind", [100, 511, 515, 520, 1400, 2300])
def test_rewind_in_the_middle(rewind):
    """While a chunk comes in, is judged, and goes out: then the tape comes from its beginning."""
    bench = Bench(chunks=4, last=5, rewind=rewind, ready=lambda cycle: cycle % 2, cycles=7_000)
    after = [(word, last) for cycle, word, last in bench.taken if cycle > rewind]
    assert after == bench.expected(4)
    assert not bench.offered[rewind + 1]
