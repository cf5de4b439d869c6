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
THREE_BITS = replace(TINY, name="three-bits", w_bits=3, a_bits=3)
FREE = {"picture_full": 1, "hold": 0, "thresholds_busy": 0, "drained": 1, "logit_offered": 0, "passes": 1, "emits": 1}


def instruction(op, **fields):
    return isa.LAYOUTS[op].const({"op": op, **fields}).as_bits()


def low(op, word):
    """The bits of `word` that belong to the instruction."""
    return word % (1 << len(isa.LAYOUTS[op].const({}).as_value()))


def random_program(rng):
    """Instructions of all kinds, with random bits in all fields and behind them."""
    ops = rng.choices([isa.Op.SOURCE, isa.Op.TILE, isa.Op.LEVELS, isa.Op.PASS, isa.Op.PASS, isa.Op.EMIT], k=14)
    return [rng.getrandbits(61) << 3 | op.value for op in [*ops, isa.Op.END]]


def run(config, program, inputs, cycles):
    """(inputs, outputs) of each cycle. inputs(cycle): a dict as `FREE`; `passes` and `emits` are the other side's
    ready. What is handed on is an integer, 0 where nothing is."""
    dut, given, outputs, addresses = InstructionFetch(config), [], [], [0] * timing.BLOCK_MEMORY

    def stimulus(ctx, cycle):
        given.append(inputs(cycle))
        for name, value in given[-1].items():
            ctx.set(getattr(dut, name).ready if name in ("passes", "emits") else getattr(dut, name), value)
        ctx.set(dut.program_data, program[addresses[-timing.BLOCK_MEMORY] % len(program)])
        addresses.append(ctx.get(dut.program_address))

    def sample(ctx, cycle):
        outputs.append({name: ctx.get(getattr(dut, name))
                        for name in ("start", "release", "busy", "read_thresholds", "cycles")})
        outputs[-1] |= {name: ctx.get(Value.cast(port.payload)) if ctx.get(port.valid) else 0
                        for name, port in (("passes", dut.passes), ("emits", dut.emits))}

    run_cycles(dut, stimulus, sample, cycles)
    return given, outputs


def reference(config, program, given):
    """The outputs that follow from the program and the inputs."""
    nothing = dict.fromkeys(("start", "release", "busy", "read_thresholds", "cycles", "passes", "emits"), 0)
    outputs = [dict(nothing) for _ in given]
    source = tile = 0

    def until(cycle, name, value, ready):
        """Offers `value` until it is taken; the cycle in which it is."""
        while True:
            offered, over = ready(given[cycle])
            outputs[cycle][name] = value if offered else 0
            if over:
                return cycle
            cycle += 1

    def picture(cycle):
        nonlocal source, tile
        outputs[cycle]["start"] = 1
        table = sum(u << u * config.w_bits for u in range(1 << config.w_bits))
        execute = cycle + 1 + timing.FETCH
        for word in program:
            op = isa.Op(word % 8)
            if op == isa.Op.SOURCE:
                source = low(op, word)
            elif op == isa.Op.TILE:
                tile = low(op, word)
                outputs[execute]["read_thresholds"] = isa.unpacked(isa.Tile, word).thresholds
            elif op == isa.Op.LEVELS:
                half = isa.unpacked(isa.Levels, word).half
                mask = (1 << 32) - 1 << 32 * half
                table = (table & ~mask | isa.unpacked(isa.Levels, word).table << 32 * half) % (
                    1 << (config.w_bits << config.w_bits))
            elif op == isa.Op.PASS:
                parts = [(isa.Op.PASS, low(op, word)), (isa.Op.SOURCE, source), (isa.Op.TILE, tile)]
                request, at = 0, 0
                for kind, bits in parts:
                    request |= bits << at
                    at += len(isa.LAYOUTS[kind].const({}).as_value())
                execute = until(execute, "passes", request | table << at, lambda now: (1, now["passes"]))
                tile &= ~isa.Tile.const({"barrier": 1}).as_bits()
            elif op == isa.Op.EMIT:
                def emitted(now):
                    offered = now["drained"] and not now["thresholds_busy"]
                    return offered, offered and now["emits"]
                execute = until(execute, "emits", low(op, word), emitted)
                if isa.unpacked(isa.Emit, word).last:
                    return until(execute + 1, "release", 1, lambda now: (now["drained"], now["drained"])) + 1
            else:
                return until(execute, "release", 1, lambda now: (now["drained"], now["drained"])) + 1
            execute += timing.INSTRUCTION

    cycle = 0
    try:
        while True:
            while not given[cycle]["picture_full"] or given[cycle]["hold"]:
                cycle += 1
            cycle = picture(cycle)
    except IndexError:
        pass                                                # the run ends here, in the middle of a picture or not
    for before, inputs, now in zip(outputs, given, outputs[1:], strict=False):
        now["busy"] = int(before["start"] or before["busy"] and not before["release"])
        now["cycles"] = 0 if before["start"] else before["cycles"] + (before["busy"] and not inputs["logit_offered"])
    return outputs


