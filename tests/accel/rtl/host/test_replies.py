# amaranth: UnusedElaboratable=no
"""Answers against docs/uart.md packed by hand."""
import random
import struct
from dataclasses import replace
from fractions import Fraction

import pytest

from accel.config import R16C16P2, TINY
from accel.link import Command, Fault
from accel.rtl.host.replies import Replies
from tests.accel.streams import Monitor, put, simulate, sink, source

CLOCK_HZ, BAUD = Fraction(325_000_000, 3), 1_234_567
REPLY = 0x80
NET = {"loaded": 1, "net": 0x8877665544332211, "n_logits": 3, "pixels": 0x3EF7, "batch": 9}
RESULTS = {"state": 2, "fault": 14, "pictures": 0x1234, "waits": 0x0507, "cycles": 0x8877_6655_4433,
           "digest": 0xA1A2A3A4, "check": 0xB1B2B3B4}
STATUS = {"frames": 0x0102, "images": 0x0304, "header_errors": 0x0506, "frame_errors": 0x0708, "timeouts": 0x090A,
          "overruns": 0x0B0C, "framing_errors": 0xFFFE, "load_next": 0x89ABCDEF,
          "tape": 0x1020304050607080, "outstanding": 2, "loaded": 1, "damaged": 1, "locked": 1, "beats": 0xB7,
          "memory_state": 2, "memory_errors": 0x1234, "memory_address": 0x01FFFFFE}


def info(config):
    return struct.pack(
        "<B3B8sII6B5HIHBBQHHBB", 1, 5, 0, 0, bytes.fromhex(config.digest())[:8], 108_333_333, BAUD, config.rows,
        config.channels, config.pixels_per_cycle, config.w_bits, config.a_bits, config.acc_bits,
        config.activation_depth, config.accumulator_depth, config.weight_depth, config.threshold_depth,
        config.program_depth, 0 if config.sdram_hz is None else 1 << 25, 4096, 10,
        *list(NET.values())[:-2], 3 * NET["pixels"], 9, 10)


def payload(kind, fault, config):
    return {Command.INFO: info(config), Command.STATUS: struct.pack("<7HIQ6BHI", *STATUS.values()),
            Command.BEGIN_LOAD: struct.pack("<I", STATUS["load_next"]),
            Command.RESULTS: struct.pack("<BBHHHIII", 2, 14, 0x1234, 0x0507, 0x4433, 0x8877_6655,
                                          RESULTS["digest"], RESULTS["check"]),
            Command.ERROR: bytes([fault])}.get(kind, b"")


def run(replies, *, config=TINY, answers=(), before=0.0, behind=0.0, status=None):
    """([(kind, sequence, payload)], monitors of header and payload) of (kind, sequence, fault) after each other.
    answers: payloads of those to INFER. status: function of `status` -> testbench."""
    dut = Replies(config, clock_hz=CLOCK_HZ, baud=BAUD)
    header, octets = Monitor(dut.header), Monitor(dut.payload)
    ended, chance = [], random.Random(1)

    async def host(ctx):
        ctx.set(dut.net, NET)
        ctx.set(dut.status, STATUS)
        ctx.set(dut.results, RESULTS)
        for kind, sequence, fault in replies:
            while chance.random() < before:
                await ctx.tick()
            await put(ctx, dut.reply, {"kind": kind, "sequence": sequence, "fault": fault})
            ended.append(len(octets.payloads))

    words = [octet | (k == len(answer) - 1) << 8 for answer in answers for k, octet in enumerate(answer)]
    words = [{"octet": word & 0xFF, "last": word >> 8} for word in words]
    benches = [host, source(dut.answer, words, pauses=before, seed=2), sink(dut.header, pauses=behind, seed=3),
               sink(dut.payload, pauses=behind, seed=4), header.watch, octets.watch]
    if status:
        benches.append(status(dut.status))
    simulate(dut, *benches, done=lambda: len(ended) == len(replies), timeout=100_000)
    heads = [struct.unpack("<BBBH", word.to_bytes(5, "little")) for word in header.payloads]
    assert [version for version, *_ in heads] == [1] * len(replies)
    parts = [bytes(octets.payloads[begin:end]) for begin, end in zip([0, *ended], ended, strict=False)]
    assert [length for *_, length in heads] == [len(part) for part in parts]
    return [(kind, sequence, part) for (_, kind, sequence, _), part in zip(heads, parts, strict=True)], header, octets


@pytest.mark.parametrize("before, behind", [(0.0, 0.0), (0.8, 0.0), (0.0, 0.8), (0.7, 0.7)])
@pytest.mark.parametrize("config", [TINY, replace(R16C16P2, sdram_hz=20_000_000)], ids=["tiny", "with SDRAM"])
def test_every_answer(config, before, behind):
    chance = random.Random(6)
    replies = [(kind, chance.randrange(256), chance.choice(list(Fault)))
               for kind in chance.sample([command for command in Command if command != Command.INFER] * 3, 24)]
    got, *_ = run(replies, config=config, before=before, behind=behind)
    assert got == [(kind | REPLY, sequence, payload(kind, fault, config)) for kind, sequence, fault in replies]


@pytest.mark.parametrize("before, behind", [(0.0, 0.0), (0.6, 0.6)])
def test_answers_to_pictures_end_with_their_last_byte(before, behind):
    """As long as the header says, for 3 logits."""
    chance = random.Random(7)
    answers = [chance.randbytes(3 * 4 + 6) for _ in range(3)]
    replies = [(Command.INFER, 1, 0), (Command.STATUS, 2, 0), (Command.INFER, 3, 0), (Command.INFER, 4, 0)]
    got, *_ = run(replies, answers=answers, before=before, behind=behind)
    first, second, third = answers
    assert got == [(INFER, 1, first), (Command.STATUS | REPLY, 2, payload(Command.STATUS, 0, TINY)), (INFER, 3, second),
                   (INFER, 4, third)]


INFER = Command.INFER | REPLY


def test_a_counter_that_goes_on_is_one_number():
    def count(status):
        async def bench(ctx):
            number = 0
            while True:
                number ^= 0xFFFF                        # both bytes change in every cycle
                for name in ("frames", "overruns"):
                    ctx.set(status[name], number)
                await ctx.tick()
        return bench

    got, *_ = run([(Command.STATUS, 5, 0)] * 20, behind=0.7, status=count)
    words = {(octets[:2], octets[10:12]) for _, _, octets in got}
    assert {word for pair in words for word in pair} == {b"\0\0", b"\xff\xff"}


def test_latency_and_rate():
    _, header, octets = run([(Command.BEGIN_LOAD, 1, 0), (Command.RESET, 1, 0), (Command.BEGIN_LOAD, 1, 0)])
    assert [cycle - header.cycles[0] for cycle in header.cycles] == [0, 11, 14]
    assert [cycle - header.cycles[0] for cycle in octets.cycles] == [2, 4, 6, 8, 16, 18, 20, 22]
