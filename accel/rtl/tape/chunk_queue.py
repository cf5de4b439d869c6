"""Chunks of the tape between SDRAM and distributor: stored, and passed on once their check has held.

    cycle     0          1 .. 509   510        511        513      514              520 .. 1030
    i         word 0                word 510   the check
    commit                                                1 (at the earliest)
    reads                                                          address of 0
    o                                                                               words 0 .. 510
"""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel import isa, tape, timing
from accel.rtl.memory.block_memory import BlockMemory
from accel.rtl.timed import Timed

from .distributor import TapeWord

__all__ = ["ChunkQueue"]

DEPTH, FAR = timing.QUEUE_DEPTH, timing.QUEUE_WAY


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
    freed : Out(1), for one cycle, timing.SLOT_FREE = 2 after its last word was taken: a slot is free again
    full : Out(1): words wait at `o`, and all slots are committed but for one at most: theirs, or one that is to come
    rewind : In(1): all is forgotten, chunk 0 comes next

    Memory and distributor lie far from each other: two registers on the way of words, and two on the way back of what
    is taken.

    Latency: timing.CHUNK_QUEUE = 7 cycles from `commit` to the first word. Resources: 2 DP16KD, 150 flip-flops.
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
        taken, known = self.o.valid & self.o.ready, Signal(FAR)
        m.d.comb += [issue.eq(there & (claimed != DEPTH)), done.eq(issue & ends),
                     memory.read_address.eq(Cat(read_column, read_slot))]
        m.d.sync += [known.eq(Cat(taken, known)), claimed.eq(claimed + issue - known[-1]),
                     committed.eq(committed + self.commit - done),
                     there.eq(self.commit | (committed > 1) | (committed == 1) & ~done),
                     at_last.eq(number == self.last)]
        with m.If(issue):
            m.d.sync += [read_column.eq(read_column + 1), ends.eq(read_column == tape.PAYLOAD_WORDS - 2)]
        with m.If(done):
            m.d.sync += [read_slot.eq(read_slot + 1), read_column.eq(0), number.eq(Mux(at_last, 0, number + 1))]
        arrival = timing.BLOCK_MEMORY + FAR
        on_the_way = Signal(arrival)                        # a register of each cycle, so that `rewind` clears them
        put, came = on_the_way[-1], Signal(Waiting)
        m.d.sync += on_the_way.eq(Cat(issue, on_the_way))
        m.d.comb += [
            came.tape.word.eq(Timed(m, memory.read_data, timing.BLOCK_MEMORY, name="read").at(arrival)),
            came.frees.eq(Timed(m, done, 0, name="done").at(arrival)),
            came.tape.last.eq(Timed(m, done & at_last, 0, name="last").at(arrival))]

        # At the other end: a memory of LUTs, and behind it the word on offer and the one after.
        m.submodules.store = store = Memory(shape=Waiting, depth=1 << (DEPTH - 1).bit_length(), init=[],
                                            attrs={"ram_style": "distributed"})
        write, read = store.write_port(), store.read_port(domain="comb")
        newest, oldest = Signal.like(write.addr), Signal.like(read.addr)
        stored, held = Signal(range(DEPTH + 1)), Signal(range(DEPTH + 1))
        # Two registers, so that what is taken, which is known late, decides nothing but which of them is on offer.
        offered, behind, both, next_one = Signal(Waiting), Signal(Waiting), Signal(), Signal()
        m.d.comb += [write.addr.eq(newest), write.data.eq(came), write.en.eq(put), read.addr.eq(oldest),
                     next_one.eq((stored != 0) & ~both), self.o.payload.eq(offered.tape)]
        m.d.sync += [newest.eq(newest + put), oldest.eq(oldest + next_one), stored.eq(stored + put - next_one),
                     held.eq(held + put - taken), self.o.valid.eq(next_one | both | self.o.valid & ~self.o.ready),
                     self.full.eq((committed >= tape.SLOTS - 1) & (held == DEPTH))]
        with m.If(~both):
            m.d.sync += behind.eq(read.data)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [offered.eq(Mux(both, behind, read.data)), both.eq(0)]
        with m.Else():
            m.d.sync += both.eq(both | next_one)
        freed = Signal()
        m.d.sync += [freed.eq(taken & offered.frees), self.freed.eq(freed)]
        return ResetInserter(self.rewind)(m)