def when(outputs, name):
    return [cycle for cycle, now in enumerate(outputs) if now[name]]


def test_time_table():
    """A tile, a pass, logits and the end, everybody ready; the next picture waits."""
    program = [instruction(isa.Op.TILE, thresholds=1), instruction(isa.Op.PASS),
               instruction(isa.Op.EMIT, count=3), instruction(isa.Op.END)]
    _, outputs = run(TINY, program, lambda cycle: FREE, 36)
    assert when(outputs, "start") == [0, 17, 34]
    assert when(outputs, "read_thresholds") == [4, 21]
    assert when(outputs, "passes") == [8, 25]
    assert when(outputs, "emits") == [12, 29]
    assert when(outputs, "release") == [16, 33]
    assert [cycle for cycle, now in enumerate(outputs) if not now["busy"]] == [0, 17, 34]
    assert [now["cycles"] for now in outputs[1:18]] == list(range(17))


@pytest.mark.parametrize("behind", [isa.Op.END, isa.Op.TILE, isa.Op.PASS, isa.Op.EMIT])
def test_the_last_logits_end_the_program_whatever_follows(behind):
    """Released as soon as the pipeline has drained, then from address 0 again."""
    program = [instruction(isa.Op.EMIT, count=3, last=0), instruction(isa.Op.EMIT, count=2, last=1),
               instruction(behind, thresholds=1) if behind == isa.Op.TILE else instruction(behind)]
    _, outputs = run(TINY, program, lambda cycle: FREE | {"drained": not 9 <= cycle < 15}, 32)
    assert when(outputs, "start") == [0, 16, 26]
    assert when(outputs, "emits") == [4, 8, 20, 24, 30]
    assert when(outputs, "release") == [15, 25]
    assert not when(outputs, "passes") and not when(outputs, "read_thresholds")


def test_hold_keeps_a_picture_waiting():
    program = [instruction(isa.Op.END)]
    _, outputs = run(TINY, program, lambda cycle: FREE | {"hold": cycle < 10}, 16)
    assert when(outputs, "start") == [10, 15]
    _, outputs = run(TINY, program, lambda cycle: FREE | {"picture_full": cycle > 3, "hold": cycle > 4}, 30)
    assert when(outputs, "start") == [4]


def test_a_barrier_goes_along_with_one_pass():
    program = [instruction(isa.Op.TILE, barrier=1), *[instruction(isa.Op.PASS)] * 3, instruction(isa.Op.END)]
    _, outputs = run(TINY, program, lambda cycle: FREE | {"passes": cycle % 7 == 0}, 60)
    barrier = isa.Tile.const({"barrier": 1}).as_bits() << sum(
        len(layout.const({}).as_value()) for layout in (isa.Pass, isa.Source))
    requests = {cycle: bool(outputs[cycle]["passes"] & barrier) for cycle in when(outputs, "passes") if cycle % 7 == 0}
    assert requests == {14: True, 21: False, 28: False, 42: True, 49: False, 56: False}


@pytest.mark.parametrize("config", [TINY, THREE_BITS, TWO_BITS], ids=lambda config: config.name)
@pytest.mark.parametrize("pace", [1.0, 0.6, 0.3])
@pytest.mark.parametrize("seed", range(2))
def test_random_programs(config, pace, seed):
    """pace: chance in each cycle that the other side of a handshake is ready, that all has drained, and so on."""
    rng = random.Random(seed)
    program = random_program(rng)

    def inputs(cycle):
        return {name: int((rng.random() < pace) == bool(free)) for name, free in FREE.items()}

    given, outputs = run(config, program, inputs, 800 if pace < 0.5 else 250)
    assert when(outputs, "release") and len(when(outputs, "start")) > 1
    assert outputs == reference(config, program, given)
