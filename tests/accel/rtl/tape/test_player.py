"""The tape out of the SDRAM: what is loaded is played, round and round, and from `go` on to the cycle."""
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.sim import Simulator

from accel import timing
from accel.config import TINY_SDRAM
from accel.rtl.tape import player
from accel.rtl.tape.player import TapePlayer
from accel.sdram import SdramSchedule, SdramTiming
from sim.sdram_chip import SdramChip
from tests.accel.rtl.tape.programs import random_tape
from tests.accel.rtl.tape.test_loaded_tape import load_stream
from tests.accel.streams import Monitor, put

CONFIG = replace(TINY_SDRAM, sdram_hz=25_000_000)
TIMING = replace(SdramTiming.of(CONFIG.sdram_hz), power_up=100)
PAYLOAD, SLOTS = 511, 4


def quicken(monkeypatch):
    """Lets the player's SDRAM be there soon after power-up."""
    monkeypatch.setattr(player, "SdramTiming", SimpleNamespace(of=lambda clock_hz: TIMING))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    quicken(monkeypatch)


def played(chunks, *, rounds, resident=False, ready=lambda cycle: True):
    """(chip, monitor of the words, cycle of `go`) of a player that has loaded chunks and plays them so many times.
    ready: whether a word is taken so many cycles after `go`."""
    dut, chip, words, went = TapePlayer(CONFIG), SdramChip(TIMING), None, []
    words = Monitor(dut.words)
    stream = load_stream(chunks)
    kind, play = stream[-1]
    stream[-1] = kind, play & 0x7FFF | resident << 15

    async def test(ctx):
        cycle = 0
        for kind, word in stream:
            await put(ctx, dut.load, {"kind": kind, "data": word})
        assert not ctx.get(dut.whole) and ctx.get(dut.hold)
        ctx.set(dut.waiting, not resident)
        ctx.set(dut.ask, 1)
        while len(words.payloads) < rounds * len(chunks) * PAYLOAD:
            cycle += 1
            assert cycle < 30_000
            if not went and ctx.get(dut.go):
                assert ctx.get(dut.resident) == resident and (resident or ctx.get(dut.whole))
                went.append(len(elapsed))
                ctx.set(dut.ask, 0)
                ctx.set(dut.waiting, 0)
            taking = bool(went) and bool(ready(len(elapsed) - went[0]))
            ctx.set(dut.words.ready, taking)
            ctx.set(dut.ended, taking and ctx.get(dut.words.valid) and ctx.get(dut.words.p.last))
            await ctx.tick()
        ctx.set(dut.words.ready, 0)
        for _ in range(10):
            await ctx.tick()
        assert ctx.get(dut.whole) and not ctx.get(dut.damaged) and not ctx.get(dut.hold)
    elapsed = []

    async def count(ctx):
        async for _ in ctx.tick():
            elapsed.append(0)
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_process(chip.process(dut.sdram))
    for bench in (words.watch, count):
        simulator.add_testbench(bench, background=True)
    simulator.add_testbench(test)
    simulator.run()
    return chip, words, went[0]


def cycles_of_words(chunks, ready):
    """Cycles from `go` on in which the words of so many chunks are taken. ready: as above."""
    schedule, asked, cycles, cycle = SdramSchedule(TIMING), -1, [], 0
    for chunk in range(chunks):
        if chunk >= SLOTS:
            valid = max(cycles[PAYLOAD * (chunk - SLOTS + 1) - 1] + timing.SLOT_FREE, asked) + timing.TAPE_REQUEST
            asked, _, last = schedule.read(valid)
            cycle = max(cycle, last + timing.TAPE_CHUNK)
        for _ in range(PAYLOAD):
            while not ready(cycle):
                cycle += 1
            cycles.append(cycle)
            cycle += 1
    return cycles


def expected_words(chunks, rounds):
    words = [int(word) for word in chunks[:, :PAYLOAD].reshape(-1)]
    words[-1] |= 1 << 16                                                    # last
    return words * rounds


@pytest.mark.parametrize("spare, count, ready", [
    (0, 4, lambda cycle: True), (None, 20, lambda cycle: cycle % 5 in (1, 2, 4))])
def test_the_tape_round_and_round(spare, count, ready):
    chunks = random_tape(CONFIG, 3, count, spare=spare).chunks
    chip, words, _ = played(chunks, rounds=2, ready=ready)
    np.testing.assert_array_equal([chip.row(number) for number in range(len(chunks))], chunks)
    assert words.payloads == expected_words(chunks, 2)


def test_a_tape_of_one_chunk():
    chunks = random_tape(CONFIG, 3, 0).chunks
    assert len(chunks) == 1
    assert played(chunks, rounds=6)[1].payloads == expected_words(chunks, 6)


def test_a_resident_net_is_played_once():
    chunks = random_tape(CONFIG, 3, 10).chunks
    assert played(chunks, rounds=1, resident=True)[1].payloads == expected_words(chunks, 1)


@pytest.mark.parametrize("ready", [lambda cycle: True, lambda cycle: cycle % 700 < 30 or cycle > 2000])
def test_when_words_come(ready):
    """Four chunks wait at `go`. Another is asked for timing.TAPE_REQUEST cycles after a slot is free, and its
    first word is on offer timing.TAPE_CHUNK cycles after the SDRAM has given its last."""
    chunks = random_tape(CONFIG, 4, 12).chunks
    _, words, go = played(chunks, rounds=3, ready=ready)
    assert [cycle - go for cycle in words.cycles] == cycles_of_words(len(words.cycles) // PAYLOAD, ready)
