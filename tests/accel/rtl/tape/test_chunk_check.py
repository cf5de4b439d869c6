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


def run(script, *, last=CHUNKS - 1):
    """Samples of (payload, end, judged, wrong, check) of each cycle, and of 4 more. script: of each cycle the inputs
    that are not as at rest."""
    dut = ChunkCheck()
    rest = {"start": 0, "valid": 0, "word": 0xDEAD, "counts": 1, "other": 0, "other_start": 0}
    script = script + [{}] * 4

    def stimulus(ctx, cycle):
        ctx.set(dut.last, last)
        for name, value in (rest | script[cycle]).items():
            ctx.set(getattr(dut, name), value)
    return run_cycles(dut, stimulus, lambda ctx, cycle: [ctx.get(port) for port in (
        dut.payload, dut.end, dut.judged, dut.wrong, dut.check)], len(script))


def follow(words, *, last=CHUNKS - 1, pauses=0.0, starts=(0,), seed=0):
    """(offered: cycle of each word, samples of `run`). starts: numbers of the words before which there is a start."""
    chance, script, offered = random.Random(seed), [], []
    for number, word in enumerate(words):
        if number in starts:
            script.append({"start": 1})
        while chance.random() < pauses:
            script.append({})
        offered.append(len(script))
        script.append({"valid": 1, "word": int(word)})
    return offered, run(script, last=last)


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


def check_of(words):
    return binascii.crc32(np.array(words, "<u2").tobytes())


def test_words_that_do_not_count_are_checked_all_the_same():
    """`check` stands still, before them as behind them."""
    words = chunks_of(8).reshape(-1)
    words[600] ^= 1
    counts = np.random.default_rng(8).random(len(words)) < 0.5
    samples = run([{"start": 1}, *({"valid": 1, "word": int(word), "counts": int(count)}
                                   for word, count in zip(words, counts, strict=True))])
    judged, wrong, check = samples.T[2:]
    assert np.flatnonzero(judged).tolist() == [1 + 512 * n + 511 + 2 for n in range(CHUNKS)]
    assert np.flatnonzero(judged & wrong).tolist() == [1 + 512 + 511 + 2]
    for number in (1, 2, 3, 511, 512, 513, 1000, len(words)):
        assert check[number + 2] == check_of(words[:number][counts[:number]])


@pytest.mark.parametrize("counts", [0, 1])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_check_is_lent_to_other_words(counts, share):
    """Words of other kinds between those of the tape, wherever they come: chunks are judged as ever, the others are
    none of a chunk, and `check` is that of all that count, in the order in which they came. One chunk is wrong."""
    chance, script, counted, expected = random.Random(9), [{"start": 1}, {"other_start": 1}], [], {}
    words, payload, ends = chunks_of(9).reshape(-1).tolist(), [], []
    words[77] ^= 0x100
    for number, word in enumerate(words):
        while chance.random() < share:
            counted.append(chance.randrange(1 << 16))
            script.append({"other": 1, "word": counted[-1], "counts": counts})
            expected[len(script) + 1] = check_of(counted)
        if chance.random() < 0.2:
            script.append({"counts": counts})
        (ends if number % 512 == 511 else payload).append(len(script))
        script.append({"valid": 1, "word": word, "counts": counts})
        if counts:
            counted.append(word)
        if number % 61 == 0:
            expected[len(script) + 1] = check_of(counted)
    samples = run(script)
    assert np.flatnonzero(samples[:, 0]).tolist() == payload and np.flatnonzero(samples[:, 1]).tolist() == ends
    assert np.flatnonzero(samples[:, 2]).tolist() == [cycle + 2 for cycle in ends]
    assert np.flatnonzero(samples[:, 2] & samples[:, 3]).tolist() == [ends[0] + 2]
    assert {cycle: samples[cycle, 4] for cycle in expected} == expected


@pytest.mark.parametrize("at", [1, 2, 300, 509, 510, 511, 512, 513, 514, 800])
def test_the_check_begins_anew_for_other_words(at):
    """With the next cycle; a chunk that it comes into, or just behind, is judged as ever. Its words before have left
    nothing in `check`."""
    words, others = chunks_of(10).reshape(-1).tolist(), [0x1234, 0, 0xFFFF]
    of_tape = [{"valid": 1, "word": word, "counts": int(number < at)} for number, word in enumerate(words)]
    other = [{"other": 1, "word": word, "counts": 0} for word in others]
    samples = run([{"start": 1}, *of_tape[:at], {"other_start": 1, "counts": 0}, *other, *of_tape[at:]])
    began = 1 + at
    assert samples[began + 1, 4] == check_of(words[:at])    # a word counts from the second cycle after it on
    assert [samples[began + 2 + k, 4] for k in range(4)] == [check_of(others[:k]) for k in range(4)]
    assert set(samples[began + 5:, 4]) == {check_of(others)}
    ends = [1 + number + 4 * (number >= at) for number in (511, 1023, 1535)]
    assert np.flatnonzero(samples[:, 2]).tolist() == [end + 2 for end in ends]
    assert not (samples[:, 2] & samples[:, 3]).any()


@pytest.mark.parametrize("pause", [0, 1, 5])
def test_after_a_loan_the_tape_has_its_check_again(pause):
    """`start` begins it anew as well."""
    words = chunks_of(11).reshape(-1).tolist()
    script = [{"other_start": 1}, *[{"other": 1, "word": 0xABCD}] * 20, *[{}] * pause, {"start": 1},
              *({"valid": 1, "word": word} for word in words)]
    samples = run(script)
    assert samples[22, 4] == check_of([0xABCD] * 20) and samples[-1, 4] == check_of(words)
    assert samples[:, 2].sum() == CHUNKS and not (samples[:, 2] & samples[:, 3]).any()
