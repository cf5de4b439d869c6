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

TWO_BITS = replace(TINY, name="two-bits", w_bits=2, a_bits=2, rows=12, weight_depth=2040)
PROGRAMS_RUN, SECOND = 2, 300     # SECOND: bank row of the second picture buffer
READ = ("instruction", "weights", "thresholds")


def instruction(op, **fields):
    return isa.LAYOUTS[op].const({"op": op, **fields}).as_bits()


def tile(*, groups=1, height=1, thresholds=0, barrier=0, passes=1, repeat=0, base=0, together=0, pictures=None):
    """An output tile and its passes, the last of them final; together: in one instruction. pictures: from here on."""
    if pictures:
        return [instruction(isa.Op.BATCH, more=pictures - 1, apart=base), *tile(
            groups=groups, height=height, thresholds=thresholds, barrier=barrier, passes=passes, repeat=repeat,
            base=base, together=together)]
    if together:
        return [instruction(isa.Op.TILE, groups=groups, height=height, thresholds=thresholds, barrier=barrier),
                instruction(isa.Op.PASS, base=base, final=1, clear=1, more=passes - 1)]
    return [instruction(isa.Op.TILE, groups=groups, height=height, thresholds=thresholds, barrier=barrier),
            *[instruction(isa.Op.PASS, base=base + k, final=k == passes - 1, clear=k == 0, repeat=repeat and k > 0)
              for k in range(passes)]]


def emit(count, *, last, end=None):
    return [instruction(isa.Op.EMIT, count=count, last=last, end=last if end is None else end)]


def picture(*, release=0, wait=0):
    return [instruction(isa.Op.PICTURE, release=release, wait=wait)]


END = [instruction(isa.Op.END)]
PROGRAMS = {
    "one-token": [*tile(), *emit(1, last=1), *END],
    "one-token-tiles": [*(word for k in range(4) for word in tile(thresholds=1, passes=2, base=10 * k)),
                        *emit(2, last=1), *END],
    "shortest-passes": [*tile(groups=2, height=3, passes=5), *emit(1, last=1), *END],
    "repeat": [*tile(groups=3, height=3, passes=3, repeat=1), *tile(groups=2), *emit(1, last=1), *END],
    "together": [instruction(isa.Op.SOURCE, plane=700), *tile(groups=2, height=3, passes=5, together=1, thresholds=1),
                 *tile(passes=3, together=1, barrier=1), *emit(1, last=1), *END],
    "barriers": [*tile(height=7), *tile(barrier=1, passes=3), *tile(groups=9, barrier=1), *emit(1, last=1), *END],
    "thresholds-late": [*tile(groups=5, height=4, thresholds=1), *tile(groups=1, thresholds=1), *emit(1, last=1), *END],
    "emits": [*tile(groups=4, thresholds=1), *emit(3, last=0), *tile(thresholds=1), *emit(5, last=1), *END],
    "not-final-behind-final": [*tile(height=3), instruction(isa.Op.PASS), *emit(1, last=0), *tile(height=3),
                               instruction(isa.Op.PASS), *emit(1, last=1), *END],
    "behind-the-end": [*tile(height=9), *emit(1, last=1), *tile(groups=3, passes=2, thresholds=1), *emit(2, last=1)],
    "pictures": [*tile(groups=2, height=3, pictures=3, passes=2), *tile(pictures=6, thresholds=1), *tile(passes=3),
                 *tile(groups=5, pictures=1), *emit(1, last=1), *tile(height=2, pictures=2), *END],
    "one-after-the-other": [*tile(height=9), *picture(release=1, wait=1), *tile(height=2), *emit(2, last=1, end=0),
                            *picture(wait=1), *tile(), *picture(release=1), *emit(1, last=1)],
    "nothing-before": [*picture(release=1, wait=1), *picture(release=1), *picture(), *tile(thresholds=1),
                       *emit(1, last=1)],
}


def random_program(seed):
    rng = random.Random(seed)
    program = []
    for _ in range(5):
        for _ in range(rng.randrange(3)):
            program.append(rng.choice([
                instruction(isa.Op.SOURCE, picture=rng.randrange(2), plane=rng.randrange(1 << isa.ROW_BITS)),
                instruction(isa.Op.LEVELS, half=rng.randrange(2), table=rng.getrandbits(32))]))
        groups, height = rng.choice([(1, 1), (1, rng.randrange(1, 9)), (rng.randrange(1, 9), rng.randrange(1, 5))])
        program += tile(groups=groups, height=height, thresholds=rng.randrange(2), barrier=rng.randrange(2),
                        passes=rng.randrange(1, 5), repeat=rng.randrange(2), base=rng.randrange(1 << 13),
                        together=rng.random() < 0.3, pictures=rng.choice([None, None, 1, 2, 5]))
        if rng.random() < 0.3:
            program += emit(rng.randrange(1, 4), last=rng.randrange(2), end=0)
        if rng.random() < 0.4:
            program += picture(release=rng.randrange(2), wait=rng.randrange(2))
    return [*program, *emit(rng.randrange(1, 6), last=1), *END]


