"""The words of a tape, dealt out: each item to its ring and address, blocks where there is room alone."""
import random
from dataclasses import replace

import pytest
from amaranth import Value

from accel import isa
from accel.config import TINY_SDRAM
from accel.rtl.tape.distributor import Distributor
from tests.accel.rtl.tape.programs import SETTINGS, random_tape
from tests.accel.simulate import run_cycles

RINGS = ("program", "weights", "thresholds")
WIDE = replace(TINY_SDRAM, rows=8, chains=4, weight_depth=24, threshold_depth=128)
ODD_RING = replace(TINY_SDRAM, weight_depth=12, program_depth=4)            # three passes
SHORT_ONLY = replace(TINY_SDRAM, acc_bits=16, weight_depth=8)
CORNERS = [("run", {"more": 63}), ("run", {"repeat": True}), ("run", {}), ("tile", {"short": True}), ("tile", {}),
           ("tile", {"thresholds": False}), ("emit", {"count": 1})]


def widths(config):
    return {"program": 64, "weights": config.channels * config.w_bits, "thresholds": config.acc_bits}


def expected_writes(net, times=1):
    """(ring, address, number, units) of every item in the order of the tape, which comes so many times. units: of its
    block, where it is the last item of one; else 0."""
    config, numbers = net.config, widths(net.config)
    depths = {"program": config.program_depth, "weights": config.weight_depth, "thresholds": config.threshold_depth}
    at, writes = dict.fromkeys(RINGS, 0), []

    def block(ring, words, units):
        for n, word in enumerate(words):
            writes.append((ring, at[ring], int(word) % (1 << numbers[ring]), units if n == len(words) - 1 else 0))
            at[ring] = (at[ring] + 1) % depths[ring]

    for _ in range(times):
        weights, thresholds = iter(net.weights), iter(net.thresholds)
        for word in net.program:
            block("program", [word], 1)
            layout, fields = isa.decode(word)
            if layout is isa.Pass and not fields.repeat:
                for _ in range(int(fields.more) + 1):
                    block("weights", [next(weights) for _ in range(config.rows)], 1)
            if layout is isa.Emit or layout is isa.Tile and fields.thresholds:
                count = 2 * int(fields.count) if layout is isa.Emit else config.channels * (2**config.a_bits - 1)
                block("thresholds", [next(thresholds) for _ in range(count)], count)
    return writes


class Bench:
    """A distributor that is given the tape of `net` so many times. What it should be told of room is up in a cycle
    with the chance `room`, and stays up until it is used.

    pauses: chance that no word is offered in a cycle. rewind: word before which there is a rewind, once, after which
    the tape begins.
    writes: as of `expected_writes`; cycles: of each. taken, ended, waiting: cycles. settings: of each cycle.
    """
    def __init__(self, net, *, times=1, room=1.0, pauses=0.0, seed=0, rewind=None, cycles=None):
        self.writes, self.cycles, self.taken, self.ended, self.waiting, self.settings = [], [], [], [], [], []
        config, numbers = net.config, widths(net.config)
        dut, chance = Distributor(config), random.Random(seed)
        words = net.words
        stream = [(word, n == len(words) - 1) for n, word in enumerate(words)] * times
        if rewind is not None:
            stream = [*stream[:rewind], None, *stream[:len(words)]]
        stream = iter([*stream, "end"])
        word, offered = next(stream), False
        rooms, reserved = dict.fromkeys(RINGS, False), dict.fromkeys(RINGS, 0)
        write = dut.write
        addresses = {"program": write.program_address, "weights": write.weight_address,
                     "thresholds": write.threshold_address}

        def stimulus(ctx, cycle):
            nonlocal offered
            rewinds = word is None
            offered = not rewinds and word != "end" and (offered or chance.random() >= pauses)
            ctx.set(dut.rewind, rewinds)
            ctx.set(dut.words.valid, offered)
            if offered:
                ctx.set(dut.words.payload, {"word": word[0], "last": word[1]})
            for ring in RINGS:
                rooms[ring] |= chance.random() < room
                ctx.set(getattr(dut, f"{ring}_room"), rooms[ring])

        def sample(ctx, cycle):
            nonlocal word, offered
            ready = ctx.get(dut.words.ready)
            assert not (ready and ctx.get(dut.waiting))
            for flag, seen in ((dut.ended, self.ended), (dut.waiting, self.waiting)):
                if ctx.get(flag):
                    seen.append(cycle)
            self.settings.append(ctx.get(Value.cast(dut.settings)))
            for ring in RINGS:
                credit = ctx.get(getattr(dut, f"{ring}_credit"))
                if ctx.get(write[ring]):
                    units = 0
                    if credit:
                        units = reserved[ring].pop(0) if reserved[ring] else None
                    self.writes.append((ring, ctx.get(addresses[ring]), ctx.get(write.data) % (1 << numbers[ring]),
                                        units))
                    self.cycles.append(cycle)
                else:
                    assert not credit
                if ctx.get(getattr(dut, f"{ring}_reserve")):
                    assert rooms[ring], f"{ring} is reserved in cycle {cycle}, without room"
                    rooms[ring] = False
                    reserved[ring].append(ctx.get(dut.thresholds_wanted) if ring == "thresholds" else 1)
            if word is None:
                self.before, self.writes, self.cycles = self.writes, [], []
                reserved.update({ring: [] for ring in RINGS})
                word = next(stream)
            elif offered and ready:
                self.taken.append(cycle)
                word, offered = next(stream), False
            return 0
        reserved = {ring: [] for ring in RINGS}
        run_cycles(dut, stimulus, sample, cycles or int(
            (4 * len(words) * (times + (rewind is not None)) + 500) / (1 - pauses) / (0.4 + 0.6 * room)))


