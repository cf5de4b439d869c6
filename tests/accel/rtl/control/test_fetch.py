# amaranth: UnusedElaboratable=no
"""InstructionFetch: what it hands on, and in which cycles, however long the others take."""
import random
from dataclasses import replace

import pytest
from amaranth import Value

from accel import isa, timing
from accel.config import TINY
from accel.rtl.control.fetch import InstructionFetch
from tests.accel.simulate import run_cycles

TWO_BITS = replace(TINY, name="two-bits", w_bits=2, a_bits=2)
RING = replace(TINY, name="ring", program_depth=16)
THREE_BITS = replace(TINY, name="three-bits", w_bits=3, a_bits=3)
THERE = {"instruction_there": 1, "weights_there": 1, "thresholds_there": 1}
FREE = {"picture_full": 1, "hold": 0, "go": 1, "single": 1,
        "thresholds_busy": 0, "drained": 1, "logit_offered": 0, "passes": 1,
        "emits": 1} | THERE
FLAGS = ("ask", "begin", "release", "ended", "busy", "computing", "read_thresholds", "instruction_taken",
         "weights_taken", "thresholds_taken", "cycles")


def instruction(op, **fields):
    return isa.LAYOUTS[op].const({"op": op, **fields}).as_bits()


def low(op, word):
    """The bits of `word` that belong to the instruction."""
    return word % (1 << len(isa.LAYOUTS[op].const({}).as_value()))


def random_program(rng):
    """16 instructions of all kinds, with random bits in all fields and behind them, few passes each."""
    ops = rng.choices([isa.Op.SOURCE, isa.Op.BATCH, isa.Op.TILE, isa.Op.LEVELS, isa.Op.PASS, isa.Op.PASS, isa.Op.EMIT,
                       isa.Op.PICTURE], k=15)
    few = ~(isa.Pass.const({"more": 0x3F}).as_bits() & ~isa.Pass.const({"more": 3}).as_bits())
    return [(rng.getrandbits(60) << 4 | op.value) & (few if op == isa.Op.PASS else -1) for op in [*ops, isa.Op.END]]


def run(config, program, inputs, cycles, *, rewind=True):
    """(inputs, outputs) of each cycle. inputs(cycle): a dict as `FREE`; `passes` and `emits` are the other side's
    ready. rewind: in the cycle after each end, as of a net that is loaded once; else the next program lies
    behind. What is handed on is an integer, 0 where nothing is."""
    dut, given, outputs, addresses = InstructionFetch(config), [], [], [0] * timing.BLOCK_MEMORY

    def stimulus(ctx, cycle):
        given.append(inputs(cycle))
        for name, value in given[-1].items():
            ctx.set(getattr(dut, name).ready if name in ("passes", "emits") else getattr(dut, name), value)
        ctx.set(dut.program_data, program[addresses[-timing.BLOCK_MEMORY] % len(program)])
        ctx.set(dut.rewind, bool(rewind and outputs and outputs[-1]["ended"]))
        addresses.append(ctx.get(dut.program_address))

    def sample(ctx, cycle):
        outputs.append({name: ctx.get(getattr(dut, name)) for name in FLAGS})
        outputs[-1] |= {name: ctx.get(Value.cast(port.payload)) if ctx.get(port.valid) else 0
                        for name, port in (("passes", dut.passes), ("emits", dut.emits))}

    run_cycles(dut, stimulus, sample, cycles)
    return given, outputs


