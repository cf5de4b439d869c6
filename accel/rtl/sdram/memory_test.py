"""Writes the whole SDRAM and reads it again.

The words are bits of the states of a shift register with feedback, x^25 + x^3 + 1, whose period, 2^25 - 1, is longer
than the memory: no two words come from one state, so an address line that is stuck or joined with another is found as
surely as a data line is. It starts from the seed, so tests with different seeds write different words.

    cycle         0       1         2 ...                       n         n + 1 ...
    start         1
    prepare               1                                     1
    pattern                         of word 0, 1, 2 ...                   of word 0, 1, 2 ...
    writes                          a word each time taken
    reads                                                                 all chunks; words come back
"""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel.sdram import CHUNKS, COLUMNS

from .port import ReadWord, WriteWord

__all__ = ["MemoryTest"]

STATE_BITS, TAP = 25, 3
WORD_BITS = 16


class MemoryTest(wiring.Component):
    """Tests the memory behind an `SdramController`, with all of which it is connected meanwhile.

    Parameters
    ----------
    chunks : that are tested, from chunk 0 on

    Members
    -------
    start : In(1), for one cycle: a test with `seed` : In(16) begins; not while one is running
    writes : Out(stream of WriteWord), reads : Out(stream of 15 bits), word : In(ReadWord): the controller's
    done : Out(1): a test has ended; falls with `start`
    errors : Out(16): words that were not as written, 65,535: so many or more
    address : Out(24): 512 * chunk + column of the first of them

    Duration: two cycles a word at least, three behind a StreamRegister: 403 ms for 32 MB at 125 MHz, refreshes apart.
    Resources: 160 LUT4 with carries, 154 flip-flops; 222 MHz by itself on an ECP5 of speed grade 6.
    """
    def __init__(self, *, chunks=CHUNKS):
        self.chunks = chunks
        super().__init__({
            "start": In(1), "seed": In(WORD_BITS),
            "writes": Out(stream.Signature(WriteWord)), "reads": Out(stream.Signature(range(CHUNKS))),
            "word": In(ReadWord), "done": Out(1), "errors": Out(16), "address": Out(range(CHUNKS * COLUMNS))})

    def elaborate(self, platform):
        m = Module()
        writing, reading, prepare, then_read = Signal(), Signal(), Signal(), Signal()

        # The pattern and the address of a word to write, or of one that comes back
        step, last = Signal(), Signal()
        seed, pattern = Signal(WORD_BITS), Signal(STATE_BITS)
        position = Signal(range(CHUNKS * COLUMNS))
        m.d.comb += step.eq(Mux(writing, self.writes.ready, reading & self.word.valid))
        with m.If(step):
            m.d.sync += [pattern.eq(Cat(pattern[-1], pattern[:-1])), pattern[TAP].eq(pattern[TAP - 1] ^ pattern[-1]),
                         position.eq(position + 1), last.eq(position == self.chunks * COLUMNS - 2)]
        with m.If(prepare):
            # Never all zeros, which would stay.
            m.d.sync += [pattern.eq(Cat(seed, C(1, STATE_BITS - WORD_BITS))), position.eq(0), last.eq(0)]

        # Each phase begins with PREPARE and ends with its last word.
        m.d.sync += prepare.eq(self.start | writing & step & last)
        with m.If(prepare):
            m.d.sync += [writing.eq(~then_read), reading.eq(then_read), then_read.eq(1)]
        with m.If(step & last):
            m.d.sync += [writing.eq(0), reading.eq(0)]
        with m.If(self.start):
            m.d.sync += [seed.eq(self.seed), then_read.eq(0), self.done.eq(0)]

        m.d.comb += [
            self.writes.valid.eq(writing), self.writes.p.data.eq(pattern),
            Cat(self.writes.p.column, self.writes.p.chunk).eq(position)]

        # Chunks to read
        last_chunk = Signal()
        with m.If(prepare):
            m.d.sync += [self.reads.valid.eq(then_read), self.reads.payload.eq(0), last_chunk.eq(self.chunks == 1)]
        with m.If(self.reads.valid & self.reads.ready):
            m.d.sync += [self.reads.valid.eq(~last_chunk), self.reads.payload.eq(self.reads.payload + 1),
                         last_chunk.eq(self.reads.payload == self.chunks - 2)]

        # What comes back, compared in one cycle, counted in the next
        wrong, checked, checked_last = Signal(), Signal(), Signal()
        place = Signal.like(position)
        m.d.sync += [
            checked.eq(reading & self.word.valid), checked_last.eq(reading & self.word.valid & last),
            wrong.eq(reading & self.word.valid & (self.word.data != pattern[:WORD_BITS])), place.eq(position)]
        with m.If(wrong):
            with m.If(self.errors != 0xFFFF):
                m.d.sync += self.errors.eq(self.errors + 1)
            with m.If(self.errors == 0):
                m.d.sync += self.address.eq(place)
        with m.If(checked_last):
            m.d.sync += self.done.eq(1)
        with m.If(self.start):
            m.d.sync += [self.errors.eq(0), self.address.eq(0)]
        return m
