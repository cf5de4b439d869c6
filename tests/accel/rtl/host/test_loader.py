# amaranth: UnusedElaboratable=no
"""Loads and memory tests against docs/uart.md packed by hand, with any pauses on both sides."""
import random
import struct
from dataclasses import replace

import pytest
from amaranth.lib import data

from accel import isa
from accel.config import TINY
from accel.link import Command, Fault
from accel.rtl.host.loader import Loader
from tests.accel.rtl.host.bench import PayloadSource, carry_out
from tests.accel.streams import Monitor, simulate, sink

DIGEST = bytes.fromhex(TINY.digest())[:8]
WITH_SDRAM = replace(TINY, sdram_hz=100_000_000)
OLD = {"net": 0x1122334455667788, "n_logits": 3, "pixels": 4, "batch": 2}
NONE = {"net": 0, "n_logits": 0, "pixels": 0, "batch": 0}
NEW = {"net": 0x99AABBCCDDEEFF01, "n_logits": 1022, "pixels": 5 * 8, "batch": 63}
CHECK = 0x12345678
BEGIN, WORD, CHECKS, PLAY, TEST = range(5)
NEVER, RUNNING, DONE = range(3)


def chunks_of(count, seed=0):
    return random.Random(seed).randbytes(1024 * count)


def words_of(octets):
    return [(WORD, word) for word in struct.unpack(f"<{len(octets) // 2}H", octets)]


def end_of(count, *, check=CHECK, resident=1):
    return [(CHECKS, check & 0xFFFF), (CHECKS, check >> 16), (PLAY, count - 1 | resident << 15)]


class Bench:
    """A loader and a core that finds a tape whole, or damaged where a step says so.

    host: async function of (ctx, this). net: None, or the one that is loaded at the start. checking: cycles that the
    core checks a tape for. load: Monitor of the words for the core.
    """
    def __init__(self, host, *, config=TINY, net=None, pauses=0.0, gap=1, seed=0, checking=20):
        self.dut = dut = Loader(config, net=net)
        self.payload = PayloadSource(dut.octets, dut.left, gap=gap, pauses=pauses, seed=seed)
        self.load, self.finds, self._over, self._checking = Monitor(dut.load), "whole", False, checking

        async def whole(ctx):
            await host(ctx, self)
            self._over = True
        simulate(dut, whole, self._core, self.payload.bench, sink(dut.load, pauses=pauses, seed=seed), self.load.watch,
                 done=lambda: self._over, timeout=200_000)

    async def _core(self, ctx):
        dut, left = self.dut, None
        async for _, _, valid, ready, word in ctx.tick().sample(dut.load.valid, dut.load.ready, dut.load.payload):
            if valid and ready and word.kind == isa.LoadKind.BEGIN:
                ctx.set(dut.whole, 0)
                ctx.set(dut.damaged, 0)
            if valid and ready and word.kind == isa.LoadKind.PLAY:
                left = self._checking
            elif left:
                left -= 1
            elif left == 0:
                left = None
                ctx.set(getattr(dut, self.finds), 1)

    async def order(self, ctx, command, payload, fault=Fault.NONE):
        self.payload.octets = payload
        assert await carry_out(ctx, self.dut.control, command) == fault
        assert fault or not self.payload.octets

    async def begin(self, ctx, tape, chunks, fault=Fault.NONE, config=DIGEST):
        await self.order(ctx, Command.BEGIN_LOAD, config + struct.pack("<QI", tape, chunks), fault)

    async def send(self, ctx, offset, octets, fault=Fault.NONE):
        await self.order(ctx, Command.LOAD, struct.pack("<I", offset) + octets, fault)

    async def end(self, ctx, fault=Fault.NONE, *, check=CHECK, flags=1, **fields):
        assert ctx.get(self.dut.complete)
        await self.order(ctx, Command.END_LOAD, struct.pack("<IBQHHB", check, flags, *(NEW | fields).values()), fault)

    def state(self, ctx):
        """(load_next, loading, net or None)."""
        dut = self.dut
        net = {name: ctx.get(dut.net[name]) for name in NEW}
        assert ctx.get(dut.net.loaded) or net == NONE
        return ctx.get(dut.load_next), ctx.get(dut.loading), net if ctx.get(dut.net.loaded) else None

    @property
    def words(self):
        words = map(data.Layout.cast(isa.LoadWord).from_bits, self.load.payloads)
        return [(word.kind.value, word.data) for word in words]