def reference(config, program, given, *, rewind=True):
    """The outputs that follow from the program and the inputs."""
    nothing = dict.fromkeys((*FLAGS, "passes", "emits"), 0)
    outputs = [dict(nothing) for _ in given]
    source = batch = tile = at = 0
    starts, waits = set(), set()                            # cycles: a program begins; the counter stands still

    def until(cycle, name, value, ready):
        """Offers `value` until it is taken; the cycle in which it is."""
        while True:
            offered, over = ready(given[cycle])
            outputs[cycle][name] = value if offered else 0
            if over:
                return cycle
            cycle += 1

    def first(cycle, name):
        """The first cycle from `cycle` on in which something is there."""
        while not given[cycle][name]:
            cycle += 1
        return cycle

    def requests(word):
        """The passes of an instruction, as numbers."""
        one = isa.unpacked(isa.Pass, low(isa.Op.PASS, word))
        fields = one._asdict()
        plane = isa.unpacked(isa.Source, source).plane
        for left in reversed(range(one.more + 1)):
            fields |= {"more": left, "final": one.final and not left, "logits": one.logits and not left}
            yield isa.Pass.const(fields).as_bits()
            fields |= {"base": (fields["base"] + plane) % (1 << isa.ROW_BITS), "clear": 0}

    def asked(cycle, held):
        """The cycle in which a picture is begun, that is asked for from `cycle` on."""
        while True:
            outputs[cycle]["ask"] = int(given[cycle]["picture_full"] and not (held and given[cycle]["hold"]))
            cycle += 1
            if outputs[cycle - 1]["ask"] and given[cycle - 1]["go"]:
                outputs[cycle]["begin"] = 1
                return cycle

    def ended(cycle):
        """The cycle behind the end."""
        cycle = first(cycle, "drained")
        outputs[cycle] |= {"ended": 1, "release": given[cycle]["single"]}
        return cycle + 1

    def program_run(cycle):
        nonlocal source, batch, tile, at
        starts.add(cycle)
        at = 0 if rewind else at
        batch &= ~isa.Batch.const({"more": (1 << isa.MORE_BITS) - 1}).as_bits()
        table = sum(u << u * config.w_bits for u in range(1 << config.w_bits))
        read = cycle + 1
        while True:
            execute = first(read, "instruction_there") + timing.FETCH
            outputs[execute - 1]["instruction_taken"] = 1
            word, at = program[at % len(program)], at + 1
            op = isa.Op(word % 16)
            if op == isa.Op.SOURCE:
                source = low(op, word)
            elif op == isa.Op.BATCH:
                batch = low(op, word)
            elif op == isa.Op.PICTURE:
                execute = first(execute, "drained")
                outputs[execute]["release"] = isa.unpacked(isa.Picture, low(op, word)).release
                if isa.unpacked(isa.Picture, low(op, word)).wait:
                    waiting = execute + 1
                    waits.update(range(waiting, len(given)))
                    execute = asked(waiting, held=False)
                    waits.difference_update(range(execute + 1, len(given)))
            elif op == isa.Op.TILE:
                tile = low(op, word)
                outputs[execute]["read_thresholds"] = isa.unpacked(isa.Tile, word).thresholds
            elif op == isa.Op.LEVELS:
                half = isa.unpacked(isa.Levels, word).half
                mask = (1 << 32) - 1 << 32 * half
                table = (table & ~mask | isa.unpacked(isa.Levels, word).table << 32 * half) % (
                    1 << (config.w_bits << config.w_bits))
            elif op == isa.Op.PASS:
                fetched = execute - 1
                for one in requests(word):
                    if not isa.unpacked(isa.Pass, one).repeat:
                        fetched = first(fetched, "weights_there")
                        outputs[fetched]["weights_taken"] = 1
                    parts = [(isa.Op.PASS, one), (isa.Op.SOURCE, source), (isa.Op.TILE, tile), (isa.Op.BATCH, batch)]
                    request, bit = 0, 0
                    for kind, bits in parts:
                        request |= bits << bit
                        bit += len(isa.LAYOUTS[kind].const({}).as_value())
                    execute = until(fetched + timing.OFFER, "passes", request | table << bit,
                                    lambda now: (1, now["passes"]))
                    fetched = execute + timing.NEXT_PASS - timing.OFFER
                    tile &= ~isa.Tile.const({"barrier": 1}).as_bits()
            elif op == isa.Op.EMIT:
                def emitted(now):
                    offered = now["drained"] and not now["thresholds_busy"] and now["thresholds_there"]
                    return offered, offered and now["emits"]
                execute = until(execute, "emits", low(op, word), emitted)
                outputs[execute + 1]["thresholds_taken"] = 1
                if isa.unpacked(isa.Emit, low(op, word)).end:
                    return ended(execute + 1)
            else:
                return ended(execute)
            read = execute + 1

    cycle = 0
    try:
        while True:
            cycle = program_run(asked(cycle, held=True))
    except IndexError:
        pass                                                # the run ends here, in the middle of a program or not
    for cycle, now in enumerate(outputs[1:], 1):
        before = outputs[cycle - 1]
        counts = before["busy"] and not given[cycle - 1]["logit_offered"] and cycle - 1 not in waits
        now["busy"] = int(cycle in starts or before["busy"] and not before["ended"])
        now["computing"] = int(now["busy"] and (cycle not in waits or now["begin"]))
        now["cycles"] = 0 if cycle - 1 in starts else before["cycles"] + counts
    return outputs


