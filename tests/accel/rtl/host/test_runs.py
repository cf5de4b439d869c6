# amaranth: UnusedElaboratable=no
"""Pictures into the SDRAM, a run of them, and its labels, against docs/uart.md, with any pauses on all sides."""
import binascii
import random
import struct

import pytest
from amaranth.lib import data

from accel import isa
from accel.link import Command, Fault, RunState
from accel.rtl.host.runs import Runs
from tests.accel.rtl.host.bench import PayloadSource, carry_out
from tests.accel.streams import Monitor, simulate, sink

WORD, PLACE, COUNT, RUN = 1, 5, 6, 7
SPACE, A_FRAME = 1024, 512                  # labels kept, labels in an answer
LAST_CHUNK = 32767
LENGTH_KNOWN = 3                            # cycles from an order LABELS that is taken to the length of its answer
NO_RUN = {"state": RunState.NONE, "fault": Fault.NONE, "pictures": 0, "waits": 0}


def picture(chance, logits=2):
    """(logits, class, whole) of a picture. Its class is its own here: nobody looks for the largest."""
    return [chance.randrange(-1 << 31, 1 << 31) for _ in range(logits)], chance.randrange(1022), 1


def classes(pictures):
    return [best for _, best, _ in pictures]


def digest(pictures):
    return binascii.crc32(b"".join(struct.pack(f"<{len(logits)}i", *logits) for logits, *_ in pictures))


def words_of(octets):
    return [(WORD, word) for word in struct.unpack(f"<{len(octets) // 2}H", octets)]


def run_words(pictures, pixels, chunks, chunk):
    return [(COUNT, pictures), (COUNT, pixels & 0xFFFF), (COUNT, pixels >> 16), (COUNT, chunks), (RUN, chunk)]


