# amaranth: UnusedElaboratable=no
"""The sequencer's machines together: programs no compiler makes, against the cycle model and the order of words."""
import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
from amaranth import Value

from accel import isa, timing
from accel.config import TINY
from accel.cycles import schedule
from accel.rtl.control.sequencer import Sequencer
from tests.accel.streams import Monitor, simulate, sink

TWO_BITS = replace(TINY, name="two-bits", w_bits=2, a_bits=2, rows=12)
PICTURES = 2


def instruction(op, **fields):
    return isa.LAYOUTS[op].const({"op": op, **fields}).as_bits()


def tile(*, groups=1, height=1, thresholds=0, barrier=0, passes=1, repeat=0, base=0):
    """An output tile and its passes, the last of them final."""
    return [instruction(isa.Op.TILE, groups=groups, height=height, thresholds=thresholds, barrier=barrier),
            *[instruction(isa.Op.PASS, base=base + k, final=k == passes - 1, clear=k == 0, repeat=repeat and k > 0)
              for k in range(passes)]]


def emit(count, *, last):
    return [instruction(isa.Op.EMIT, count=count, last=last)]


END = [instruction(isa.Op.END)]
PROGRAMS = {
    "one-token": [*tile(), *emit(1, last=1), *END],
    "one-token-tiles": [*(word for k in range(4) for word in tile(thresholds=1, passes=2, base=10 * k)),
                        *emit(2, last=1), *END],
    "shortest-passes": [*tile(groups=2, height=3, passes=5), *emit(1, last=1), *END],
    "repeat": [*tile(groups=3, height=3, passes=3, repeat=1), *tile(groups=2), *emit(1, last=1), *END],
    "barriers": [*tile(height=7), *tile(barrier=1, passes=3), *tile(groups=9, barrier=1), *emit(1, last=1), *END],
    "thresholds-late": [*tile(groups=5, height=4, thresholds=1), *tile(groups=1, thresholds=1), *emit(1, last=1), *END],
    "emits": [*tile(groups=4, thresholds=1), *emit(3, last=0), *tile(thresholds=1), *emit(5, last=1), *END],
    "not-final-behind-final": [*tile(height=3), instruction(isa.Op.PASS), *emit(1, last=0), *tile(height=3),
                               instruction(isa.Op.PASS), *emit(1, last=1), *END],
    "behind-the-end": [*tile(height=9), *emit(1, last=1), *tile(groups=3, passes=2, thresholds=1), *emit(2, last=1)],
}


def random_program(seed):
    rng = random.Random(seed)
    program = []
    for _ in range(5):
        for _ in range(rng.randrange(3)):
            program.append(rng.choice([instruction(isa.Op.SOURCE, picture=rng.randrange(2)),
                                       instruction(isa.Op.LEVELS, half=rng.randrange(2), table=rng.getrandbits(32))]))
        groups, height = rng.choice([(1, 1), (1, rng.randrange(1, 9)), (rng.randrange(1, 9), rng.randrange(1, 5))])
        program += tile(groups=groups, height=height, thresholds=rng.randrange(2), barrier=rng.randrange(2),
                        passes=rng.randrange(1, 5), repeat=rng.randrange(2), base=rng.randrange(1 << 13))
        if rng.random() < 0.3:
            program += emit(rng.randrange(1, 4), last=0)
    return [*program, *emit(rng.randrange(1, 6), last=1), *END]


def threshold_word(address, config):
    return (address * 40503 + 77) % (1 << config.acc_bits)


class Bench:
    """Runs `PICTURES` pictures that wait from the first cycle on; hold lasts for the first cycles. What comes out, with
    the cycle of each: tokens, threshold writes, releases; bases of the passes; the cycle counter of every cycle."""
    def __init__(self, config, program, *, pauses=0.0, hold=0):
        self.dut = dut = Sequencer(config)
        self.logits, self.weights = Monitor(dut.logits), []
        self.tokens, self.bases, self.writes, self.releases, self.cycles, self.busy = [], [], [], [], [], []

        async def surroundings(ctx):
            words, thresholds, total, cycle = [0] * timing.BLOCK_MEMORY, [0] * timing.BLOCK_MEMORY, 0, 0
            while True:
                ctx.set(dut.picture_full, len(self.releases) < PICTURES)
                ctx.set(dut.picture_buffer, len(self.releases) % 2)
                ctx.set(dut.hold, cycle < hold)
                ctx.set(dut.program_data, words.pop(0))
                ctx.set(dut.threshold_data, thresholds.pop(0))
                ctx.set(dut.logit, total)
                _, _, address, threshold_address, shift, token, state, base, words_at, write, release, count, busy = (
                    await ctx.tick().sample(
                        dut.program_address, dut.threshold_address, dut.logit_shift, dut.token,
                        Value.cast(dut.state.instruction), dut.window.base, dut.weight_address,
                        dut.threshold_write, dut.release, dut.cycles, dut.busy))
                words.append(program[address] if address < len(program) else END[0])
                thresholds.append(threshold_word(threshold_address, config))
                total += 1000 * shift                              # a sum that tells how often it was shifted
                if token.valid:
                    self.tokens.append((cycle, token.first, state))
                if token.first:
                    self.bases.append(base)
                if write.valid:
                    self.writes.append((cycle, write.channel, write.node, write.value % (1 << config.acc_bits)))
                if release:
                    self.releases.append(cycle)
                self.cycles.append(count)
                self.weights.append(words_at)
                self.busy.append(busy)
                cycle += 1

        simulate(dut, surroundings, sink(dut.logits, pauses=pauses, seed=5), self.logits.watch,
                 done=lambda: len(self.releases) == PICTURES, timeout=10_000)


