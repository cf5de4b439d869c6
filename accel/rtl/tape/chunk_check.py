"""Checks the tape word by word: each chunk by its own check, all of it by one CRC-32 (`accel.tape`). The CRC-32 is lent
to words of other kinds while nobody asks for that of the tape."""
from amaranth import *
from amaranth.lib import crc, wiring
from amaranth.lib.crc.catalog import CRC16_IBM_3740, CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from accel import isa, tape

__all__ = ["ChunkCheck"]


class ChunkCheck(wiring.Component):
    """Follows the words of whole chunks.

    Members
    -------
    start : In(1), in a cycle without a word: what comes next is the first word of chunk 0
    last : In: number of the last chunk, after which comes chunk 0 again
    valid : In(1), word : In(16): a word
    counts : In(1): it counts in `check`
    other : In(1), other_start : In(1): `word` is none of the tape's, but counts in `check`; `check` begins anew, with
        the next cycle
    payload : Out(1): it is no check. end : Out(1): it is the last of its chunk, the check
    judged : Out(1), for one cycle, two cycles after `end`, if no `start` is between; wrong : Out(1), in it: the chunk's
        check does not hold
    check : Out(32): CRC-32/ISO-HDLC of the bytes of all words that count since `start` or `other_start`, from the
        second cycle after a word on

        cycle    0            1      2
        word     the check
        end      1
        judged                       1

    A word a cycle. Resources: 97 flip-flops.
    """
    def __init__(self):
        super().__init__({
            "start": In(1), "last": In(isa.CHUNK_BITS, init=(1 << isa.CHUNK_BITS) - 1), "valid": In(1),
            "word": In(16), "counts": In(1, init=1), "other": In(1), "other_start": In(1),
            "payload": Out(1), "end": Out(1),
            "judged": Out(1), "wrong": Out(1), "check": Out(32)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.chunk = chunk = crc.Processor(CRC16_IBM_3740(data_width=16))
        m.submodules.whole = whole = crc.Processor(CRC32_ISO_HDLC(data_width=16))
        position, last = Signal(range(tape.CHUNK_WORDS)), Signal()
        number = Signal(isa.CHUNK_BITS)
        valid, word, ends, starts = Signal(), Signal(16), Signal(), Signal()
        expected, ended, at_last = Signal(16), Signal(), Signal()
        counted, anew = Signal(), Signal()
        m.d.comb += [self.end.eq(self.valid & last), self.payload.eq(self.valid & ~last), self.check.eq(whole.crc)]
        m.d.sync += [valid.eq(self.valid), word.eq(self.word), ends.eq(self.end), starts.eq(self.start),
                     counted.eq(self.valid & self.counts | self.other), anew.eq(self.start | self.other_start)]
        with m.If(self.valid):
            m.d.sync += [position.eq(position + 1), last.eq(position == tape.CHUNK_WORDS - 2)]
        # The word in its register. The check is compared, and does not count.
        m.d.comb += [chunk.data.eq(word), chunk.valid.eq(valid & ~ends), chunk.start.eq(starts | ends),
                     whole.data.eq(word), whole.valid.eq(counted), whole.start.eq(anew),
                     expected.eq(word ^ number)]
        m.d.sync += [at_last.eq(number == self.last), ended.eq(ends & ~self.start),
                     self.wrong.eq(expected != chunk.crc)]
        m.d.comb += self.judged.eq(ended)
        with m.If(ends):
            m.d.sync += number.eq(Mux(at_last, 0, number + 1))
        with m.If(self.start):
            m.d.sync += [position.eq(0), last.eq(0), number.eq(0)]
        return m