class Bench:
    """host: async function of (ctx, this). coming: pictures that the core answers from now on, one after the other;
    answered: how many have been. A picture that waits for that stands still."""
    def __init__(self, host, *, pauses=0.0, gap=4, seed=0, chunks=3):
        self.dut = dut = Runs()
        self.payload = PayloadSource(dut.octets, dut.left, gap=gap, pauses=pauses, seed=seed)
        self.load, self.labels_port, self._over = Monitor(dut.load), Monitor(dut.labels), False
        self.coming, self.answered, self._pauses, self._chance = [], 0, pauses, random.Random(seed)
        self._chunks = chunks

        async def whole(ctx):
            self.ctx = ctx
            ctx.set(dut.chunks, self._chunks)
            await host(ctx, self)
            self._over = True
        simulate(dut, whole, self._core, self.payload.bench, self.load.watch, self.labels_port.watch,
                 sink(dut.load, pauses=pauses, seed=seed), sink(dut.labels, pauses=pauses, seed=seed + 1),
                 done=lambda: self._over, timeout=60_000)

    async def _core(self, ctx):
        """As a PictureAnswer: logits, then `due` until the answer is taken. `clear` ends it wherever it is."""
        dut, chance = self.dut, self._chance
        while True:
            while not self.coming or chance.random() < self._pauses:
                await ctx.tick()
            logits, best, whole = self.coming.pop(0)
            clear = answered = 0
            for logit in logits:
                for taken in (1, 0, 0, 0):
                    ctx.set(dut.logit, logit if taken else 0x5A5A5A5A)
                    ctx.set(dut.logit_taken, taken and not clear)
                    *_, now = await ctx.tick().sample(dut.clear)
                    clear |= now
            for port, value in ((dut.best, best), (dut.whole, whole), (dut.due, not clear)):
                ctx.set(port, value)
            while not (answered or clear):
                *_, answered, clear = await ctx.tick().sample(dut.answered, dut.clear)
            while not clear and chance.random() < self._pauses:
                assert ctx.get(dut.answered)                # up until `due` falls
                await ctx.tick()
            for port, value in ((dut.best, 0x155), (dut.whole, 0), (dut.due, 0)):
                ctx.set(port, value)
            await ctx.tick()
            self.answered += answered

    async def order(self, command, payload, fault=Fault.NONE):
        self.payload.octets = payload
        assert await carry_out(self.ctx, self.dut.control, command) == fault
        assert fault or not self.payload.octets

    async def store(self, chunk, octets, fault=Fault.NONE):
        await self.order(Command.STORE, struct.pack("<H", chunk) + octets, fault)

    async def run(self, pictures, pixels=9, chunks=1, chunk=3):
        await self.order(Command.RUN, struct.pack("<HIHH", pictures, pixels, chunks, chunk))

    async def labels(self, index):
        """The answer to LABELS."""
        ctx, dut, before = self.ctx, self.dut, len(self.labels_port.payloads)
        await self.order(Command.LABELS, struct.pack("<H", index))
        await ctx.tick().repeat(LENGTH_KNOWN - 1)
        length = ctx.get(dut.labels_length)
        await self.until(lambda: len(self.labels_port.payloads) == before + length)
        octets = self.labels_port.payloads[before:]
        assert [octet >> 8 for octet in octets] == [0] * (length - 1) + [1] * (length > 0)         # last
        assert ctx.get(dut.labels_length) == length
        return list(struct.unpack(f"<{length // 2}H", bytes(octet & 0xFF for octet in octets)))

    async def until(self, done, timeout=20_000):
        for _ in range(timeout):
            if done():
                return
            await self.ctx.tick()
        raise AssertionError("it does not come")

    async def answers(self, pictures):
        """They come, and are taken."""
        self.coming += pictures
        end = self.answered + len(pictures)
        await self.until(lambda: self.answered == end)

    async def end(self):
        """The core comes to the end of its run."""
        self.ctx.set(self.dut.ended, not self.ctx.get(self.dut.ended))
        await self.ctx.tick().repeat(3)

    async def clear(self, *, damaged=0, cycles=5):
        ctx, dut = self.ctx, self.dut
        self.coming.clear()
        ctx.set(dut.damaged, damaged)
        ctx.set(dut.clear, 1)
        await ctx.tick().repeat(cycles)
        ctx.set(dut.clear, 0)
        await ctx.tick()
        ctx.set(dut.damaged, 0)

    def results(self):
        """Without the digest."""
        return {name: self.ctx.get(self.dut.results[name]) for name in ("state", "fault", "pictures", "waits")}

    def digest(self):
        return self.ctx.get(self.dut.results.digest)

    def running(self):
        return self.ctx.get(self.dut.running)

    @property
    def words(self):
        words = map(data.Layout.cast(isa.LoadWord).from_bits, self.load.payloads)
        return [(word.kind.value, word.data) for word in words]


@pytest.mark.parametrize("pauses, gap", [(0.0, 1), (0.0, 4), (0.6, 1)])
def test_bytes_are_stored_from_a_chunk_on(pauses, gap):
    chance = random.Random(1)
    parts = [(3, chance.randbytes(2)), (0x1234, chance.randbytes(600)), (3, chance.randbytes(1024)),
             (LAST_CHUNK, chance.randbytes(8))]

    async def host(ctx, bench):
        for chunk, octets in parts:
            await bench.store(chunk, octets)
            assert bench.results() == NO_RUN and not bench.running()
    bench = Bench(host, pauses=pauses, gap=gap, seed=2)
    assert bench.words == [word for chunk, octets in parts for word in ((PLACE, chunk), *words_of(octets))]