@pytest.mark.parametrize("config, seed, end, spare, room, pauses", [
    (TINY_SDRAM, 0, "emit", 0, 1.0, 0.0), (WIDE, 1, "end", None, 0.1, 0.0), (ODD_RING, 2, "emit", None, 0.5, 0.3),
    (SHORT_ONLY, 3, "end", 0, 0.2, 0.0), (ODD_RING, 4, "emit", 1, 1.0, 0.0), (TINY_SDRAM, 5, "end", 1, 0.3, 0.5)])
def test_everything_gets_where_it_belongs(config, seed, end, spare, room, pauses):
    """Twice over: what follows the last instruction is skipped, if anything does, and rings go on where they were."""
    net = random_tape(config, seed, 8, end=end, spare=spare, begin=CORNERS)
    bench = Bench(net, times=2, room=room, pauses=pauses, seed=seed)
    assert bench.writes == expected_writes(net, 2)
    assert len(bench.taken) == 2 * len(net.words)
    assert bench.ended == [bench.taken[len(net.words) * n - 1] for n in (1, 2)]
    assert bench.settings[-1] == SETTINGS


def test_a_tape_of_one_chunk_with_nothing_to_spare():
    net = random_tape(SHORT_ONLY, 1, 0, spare=1, begin=[("emit", {"count": 1})])
    assert len(net.words) == 511
    assert Bench(net, times=3).writes == expected_writes(net, 3)


def test_cycles():
    """The time table: 3 cycles from an instruction to what follows it, 2 from operands to the next instruction, a word
    a cycle else, also from one pass to the next. An item is written in the cycle after its last word, an instruction in
    the second one; its block counts then."""
    net = random_tape(TINY_SDRAM, 0, 0, begin=[("levels", {}), ("run", {"more": 2}), ("tile", {}),
                                               ("emit", {"count": 2}), ("levels", {})])
    bench = Bench(net)
    begin, taken = bench.taken[0], []
    for gap, words in [(0, 4), (3, 4), (3, 4), (3, 3 * 4), (2, 4), (3, 2 * 60), (2, 4), (3, 4), (2, 4), (3, 4),
                       (3, 8)]:                             # settings, levels, pass, tile, emit, levels, emit
        begin += gap
        taken += range(begin, begin + words)
        begin += words
    assert bench.taken[:len(taken)] == taken
    last_words, at = [], 4
    for ring, *_ in bench.writes:
        at += 4 if ring == "program" else 1
        if ring == "thresholds" and len([r for r, *_ in bench.writes[:len(last_words)] if r == "thresholds"]) < 60:
            at += 1                                         # 22 bits
        last_words.append(taken[at - 1] + (2 if ring == "program" else 1))
    assert bench.cycles == last_words
    assert bench.waiting == []


def test_it_waits_for_room_and_takes_no_word():
    net = random_tape(ODD_RING, 6, 5)
    bench = Bench(net, room=0.02, cycles=6_000)
    assert bench.writes == expected_writes(net)
    idle = set(range(bench.taken[-1])) - set(bench.taken)
    assert len(idle & set(bench.waiting)) > 0.8 * len(idle)


@pytest.mark.parametrize("rewind", [2, 4, 6, 50, 300, 511])
def test_rewind_in_the_middle(rewind):
    """Of an instruction, of operands, between two of either: addresses and state are those of the beginning."""
    net = random_tape(ODD_RING, 7, 2, begin=CORNERS)
    bench = Bench(net, rewind=rewind, room=0.7)
    assert bench.writes == expected_writes(net)
    begin = bench.settings.index(SETTINGS)
    assert set(bench.settings[:begin]) == {0} and set(bench.settings[begin:]) == {SETTINGS}