def when(outputs, name):
    return [cycle for cycle, now in enumerate(outputs) if now[name]]


def test_time_table():
    """A tile, a pass, logits and the end, everybody ready; the next picture waits."""
    program = [instruction(isa.Op.TILE, thresholds=1), instruction(isa.Op.PASS),
               instruction(isa.Op.EMIT, count=3), instruction(isa.Op.END)]
    _, outputs = run(TINY, program, lambda cycle: FREE, 38)
    assert when(outputs, "ask") == [0, 18, 36]
    assert when(outputs, "begin") == [1, 19, 37]
    assert when(outputs, "read_thresholds") == [5, 23]
    assert when(outputs, "passes") == [9, 27]
    assert when(outputs, "emits") == [13, 31]
    assert when(outputs, "release") == [17, 35]
    assert [cycle for cycle, now in enumerate(outputs) if not now["busy"]] == [0, 18, 36]
    assert [now["cycles"] for now in outputs[2:21]] == [*range(17), 16, 0]


@pytest.mark.parametrize("behind", [isa.Op.END, isa.Op.TILE, isa.Op.PASS, isa.Op.EMIT])
def test_logits_end_the_program_whatever_follows(behind):
    """Released as soon as the pipeline has drained, then from address 0 again."""
    program = [instruction(isa.Op.EMIT, count=3, last=1), instruction(isa.Op.EMIT, count=2, end=1),
               instruction(behind, thresholds=1) if behind == isa.Op.TILE else instruction(behind)]
    _, outputs = run(TINY, program, lambda cycle: FREE | {"drained": not 10 <= cycle < 16}, 34)
    assert when(outputs, "begin") == [1, 18, 29]
    assert when(outputs, "emits") == [5, 9, 22, 26, 33]
    assert when(outputs, "release") == [16, 27]
    assert not when(outputs, "passes") and not when(outputs, "read_thresholds")


def test_hold_keeps_a_picture_waiting():
    """Before it may start; in the cycle of its start, `hold` comes too late."""
    program = [instruction(isa.Op.END)]
    _, outputs = run(TINY, program, lambda cycle: FREE | {"hold": cycle < 10}, 18)
    assert when(outputs, "begin") == [11, 17]
    _, outputs = run(TINY, program, lambda cycle: FREE | {"picture_full": cycle > 3, "hold": cycle > 4}, 30)
    assert when(outputs, "begin") == [5]


def test_a_picture_asks_and_starts_when_it_may():
    """`ask` stays up until then, it starts in the cycle after; with `go` alone nothing starts."""
    program = [instruction(isa.Op.END)]
    _, outputs = run(TINY, program, lambda cycle: FREE | {"picture_full": cycle != 6, "go": cycle in (0, 6, 9)}, 17)
    assert when(outputs, "begin") == [1, 10]
    assert when(outputs, "ask") == [0, *range(7, 10), 15, 16]


