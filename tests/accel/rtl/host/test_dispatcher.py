# amaranth: UnusedElaboratable=no
"""What becomes of a request, against the rules of docs/uart.md written down as one function."""
import itertools
import random

import pytest

from accel.rtl.host.dispatcher import Dispatcher
from tests.accel.streams import Monitor, simulate

INFO, STATUS, RESET, BEGIN_LOAD, LOAD, END_LOAD, MEMORY_TEST = 0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13
STORE, RUN, RESULTS, LABELS, INFER, PIXELS, ERROR = 0x14, 0x15, 0x16, 0x17, 0x20, 0x21, 0x7F
LENGTH, COMMAND, BUSY, NOT_LOADED, ORDER, IMAGE_CHECK, LOGITS, STALLED = 3, 6, 7, 8, 10, 11, 14, 15
DAMAGED, NO_MEMORY = 16, 17
MISSING = 12
LENGTHS = (0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 4095, 4096)
READY = {"loaded": 1, "batch": 1, "loading": 1, "complete": 1, "memory": 1, "missing": MISSING}


def verdict(kind, length, fault, now):
    """A fault, or who carries the command out ("" where nobody has to). now: fields of the situation."""
    if fault:
        return fault
    if kind in (INFO, STATUS, RESET):
        return LENGTH if length else ""
    if kind in (BEGIN_LOAD, MEMORY_TEST):
        if kind == MEMORY_TEST and not now["memory"]:
            return NO_MEMORY
        if now["outstanding"] or now["running"] or now["testing"]:
            return BUSY
        return "loader" if length == {BEGIN_LOAD: 20, MEMORY_TEST: 2}[kind] else LENGTH
    if kind == LOAD:
        return ORDER if not now["loading"] else "loader" if length >= 6 and length % 2 == 0 else LENGTH
    if kind == END_LOAD:
        if not now["loading"]:
            return ORDER
        return LENGTH if length != 18 else "loader" if now["complete"] else ORDER
    if kind in (STORE, RUN):
        if not now["memory"]:
            return NO_MEMORY
        if now["damaged"] and not now["loading"]:
            return DAMAGED
        if not now["loaded"]:
            return NOT_LOADED
        if now["outstanding"] or now["running"]:
            return BUSY
        return "runs" if length == 10 or kind == STORE and length > 2 and length % 2 == 0 else LENGTH
    if kind in (RESULTS, LABELS):
        if not now["memory"]:
            return NO_MEMORY
        if kind == RESULTS:
            return LENGTH if length else ""
        return "runs" if length == 2 else LENGTH
    if kind in (INFER, PIXELS):
        if now["damaged"] and not now["loading"]:
            return DAMAGED
        if not now["loaded"]:
            return NOT_LOADED
        fits = length == MISSING if kind == INFER else 2 < length < 2 + MISSING
        return LENGTH if not fits else BUSY if now["running"] or now["outstanding"] > now["batch"] else "pictures"
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
@pytest.mark.parametrize("seed", range(12))
def test_every_command_in_every_situation(seed, pauses):
    """But one: a net that is loaded and damaged, which is the next tests'."""
    chance = random.Random(seed)
    now = {name: chance.randrange(2) for name in ("loading", "complete", "damaged", "testing", "memory", "running")}
    now |= {"loaded": seed % 2 and not now["damaged"], "outstanding": seed % 3, "missing": MISSING}
    now |= {"batch": chance.choice((1, 1, 2, 63)), "running": now["running"] and seed % 4 == 3}
    kinds = (INFO, STATUS, RESET, BEGIN_LOAD, LOAD, END_LOAD, MEMORY_TEST, STORE, RUN, RESULTS, LABELS, INFER,
             PIXELS, 0x00, 0x04, 0x18, 0x22, ERROR,
             0x81, 0xFF)
    requests = [(kind, length, 0) for kind in kinds for length in LENGTHS]
    requests += [(kind, length, fault) for kind in kinds for length in (0, 8) for fault in (1, 2, 3, 4, 5)]
    requests = random.Random(1).sample(requests, len(requests) // (4 if pauses else 2))
    orders, replies, forgotten = [], [], []
    for k, (kind, length, fault) in enumerate(requests):
        decided = verdict(kind, length, fault, now)
        if kind in (RESET, BEGIN_LOAD, MEMORY_TEST, RUN) and not isinstance(decided, int):
            forgotten.append(len(orders))                   # before the order, if there is one
        if isinstance(decided, int):
            replies.append((ERROR, k % 256, decided))
        else:
            if decided:
                orders.append((decided, kind, k % 256))
            if kind != INFER:
                replies.append((kind, k % 256, 0))

    async def host(ctx, bench):
        ctx.set(bench.dut.situation, now)
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
    kinds = [(BEGIN_LOAD, 20), (LOAD, 6), (INFER, MISSING), (PIXELS, 3), (END_LOAD, 18)]
    faults = [fault for _ in kinds for fault in (0, IMAGE_CHECK, 0)]

    async def host(ctx, bench):
        ctx.set(bench.dut.situation, READY)
        for kind, length in kinds:
            for k in range(3):
                await bench.request(ctx, kind, k, length)
        while len(bench.reads) < 15 or not bench.replies or bench.replies[-1][:2] != (END_LOAD, 2):
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
                ports = (dut.answered, dut.classified, dut.reply.valid, dut.reply.ready, dut.request.ready)
                _, _, answered, classified, valid, ready, taken = await ctx.tick().sample(*ports)
                assert answered == (valid and ready) and not taken
            assert classified == (k % 3 != 0)
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
@pytest.mark.parametrize("command, length", [
    (RESET, 0), (BEGIN_LOAD, 20), (LOAD, 6), (END_LOAD, 18), (MEMORY_TEST, 2), (INFER, 12), (PIXELS, 5)])
def test_a_core_that_does_not_answer_is_given_up(command, length, stalls_after):
    """The order is withdrawn in the cycle after `abandon`; what comes next is carried out. The core is told to forget
    its pictures, once."""
    dut, over, forgotten, abandoned, dropped, replies = Dispatcher(), [], [], [], [], []

    async def watch(ctx):
        cycle = 0
        ports = (dut.forget, dut.abandon, dut.drop, dut.loader.order.valid | dut.pictures.order.valid, dut.reply.valid,
                 dut.reply.payload)
        async for _, _, forget, abandon, drop, order, valid, reply in ctx.tick().sample(*ports):
            if drop:
                dropped.append(cycle)
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
        ctx.set(dut.situation, READY)
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
    assert len(abandoned) == 1 and len(forgotten) == 1 and dropped == abandoned


class Lost:
    """Pictures up to number 71 are outstanding when the core finds its tape damaged; `due`: it says all the time that
    it has an answer. A request comes at the same time, or, if `late`, the damage `late` cycles after it was taken.

    replies: (kind, sequence, fault). events: names, in their order.
    """
    def __init__(self, outstanding, request, *, late=0, due=0, pauses=0.0):
        self.dut = dut = Dispatcher()
        self.replies, self.events, self._chance = [], [], random.Random(outstanding)
        self._outstanding, self._loaded, self._over = outstanding, 1, False
        self._request, self._late, self._due, self._pauses = request, late, due, pauses
        simulate(dut, self._host, self._surroundings, Monitor(dut.reply).watch, done=lambda: self._over, timeout=3000)

    def _situation(self, ctx, damaged):
        ctx.set(self.dut.situation, {"loaded": self._loaded, "batch": 1, "damaged": damaged,
                                         "outstanding": self._outstanding,
                                     "missing": MISSING, "memory": 1})
        ctx.set(self.dut.oldest, 72 - self._outstanding)

    async def _host(self, ctx):
        dut, (kind, length) = self.dut, self._request
        self._situation(ctx, damaged=not self._late)
        ctx.set(dut.request.payload, {"kind": kind, "sequence": 9, "length": length})
        ctx.set(dut.request.valid, 1)
        ready = False
        while not ready:
            _, _, ready = await ctx.tick().sample(dut.request.ready)
        self.events.append("request")
        ctx.set(dut.request.valid, 0)
        if self._late:
            await ctx.tick().repeat(self._late)
            self._situation(ctx, damaged=1)
        await ctx.tick().repeat(300)
        self._over = True

    async def _surroundings(self, ctx):
        """The queue of pictures, the net that is dropped, the core."""
        dut, reply = self.dut, self.dut.reply
        clearing = 0
        while True:
            ctx.set(reply.ready, self._chance.random() >= self._pauses)
            names = ("answered", "classified", "abandon", "drop", "forget")
            ports = (getattr(dut, name) for name in names)
            _, _, valid, ready, word, *values = await ctx.tick().sample(reply.valid, reply.ready, reply.payload, *ports)
            seen = {name for name, value in zip(names, values, strict=True) if value}
            self.events += sorted(seen - {"classified"})
            if valid and ready:
                self.replies.append((word.kind.value, word.sequence, word.fault.value))
            if "answered" in seen:
                assert "classified" not in seen
                self._outstanding -= 1
            if "drop" in seen:
                self._loaded = 0
            clearing = 9 if "forget" in seen else max(clearing - 1, 0)
            ctx.set(dut.clearing, clearing > 0)
            ctx.set(dut.answer_due, self._due and (self._outstanding > 0 or clearing > 0) and bool(self.events))
            ctx.set(dut.answer_whole, self._due)
            if seen & {"answered", "drop"}:
                self._situation(ctx, damaged=1)


@pytest.mark.parametrize("pauses", [0.0, 0.7])
@pytest.mark.parametrize("due", [0, 1])
@pytest.mark.parametrize("outstanding", [0, 1, 2])
def test_pictures_of_a_damaged_net_are_answered_so_and_the_net_is_gone(outstanding, due, pauses):
    """Whatever the core says meanwhile is no answer; a request waits until all is told."""
    lost = Lost(outstanding, (INFER, MISSING), due=due, pauses=pauses)
    told = [(ERROR, 72 - left, DAMAGED) for left in range(outstanding, 0, -1)]
    assert lost.replies == [*told, (ERROR, 9, DAMAGED)]
    assert lost.events == ["answered"] * outstanding + ["drop", "forget", "request"]


@pytest.mark.parametrize("late", [3, 4, 20])
@pytest.mark.parametrize("outstanding", [0, 1])
def test_a_command_that_waits_for_a_damaged_net_is_given_up(outstanding, late):
    """A part of a picture with an answer of its own; an INFER is one of the pictures on their way by then."""
    told = [(ERROR, 72 - left, DAMAGED) for left in range(outstanding, 0, -1)]
    for request, answer in (((PIXELS, 5), [(ERROR, 9, DAMAGED)]), ((INFER, MISSING), [])):
        lost = Lost(outstanding, request, late=late)
        assert lost.replies == [*answer, *told]
        assert lost.events == ["request", "abandon", *["answered"] * outstanding, "drop", "forget"]


def test_latency():
    """An order in the third cycle after its request, a refusal in the fifth; a payload nobody needs is given up."""
    seen = {}

    async def host(ctx, bench):
        dut = bench.dut
        ctx.set(dut.situation, READY)
        for name, kind, length, port in [
                ("loader", LOAD, 6, dut.loader.order), ("pictures", INFER, MISSING, dut.pictures.order),
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