@pytest.mark.parametrize("pauses", [0.0, 0.5])
@pytest.mark.parametrize("net", [None, OLD])
def test_nets_are_loaded_one_after_the_other(net, pauses):
    tapes, chance = [chunks_of(count, count) for count in (2, 1)], random.Random(1)

    async def host(ctx, bench):
        assert bench.state(ctx) == (0, 0, net)
        for tape, octets in enumerate(tapes):
            await bench.begin(ctx, tape, len(octets) // 1024)
            at = 0
            while at < len(octets):
                assert bench.state(ctx) == (at, 1, None) and not ctx.get(bench.dut.complete)
                piece = octets[at:at + 2 * chance.randint(1, 300)]
                await bench.send(ctx, at, piece)
                at += len(piece)
            assert ctx.get(bench.dut.tape) == tape
            await ctx.tick()
            await bench.end(ctx)
            assert bench.state(ctx) == (len(octets), 0, NEW)
    bench = Bench(host, net=net, pauses=pauses, seed=2)
    assert bench.words == [word for octets in tapes for word in (
        (BEGIN, 0), *words_of(octets), *end_of(len(octets) // 1024))]


def test_a_configuration_that_differs_in_any_byte_changes_nothing():
    async def host(ctx, bench):
        for k in range(8):
            wrong = DIGEST[:k] + bytes([DIGEST[k] ^ 1 << k]) + DIGEST[k + 1:]
            await bench.begin(ctx, 7, 1, Fault.CONFIG, config=wrong)
        assert bench.state(ctx) == (0, 0, OLD)
        await bench.begin(ctx, 7, 1)
        await bench.send(ctx, 0, bytes(8))
        await bench.begin(ctx, 8, 1, Fault.CONFIG, config=bytes(8))
        await bench.begin(ctx, 7, 1)
        assert bench.state(ctx) == (8, 1, None)
    assert Bench(host, net=OLD).words == [(BEGIN, 0)] + [(WORD, 0)] * 4


@pytest.mark.parametrize("pauses", [0.0, 0.6])
def test_the_same_tape_goes_on_where_it_was_and_another_begins_from_nothing(pauses):
    """Every bit of the tape's name and length counts."""
    tape = 0x0123456789ABCDEF
    others = [(tape ^ 1 << bit, 3) for bit in range(0, 64, 7)] + [(tape, 3 ^ 1 << bit) for bit in (0, 1, 2, 14)]

    async def host(ctx, bench):
        for other in others:
            await bench.begin(ctx, tape, 3)
            assert bench.state(ctx) == (0, 1, None)
            await bench.send(ctx, 0, b"abcdef")
            for _ in range(2):
                await bench.begin(ctx, tape, 3)
                assert bench.state(ctx) == (6, 1, None)
            await bench.send(ctx, 6, b"gh")
            await bench.begin(ctx, *other)
            assert bench.state(ctx) == (0, 1, None)
    bench = Bench(host, pauses=pauses)
    assert bench.words == [(BEGIN, 0), *words_of(b"abcdefgh"), (BEGIN, 0)] * len(others)


@pytest.mark.parametrize("finds", ["whole", "damaged"])
def test_a_load_that_has_ended_does_not_go_on(finds):
    async def host(ctx, bench):
        bench.finds = finds
        for _ in range(2):
            await bench.begin(ctx, 9, 1)
            assert bench.state(ctx) == (0, 1, None)
            await bench.send(ctx, 0, bytes(1024))
            await ctx.tick()
            await bench.end(ctx, Fault.NONE if finds == "whole" else Fault.IMAGE_CHECK)
            assert bench.state(ctx) == (1024, 0, NEW if finds == "whole" else None)
    assert Bench(host, net=OLD).words == [(BEGIN, 0), *words_of(bytes(1024)), *end_of(1)] * 2


@pytest.mark.parametrize("chunks", [0, 32769, 1 << 16, 1 << 31, 0xFFFFFFFF])
def test_a_tape_that_no_device_holds_is_refused_and_the_net_stays(chunks):
    async def host(ctx, bench):
        await bench.begin(ctx, 9, chunks, Fault.SIZES)
        assert bench.state(ctx) == (0, 0, OLD)
        await bench.begin(ctx, 9, 32768)
        await bench.send(ctx, 0, b"ab")
        await bench.begin(ctx, 9, chunks, Fault.SIZES)
        assert bench.state(ctx) == (2, 0, None)
        await bench.begin(ctx, 9, 32768)
        assert bench.state(ctx) == (0, 1, None)
    assert Bench(host, net=OLD).words == [(BEGIN, 0), *words_of(b"ab"), (BEGIN, 0)]


def test_bytes_are_taken_once_and_in_order():
    async def host(ctx, bench):
        await bench.begin(ctx, 9, 1)
        await bench.send(ctx, 0, b"abcd")
        for bit in range(32):
            await bench.send(ctx, 4 ^ 1 << bit, b"xx", Fault.ORDER)
            assert bench.state(ctx) == (4, 1, None)
        await bench.send(ctx, 4, b"ef")
    assert Bench(host).words == [(BEGIN, 0), *words_of(b"abcdef")]


@pytest.mark.parametrize("gap", [1, 4])
def test_of_more_than_the_tape_nothing_is_taken(gap):
    async def host(ctx, bench):
        await bench.begin(ctx, 9, 2)
        await bench.send(ctx, 0, bytes(2044))
        for more in (6, 8, 1024, 4092):
            await bench.send(ctx, 2044, bytes(more), Fault.LENGTH)
            assert bench.state(ctx) == (2044, 1, None)
        await bench.send(ctx, 2044, bytes(4))
        await bench.send(ctx, 2048, bytes(2), Fault.LENGTH)
        assert bench.state(ctx) == (2048, 1, None)
    assert len(Bench(host, gap=gap).words) == 1 + 1024


SIZES = [{"n_logits": 0}, {"n_logits": 1023}, {"n_logits": 1024}, {"n_logits": 0xFFFF}, {"pixels": 0},
         {"pixels": 127 * 127 + 1}, {"pixels": 0x8001}, {"pixels": 0xFFFF}, {"batch": 0}, {"batch": 64},
         {"batch": 255}]


@pytest.mark.parametrize("config", [TINY, WITH_SDRAM], ids=["without", "with"])
def test_sizes_that_cannot_be_are_refused_and_the_load_stays(config):
    """A net that is not resident is such a one where there is no SDRAM."""
    lies = SIZES + [{"flags": flags} for flags in (0, 0xFE) if config is TINY]
    flags = 1 if config is TINY else 0

    async def host(ctx, bench):
        await bench.begin(ctx, 9, 1)
        await bench.send(ctx, 0, bytes(1024))
        await ctx.tick()
        for lie in lies:
            await bench.end(ctx, Fault.SIZES, **lie)
            assert bench.state(ctx) == (1024, 1, None)
        await bench.end(ctx, n_logits=1, pixels=127 * 127, flags=0xFE | flags)
        assert bench.state(ctx) == (1024, 0, {"net": NEW["net"], "n_logits": 1, "pixels": 127 * 127, "batch": 63})
    assert Bench(host, config=config, net=OLD).words == [
        (BEGIN, 0), *words_of(bytes(1024)), *end_of(1, resident=flags)]


@pytest.mark.parametrize("pauses", [0.0, 0.6])
def test_the_core_is_waited_for(pauses):
    async def host(ctx, bench):
        await bench.begin(ctx, 9, 1)
        await bench.send(ctx, 0, bytes(1024))
        await ctx.tick()
        await bench.end(ctx, check=0xFEDCBA98)
    bench = Bench(host, pauses=pauses, checking=3000)
    assert bench.words[-3:] == end_of(1, check=0xFEDCBA98)


@pytest.mark.parametrize("step", ["BEGIN", "WORD", "CHECK_LOW", "CHECK_HIGH", "PLAY", "AWAIT"])
def test_an_order_that_is_given_up_takes_the_load_with_it(step):
    """In a cycle in which the core does not take a word, or does not say what it found. The next load begins anew."""
    dut, over, words = Loader(TINY, net=OLD), [], []
    payload = PayloadSource(dut.octets, dut.left)
    before = {"BEGIN": 0, "WORD": 1 + 3, "CHECK_LOW": 513, "CHECK_HIGH": 514, "PLAY": 515, "AWAIT": 516}[step]
    payloads = [(Command.BEGIN_LOAD, DIGEST + struct.pack("<QI", 9, 1)), (Command.LOAD, bytes(4 + 1024)),
                (Command.END_LOAD, struct.pack("<IBQHHB", CHECK, 1, *NEW.values()))]

    async def order(ctx, command, octets):
        payload.octets = octets
        ctx.set(dut.control.order.payload, {"command": command})
        ctx.set(dut.control.order.valid, 1)
        for _ in range(6000):
            if ctx.get(dut.control.order.ready):
                await ctx.tick()
                ctx.set(dut.control.order.valid, 0)
                return True
            ctx.set(dut.load.ready, len(words) < before or over == ["given up"])
            if over != ["given up"] and len(words) == before and (ctx.get(dut.load.valid) or ctx.get(dut.awaits)):
                await ctx.tick().repeat(7)
                assert ctx.get(dut.load.valid) == (step != "AWAIT") and ctx.get(dut.awaits) == (step == "AWAIT")
                ctx.set(dut.abandon, 1)
                await ctx.tick()
                ctx.set(dut.abandon, 0)
                ctx.set(dut.control.order.valid, 0)
                return False
            await ctx.tick()
        raise AssertionError("never taken")

    async def host(ctx):
        for command, octets in payloads:
            if not await order(ctx, command, octets):
                break
        await ctx.tick().repeat(3)
        assert not ctx.get(dut.loading) and not ctx.get(dut.net.as_value()) and not ctx.get(dut.load.valid)
        over.append("given up")
        words.clear()
        ctx.set(dut.whole, 1)
        for command, octets in payloads:
            assert await order(ctx, command, octets)
            await ctx.tick()
        assert ctx.get(dut.net.loaded) and len(words) == 1 + 512 + 3
        over.append("over")

    async def count(ctx):
        async for _, _, valid, ready in ctx.tick().sample(dut.load.valid, dut.load.ready):
            if valid and ready:
                words.append(1)
    simulate(dut, count, host, payload.bench, done=lambda: "over" in over, timeout=50_000)


@pytest.mark.parametrize("loaded", [False, True])
def test_what_is_dropped_is_gone(loaded):
    async def host(ctx, bench):
        if not loaded:
            await bench.begin(ctx, 9, 1)
            await bench.send(ctx, 0, bytes(8))
        ctx.set(bench.dut.drop, 1)
        await ctx.tick()
        ctx.set(bench.dut.drop, 0)
        assert bench.state(ctx) == (0 if loaded else 8, 0, None)
        await bench.begin(ctx, 9, 1)
        assert bench.state(ctx) == (0, 1, None)
    Bench(host, net=OLD)


def test_the_memory_is_tested_and_the_net_in_it_is_gone():
    """`tested` stays up of the test before until the core has begun with the next one."""
    async def host(ctx, bench):
        dut = bench.dut

        def memory():
            return ctx.get(dut.memory_state), ctx.get(dut.testing)
        assert memory() == (NEVER, 0)
        for seed, slow in ((0xABCD, 1), (0, 5), (0xFFFF, 2)):
            await bench.order(ctx, Command.MEMORY_TEST, struct.pack("<H", seed))
            assert bench.state(ctx) == (0, 0, None)
            await ctx.tick().repeat(slow)
            assert memory() == (RUNNING, 1)
            ctx.set(dut.tested, 0)
            await ctx.tick().repeat(slow)
            assert memory() == (RUNNING, 1)
            ctx.set(dut.tested, 1)
            await ctx.tick().repeat(20)
            assert memory() == (DONE, 0)
        await bench.begin(ctx, 9, 1)
        await bench.send(ctx, 0, bytes(2))
        await bench.order(ctx, Command.MEMORY_TEST, struct.pack("<H", 7))
        assert bench.state(ctx) == (2, 0, None)
    bench = Bench(host, config=WITH_SDRAM, net=OLD)
    assert bench.words == [(TEST, 0xABCD), (TEST, 0), (TEST, 0xFFFF), (BEGIN, 0), (WORD, 0), (TEST, 7)]


def test_a_word_takes_8_cycles_from_a_reader_of_payloads():
    async def host(ctx, bench):
        await bench.begin(ctx, 9, 1)
        await bench.send(ctx, 0, bytes(40))
    cycles = Bench(host, gap=4).load.cycles[1:]
    assert [b - a for a, b in zip(cycles, cycles[1:], strict=False)] == [8] * 19