def test_what_is_not_there_is_waited_for():
    """An instruction before it is read, weight words until the cycle before their pass is offered, thresholds of
    logits until these are."""
    program = [instruction(isa.Op.PASS), instruction(isa.Op.EMIT, count=3, end=1)]
    from_cycle = {"instruction_there": 6, "weights_there": 10, "thresholds_there": 17}
    _, outputs = run(TINY, program, lambda cycle: FREE | {name: cycle >= begin for name, begin in from_cycle.items()},
                     19)
    assert when(outputs, "begin") == [1]
    assert when(outputs, "instruction_taken") == [8, 14]
    assert when(outputs, "weights_taken") == [10] and when(outputs, "passes") == [10 + timing.OFFER]
    assert when(outputs, "emits") == [17] and when(outputs, "thresholds_taken") == [18]


def test_words_of_a_repeated_pass_are_not_waited_for():
    program = [instruction(isa.Op.PASS, repeat=1), instruction(isa.Op.END)]
    _, outputs = run(TINY, program, lambda cycle: FREE | {"weights_there": 0}, 13)
    assert when(outputs, "passes") == [5] and not when(outputs, "weights_taken")


def test_several_passes_in_one_instruction():
    """Each a plane further, `timing.NEXT_PASS` cycles after the one before; the first clears, the last is final and the
    logits'. Weight words are counted for each; here they come late for the third."""
    program = [instruction(isa.Op.SOURCE, plane=(1 << isa.ROW_BITS) - 5),
               instruction(isa.Op.PASS, base=8, dy=-1, clear=1, final=1, logits=1, more=3), instruction(isa.Op.END)]
    _, outputs = run(TINY, program, lambda cycle: FREE | {"weights_there": not 11 < cycle < 16}, 25)
    assert when(outputs, "passes") == [9, 9 + timing.NEXT_PASS, 17, 17 + timing.NEXT_PASS]
    assert when(outputs, "weights_taken") == [8, 10, 16, 18]
    assert when(outputs, "instruction_taken")[:3] == [4, 8, 19 + timing.FETCH]
    passes = [isa.unpacked(isa.Pass, outputs[cycle]["passes"]) for cycle in when(outputs, "passes")]
    assert [(one.base, one.dy, one.clear, one.final, one.logits) for one in passes] == [
        (8, -1, 1, 0, 0), (3, -1, 0, 0, 0), ((1 << isa.ROW_BITS) - 2, -1, 0, 0, 0),
        ((1 << isa.ROW_BITS) - 7, -1, 0, 1, 1)]


@pytest.mark.parametrize("depth", [4, 1024])
def test_the_program_goes_on_until_it_is_rewound(depth):
    """Behind the end of one program lies the next one, round and round in a ring: every other one has a pass."""
    program = [instruction(isa.Op.TILE), instruction(isa.Op.END), instruction(isa.Op.PASS), instruction(isa.Op.END)]
    config = replace(TINY, program_depth=depth)
    _, outputs = run(config, program, lambda cycle: FREE, 42, rewind=False)
    assert when(outputs, "begin") == [1, 11, 21, 31, 41] and when(outputs, "passes") == [15, 35]
    _, outputs = run(config, program, lambda cycle: FREE, 42)
    assert when(outputs, "begin") == [1, 11, 21, 31, 41] and not when(outputs, "passes")


def test_a_barrier_goes_along_with_one_pass():
    program = [instruction(isa.Op.TILE, barrier=1), *[instruction(isa.Op.PASS)] * 3, instruction(isa.Op.END)]
    _, outputs = run(TINY, program, lambda cycle: FREE | {"passes": cycle % 7 == 0}, 60)
    barrier = isa.Tile.const({"barrier": 1}).as_bits() << sum(
        len(layout.const({}).as_value()) for layout in (isa.Pass, isa.Source))
    requests = {cycle: bool(outputs[cycle]["passes"] & barrier) for cycle in when(outputs, "passes") if cycle % 7 == 0}
    assert requests == {14: True, 21: False, 28: False, 42: True, 49: False, 56: False}


