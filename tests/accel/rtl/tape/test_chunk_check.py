"""Checks of the tape: each chunk's, and that of all of it."""
import binascii
import random

import numpy as np
import pytest

from accel import tape
from accel.rtl.tape.chunk_check import ChunkCheck
from tests.accel.simulate import run_cycles

CHUNKS = 3


def chunks_of(seed):
    words = np.random.default_rng(seed).integers(0, 1 << 16, (CHUNKS, 511)).astype(np.uint16)
    checks = [tape.chunk_check(number, chunk) for number, chunk in enumerate(words)]
    return np.concatenate([words, np.array(checks, np.uint16)[:, None]], axis=1)


def follow(words, *, last=CHUNKS - 1, pauses=0.0, starts=(0,), seed=0):
    """(offered: cycle of each word, samples of (payload, end, judged, wrong, check) of each cycle). starts: numbers of
    the words before which there is a start."""
    chance, dut = random.Random(seed), ChunkCheck()
    script = []                                             # (start, word) of each cycle
    for number, word in enumerate(words):
        if number in starts:
            script.append((1, None))
        while chance.random() < pauses:
            script.append((0, None))
        script.append((0, int(word)))
    offered = [cycle for cycle, (_, word) in enumerate(script) if word is not None]
    script += [(0, None)] * 4

    def stimulus(ctx, cycle):
        start, word = script[cycle]
        ctx.set(dut.last, last)
        ctx.set(dut.start, start)
        ctx.set(dut.valid, word is not None)
        ctx.set(dut.word, 0xDEAD if word is None else word)
    samples = run_cycles(dut, stimulus, lambda ctx, cycle: [ctx.get(port) for port in (
        dut.payload, dut.end, dut.judged, dut.wrong, dut.check)], len(script))
    return offered, samples


@pytest.mark.parametrize("pauses", [0.0, 0.4])
def test_chunks_round_and_round(pauses):
    """Chunk 0 follows the last one. Each is judged two cycles after its check, which alone is no payload."""
    words = np.concatenate([chunks_of(1), chunks_of(1)]).reshape(-1)
    offered, samples = follow(words, pauses=pauses)
    ends = offered[511::512]
    payload, end, judged, wrong, _ = samples.T
    assert np.flatnonzero(payload).tolist() == [cycle for cycle in offered if cycle not in ends]
    assert np.flatnonzero(end).tolist() == ends
    assert np.flatnonzero(judged).tolist() == [cycle + 2 for cycle in ends]
    assert not (judged & wrong).any()


@pytest.mark.parametrize("number, column", [(0, 0), (1, 510), (2, 511), (1, 255)])
def test_a_wrong_word_is_one_chunks(number, column):
    chunks = chunks_of(2)
    chunks[number, column] ^= 1 << column % 16
    offered, samples = follow(chunks.reshape(-1))
    judged, wrong = samples.T[2:4]
    assert np.flatnonzero(judged & wrong).tolist() == [offered[512 * number + 511] + 2]


def test_chunks_in_each_others_place():
    chunks = chunks_of(3)[[0, 2, 1]]
    _, samples = follow(chunks.reshape(-1))
    judged, wrong = samples.T[2:4]
    assert (judged & wrong).sum() == 2


@pytest.mark.parametrize("pauses", [0.0, 0.4])
def test_the_check_of_everything_two_cycles_later(pauses):
    words = chunks_of(4).reshape(-1)
    offered, samples = follow(words, pauses=pauses)
    data = words.astype("<u2").tobytes()
    for count in (1, 2, 511, 512, 513, len(words)):
        assert samples[offered[count - 1] + 2, 4] == binascii.crc32(data[:2 * count])


@pytest.mark.parametrize("at", [1, 300, 511, 512, 800])
def test_a_start_begins_anew(at):
    """In the middle of a chunk, before its check, and between two chunks."""
    words = np.concatenate([chunks_of(5).reshape(-1)[:at], chunks_of(6).reshape(-1)])
    offered, samples = follow(words, starts=(0, at))
    judged, wrong, check = samples.T[2:5]
    after = offered[at]
    assert np.flatnonzero(judged[after + 2:]).tolist() == [offered[at + 512 * n + 511] - after for n in range(CHUNKS)]
    assert not (judged & wrong)[after + 2:].any()
    assert check[-1] == binascii.crc32(words[at:].astype("<u2").tobytes())


def test_a_tape_of_one_chunk():
    """All of its rounds are chunk 0."""
    chunk = chunks_of(7)[:1]
    _, samples = follow(np.concatenate([chunk] * 3).reshape(-1), last=0)
    judged, wrong = samples.T[2:4]
    assert judged.sum() == 3 and not (judged & wrong).any()