def is_single(program):
    """Whether its end gives the picture back."""
    return all(isa.decode(word)[0] is not isa.Picture for word in program)


def passes_of(program):
    """(index, the pass as a number, bank row at which it begins) of each pass of all programs; what a program reads
    before it says so is what the one before read. Each picture given back is followed by one in the other buffer."""
    plane, of_picture, releases, passes = 0, 0, 0, []
    for index, word in [*enumerate(program)] * PROGRAMS_RUN:
        layout, fields = isa.decode(word)
        if index == 0:
            buffer = releases % 2
        if index == len(program) - 1:
            releases += is_single(program)
        if layout is isa.Picture:
            releases += fields.release
            buffer = releases % 2 if fields.wait else buffer
        elif layout is isa.Source:
            plane, of_picture = fields.plane, fields.picture
        elif layout is isa.Pass:
            named = fields._asdict()
            for k in range(fields.more + 1):
                last = k == fields.more
                one = named | {"base": (fields.base + k * plane) % (1 << isa.ROW_BITS), "more": fields.more - k,
                               "clear": fields.clear and k == 0, "final": fields.final and last,
                               "logits": fields.logits and last}
                passes.append((index, isa.Pass.const(one).as_bits(),
                               (one["base"] + buffer * of_picture * SECOND) % (1 << isa.ROW_BITS)))
    return passes


def threshold_word(address, config):
    return (address * 40503 + 77) % (1 << config.acc_bits)


class Bench:
    """Runs a program that is loaded once `PROGRAMS_RUN` times; pictures wait from cycle 0 on. hold lasts for the
    first cycles. missing: chance in each cycle that an instruction, weight words, thresholds or the start are not
    there; what is taken is said to be there in the cycle after still, in which nothing may be taken. What comes out,
    with the cycle of each: tokens, threshold writes, ends; bases of the passes; the cycle counter of every cycle;
    how often each was taken, and weight words and thresholds were read for the last time."""
    def __init__(self, config, program, *, pauses=0.0, hold=0, missing=0.0):
        self.dut = dut = Sequencer(config)
        self.logits, self.weights = Monitor(dut.logits), []
        self.tokens, self.bases, self.writes, self.ends, self.cycles, self.busy = [], [], [], [], [], []
        self.counts = dict.fromkeys((*(f"{what}_taken" for what in READ), "words_free", "threshold_read"), 0)
        chance, there = random.Random(6), dict.fromkeys(READ, False)

        async def surroundings(ctx):
            words, thresholds, total, cycle = [0] * timing.BLOCK_MEMORY, [0] * timing.BLOCK_MEMORY, 0, 0
            taken, releases = set(), 0
            ctx.set(dut.single, is_single(program))
            while True:
                ctx.set(dut.picture_full, len(self.ends) < PROGRAMS_RUN)
                ctx.set(dut.picture_buffer, releases % 2)
                ctx.set(dut.hold, cycle < hold)
                ctx.set(dut.program_data, words.pop(0))
                ctx.set(dut.threshold_data, thresholds.pop(0))
                ctx.set(dut.logit, total)
                ctx.set(dut.second, SECOND)
                ctx.set(dut.go, chance.random() >= missing)
                for what in READ:
                    there[what] = there[what] or chance.random() >= missing
                    ctx.set(getattr(dut, f"{what}_there"), there[what])
                ctx.set(dut.rewind, cycle - 1 in self.ends[-1:])
                for name in self.counts:
                    self.counts[name] += ctx.get(getattr(dut, name))
                over, taken = taken, {what for what in READ if ctx.get(getattr(dut, f"{what}_taken"))}
                assert not over & taken and all(there[what] for what in taken)
                there.update(dict.fromkeys(over, False))
                (_, _, address, threshold_address, shift, token, state, base, words_at, write,
                 release, ended, count, busy) = (
                    await ctx.tick().sample(
                        dut.program_address, dut.threshold_address, dut.logit_shift, dut.token,
                        Value.cast(dut.state.instruction), dut.window.base, dut.weight_address,
                        dut.threshold_write, dut.release, dut.ended, dut.cycles, dut.busy))
                words.append(program[address] if address < len(program) else END[0])
                thresholds.append(threshold_word(threshold_address, config))
                total += 1000 * shift                              # a sum that tells how often it was shifted
                if token.valid:
                    self.tokens.append((cycle, token.first, state))
                if token.first:
                    self.bases.append(base)
                if write.valid:
                    self.writes.append((cycle, write.channel, write.node, write.value % (1 << config.acc_bits)))
                releases += release
                if ended:
                    self.ends.append(cycle)
                self.cycles.append(count)
                self.weights.append(words_at)
                self.busy.append(busy)
                cycle += 1

        simulate(dut, surroundings, sink(dut.logits, pauses=pauses, seed=5), self.logits.watch,
                 done=lambda: len(self.ends) == PROGRAMS_RUN, timeout=30_000)


