"""The SDRAM between the tape and the pictures in it: lent where nothing is computed; no picture is slower for it."""
import binascii

import numpy as np
import pytest
from amaranth.sim import Simulator

from accel import timing
from accel.isa import LoadKind
from accel.rtl.tape.player import TapePlayer
from sim.sdram_chip import COMMANDS, SdramChip
from tests.accel.rtl.tape.programs import random_tape
from tests.accel.rtl.tape.test_loaded_tape import load_stream
from tests.accel.rtl.tape.test_player import CONFIG, PAYLOAD, SLOTS, TIMING, cycles_of_words, quicken
from tests.accel.streams import put

BANKS, COLUMNS = 4, 512
FIRST = 0x1230                              # chunk of the first picture
MANY = 1000                                 # pictures of a run whose end is not looked at
TIMEOUT, END = 12_000, 100_000              # cycles of a wait, and of a test, at most


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    quicken(monkeypatch)


class Found(Exception):
    pass


class Bench:
    """A player that has loaded chunks of a tape, its SDRAM, and a core in the hands of `test`, an async function of the
    bench.

    commands: (cycle, name, bank, address) at the SDRAM's port. reads: (cycle, chunk) of the ACTIVATEs. words, pixels:
    (cycle, payload) of those taken. gate: pixels that may be taken in all. go: cycle of the last picture's.
    """
    def __init__(self, test, *, chunks, resident=False):
        self.dut, self.chip, self.chunks = TapePlayer(CONFIG), SdramChip(TIMING), chunks
        self.commands, self.reads, self.words, self.pixels = [], [], [], []
        self.cycle, self.gate, self.rewinds = 0, 1 << 30, 0
        for number, chunk in enumerate(chunks):             # where the player would write them
            self.chip.row(number)[:] = chunk

        async def main(ctx):
            self.ctx = ctx
            await self._load(resident)
            await test(self)
            assert ctx.get(self.dut.whole) and not ctx.get(self.dut.damaged)
        simulator = Simulator(self.dut)
        simulator.add_clock(1e-8)
        simulator.add_process(self.chip.process(self.dut.sdram))
        for bench in (self._watch, self._take_pixels):
            simulator.add_testbench(bench, background=True)
        simulator.add_testbench(main)
        simulator.run()

    async def _watch(self, ctx):
        dut, port = self.dut, self.dut.sdram
        async for _, _, ras_n, cas_n, we_n, bank, address, valid, ready, word, rewind in ctx.tick().sample(
                port.ras_n, port.cas_n, port.we_n, port.bank, port.address, dut.words.valid, dut.words.ready,
                dut.words.p.word, dut.rewind):
            name = COMMANDS[ras_n, cas_n, we_n]
            if name != "NOP":
                self.commands.append((self.cycle, name, bank, address))
            if name == "ACTIVATE":
                self.reads.append((self.cycle, address * BANKS + bank))
            if valid and ready:
                self.words.append((self.cycle, word))
            self.rewinds += rewind
            self.cycle += 1
            assert self.cycle < END

    async def _take_pixels(self, ctx):
        port = self.dut.pixels
        while True:
            ctx.set(port.ready, len(self.pixels) < self.gate)
            _, _, valid, ready, pixel = await ctx.tick().sample(port.valid, port.ready, port.payload.as_value())
            if valid and ready:
                self.pixels.append((self.cycle, pixel))

    async def _load(self, resident):
        ctx, dut = self.ctx, self.dut
        begin, *_, low, high, (_, play) = load_stream(self.chunks)
        for kind, word in (begin, low, high, (LoadKind.PLAY, play & 0x7FFF | resident << 15)):
            await put(ctx, dut.load, {"kind": kind, "data": word})
        ctx.set(dut.waiting, not resident)
        if resident:
            await self.take(len(self.chunks) * PAYLOAD)
        await self.until(lambda: ctx.get(dut.whole))
        await self.wait(40)

    async def wait(self, cycles):
        for _ in range(cycles):
            await self.ctx.tick()

    async def until(self, done):
        for _ in range(TIMEOUT):
            if done():
                return
            await self.ctx.tick()
        raise AssertionError("it does not come")

    async def begin_run(self, pixels, chunks, *, pictures=MANY, chunk=FIRST):
        for word in (pictures, pixels & 0xFFFF, pixels >> 16, chunks):
            await put(self.ctx, self.dut.load, {"kind": LoadKind.COUNT, "data": word})
        await put(self.ctx, self.dut.load, {"kind": LoadKind.RUN, "data": chunk})

    async def start(self):
        """A picture, as soon as it may."""
        ctx, dut = self.ctx, self.dut
        ctx.set(dut.ask, 1)
        await self.until(lambda: ctx.get(dut.go))
        self.go = self.cycle
        await ctx.tick()
        ctx.set(dut.ask, 0)
        ctx.set(dut.busy, 1)
        ctx.set(dut.computing, 1)

    async def take(self, count):
        """So many words into the rings, one a cycle."""
        ctx, dut = self.ctx, self.dut
        end = len(self.words) + count
        ctx.set(dut.waiting, 0)
        ctx.set(dut.words.ready, 1)
        while len(self.words) < end:
            ctx.set(dut.ended, ctx.get(dut.words.valid) and ctx.get(dut.words.p.last))
            await ctx.tick()
        ctx.set(dut.words.ready, 0)
        ctx.set(dut.ended, 0)
        ctx.set(dut.waiting, not ctx.get(dut.resident))

    def computed(self, *, busy=0):
        """The picture is; busy: its program waits for the next one."""
        self.ctx.set(self.dut.computing, 0)
        self.ctx.set(self.dut.busy, busy)

    def of_pictures(self):
        """(cycle, chunk) of the ACTIVATEs for them."""
        return [(cycle, chunk) for cycle, chunk in self.reads if chunk >= FIRST]

    def check_pixels(self, chunk=FIRST, since=0):
        count = len(self.pixels) - since
        chunks = -(-3 * count // (2 * COLUMNS))
        octets = b"".join(self.chip.row(chunk + k).astype("<u2").tobytes() for k in range(chunks))
        assert [pixel for _, pixel in self.pixels[since:]] == [
            int.from_bytes(octets[at:at + 3], "little") for at in range(0, 3 * count, 3)]

    def check_words(self, since=0):
        """They are those of the tape, round and round."""
        tape = [int(word) for word in self.chunks[:, :PAYLOAD].reshape(-1)]
        words = [word for _, word in self.words[since:]]
        assert words == (tape * (len(words) // len(tape) + 1))[:len(words)]


def frees(chunk):
    """Pixels after which the reader has used up `chunk` chunks of a run, but for two pixels."""
    return 2 * (COLUMNS * chunk - 1) // 3 - 2


def lasts(cycle):
    """The last word of a chunk, at the reader, whose row is opened at the port in `cycle`."""
    return cycle + TIMING.rcd + COLUMNS - 1 + timing.SDRAM_WORD


@pytest.mark.parametrize("busy", [0, 1])
def test_the_sdram_is_lent_while_nothing_is_computed(busy):
    """Before the first picture; not while one is computed, though its words are all there and the SDRAM has nothing to
    do; but where the program waits for the next one."""
    async def test(bench):
        bench.gate = 0
        await bench.begin_run(341 * 7, 7)
        await bench.until(lambda: len(bench.of_pictures()) == SLOTS)
        await bench.wait(600)
        await bench.start()
        bench.gate = frees(2) + 10                          # two chunks are used up
        await bench.until(lambda: len(bench.pixels) == bench.gate)
        await bench.wait(1500)
        assert [chunk for _, chunk in bench.of_pictures()] == [FIRST + k for k in range(SLOTS)]
        bench.computed(busy=busy)
        await bench.until(lambda: len(bench.of_pictures()) == SLOTS + 2)
        bench.gate = 341 * 7
        await bench.until(lambda: len(bench.pixels) == bench.gate)
        await bench.start()
        await bench.take(3 * PAYLOAD)
        bench.computed()
        assert [chunk for _, chunk in bench.of_pictures()] == [FIRST + k for k in range(7)]
        bench.check_pixels()
        bench.check_words()
    Bench(test, chunks=random_tape(CONFIG, 3, 0).chunks)


@pytest.mark.parametrize("taken", [100, PAYLOAD, 2 * PAYLOAD - 1])
def test_a_chunk_of_the_tape_goes_before_one_of_pictures(taken):
    """Words that the rings took while a picture was computed are there again before the SDRAM is lent: it is not while
    chunks are to come, or the rings have room."""
    async def test(bench):
        bench.gate = 0
        await bench.begin_run(341 * 7, 7)
        await bench.until(lambda: len(bench.of_pictures()) == SLOTS)
        await bench.wait(600)
        await bench.start()
        bench.gate = frees(1) + 10
        await bench.until(lambda: len(bench.pixels) == bench.gate)
        await bench.take(taken)
        bench.ctx.set(bench.dut.waiting, 0)                 # still room
        bench.computed(busy=1)
        await bench.wait(1500)
        assert len(bench.of_pictures()) == SLOTS
        bench.ctx.set(bench.dut.waiting, 1)
        await bench.until(lambda: len(bench.of_pictures()) == SLOTS + 1)
        (lent, _), own = bench.of_pictures()[-1], [cycle for cycle, chunk in bench.reads if chunk < FIRST]
        assert sum(cycle > bench.go for cycle in own) == taken // PAYLOAD
        assert lent > lasts(own[-1])
        bench.check_words()
    Bench(test, chunks=random_tape(CONFIG, 3, 10).chunks)


@pytest.mark.parametrize("busy, offsets", [(0, range(-44, 6, 2)), (1, range(-43, 6, 2)), (1, range(10, 600, 97))])
def test_no_picture_starts_in_a_loan_and_none_takes_longer_for_it(busy, offsets):
    """Wherever it would start: so many cycles after the pixels on whose way the reader asks for a chunk. It starts
    before the loan, which comes then when it has been computed, or behind it. What the SDRAM does from `go` on, and
    when words come, is the same for all, to the cycle. busy: whether the program waits for its next picture."""
    computed = PAYLOAD + 40                                 # a cycle of the picture; its chunk is still being read

    async def test(bench):
        ctx, starts = bench.ctx, []

        async def picture():
            await bench.start()
            starts.append(bench.go)
            await bench.take(PAYLOAD)
            await bench.until(lambda: bench.cycle == bench.go + computed)
            bench.computed(busy=busy)
        await picture()                                     # one without pictures in the SDRAM
        await bench.wait(1200)
        bench.gate = frees(1)
        await bench.begin_run(30_000, 60)
        await bench.until(lambda: len(bench.of_pictures()) == SLOTS)
        for number, offset in enumerate(offsets):
            await bench.until(lambda: len(bench.pixels) == bench.gate)
            await bench.until(lambda: lasts(bench.reads[-1][0]) + 60 < bench.cycle)
            following = frees(2 + number)
            if offset < 0:
                ctx.set(bench.dut.ask, 1)
                for _ in range(-offset):
                    if ctx.get(bench.dut.go):
                        break
                    await ctx.tick()
                bench.gate = following
            else:
                bench.gate = following
                await bench.wait(offset)
            await picture()
            await bench.until(lambda number=number: len(bench.of_pictures()) == SLOTS + 1 + number)
        await bench.wait(COLUMNS)

        loans = [(cycle, lasts(cycle)) for cycle, _ in bench.of_pictures()]
        for go in starts:
            assert not any(first - TIMING.rcd <= go <= last for first, last in loans)
            assert not any(go <= first <= go + computed for first, _ in loans)
        before = {go < first for go, (first, _) in zip(starts[1:], loans[SLOTS:], strict=True)}
        assert before == ({False} if offsets[0] > 0 else {False, True})
        ends = computed + COLUMNS - 20                      # just before its chunk has come, and a loan may begin
        traces = [[(cycle - go, *command) for cycle, *command in bench.commands if go <= cycle < go + ends]
                  for go in starts]
        words = [[cycle - go for cycle, _ in bench.words if go <= cycle < go + ends] for go in starts]
        assert sum(name == "READ" for _, name, *_ in traces[0]) > 400
        assert all(trace == traces[0] for trace in traces)
        assert all(cycles == list(range(1, PAYLOAD + 1)) for cycles in words)
        bench.check_pixels()
        bench.check_words()
    Bench(test, chunks=random_tape(CONFIG, 3, 0).chunks)


def test_pictures_of_a_longer_tape_take_as_long_with_loans_as_without():
    """By the schedule of the SDRAM; loans before, behind, and between two pictures of a batch."""
    chunks = random_tape(CONFIG, 4, 12).chunks
    count = 6 * PAYLOAD

    async def test(bench):
        expected = cycles_of_words(6, lambda cycle: cycle >= 1)
        bench.gate = frees(1)
        for number in range(3):
            if number == 1:
                await bench.begin_run(341 * 12, 12)
                await bench.until(lambda: len(bench.of_pictures()) == SLOTS)
                bench.gate = frees(3)
                await bench.until(lambda: len(bench.of_pictures()) == SLOTS + 1)
            await bench.start()
            if number:
                assert not any(cycle - 1 <= bench.go <= lasts(cycle) for cycle, _ in bench.of_pictures())
            since = len(bench.words)
            bench.gate = frees(5 + number)                  # while it is computed
            await bench.take(count)
            assert [cycle - bench.go for cycle, _ in bench.words[since:]] == expected
            bench.computed(busy=number == 1)
        bench.check_pixels()
        bench.check_words()
    Bench(test, chunks=chunks)


def test_a_resident_net_lends_at_any_time():
    """Nothing of it is read."""
    async def test(bench):
        ctx, dut = bench.ctx, bench.dut
        for busy in (0, 1):
            ctx.set(dut.busy, busy)
            ctx.set(dut.computing, busy)
            since, read = len(bench.pixels), len(bench.of_pictures())
            await bench.begin_run(341 * 6, 6, chunk=FIRST + 4)
            await bench.until(lambda since=since: len(bench.pixels) == since + 341 * 6)
            bench.check_pixels(FIRST + 4, since)
            assert [chunk for _, chunk in bench.of_pictures()[read:]] == [FIRST + 4 + k for k in range(6)]
            assert ctx.get(dut.go) and ctx.get(dut.running)
            ctx.set(dut.forget, 1)
            await bench.wait(2)
            ctx.set(dut.forget, 0)
            await bench.wait(600)
            assert not ctx.get(dut.running)
        assert bench.rewinds == 2 and len(bench.words) == PAYLOAD * len(bench.chunks)
    Bench(test, chunks=random_tape(CONFIG, 3, 0).chunks, resident=True)


@pytest.mark.parametrize("resident", [0, 1])
def test_the_check_of_a_run_is_that_of_its_chunks(resident):
    """Of all their bytes, though the tape is checked between them; runs of no pixels end by themselves."""
    async def test(bench):
        ctx, run = bench.ctx, bench.dut.run
        for chunk, count in ((FIRST, 1), (FIRST + 1, 6)):
            ended = ctx.get(run.ended)
            await bench.begin_run(0, count, pictures=0, chunk=chunk)
            await bench.until(lambda ended=ended: ctx.get(run.ended) != ended)
            octets = b"".join(bench.chip.row(chunk + k).astype("<u2").tobytes() for k in range(count))
            assert ctx.get(run.check) == binascii.crc32(octets) and not ctx.get(bench.dut.running)
        if not resident:
            ended = ctx.get(run.ended)
            bench.gate = frees(1)
            await bench.begin_run(341 * 5, 5, pictures=2)
            await bench.until(lambda: len(bench.pixels) == bench.gate)
            await bench.start()                             # a chunk of the tape between those of the pictures
            bench.gate = 341 * 5
            await bench.take(PAYLOAD)
            bench.computed(busy=1)
            await bench.until(lambda: len(bench.pixels) == bench.gate)
            for _ in range(2):
                ctx.set(bench.dut.answered, 1)
                await bench.wait(1)
                ctx.set(bench.dut.answered, 0)
                await bench.wait(3)
            await bench.until(lambda: ctx.get(run.ended) != ended)
            octets = b"".join(bench.chip.row(FIRST + k).astype("<u2").tobytes() for k in range(5))
            assert ctx.get(run.check) == binascii.crc32(octets)
            assert ctx.get(run.cycles) > bench.pixels[-1][0] - bench.pixels[0][0]
        bench.check_words()
    Bench(test, chunks=random_tape(CONFIG, 3, 0).chunks, resident=resident)


def test_a_wrong_chunk_of_the_tape_is_found_behind_a_loan():
    """Its check goes on where it was."""
    async def test(bench):
        await bench.start()
        await bench.take(2 * PAYLOAD)
        bench.computed()
        await bench.until(lambda: bench.ctx.get(bench.dut.whole) and lasts(bench.reads[-1][0]) + 40 < bench.cycle)
        await bench.begin_run(0, 3, pictures=0)
        await bench.until(lambda: bench.ctx.get(bench.dut.run.ended))
        bench.chip.row((2 + SLOTS) % len(bench.chunks))[300] ^= 4
        await bench.start()
        await bench.take(PAYLOAD)
        await bench.until(lambda: bench.ctx.get(bench.dut.damaged))
        assert not bench.ctx.get(bench.dut.whole)
        raise Found
    with pytest.raises(Found):
        Bench(test, chunks=random_tape(CONFIG, 3, 30).chunks)


@pytest.mark.parametrize("late", [0, 7, 300, 520, 531])
def test_a_run_that_is_given_up_in_a_loan(late):
    """The chunk comes to its end, and becomes nothing; then the tape begins again, and all is as ever."""
    async def test(bench):
        ctx, dut = bench.ctx, bench.dut
        await bench.start()
        await bench.take(PAYLOAD + 100)
        bench.computed(busy=1)
        await bench.until(lambda: lasts(bench.reads[-1][0]) + 60 < bench.cycle)
        await bench.begin_run(341 * 6, 6)
        await bench.until(lambda: len(bench.of_pictures()) == 2)
        await bench.wait(late)
        rewinds = bench.rewinds
        ctx.set(dut.forget, 1)
        bench.computed()
        await bench.wait(30)
        pixels = len(bench.pixels)
        ctx.set(dut.forget, 0)
        await bench.until(lambda: bench.rewinds == rewinds + 1)
        assert all(lasts(cycle) < bench.cycle for cycle, _ in bench.of_pictures())
        await bench.wait(2500)
        assert len(bench.pixels) == pixels and not ctx.get(dut.running) and len(bench.of_pictures()) < 4
        since = len(bench.words)
        await bench.start()
        await bench.take(PAYLOAD + 100)                     # from the beginning
        bench.check_words(since)
        bench.computed()
        await bench.wait(700)
        await bench.begin_run(400, 2, chunk=FIRST + 50)
        await bench.until(lambda: len(bench.pixels) == pixels + 400)
        bench.check_pixels(FIRST + 50, pixels)
    Bench(test, chunks=random_tape(CONFIG, 3, 10).chunks)


@pytest.mark.parametrize("resident", [0, 1])
def test_words_of_pictures_are_written_beside_the_net(resident):
    """Which stays; also in a loan, whose end they wait for."""
    words = np.random.default_rng(1).integers(0, 1 << 16, (2, COLUMNS + 3)).tolist()

    async def test(bench):
        ctx, dut = bench.ctx, bench.dut
        for number, chunk in enumerate((FIRST + 20, 0x7FFE)):
            if number:
                await bench.begin_run(0, 1, pictures=0)
                await bench.until(lambda: bench.of_pictures()[-1][1] == FIRST)
                loan = bench.of_pictures()[-1][0]
            for kind, word in [(LoadKind.PLACE, chunk), *((LoadKind.WORD, word) for word in words[number])]:
                await put(ctx, dut.load, {"kind": kind, "data": word})
                assert ctx.get(dut.whole)
            await bench.wait(60)
            assert [*bench.chip.row(chunk), *bench.chip.row(chunk + 1)[:3]] == words[number]
            if number:
                first = next(cycle for cycle, name, *_ in bench.commands if name == "WRITE" and cycle > loan)
                assert first > loan + TIMING.rcd + COLUMNS - 1
        await bench.wait(40)
        assert not ctx.get(dut.hold)
        if not resident:
            await bench.start()
            await bench.take(5 * PAYLOAD)
        bench.check_words()
    Bench(test, chunks=random_tape(CONFIG, 3, 0).chunks, resident=resident)
