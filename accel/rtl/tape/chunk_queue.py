"""Chunks of the tape between SDRAM and distributor: stored, and passed on once their check has held.

    cycle     0          1 .. 509   510        511        513      514              518 .. 1028
    i         word 0                word 510   the check
    commit                                                1 (at the earliest)
    reads                                                          address of 0
    o                                                                               words 0 .. 510
"""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, tape, timing
from accel.rtl.memory.block_memory import BlockMemory
from accel.rtl.timed import Timed

from .distributor import TapeWord

__all__ = ["ChunkQueue"]

DEPTH = timing.QUEUE_DEPTH


class Waiting(data.Struct):
    """A word, and whether its slot is free behind it."""
    tape: TapeWord
    frees: 1


class ChunkQueue(wiring.Component):
    """Holds `tape.SLOTS` chunks; a word in and a word out each cycle.

    Members
    -------
    valid : In(1), word : In(16): the next payload word of a chunk; end : In(1), in a cycle without one: it was the last
    commit : In(1), for one cycle: the oldest chunk that has ended and is not yet committed is good
    last : In: number of the tape's last chunk, after which comes chunk 0 again
    o : Out(stream of TapeWord)
    freed : Out(1), for one cycle, the one after: a slot is free again
    full : Out(1): words wait at `o`, and all slots are committed but for one at most: theirs, or one that is to come
    rewind : In(1): all is forgotten, chunk 0 comes next

    Memory and distributor lie far from each other: there is a register on the way of words, and one on the way back.

    Latency: timing.CHUNK_QUEUE = 5 cycles from `commit` to the first word. Resources: 2 DP16KD, 220 flip-flops.
    """
    def __init__(self):
        super().__init__({
            "valid": In(1), "word": In(16), "end": In(1), "commit": In(1), "last": In(isa.CHUNK_BITS),
            "o": Out(stream.Signature(TapeWord)), "freed": Out(1), "full": Out(1), "rewind": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = BlockMemory(width=16, depth=tape.SLOTS * tape.CHUNK_WORDS)
        column_bits = (tape.CHUNK_WORDS - 1).bit_length()
        slot, column = Signal(range(tape.SLOTS)), Signal(column_bits)                # of the next word
        m.d.comb += [memory.write_enable.eq(self.valid), memory.write_data.eq(self.word),
                     memory.write_address.eq(Cat(column, slot))]
        with m.If(self.end):
            m.d.sync += [slot.eq(slot + 1), column.eq(0)]
        with m.Elif(self.valid):
            m.d.sync += column.eq(column + 1)

        # Out of the memory: as many words are on their way as there is room for at the end of it.
        committed, there = Signal(range(tape.SLOTS + 1)), Signal()
        read_slot, read_column, ends = Signal(range(tape.SLOTS)), Signal(column_bits), Signal()
        number, at_last = Signal(isa.CHUNK_BITS), Signal()
        issue, done, claimed = Signal(), Signal(), Signal(range(DEPTH + 1))
        taken, taken_before = self.o.valid & self.o.ready, Signal()
        m.d.comb += [issue.eq(there & (claimed != DEPTH)), done.eq(issue & ends),
                     memory.read_address.eq(Cat(read_column, read_slot))]
        m.d.sync += [taken_before.eq(taken), claimed.eq(claimed + issue - taken_before),
                     committed.eq(committed + self.commit - done),
                     there.eq(self.commit | (committed > 1) | (committed == 1) & ~done),
                     at_last.eq(number == self.last)]
        with m.If(issue):
            m.d.sync += [read_column.eq(read_column + 1), ends.eq(read_column == tape.PAYLOAD_WORDS - 2)]
        with m.If(done):
            m.d.sync += [read_slot.eq(read_slot + 1), read_column.eq(0), number.eq(Mux(at_last, 0, number + 1))]
        coming = Signal(Waiting)
        there_at = timing.BLOCK_MEMORY + 1
        on_the_way = Signal(there_at)                       # a register of each cycle, so that `rewind` clears them
        put = on_the_way[-1]
        m.d.sync += on_the_way.eq(Cat(issue, on_the_way))
        m.d.comb += [
            coming.tape.word.eq(Timed(m, memory.read_data, timing.BLOCK_MEMORY, name="read").at(there_at)),
            coming.frees.eq(Timed(m, done, 0, name="done").at(there_at)),
            coming.tape.last.eq(Timed(m, done & at_last, 0, name="last").at(there_at))]

        # What is taken is known late: nothing but the place of the oldest word hangs on it.
        waiting = Array(Signal(Waiting, name=f"waiting_{k}") for k in range(1 << DEPTH.bit_length()))
        newest, oldest = (Signal(range(len(waiting)), name=name) for name in ("newest", "oldest"))
        level = Signal(range(DEPTH + 1))
        m.d.comb += self.o.payload.eq(waiting[oldest].tape)
        m.d.sync += [level.eq(level + put - taken), self.o.valid.eq(put | (level > 1) | (level == 1) & ~taken),
                     oldest.eq(oldest + taken), newest.eq(newest + put), self.freed.eq(taken & waiting[oldest].frees),
                     self.full.eq((committed >= tape.SLOTS - 1) & (level == DEPTH))]
        with m.If(put):
            m.d.sync += waiting[newest].eq(coming)
        return ResetInserter(self.rewind)(m)
