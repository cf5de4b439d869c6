"""Works an SDRAM: whole chunks read without a gap, words written, refreshes in between.

A command is decided in one cycle and shown at the port in the next. Chunks 0 and 1 after each other, from rest, at
rcd = 3; cycles of the decision, the port's are one later:

    cycle     0       1       2   3   4       5       ..  513       514     515       516       517     ..  1,029
    reads     take 0                          take 1
    decided           ACT 0           READ 0  READ 1  ..  READ 509  ACT 1   READ 510  READ 511  READ 0  ..  READ 511
    word                                              ..  (word 0 of chunk 0 in cycle 11, of chunk 1 in cycle 524)

A chunk takes 513 cycles, whatever comes: 512 READs and, just in time for the next chunk, one cycle in which its row is
opened where it has been asked for by then, is in another bank and no refresh is due. Else it is opened when the row
before it has been closed. The last READ of a row precharges it.

State is single bits, and waits are pulses that walk through registers (`line`), so that no command waits for a counter:

    closed --REFRESH (owed)--> line --> closed         closed --MODE (once)--> line --> closed
    closed --ACTIVATE--> opened --> reading --last READ, next row not open--> line --> closed
                                --> writing --other request, REFRESH due--> leaving --PRECHARGE--> line --> closed
"""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel import timing
from accel.sdram import BANKS, CAS, CHUNKS, COLUMNS, REFRESH_BATCH, SdramTiming

from .port import ReadWord, SdramPort, WriteWord

__all__ = ["SdramController"]

MODE = CAS << 4                                         # burst length 1, sequential
LEAST_REFRESHES = 8                                     # before the mode register is written
PRECHARGE_BIT = 10                                      # of the address: all banks; after a READ: this row