def check(config, program, bench):
    timed = schedule(SimpleNamespace(config=config, program=program, resident=True,
                                     settings=isa.Settings.const({"second": 1}).as_bits()))
    total, passes = timed.cycles, timed.passes
    until_last = next(k for k, word in enumerate(program) if isa.decode(word)[0] is isa.Emit
                      and isa.decode(word)[1].last)
    program = program[:until_last + 1]                      # nothing behind its last logit is executed
    # Passes start when the model says.
    rows = config.rows
    starts = [(cycle - rows, state) for cycle, first, state in bench.tokens if first]
    assert len(starts) == PICTURES * len(passes)
    for k in range(PICTURES):
        of_picture = starts[k * len(passes):][:len(passes)]
        assert [(bench.cycles[cycle], state) for cycle, state in of_picture] == [
            (p.start, program[p.index] % (1 << len(isa.Pass.const({}).as_value()))) for p in passes]
    lasts = [cycle for cycle, logit in zip(bench.logits.cycles, bench.logits.payloads, strict=True) if logit >> 32]
    assert [bench.cycles[cycle] for cycle in lasts] == [total] * PICTURES
    # A pass reads the buffer of its picture, if it reads the picture.
    bases, reads_picture = [], 0
    for buffer in range(PICTURES):
        for word in program:
            layout, fields = isa.decode(word)
            if layout is isa.Source:
                reads_picture = fields.picture
            if layout is isa.Pass:
                bases.append((fields.base + reads_picture * buffer * config.picture_rows) % (1 << isa.ROW_BITS))
    assert bench.bases == bases
    # Each picture begins with weight word 0.
    assert [bench.weights[starts[k * len(passes)][0]] for k in range(PICTURES)] == [0] * PICTURES
    # Threshold words go, in the order of the program, to units and logits.
    writes, biases, address = [], [], 0
    for word in program:
        layout, fields = isa.decode(word)
        if layout is isa.Tile and fields.thresholds:
            for channel in range(config.channels):
                for node in range(1, config.thresholds + 1):
                    writes.append((channel, node, threshold_word(address, config)))
                    address += 1
        if layout is isa.Emit:
            for k in range(fields.count):
                low, high = (threshold_word(address + half, config) % (1 << 16) for half in range(2))
                biases.append((low | high << 16, fields.last and k + 1 == fields.count))
                address += 2
    assert [write[1:] for write in bench.writes] == writes * PICTURES
    assert bench.logits.payloads == [(1000 * k + bias) % (1 << 32) | last << 32
                                     for k, (bias, last) in enumerate(biases * PICTURES)]
    # None comes while a token may still need those that it takes the place of, and all of a tile are there before the
    # first token of its final pass.
    final = [cycle for cycle, _, state in bench.tokens if isa.unpacked(isa.Pass, state).final]
    drain = timing.drain(config)
    for cycle, *_ in bench.writes:
        assert not any(token < cycle <= token + drain for token in final)
    first_tokens = [cycle + rows for cycle, state in starts if isa.unpacked(isa.Pass, state).final]
    tiles = [isa.decode(word)[1].thresholds for word in program if isa.decode(word)[0] is isa.Tile] * PICTURES
    last_writes = [cycle for cycle, *_ in bench.writes][config.threshold_words - 1::config.threshold_words]
    needed_by = [cycle for cycle, thresholds in zip(first_tokens, tiles, strict=True) if thresholds]
    assert all(written < needed for written, needed in zip(last_writes, needed_by, strict=True))
    # A picture ends when everything is written, and the next one, which waits, begins two cycles later.
    for release in bench.releases:
        assert release >= max(cycle for cycle, *_ in bench.tokens if cycle < release) + drain
        assert bench.busy[release:release + 2] == [1, 0]
    assert bench.busy[bench.releases[0] + 2] == 1 and not any(bench.busy[bench.releases[1] + 1:])


@pytest.mark.parametrize("config", [TINY, TWO_BITS], ids=lambda config: config.name)
@pytest.mark.parametrize("name", PROGRAMS)
def test_corners(config, name):
    check(config, PROGRAMS[name], Bench(config, PROGRAMS[name]))


@pytest.mark.parametrize("config", [TINY, TWO_BITS], ids=lambda config: config.name)
@pytest.mark.parametrize("pauses", [0.0, 0.8])
@pytest.mark.parametrize("seed", range(3))
def test_random_programs(config, pauses, seed):
    program = random_program(seed)
    check(config, program, Bench(config, program, pauses=pauses))


def test_hold():
    bench = Bench(TINY, PROGRAMS["one-token"], hold=50)
    assert bench.busy.index(1) == 51
    check(TINY, PROGRAMS["one-token"], bench)