@pytest.mark.parametrize("chunks", [0, 1, 2, 777, 0x4000, LAST_CHUNK])
def test_bytes_begin_behind_the_tape(chunks):
    """In no chunk of it, whichever bit of the number is less."""
    places = {chunks - 1, chunks & chunks - 1, 0, chunks // 2} if chunks else ()

    async def host(ctx, bench):
        for place in sorted(places):
            await bench.store(place, b"ab", Fault.PLACE)
            assert bench.payload.octets == b"ab"
        await bench.store(chunks, b"cd")
        if places:
            await bench.store(chunks - 1, b"ef", Fault.PLACE)
    assert Bench(host, chunks=chunks).words == [(PLACE, chunks), *words_of(b"cd")]


@pytest.mark.parametrize("place, fit, no_more", [
    (LAST_CHUNK, 1024, 1026), (LAST_CHUNK - 1, 2048, 2050), (LAST_CHUNK - 2, 10, 3074), (LAST_CHUNK, 2, 4094)])
def test_bytes_end_in_the_last_chunk(place, fit, no_more):
    """The device's last chunk may be filled; not a byte goes behind it, and none of those that would is taken."""
    octets = random.Random(3).randbytes(no_more)

    async def host(ctx, bench):
        await bench.store(place, octets, Fault.PLACE)
        assert bench.payload.octets == octets
        await bench.store(place, octets[:fit])
    assert Bench(host, gap=1).words == [(PLACE, place), *words_of(octets[:fit])]


@pytest.mark.parametrize("place", [LAST_CHUNK + 1, 0x8003, 0xFFFE, 0xFFFF])
@pytest.mark.parametrize("length", [2, 4094])
def test_a_chunk_that_there_is_not_is_refused(place, length):
    async def host(ctx, bench):
        await bench.store(place, bytes(length), Fault.PLACE)
    assert not Bench(host).words


@pytest.mark.parametrize("pauses", [0.0, 0.5])
@pytest.mark.parametrize("ended", ["before", "behind"])
def test_a_run(pauses, ended):
    """Results from its beginning to its end, which comes when the core has ended and every answer is there, whichever
    is later. A second run begins from nothing."""
    chance = random.Random(4)
    sizes = [(5, 0x1234_5678, 0x8001, 0x7ABC), (1, 3, 1, 4), (3, 0xFFFF_FFFF, 0xFFFF, 0xFFFF)]

    async def host(ctx, bench):
        assert bench.results() == NO_RUN
        for number, size in enumerate(sizes):
            await bench.run(*size)
            assert bench.words[-5:] == run_words(*size) and len(bench.words) == 5 * (number + 1)
            assert bench.running()                          # from the cycle after its order is taken
            pictures = [picture(chance, logits) for logits in (1, 2, 3, 10, 4)[:size[0]]]
            for count, one in enumerate(pictures):
                assert bench.results() == NO_RUN | {"state": RunState.RUNNING, "pictures": count}
                assert bench.digest() == digest(pictures[:count]) and bench.running()
                if ended == "before" and count == len(pictures) - 1:
                    await bench.end()
                    assert bench.results()["state"] == RunState.RUNNING and bench.running()
                await bench.answers([one])
            if ended == "behind":
                await ctx.tick().repeat(20)
                assert bench.results()["state"] == RunState.RUNNING and bench.running()
                await bench.end()
            await ctx.tick().repeat(3)
            assert bench.results() == NO_RUN | {"state": RunState.DONE, "pictures": len(pictures)}
            assert bench.digest() == digest(pictures) and not bench.running()
            assert await bench.labels(0) == classes(pictures)
    Bench(host, pauses=pauses, seed=5)


def test_a_run_of_no_pictures_ends_with_the_core():
    """After one of some pictures, whose results are gone."""
    pictures = [picture(random.Random(6))]

    async def host(ctx, bench):
        await bench.run(1)
        await bench.answers(pictures)
        await bench.end()
        for _ in range(2):
            await bench.run(0, 0, 77, 5)
            await ctx.tick().repeat(50)
            assert bench.results() == NO_RUN | {"state": RunState.RUNNING} and bench.running()
            await bench.end()
            assert bench.results() == NO_RUN | {"state": RunState.DONE} and not bench.running()
            assert bench.digest() == 0
            assert await bench.labels(0) == []
    assert Bench(host).words[5:10] == run_words(0, 0, 77, 5)


def test_a_logit_less_is_another_digest():
    """It is that of all logits, with both of their signs, in all of their bits."""
    pictures = [([logit], 0, 1) for logit in (0, -1, 1, -1 << 31, (1 << 31) - 1, 0x00FF00FF)]

    async def host(ctx, bench):
        await bench.run(len(pictures))
        for count, one in enumerate(pictures):
            assert bench.digest() == digest(pictures[:count])
            await bench.answers([one])
        await bench.end()
        assert bench.digest() == digest(pictures)
    Bench(host)


def test_pictures_of_the_line_are_no_runs():
    """Their answers are left to others, their logits do not count: before a run, and after it."""
    chance = random.Random(7)
    mine, others = [picture(chance)], [picture(chance)]

    async def of_the_line(ctx, bench):
        results = bench.results(), bench.digest()
        bench.coming += others
        for _ in range(60):
            assert not ctx.get(bench.dut.answered) and (bench.results(), bench.digest()) == results
            await ctx.tick()
        assert ctx.get(bench.dut.due)
        await bench.clear()                                 # as RUN clears before it begins

    async def host(ctx, bench):
        await of_the_line(ctx, bench)
        await bench.run(1)
        await bench.answers(mine)
        await bench.end()
        assert bench.digest() == digest(mine)
        assert await bench.labels(0) == classes(mine)
        await of_the_line(ctx, bench)
        assert bench.results()["pictures"] == 1
    Bench(host)


@pytest.mark.parametrize("wait", range(4))
def test_when_an_answer_is_taken(wait):
    """In the cycle after it is due, up to the one in which that is seen to be over; the next one may come at once."""
    dut, over = Runs(), []
    payload = PayloadSource(dut.octets, dut.left)

    async def host(ctx):
        ctx.set(dut.load.ready, 1)
        payload.octets = struct.pack("<HIHH", 9, 9, 1, 3)
        assert await carry_out(ctx, dut.control, Command.RUN) == 0
        seen = []
        for due in ([0] * 3 + [1] * (2 + wait) + [0] * 2) * 3 + [0] * 3:
            ctx.set(dut.due, due)
            ctx.set(dut.whole, due)
            seen.append(ctx.get(dut.answered))
            await ctx.tick()
        assert seen == ([0] * 4 + [1] * (2 + wait) + [0]) * 3 + [0] * 3
        assert ctx.get(dut.results.pictures) == 3
        over.append(True)
    simulate(dut, host, payload.bench, done=lambda: over, timeout=1000)


@pytest.mark.parametrize("pauses", [0.0, 0.6])
def test_labels_from_an_index_on(pauses):
    """Those before it are forgotten, those behind it stay, to be asked for again."""
    pictures = [picture(random.Random(8)) for _ in range(20)]
    labels = classes(pictures)

    async def host(ctx, bench):
        async def refused(index):
            before = len(bench.labels_port.payloads)
            await bench.order(Command.LABELS, struct.pack("<H", index), Fault.ORDER)
            await ctx.tick().repeat(12)
            assert len(bench.labels_port.payloads) == before
        assert await bench.labels(0) == []                  # of no run
        await refused(1)
        await bench.run(20)
        assert await bench.labels(0) == []
        await refused(1)
        await bench.answers(pictures[:12])
        for _ in range(2):                                  # nothing is lost with an answer
            assert await bench.labels(0) == labels[:12]
        for index in (13, 12 | 1 << 8, 12 | 1 << 15, 0xFFFF):
            await refused(index)
        assert await bench.labels(12 - 1) == labels[11:12]
        assert await bench.labels(11) == labels[11:12]
        await refused(10)
        await refused(0)
        assert await bench.labels(12) == []
        await refused(11)
        await refused(13)
        await bench.answers(pictures[12:])
        assert await bench.labels(12) == labels[12:]
        await bench.end()
        assert bench.results()["state"] == RunState.DONE
        assert await bench.labels(13) == labels[13:]        # the end of a run leaves them
        assert await bench.labels(19) == labels[19:]
        await refused(18)
        assert await bench.labels(20) == []
        await refused(21)
        await bench.run(20)
        await refused(1)
        await bench.answers(pictures[5:7])
        assert await bench.labels(0) == labels[5:7]         # of this run
    Bench(host, pauses=pauses, seed=9)


def test_an_answer_has_room_for_so_many_labels():
    """The others come with the next ones."""
    pictures = [picture(random.Random(10), logits=1) for _ in range(A_FRAME + 3)]
    labels = classes(pictures)

    async def host(ctx, bench):
        await bench.run(len(pictures))
        await bench.answers(pictures[:A_FRAME - 1])
        assert await bench.labels(0) == labels[:A_FRAME - 1]
        for count in (A_FRAME, A_FRAME + 3):
            await bench.answers(pictures[bench.answered:count])
            assert await bench.labels(0) == labels[:A_FRAME]
        for index in (3, 4):
            assert await bench.labels(index) == labels[index:index + A_FRAME]
        assert await bench.labels(A_FRAME) == labels[A_FRAME:]
    Bench(host)


@pytest.mark.parametrize("pauses", [0.0, 0.5])
def test_labels_are_fetched_while_others_come(pauses):
    """Each answer has as many as there were when it began, or came while it did; none twice, none left out."""
    chance = random.Random(11)
    pictures = [picture(chance, logits=1) for _ in range(300)]
    labels = classes(pictures)

    async def host(ctx, bench):
        await bench.run(len(pictures))
        bench.coming += pictures
        index, parts = 0, 0
        while index < len(labels):
            least = bench.results()["pictures"]
            part = await bench.labels(index)
            assert part == labels[index:index + len(part)]
            assert least - index <= len(part) <= bench.results()["pictures"] - index
            index, parts = index + len(part), parts + 1
            await ctx.tick().repeat(chance.randrange(60))
        await bench.end()
        assert parts > 8 and bench.results() == NO_RUN | {"state": RunState.DONE, "pictures": len(labels)}
        assert bench.digest() == digest(pictures)
    Bench(host, pauses=pauses, seed=12)


def test_a_run_waits_for_room_for_labels():
    """Of more pictures than there is room for; each that had to wait counts once, however long it did."""
    chance = random.Random(13)
    pictures = [picture(chance, logits=1) for _ in range(SPACE + 5)]
    labels = classes(pictures)

    async def host(ctx, bench):
        async def stands(waits):
            """The next picture is due, and is not taken."""
            await bench.until(lambda: bench.answered == len(labels) - left and ctx.get(bench.dut.due))
            for _ in range(30):
                await ctx.tick()
                assert ctx.get(bench.dut.due) and not ctx.get(bench.dut.answered)
            assert bench.results() == NO_RUN | {
                "state": RunState.RUNNING, "pictures": len(labels) - left, "waits": waits}
        await bench.run(len(pictures))
        await bench.answers(pictures[:SPACE])
        assert bench.results() == NO_RUN | {"state": RunState.RUNNING, "pictures": SPACE}
        bench.coming += pictures[SPACE:]
        left = 5
        await stands(1)
        assert await bench.labels(0) == labels[:A_FRAME]    # makes no room
        await stands(1)
        assert await bench.labels(1) == labels[1:1 + A_FRAME]
        left = 4
        await stands(2)
        assert await bench.labels(4) == labels[4:4 + A_FRAME]
        left = 1
        await stands(3)
        assert await bench.labels(900) == labels[900:SPACE + 4]         # across the end of the memory
        await bench.until(lambda: bench.answered == len(labels))
        await bench.end()
        results = {"state": RunState.DONE, "pictures": len(labels), "waits": 3}
        assert bench.results() == NO_RUN | results and bench.digest() == digest(pictures)
        assert await bench.labels(SPACE - 1) == labels[SPACE - 1:]
        await bench.run(1)                                  # from nothing
        assert bench.results() == NO_RUN | {"state": RunState.RUNNING}
        await bench.answers(pictures[:1])
        await bench.end()
        assert bench.results() == NO_RUN | {"state": RunState.DONE, "pictures": 1}
    Bench(host, gap=1)


def test_without_room_an_answer_that_is_not_whole_fails_at_once():
    """It needs none."""
    chance = random.Random(14)

    async def host(ctx, bench):
        await bench.run(SPACE + 1)
        await bench.answers([picture(chance, logits=0) for _ in range(SPACE)])
        await bench.answers([([], 5, 0)])
        assert bench.results() == {
            "state": RunState.FAILED, "fault": Fault.LOGITS, "pictures": SPACE, "waits": 0}
    Bench(host)


@pytest.mark.parametrize("damaged", [0, 1])
@pytest.mark.parametrize("before", [0, 3])
def test_an_answer_that_is_not_whole_fails_the_run(before, damaged):
    """Those behind it are taken, and nothing becomes of them; it goes on until it is given up, and the reason stays
    until the next one begins."""
    chance = random.Random(15)
    pictures = [picture(chance) for _ in range(before)]
    failed = {"state": RunState.FAILED, "fault": Fault.LOGITS, "pictures": before, "waits": 0}

    async def host(ctx, bench):
        await bench.run(before + 2)
        await bench.answers(pictures)
        await bench.answers([([1, 2, 3], 4, 0)])
        assert bench.results() == failed and bench.running()
        await bench.answers([picture(chance) for _ in range(3)])
        await bench.end()
        await ctx.tick().repeat(20)
        assert bench.results() == failed and bench.running()
        assert await bench.labels(0) == classes(pictures)
        await bench.clear(damaged=damaged)
        assert bench.results() == failed and not bench.running()
        await bench.clear(damaged=damaged)
        assert bench.results() == failed
        await bench.run(1)
        assert bench.results() == NO_RUN | {"state": RunState.RUNNING} and bench.running()
        await bench.answers([picture(chance)])
        await bench.end()
        assert bench.results() == NO_RUN | {"state": RunState.DONE, "pictures": 1}
    Bench(host)


@pytest.mark.parametrize("damaged", [0, 1])
@pytest.mark.parametrize("after", [*range(24), 150])
def test_a_run_that_is_given_up_in_any_cycle(after, damaged):
    """It is none, or has failed where the net is damaged. The next one is as if it had not been."""
    chance = random.Random(16)
    pictures, others = [picture(chance) for _ in range(3)], [picture(chance) for _ in range(2)]

    async def host(ctx, bench):
        await bench.run(9)
        bench.coming += pictures
        for _ in range(after):
            await ctx.tick()
        await bench.clear(damaged=damaged)
        results = bench.results()
        assert (results["state"], results["fault"]) == (
            (RunState.FAILED, Fault.DAMAGED) if damaged else (RunState.NONE, Fault.NONE))
        assert not bench.running() and not ctx.get(bench.dut.answered)
        await ctx.tick().repeat(40)                         # what the core was at is over
        assert not bench.running()
        await bench.run(2)
        assert bench.results() == NO_RUN | {"state": RunState.RUNNING}
        await bench.answers(others)
        await bench.end()
        assert bench.results() == NO_RUN | {"state": RunState.DONE, "pictures": 2}
        assert bench.digest() == digest(others)
        assert await bench.labels(0) == classes(others)
    Bench(host)


@pytest.mark.parametrize("damaged", [0, 1])
def test_what_a_run_gave_is_forgotten_by_the_next_clear(damaged):
    """A net that is found to be damaged after the end of a run did it no harm."""
    async def host(ctx, bench):
        await bench.clear(damaged=damaged)
        assert bench.results() == NO_RUN
        await bench.run(1)
        await bench.answers([picture(random.Random(17))])
        await bench.end()
        assert bench.results()["state"] == RunState.DONE
        await bench.clear(damaged=damaged)
        assert bench.results()["state"] == RunState.NONE and bench.results()["fault"] == Fault.NONE
    Bench(host)


def test_a_net_that_was_damaged_stays_the_reason():
    async def host(ctx, bench):
        await bench.run(1)
        await bench.clear(damaged=1)
        for _ in range(2):
            await bench.clear()
            assert bench.results() == NO_RUN | {"state": RunState.FAILED, "fault": Fault.DAMAGED}
    Bench(host)


@pytest.mark.parametrize("ended", [0, 1])
def test_the_end_of_a_run_before_is_not_that_of_this_one(ended):
    """`ended` changes, and is whatever it was when a run begins: also one that nobody waited for."""
    async def host(ctx, bench):
        await bench.run(1)
        await bench.clear()
        if ended:
            await bench.end()
        await bench.run(1)
        await bench.answers([picture(random.Random(18))])
        await ctx.tick().repeat(20)
        assert bench.results() == NO_RUN | {"state": RunState.RUNNING, "pictures": 1}
        await bench.end()
        assert bench.results() == NO_RUN | {"state": RunState.DONE, "pictures": 1}
    Bench(host)


PAYLOADS = {Command.STORE: struct.pack("<H", 3) + b"abcdefgh", Command.RUN: struct.pack("<HIHH", 1, 2, 1, 3)}
WORDS = {Command.STORE: [(PLACE, 3), *words_of(b"abcdefgh")], Command.RUN: run_words(1, 2, 1, 3)}


@pytest.mark.parametrize("command", PAYLOADS)
@pytest.mark.parametrize("taken", range(5))
def test_an_order_that_is_given_up(command, taken):
    """In a cycle in which the core does not take a word: it is offered no more, no run begins, and the next order is
    carried out from its beginning."""
    dut, over, words, give_up = Runs(), [], [], []
    payload = PayloadSource(dut.octets, dut.left)

    async def core(ctx):
        port = dut.load
        async for _, _, valid, ready, word in ctx.tick().sample(port.valid, port.ready, port.payload):
            if valid and ready:
                words.append((word.kind.value, word.data))
            ctx.set(port.ready, bool(give_up) or len(words) < taken)

    async def host(ctx):
        ctx.set(dut.chunks, 3)
        ctx.set(dut.load.ready, taken > 0)
        payload.octets = PAYLOADS[command]
        ctx.set(dut.control.order.payload, {"command": command})
        ctx.set(dut.control.order.valid, 1)
        await ctx.tick().repeat(100)
        assert ctx.get(dut.load.valid) and not ctx.get(dut.load.ready) and words == WORDS[command][:taken]
        ctx.set(dut.abandon, 1)
        await ctx.tick()
        ctx.set(dut.abandon, 0)
        ctx.set(dut.control.order.valid, 0)
        give_up.append(True)
        for _ in range(20):
            assert not ctx.get(dut.load.valid) and not ctx.get(dut.octets.ready) and not ctx.get(dut.running)
            await ctx.tick()
        assert ctx.get(dut.results.state) == RunState.NONE
        words.clear()
        for again in (command, *PAYLOADS):
            payload.octets = PAYLOADS[again]
            assert await carry_out(ctx, dut.control, again) == 0
        assert words == [word for again in (command, *PAYLOADS) for word in WORDS[again]] and ctx.get(dut.running)
        over.append(True)
    simulate(dut, core, host, payload.bench, done=lambda: over, timeout=2000)


def test_a_word_takes_8_cycles_from_a_reader_of_payloads():
    async def host(ctx, bench):
        await bench.store(3, bytes(40))
    cycles = Bench(host).load.cycles[1:]
    assert [b - a for a, b in zip(cycles, cycles[1:], strict=False)] == [8] * 19


def test_a_label_takes_4_cycles():
    """Both of its bytes one after the other, once they have been read."""
    async def host(ctx, bench):
        await bench.run(6)
        await bench.answers([picture(random.Random(19)) for _ in range(6)])
        await bench.labels(0)
    cycles = Bench(host).labels_port.cycles
    assert [cycle - cycles[0] for cycle in cycles] == [4 * label + octet for label in range(6) for octet in (0, 1)]
