"""Works an SDRAM: whole chunks read without a gap, words written, refreshes in between.

A command is decided in one cycle and shown at the port in the next. Chunks 0 and 1, both asked for in time, at
rcd = 3 (cycles of the decision; the port's are one later):

    cycle         0      1      2      3     ...   513    514    515    516    517    518    519   ...   1,027
    reads         take 0               take 1             take 2
    decided       ACT 0                READ 0 ..   READ   READ   READ   READ   READ   ACT 2  READ        READ
                                       (ACT 1 among them)   511  0 of 1  1      2             3           511 of 1
    word                                          7 cycles behind its READ

The table is that of a start from rest; from then on a chunk takes 513 cycles: 512 READs, and the ACTIVATE of the next
chunk's row among them. The last READ of a row precharges it. A row that nobody has asked for in time, or one of the
bank that is being read, is opened after that precharge.

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
    writes : In(stream of WriteWord): none is offered while a read is, none is taken before the last READ of a read
    ready : Out(1): the memory is initialized; nothing is taken before
    idle : Out(1): every request has been done, every word read is out
    restart : In(1): up while there is no request, up to and with the cycle of
    restarted : Out(1), for one cycle: all rows are closed, no refresh is owed, the refresh timer is 0. From this cycle
        on everything is a function of the requests: `accel.sdram.SdramSchedule`

    Latency: timing.SDRAM_WORD cycles from a READ at the port to its word; from a request that is taken at rest, with no
    refresh due, 1 + rcd + 1 + SDRAM_WORD to its first word. Throughput: a chunk in 513 cycles, a word written a cycle
    (the row of another chunk takes rcd + max(wr - 1, ras - rcd, rc - rcd - rp) + rp + 1 cycles more). Refreshes: when
    REFRESH_BATCH = 4 are owed, all that are owed at the next end of a row; at most 7 are owed at any time.
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
        held, is_write, same = Signal(), Signal(), Signal()
        chunk = Signal(range(CHUNKS), init=MODE * BANKS)
        column, word = Signal(range(COLUMNS)), Signal(16)
        chunk_bank, row = chunk[:(BANKS - 1).bit_length()], chunk[(BANKS - 1).bit_length():]

        # State of the banks
        closed, opened, reading, writing = Signal(), Signal(), Signal(), Signal()
        bank = Signal.like(chunk_bank)                  # that is read
        last = Signal()                                 # column is the last
        open_next, next_open = Signal(), Signal()       # ACTIVATE among the READs; its row is open, or will be
        settled = Signal()                              # the row before the one that is read is precharged
        due = Signal()                                  # refreshes

        # What is decided in this cycle
        read, write, last_read = Signal(), Signal(), Signal()
        activate, refresh, mode, precharge = Signal(), Signal(), Signal(), Signal()
        start, leave, beside = Signal(), Signal(), Signal()
        m.d.comb += [
            read.eq(reading & ~open_next), last_read.eq(read & last),
            write.eq(writing & held & same & ~due),
            activate.eq(open_next | closed & held & ~due), refresh.eq(closed & due),
            mode.eq(closed & ~due & ~self.ready),
            start.eq(opened & (~reading | last_read)),
            leave.eq(writing & (due | Mux(held, ~same, self.restart))),
            beside.eq(reading & settled & held & (chunk_bank != bank) & ~last & ~next_open & ~due)]

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

        # Waits. What enters `line` at n - 2 has closed the banks n cycles later, or lets a row be opened beside the one
        # that is read.
        line = Signal(max(cycles.rfc - 1, cycles.rp, cycles.mrd - 1))
        leaving = Signal(max(cycles.wr - 1, cycles.ras - cycles.rcd, cycles.rc - cycles.rcd - cycles.rp, 2) - 1)
        power_up = Signal(init=1)
        entering = {cycles.rfc - 2: [refresh], cycles.mrd - 2: [mode]}
        entering.setdefault(cycles.rp - 1, []).append(last_read)
        entering.setdefault(cycles.rp - 2, []).append(precharge)
        m.d.sync += [line.eq(line >> 1), leaving.eq(Cat(leaving[1:], leave))]
        for stage, pulses in entering.items():
            m.d.sync += line[stage].eq(Cat(pulses, line[stage + 1:stage + 2]).any())
        rcd_over = activate
        for n in range(cycles.rcd - 2):
            rcd_over, before = Signal(name=f"rcd_{n}"), rcd_over
            m.d.sync += rcd_over.eq(before)

        m.d.sync += [
            closed.eq(closed & ~(held | due | ~self.ready) | line[0] & ~reading & ~next_open),
            settled.eq(settled & ~last_read | line[0]),
            opened.eq(opened & ~start | rcd_over),
            reading.eq(reading & ~last_read | start & ~is_write),
            writing.eq(writing & ~leave | start & is_write),
            open_next.eq(beside), next_open.eq(next_open & ~start | beside)]
        with m.If(start):
            m.d.sync += bank.eq(chunk_bank)
        with m.If(mode):
            m.d.sync += self.ready.eq(1)

        # Refreshes owed; until power is up, intervals since the start, all of which are done as refreshes then.
        power_up_intervals = max(-(-cycles.power_up // cycles.refresh_interval), LEAST_REFRESHES)
        timer, tick = Signal(range(cycles.refresh_interval)), Signal()
        owed = Signal(range(power_up_intervals + 8))
        refreshed = Signal()
        m.d.sync += [
            timer.eq(Mux(tick, 0, timer + 1)), tick.eq(timer == cycles.refresh_interval - 2),
            owed.eq(owed + tick - refresh), due.eq(Mux(due, owed != 0, owed >= REFRESH_BATCH)),
            precharge.eq(leaving[0]), self.restarted.eq(0)]
        with m.If(power_up & (owed == power_up_intervals)):
            m.d.sync += [power_up.eq(0), precharge.eq(1)]
        with m.If(self.restart & closed & ~due & ~held & self.ready & ~self.restarted):
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
        coming, lasts = Signal(1 + timing.SDRAM_WORD), Signal(1 + timing.SDRAM_WORD)
        m.d.sync += [coming.eq(Cat(read, coming)), lasts.eq(Cat(last_read, lasts)), self.word.data.eq(port.dq_i)]
        m.d.comb += [self.word.valid.eq(coming[-1]), self.word.last.eq(lasts[-1]),
                     self.idle.eq(self.ready & ~held & ~reading & ~coming.any())]
        return m