class SdramController(wiring.Component):
    """Reads chunks, writes words, keeps the memory.

    Parameters
    ----------
    timing : SdramTiming, of the clock that this component has

    Members
    -------
    port : Out(SdramPort)
    reads : In(stream of 15 bits): chunks to read, in this order. The next one is taken while one is read
    word : Out(ReadWord): 512 words of each chunk, at most one a cycle; there is no way to stop them
    writes : In(stream of WriteWord): none is taken before the last READ of a read; a read is taken before one
    ready : Out(1): the memory is initialized; nothing is taken before
    idle : Out(1): every request has been done, every word read is out
    restart : In(1): up while there is no request, up to and with the cycle of
    restarted : Out(1), for one cycle: all rows are closed, no refresh is owed, the refresh timer is 0. From this cycle
        on everything is a function of the requests: `accel.sdram.SdramSchedule`

    Latency: timing.SDRAM_WORD cycles from a READ at the port to its word; from a request that is taken at rest, with no
    refresh due, 1 + rcd + 1 + SDRAM_WORD to its first word. Throughput: a chunk in 513 cycles, a word written a cycle
    (the row of another chunk takes rcd + max(wr - 1, ras - rcd, rc - rcd - rp) + rp + 1 cycles more). Refreshes: when
    REFRESH_BATCH = 4 are owed, all that are owed at the next end of a row. Sequential reads so reach 98.7 % of a word a
    cycle. Resources: 184 LUT4 with carries, 155 flip-flops, no memory; 207 MHz by itself on an ECP5 of speed grade 6.
    """
    def __init__(self, timing: SdramTiming):
        self.timing = timing
        super().__init__({
            "port": Out(SdramPort()), "reads": In(stream.Signature(range(CHUNKS))), "word": Out(ReadWord),
            "writes": In(stream.Signature(WriteWord)), "ready": Out(1), "idle": Out(1), "restart": In(1),
            "restarted": Out(1)})

    def elaborate(self, platform):
        m = Module()
        cycles, port, reads, writes = self.timing, self.port, self.reads, self.writes

        # The request: the next chunk to read, or the word to write. Before any, the chunk's row and bank are what MODE
        # puts on the address lines.
        held = Signal()
        is_write = Signal()
        same = Signal()
        chunk = Signal(range(CHUNKS), init=MODE * BANKS)
        column = Signal(range(COLUMNS))
        word = Signal(16)
        chunk_bank, row = chunk[:(BANKS - 1).bit_length()], chunk[(BANKS - 1).bit_length():]

        # State of the banks
        closed = Signal()
        opened = Signal()
        reading = Signal()
        writing = Signal()
        bank = Signal.like(chunk_bank)                  # that is read
        last = Signal()                                 # column is the last
        near = Signal()                                 # in the next cycle, in this one there is no READ
        slot = Signal()
        open_next = Signal()                            # but an ACTIVATE
        due = Signal()                                  # refreshes

        # What is decided in this cycle
        read = Signal()
        write = Signal()
        last_read = Signal()
        activate = Signal()
        refresh = Signal()
        mode = Signal()
        precharge = Signal()
        start = Signal()
        leave = Signal()
        m.d.comb += [
            read.eq(reading & ~slot), last_read.eq(read & last),
            write.eq(writing & held & same & ~due),
            activate.eq(open_next | closed & held & ~due), refresh.eq(closed & due),
            mode.eq(closed & ~due & ~self.ready),
            start.eq(opened & (~reading | last_read)),
            leave.eq(writing & (due | Mux(held, ~same, self.restart)))]

        # Requests
        m.d.comb += [reads.ready.eq(self.ready & ~held),
                     writes.ready.eq(self.ready & ~reading & ~held | write)]
        with m.If(read):
            m.d.sync += [column.eq(column + 1), last.eq(column == COLUMNS - 2)]
        with m.If(start):
            m.d.sync += same.eq(is_write)
            with m.If(~is_write):
                m.d.sync += [held.eq(0), column.eq(0)]
        with m.If(write):
            m.d.sync += held.eq(0)
        with m.If(reads.valid & reads.ready):
            m.d.sync += [held.eq(1), is_write.eq(0), same.eq(0), chunk.eq(reads.payload)]
        with m.If(writes.valid & writes.ready):
            m.d.sync += [held.eq(1), is_write.eq(1), same.eq(writes.p.chunk == chunk), chunk.eq(writes.p.chunk),
                         column.eq(writes.p.column), word.eq(writes.p.data)]

        # Waits. What enters `line` at n - 2 has closed the banks n cycles later, unless the next row is read by then.
        line = Signal(max(cycles.rfc, cycles.mrd, 1 + cycles.rp) - 1)
        leaving = Signal(max(cycles.wr - 1, cycles.ras - cycles.rcd, cycles.rc - cycles.rcd - cycles.rp, 2) - 1)
        power_up = Signal(init=1)
        entering = [(refresh, cycles.rfc), (mode, cycles.mrd), (precharge, cycles.rp), (last_read, 1 + cycles.rp)]
        m.d.sync += leaving.eq(Cat(leaving[1:], leave))
        for n, stage in enumerate(line):
            m.d.sync += stage.eq(Cat(line[n + 1:n + 2], *(pulse for pulse, wait in entering if wait - 2 == n)).any())
        rcd_over = activate
        for n in range(cycles.rcd - 2):
            rcd_over, before = Signal(name=f"rcd_{n}"), rcd_over
            m.d.sync += rcd_over.eq(before)

        m.d.sync += [
            closed.eq(closed & ~(held | due | ~self.ready) | line[0] & ~reading),
            opened.eq(opened & ~start | rcd_over),
            reading.eq(reading & ~last_read | start & ~is_write),
            writing.eq(writing & ~leave | start & is_write),
            near.eq(read & (column == COLUMNS - 1 - cycles.rcd)), slot.eq(near),
            open_next.eq(near & held & (chunk_bank != bank) & ~due)]
        with m.If(start):
            m.d.sync += bank.eq(chunk_bank)
        with m.If(mode):
            m.d.sync += self.ready.eq(1)

        # Refreshes owed; until power is up, intervals since the start, all of which are done as refreshes then.
        power_up_intervals = max(-(-cycles.power_up // cycles.refresh_interval), LEAST_REFRESHES)
        timer = Signal(range(cycles.refresh_interval))
        tick = Signal()
        owed = Signal(range(power_up_intervals + 8))
        refreshed = Signal()
        m.d.sync += [
            timer.eq(Mux(tick, 0, timer + 1)), tick.eq(timer == cycles.refresh_interval - 2),
            owed.eq(owed + tick - refresh), due.eq(Mux(due, owed != 0, owed >= REFRESH_BATCH)),
            precharge.eq(leaving[0]), self.restarted.eq(0)]
        with m.If(power_up & (owed == power_up_intervals)):
            m.d.sync += [power_up.eq(0), precharge.eq(1)]
        with m.If(~self.restart):
            m.d.sync += refreshed.eq(0)
        with m.Elif(closed & ~due & ~held & self.ready & ~self.restarted):
            with m.If(~refreshed):
                # One more than can be owed by now: the part of an interval that is forgotten below is paid for.
                m.d.sync += [refreshed.eq(1), owed.eq(REFRESH_BATCH + 1), due.eq(1)]
            with m.Else():
                m.d.sync += [refreshed.eq(0), owed.eq(0), timer.eq(0), tick.eq(0), self.restarted.eq(1)]

        # The port
        by_column = Signal()
        m.d.comb += by_column.eq(read | writing)
        m.d.sync += [
            port.ras_n.eq(~(activate | precharge | refresh | mode)),
            port.cas_n.eq(~(read | write | refresh | mode)),
            port.we_n.eq(~(write | precharge | mode)),
            port.bank.eq(Mux(read, bank, chunk_bank)),
            port.address.eq(Mux(by_column, column, row)),
            port.dq_o.eq(word), port.dq_oe.eq(write)]
        with m.If(precharge | last_read):
            m.d.sync += port.address[PRECHARGE_BIT].eq(1)

        # READs on their way, from the port's register to the word's
        coming = Signal(1 + timing.SDRAM_WORD)
        lasts = Signal(1 + timing.SDRAM_WORD)
        m.d.sync += [coming.eq(Cat(read, coming)), lasts.eq(Cat(last_read, lasts)), self.word.data.eq(port.dq_i)]
        m.d.comb += [self.word.valid.eq(coming[-1]), self.word.last.eq(lasts[-1]),
                     self.idle.eq(self.ready & ~held & ~reading & ~coming.any())]
        return m
