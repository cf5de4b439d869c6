# amaranth: UnusedElaboratable=no
"""What becomes of a request, against the rules of docs/uart.md written down as one function."""
import itertools
import random

import pytest

from accel.rtl.host.dispatcher import Dispatcher
from tests.accel.streams import Monitor, simulate

INFO, STATUS, RESET, BEGIN_LOAD, LOAD, END_LOAD, INFER, ERROR = 0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x20, 0x7F
LENGTH, COMMAND, BUSY, NOT_LOADED, ORDER, IMAGE_CHECK, LOGITS, STALLED = 3, 6, 7, 8, 10, 11, 14, 15
PIXEL_BYTES = 12
LENGTHS = (0, 3, 4, 5, 7, 8, 9, 11, 12, 13, 27, 28, 29, 4096)


def verdict(kind, length, fault, loaded, loading, outstanding):
    """A fault, or who carries the command out ("" where nobody has to)."""
    if fault:
        return fault
    if kind in (INFO, STATUS, RESET):
        return LENGTH if length else ""
    if kind == BEGIN_LOAD:
        return BUSY if outstanding else LENGTH if length != 8 else "loader"
    if kind == LOAD:
        return ORDER if not loading else LENGTH if length < 4 else "loader"
    if kind == END_LOAD:
        return ORDER if not loading else LENGTH if length != 28 else "loader"
    if kind == INFER:
        return (NOT_LOADED if not loaded else LENGTH if length != PIXEL_BYTES else BUSY if outstanding == 2
                else "pictures")
    return COMMAND


class Bench:
    """host: async function of (ctx, this). Units carry out each order after some cycles, with a fault from `faults`;
    the core takes some to forget its pictures.

    orders, replies: (unit, command, sequence), (kind, sequence, fault). reads: (length, cycles it lasted). forgotten:
    how many orders there were at each `forget`.
    """
    def __init__(self, host, *, pauses=0.0, faults=(), seed=0):
        self.dut = dut = Dispatcher()
        self.orders, self.replies, self.reads, self.forgotten = [], [], [], []
        self._pauses, self._chance, self._faults = pauses, random.Random(seed), list(faults)
        self._over = False

        async def whole(ctx):
            await host(ctx, self)
            self._over = True
        watch = [self._core, *(Monitor(port).watch for port in (dut.loader.order, dut.pictures.order, dut.reply))]
        simulate(dut, whole, self._unit("loader"), self._unit("pictures"), self._sender, self._reader, *watch,
                 done=lambda: self._over, timeout=200_000)

    async def request(self, ctx, kind, sequence, length, fault=0):
        """Gives a request until it is taken."""
        dut = self.dut
        ctx.set(dut.request.payload, {"kind": kind, "sequence": sequence, "length": length, "fault": fault})
        ctx.set(dut.request.valid, 1)
        ready = False
        while not ready:
            _, _, ready = await ctx.tick().sample(dut.request.ready)
        ctx.set(dut.request.payload, {"kind": 0x55, "sequence": 0x55, "length": 0x5555, "fault": 0})
        ctx.set(dut.request.valid, 0)

    def _unit(self, name):
        port = getattr(self.dut, name)

        async def bench(ctx):
            while True:
                _, _, valid, order = await ctx.tick().sample(port.order.valid, port.order.payload)
                if not valid or self._chance.random() < self._pauses:
                    continue
                self.orders.append((name, order.command.value, order.sequence))
                ctx.set(port.fault, self._faults.pop(0) if self._faults else 0)
                ctx.set(port.order.ready, 1)
                await ctx.tick()
                ctx.set(port.order.ready, 0)
                ctx.set(port.fault, 0)
        return bench

    async def _core(self, ctx):
        dut = self.dut
        while True:
            _, _, forget = await ctx.tick().sample(dut.forget)
            if forget:
                self.forgotten.append(len(self.orders))
                ctx.set(dut.clearing, 1)
                await ctx.tick().repeat(1 + self._chance.randrange(9))
                ctx.set(dut.clearing, 0)

    async def _sender(self, ctx):
        reply = self.dut.reply
        while True:
            ctx.set(reply.ready, self._chance.random() >= self._pauses)
            _, _, valid, ready, word = await ctx.tick().sample(reply.valid, reply.ready, reply.payload)
            if valid and ready:
                self.replies.append((word.kind.value, word.sequence, word.fault.value))

    async def _reader(self, ctx):
        """A reader that would read for ever."""
        dut, began, cycle, length = self.dut, None, 0, None
        async for _, _, start, stop, octets in ctx.tick().sample(dut.start_reading, dut.stop_reading, dut.length):
            assert not (start and stop)
            if start:
                assert began is None
                began, length = cycle, octets
            if stop and began is not None:
                self.reads.append((length, cycle - began))
                began = None
            cycle += 1