def test_the_end_gives_a_picture_back_only_where_a_program_takes_one():
    program = [instruction(isa.Op.EMIT, count=1, last=1, end=1)]
    for single in (0, 1):
        _, outputs = run(TINY, program, lambda cycle, single=single: FREE | {"single": single}, 20)
        assert when(outputs, "ended") == [6, 13, 20][:len(when(outputs, "ended"))] != []
        assert when(outputs, "release") == (when(outputs, "ended") if single else [])


@pytest.mark.parametrize("release", [0, 1])
def test_the_next_picture_is_waited_for(release):
    """The pipeline drains, the buffer may be given back, and the program goes on in the second cycle after the picture
    may begin. The counter shows what it would, had the picture been there at once, and `hold`, too late for this
    program, keeps nothing back."""
    program = [instruction(isa.Op.PICTURE, release=release, wait=1), instruction(isa.Op.PASS), instruction(isa.Op.END)]
    drained, full, go = 9, 14, 17

    def inputs(cycle):
        late = cycle > 4
        return FREE | {"drained": not late or cycle >= drained, "hold": late, "go": not late or cycle >= go,
                       "picture_full": not late or cycle >= full, "single": 0}
    _, outputs = run(TINY, program, inputs, 30)
    assert when(outputs, "begin") == [1, go + 1]
    assert when(outputs, "release") == [drained] * release
    assert when(outputs, "ask") == [0, *range(full, go + 1)]
    assert when(outputs, "instruction_taken")[:2] == [4, go + 1 + timing.FETCH]
    assert when(outputs, "passes") == [go + 2 + timing.FETCH]
    assert [now["cycles"] for now in outputs[2:drained + 2]] == list(range(drained))
    assert {now["cycles"] for now in outputs[drained + 1:go + 3]} == {drained - 1}
    assert outputs[go + 4]["cycles"] == drained + 1 and all(now["busy"] for now in outputs[1:go + 8])


def test_a_picture_is_given_back_without_another_one():
    """Between logits and the end of a program, say: the buffer is free a few cycles earlier."""
    program = [instruction(isa.Op.PICTURE, release=1), instruction(isa.Op.PASS), instruction(isa.Op.END)]
    _, outputs = run(TINY, program, lambda cycle: FREE | {"single": 0, "drained": cycle >= 8}, 18)
    assert when(outputs, "release") == [8] and when(outputs, "begin") == [1]
    assert when(outputs, "passes") == [9 + timing.FETCH]
    assert [now["cycles"] for now in outputs[2:14]] == list(range(12))


def test_a_batch_is_forgotten_with_its_program():
    """Its pictures: a program that says nothing of them has one."""
    program = [instruction(isa.Op.PASS), instruction(isa.Op.BATCH, more=5, apart=77), instruction(isa.Op.PASS),
               instruction(isa.Op.END)]
    _, outputs = run(TINY, program, lambda cycle: FREE, 38)
    behind = sum(len(layout.const({}).as_value()) for layout in (isa.Pass, isa.Source, isa.Tile))
    batches = [isa.unpacked(isa.Batch, low(isa.Op.BATCH, outputs[cycle]["passes"] >> behind))
               for cycle in when(outputs, "passes")]
    assert [one.more for one in batches] == [0, 5, 0, 5] and [one.apart for one in batches][1::2] == [77, 77]


@pytest.mark.parametrize("config", [TINY, THREE_BITS, TWO_BITS, RING], ids=lambda config: config.name)
@pytest.mark.parametrize("pace", [1.0, 0.6, 0.3])
@pytest.mark.parametrize("rewind, seed", [(True, 0), (False, 1)])
def test_random_programs(config, pace, rewind, seed):
    """pace: chance in each cycle that the other side of a handshake is ready, that all has drained, and so on."""
    rng = random.Random(seed)
    program = random_program(rng)

    def inputs(cycle):
        return {name: int((rng.random() < pace) == bool(free)) for name, free in FREE.items()}

    given, outputs = run(config, program, inputs, 2500 if pace < 0.5 else 350, rewind=rewind)
    assert when(outputs, "release") and len(when(outputs, "begin")) > 1 and when(outputs, "ended")
    assert outputs == reference(config, program, given, rewind=rewind)