class Program(SimpleNamespace):
    """What the cycle model uses of an `accel.image.Image`."""
    __hash__ = object.__hash__


def check(config, program, bench):
    timed = schedule(Program(config=config, program=program, resident=True,
                             settings=isa.Settings.const({"second": SECOND}).as_bits()))
    passes = timed.passes
    end = next(k for k, word in enumerate(program) if isa.decode(word)[0] is isa.Emit and isa.decode(word)[1].end)
    program = program[:end + 1]                             # nothing behind is executed
    # Passes start when the model says.
    rows = config.rows
    starts = [(cycle - rows, state) for cycle, first, state in bench.tokens if first]
    assert len(starts) == PROGRAMS_RUN * len(passes)
    run = passes_of(program)
    assert [p.index for p in passes] * PROGRAMS_RUN == [index for index, *_ in run]
    for k in range(PROGRAMS_RUN):
        of_program = starts[k * len(passes):][:len(passes)]
        assert [(bench.cycles[cycle], state) for cycle, state in of_program] == [
            (p.start, state) for p, (_, state, _) in zip(passes, run[k * len(passes):], strict=False)]
    lasts = [cycle for cycle, logit in zip(bench.logits.cycles, bench.logits.payloads, strict=True) if logit >> 32]
    assert [bench.cycles[cycle] for cycle in lasts] == [*timed.answers] * PROGRAMS_RUN
    # A pass reads the buffer of its picture, if it reads the picture.
    assert bench.bases == [base for *_, base in run]
    # Each program begins with weight word 0.
    assert [bench.weights[starts[k * len(passes)][0]] for k in range(PROGRAMS_RUN)] == [0] * PROGRAMS_RUN
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
    assert [write[1:] for write in bench.writes] == writes * PROGRAMS_RUN
    assert bench.logits.payloads == [(1000 * k + bias) % (1 << 32) | last << 32
                                     for k, (bias, last) in enumerate(biases * PROGRAMS_RUN)]
    # None comes while a token may still need those that it takes the place of, and all of a tile are there before the
    # first token of its final pass.
    final = [cycle for cycle, _, state in bench.tokens if isa.unpacked(isa.Pass, state).final]
    drain = timing.drain(config)
    for cycle, *_ in bench.writes:
        assert not any(token < cycle <= token + drain for token in final)
    first_tokens = [cycle + rows for cycle, state in starts if isa.unpacked(isa.Pass, state).final]
    tiles = [isa.decode(word)[1].thresholds for word in program if isa.decode(word)[0] is isa.Tile] * PROGRAMS_RUN
    last_writes = [cycle for cycle, *_ in bench.writes][config.threshold_words - 1::config.threshold_words]
    needed_by = [cycle for cycle, thresholds in zip(first_tokens, tiles, strict=True) if thresholds]
    assert all(written < needed for written, needed in zip(last_writes, needed_by, strict=True))
    # A program ends when everything is written, and the next one, which waits, begins two cycles later.
    for end in bench.ends:
        assert end >= max(cycle for cycle, *_ in bench.tokens if cycle < end) + drain
        assert bench.busy[end:end + 2] == [1, 0]
    assert bench.busy[bench.ends[0] + 2] == 1 and not any(bench.busy[bench.ends[1] + 1:])


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


@pytest.mark.parametrize("config", [TINY, TWO_BITS], ids=lambda config: config.name)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_not_there_yet_changes_the_cycles_alone(config, seed):
    """Every instruction is counted on once, and so are the weight words of every pass, the thresholds of every tile and
    the biases of logits; each is read for the last time once."""
    program = random_program(seed)
    prompt, late = Bench(config, program), Bench(config, program, missing=0.8)
    assert late.ends[-1] > prompt.ends[-1]
    assert [state for _, first, state in late.tokens if first] == [state for _, first, state in prompt.tokens if first]
    assert len(late.tokens) == len(prompt.tokens) and late.bases == prompt.bases
    assert [write[1:] for write in late.writes] == [write[1:] for write in prompt.writes]
    assert late.logits.payloads == prompt.logits.payloads
    instructions = [isa.decode(word) for word in program[:-1]]
    fresh = sum(fields.more + 1 for layout, fields in instructions if layout is isa.Pass and not fields.repeat)
    tiles = sum(fields.thresholds for layout, fields in instructions if layout is isa.Tile)
    emits = [fields.count for layout, fields in instructions if layout is isa.Emit]
    assert late.counts == prompt.counts == {name: PROGRAMS_RUN * count for name, count in {
        "instruction_taken": len(instructions), "weights_taken": fresh, "thresholds_taken": tiles + len(emits),
        "words_free": fresh, "threshold_read": tiles * config.threshold_words + 2 * sum(emits)}.items()}