@pytest.mark.parametrize("pauses", [0.0, 0.5])
@pytest.mark.parametrize("loaded, loading, outstanding", [
    (loaded, loading, outstanding) for loaded in (0, 1) for loading in (0, 1) for outstanding in (0, 1, 2)])
def test_every_command_in_every_situation(loaded, loading, outstanding, pauses):
    kinds = (INFO, STATUS, RESET, BEGIN_LOAD, LOAD, END_LOAD, INFER, 0x00, 0x04, 0x13, 0x21, ERROR, 0x81, 0xFF)
    requests = [(kind, length, 0) for kind in kinds for length in LENGTHS]
    requests += [(kind, length, fault) for kind in kinds for length in (0, 8) for fault in (1, 2, 3, 4, 5)]
    requests = random.Random(1).sample(requests, len(requests) // (4 if pauses else 1))
    orders, replies, forgotten = [], [], []
    for k, (kind, length, fault) in enumerate(requests):
        decided = verdict(kind, length, fault, loaded, loading, outstanding)
        if kind in (RESET, BEGIN_LOAD) and not isinstance(decided, int):
            forgotten.append(len(orders))                   # before the order, if there is one
        if isinstance(decided, int):
            replies.append((ERROR, k % 256, decided))
        else:
            if decided:
                orders.append((decided, kind, k % 256))
            if kind != INFER:
                replies.append((kind, k % 256, 0))

    async def host(ctx, bench):
        ctx.set(bench.dut.situation, {"loaded": loaded, "loading": loading, "outstanding": outstanding,
                                      "pixel_bytes": PIXEL_BYTES})
        for k, (kind, length, fault) in enumerate(requests):
            await bench.request(ctx, kind, k % 256, length, fault)
        while len(bench.reads) < len(requests) or len(bench.replies) < len(replies):
            await ctx.tick()
    bench = Bench(host, pauses=pauses, seed=2)
    assert bench.orders == orders
    assert bench.replies == replies
    assert bench.forgotten == forgotten
    assert [length for length, _ in bench.reads] == [length for _, length, _ in requests]


@pytest.mark.parametrize("pauses", [0.0, 0.7])
def test_what_a_unit_finds_wrong_is_answered(pauses):
    kinds = [(BEGIN_LOAD, 8), (LOAD, 4), (INFER, PIXEL_BYTES), (END_LOAD, 28)]
    faults = [fault for _ in kinds for fault in (0, IMAGE_CHECK, 0)]

    async def host(ctx, bench):
        ctx.set(bench.dut.situation, {"loaded": 1, "loading": 1, "outstanding": 0, "pixel_bytes": PIXEL_BYTES})
        for kind, length in kinds:
            for k in range(3):
                await bench.request(ctx, kind, k, length)
        while len(bench.reads) < 12 or not bench.replies or bench.replies[-1][:2] != (END_LOAD, 2):
            await ctx.tick()
    bench = Bench(host, pauses=pauses, faults=faults, seed=3)
    assert bench.replies == [
        reply for kind, _ in kinds for reply in ((kind, 0, 0), (ERROR, 1, IMAGE_CHECK), (kind, 2, 0))
        if reply[0] != INFER]


@pytest.mark.parametrize("pauses", [0.0, 0.7])
def test_the_answer_of_a_picture_goes_before_a_request(pauses):
    async def host(ctx, bench):
        dut = bench.dut
        for k in range(20):
            ctx.set(dut.answer_due, 1)
            ctx.set(dut.answer_whole, k % 3 != 0)
            ctx.set(dut.oldest, 100 + k)
            ctx.set(dut.request.valid, 1)
            ctx.set(dut.request.payload, {"kind": STATUS, "sequence": k, "length": 0, "fault": 0})
            while not ctx.get(dut.reply.valid):
                assert not ctx.get(dut.request.ready)
                await ctx.tick()
            ctx.set(dut.oldest, 0x55)
            answered = 0
            while not answered:
                ports = (dut.answered, dut.reply.valid, dut.reply.ready, dut.request.ready)
                _, _, answered, valid, ready, taken = await ctx.tick().sample(*ports)
                assert answered == (valid and ready) and not taken
            ctx.set(dut.answer_due, 0)
            ctx.set(dut.answer_whole, 0)
            await bench.request(ctx, STATUS, k, 0)
            while len(bench.replies) <= 2 * k + 1:
                await ctx.tick()
    bench = Bench(host, pauses=pauses, seed=4)
    assert [(kind, sequence, kind == ERROR and fault) for kind, sequence, fault in bench.replies] == list(
        itertools.chain(*(((INFER, 100 + k, 0) if k % 3 else (ERROR, 100 + k, LOGITS), (STATUS, k, 0))
                          for k in range(20))))


@pytest.mark.parametrize("stalls_after", [1, 2, 9, 40])
@pytest.mark.parametrize("command, length", [(RESET, 0), (BEGIN_LOAD, 8), (LOAD, 4), (END_LOAD, 28), (INFER, 12)])
def test_a_core_that_does_not_answer_is_given_up(command, length, stalls_after):
    """The order is withdrawn in the cycle after `abandon`; what comes next is carried out. The core is told to forget
    its pictures, once."""
    dut, over, forgotten, abandoned, replies = Dispatcher(), [], [], [], []

    async def watch(ctx):
        cycle = 0
        ports = (dut.forget, dut.abandon, dut.loader.order.valid | dut.pictures.order.valid, dut.reply.valid,
                 dut.reply.payload)
        async for _, _, forget, abandon, order, valid, reply in ctx.tick().sample(*ports):
            if forget:
                forgotten.append(cycle)
                ctx.set(dut.clearing, 1)
            if abandoned and abandoned[-1] == cycle - 1:
                assert not order
            if abandon:
                abandoned.append(cycle)
            if valid:
                replies.append((reply.kind.value, reply.sequence, reply.fault.value))
            cycle += 1

    async def host(ctx):
        ctx.set(dut.reply.ready, 1)
        ctx.set(dut.situation, {"loaded": 1, "loading": 1, "outstanding": 0, "pixel_bytes": PIXEL_BYTES})
        for sequence, (kind, octets) in enumerate([(command, length), (STATUS, 0)]):
            ctx.set(dut.request.payload, {"kind": kind, "sequence": sequence, "length": octets, "fault": 0})
            ctx.set(dut.request.valid, 1)
            ready = False
            while not ready:
                _, _, ready = await ctx.tick().sample(dut.request.ready)
            ctx.set(dut.request.valid, 0)
            if kind == command:
                while not (ctx.get(dut.clearing) or ctx.get(dut.loader.order.valid)
                           or ctx.get(dut.pictures.order.valid)):
                    await ctx.tick()
                await ctx.tick().repeat(stalls_after)
                ctx.set(dut.stalled, 1)
                await ctx.tick()
                ctx.set(dut.stalled, 0)
            while len(replies) <= sequence:
                await ctx.tick()
        over.append(True)
    simulate(dut, watch, host, done=lambda: over, timeout=1000)
    assert replies == [(ERROR, 0, STALLED), (STATUS, 1, 0)]
    assert len(abandoned) == 1 and len(forgotten) == 1


def test_latency():
    """An order in the third cycle after its request, a refusal in the fifth; a payload nobody needs is given up."""
    seen = {}

    async def host(ctx, bench):
        dut = bench.dut
        ctx.set(dut.situation, {"loaded": 1, "loading": 1, "outstanding": 0, "pixel_bytes": PIXEL_BYTES})
        for name, kind, length, port in [
                ("loader", LOAD, 4, dut.loader.order), ("pictures", INFER, PIXEL_BYTES, dut.pictures.order),
                ("status", STATUS, 0, dut.reply), ("refusal", LOAD, 3, dut.reply), ("late", STATUS, 4, dut.reply)]:
            await bench.request(ctx, kind, 0, length)
            seen[name] = 1                                  # the cycle after the one in which it was taken
            while not ctx.get(port.valid):
                await ctx.tick()
                seen[name] += 1
            await ctx.tick().repeat(10)
    bench = Bench(host)
    assert seen == {"loader": 3, "pictures": 3, "status": 5, "refusal": 5, "late": 5}
    assert [cycles for _, cycles in bench.reads] == [5, 5, 2, 3, 2]
