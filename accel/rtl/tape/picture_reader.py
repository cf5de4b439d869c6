"""Pictures that lie in the SDRAM, to the core as fast as it takes them: a run.

    SDRAM == chunks ==> memory of 4 chunks == words ==> pixels
                                                    3 words, 2 pixels

The bytes of all pictures lie one behind the other, R G B a pixel, two bytes a word, the first of them low; a run begins
with a chunk. A chunk is asked for while there is room for one, so pictures are read ahead; whoever owns the SDRAM takes
the request when it has no use of its own for it.

    cycle    0        1         2    3       4        5        6       7         8    9
    state    ISSUE    WAIT_0         USE     OFFER    ISSUE    ...     USE       ISSUE
    word                             0                                 1
    pixels                                                             pixel 0 on offer from the cycle after on
"""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, tape, timing
from accel.rtl.memory.block_memory import BlockMemory

__all__ = ["PictureReader"]

PIXEL_BITS = 24             # of the number of pixels: three bytes each, of 32 MB
HALF = 20                   # bits of a half of the cycle counter: a carry a cycle later


class PictureReader(wiring.Component):
    """Reads the chunks of a run and offers the pixels in them.

    Members
    -------
    count : In(1), data : In(16), not in a run: the next number of the one that is to begin, see isa.LoadKind.COUNT
    start : In(1), data : In(16), not in a run: the run begins, with chunk `data`
    reads : Out(stream of 15 bits): the next chunk to read
    valid : In(1), word : In(16), last : In(1): a word of the oldest chunk that was asked for, its last one
    pixels : Out(stream of isa.PixelWord)
    answered : In(1), in every third cycle at most: the last logit of a picture was taken
    clear : In(1): the run is given up; words that still come are not looked at
    running : Out(1): a run goes on, up to its last answer and the last word of its last chunk
    ended : Out(1): changes in the cycle in which `running` falls, but not by `clear`
    cycles : Out(40): from the first pixel on offer to the last `answered`, the numbers of their cycles subtracted

    A run of no pixels reads its chunks and drops them. Chunks must be as many as hold the pixels, and pictures as
    many as there are: else the run goes on until `clear`.

    Throughput: two pixels in PAIR_CYCLES = 9 cycles where they are taken at once. Resources: 2 DP16KD, 270 flip-flops.
    """
    PAIR_CYCLES = 9

    def __init__(self):
        super().__init__({
            "count": In(1), "start": In(1), "data": In(16), "reads": Out(stream.Signature(isa.CHUNK_BITS)),
            "valid": In(1), "word": In(16), "last": In(1), "pixels": Out(stream.Signature(isa.PixelWord)),
            "answered": In(1), "clear": In(1), "running": Out(1), "ended": Out(1), "cycles": Out(2 * HALF)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = BlockMemory(width=16, depth=tape.SLOTS * tape.CHUNK_WORDS)
        # What COUNT brings is shifted through them, the first number first.
        pictures, pixels, unused, chunks = Signal(16), Signal(PIXEL_BITS), Signal(32 - PIXEL_BITS), Signal(16)
        numbers = Cat(pictures, pixels, unused, chunks)
        with m.If(self.count):
            m.d.sync += numbers.eq(Cat(numbers[16:], self.data))

        # Chunks: asked for, come, used up.
        claimed, coming, there = (Signal(range(tape.SLOTS + 1), name=name) for name in ("claimed", "coming", "there"))
        accepted, came, used = self.reads.valid & self.reads.ready, Signal(), Signal()
        dry, one_to_ask, all_asked = Signal(), Signal(), Signal()           # dry: no pixel is wanted any more
        valid = Signal()
        m.d.comb += [valid.eq(self.valid & self.running), came.eq(valid & self.last)]
        m.d.sync += [claimed.eq(claimed + accepted - (used | came & dry)), coming.eq(coming + accepted - came),
                     there.eq(there + (came & ~dry) - used), one_to_ask.eq(chunks == 1)]
        with m.If(accepted):
            m.d.sync += [self.reads.valid.eq(0), self.reads.payload.eq(self.reads.payload + 1), chunks.eq(chunks - 1),
                         all_asked.eq(one_to_ask)]
        with m.Elif(self.running & ~self.reads.valid & ~all_asked & (claimed != tape.SLOTS)):
            m.d.sync += self.reads.valid.eq(1)
        write, read = Signal.like(memory.write_address), Signal.like(memory.read_address)
        m.d.comb += [memory.write_enable.eq(valid), memory.write_data.eq(self.word), memory.write_address.eq(write),
                     memory.read_address.eq(read)]
        with m.If(valid):
            m.d.sync += write.eq(write + 1)

        # Words into pixels: the odd ones of three bytes lie across two words.
        before, second, third = Signal(16), Signal(), Signal()
        at_end = Signal()
        m.d.sync += [dry.eq(pixels == 0), at_end.eq(read[:9] == tape.CHUNK_WORDS - 1)]
        with m.If(self.pixels.ready):
            m.d.sync += self.pixels.valid.eq(0)
        with m.FSM():
            with m.State("ISSUE"):
                with m.If((there != 0) & ~dry & self.running):
                    m.next = "WAIT_0"
            for n in range(timing.BLOCK_MEMORY - 1):
                with m.State(f"WAIT_{n}"):
                    m.next = f"WAIT_{n + 1}" if n + 2 < timing.BLOCK_MEMORY else "USE"
            with m.State("USE"):
                with m.If(dry):                             # known since the word before
                    m.next = "ISSUE"
                with m.Elif(~self.pixels.valid | ~(second | third)):
                    m.d.sync += [before.eq(memory.read_data), read.eq(read + 1), second.eq(~second & ~third),
                                 third.eq(second)]
                    m.d.comb += used.eq(at_end)
                    with m.If(second):
                        m.d.sync += self.pixels.payload.eq(Cat(before, memory.read_data[:8]))
                    with m.If(third):
                        m.d.sync += self.pixels.payload.eq(Cat(before[8:], memory.read_data))
                    with m.If(second | third):
                        m.d.sync += [self.pixels.valid.eq(1), pixels.eq(pixels - 1)]
                    m.next = "ISSUE"

        # The end, and how long it took.
        one_left, all_answered, began, counting = Signal(), Signal(), Signal(), Signal()
        carry, cycles = Signal(), Signal(2 * HALF, reset_less=True)
        m.d.comb += self.cycles.eq(cycles)
        m.d.sync += [one_left.eq(pictures == 1), all_answered.eq(pictures == 0)]
        with m.If(self.answered & self.running):
            m.d.sync += pictures.eq(pictures - 1)
        with m.If(self.pixels.valid & ~began):
            m.d.sync += [began.eq(1), counting.eq(1)]
        with m.If(self.answered & one_left):
            m.d.sync += counting.eq(0)
        m.d.sync += carry.eq(0)
        with m.If(counting):
            m.d.sync += [cycles[:HALF].eq(cycles[:HALF] + 1), carry.eq(cycles[:HALF].all())]
        with m.If(carry):
            m.d.sync += cycles[HALF:].eq(cycles[HALF:] + 1)

        settled = Signal(2)                                 # the flags are those of this run
        ended = Signal(reset_less=True)
        m.d.comb += self.ended.eq(ended)
        m.d.sync += settled.eq(Cat(self.running, settled))
        with m.If(settled.all() & all_answered & all_asked & (coming == 0) & ~counting):
            m.d.sync += [self.running.eq(0), settled.eq(0), ended.eq(~ended)]
        with m.If(self.start):
            m.d.sync += [
                self.reads.payload.eq(self.data), all_asked.eq(chunks == 0), self.running.eq(1),
                settled.eq(0), began.eq(0), cycles.eq(0),
                claimed.eq(0), coming.eq(0), there.eq(0), write.eq(0), read.eq(0), second.eq(0), third.eq(0)]
        return ResetInserter(self.clear)(m)
