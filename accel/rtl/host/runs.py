"""Runs: pictures into the SDRAM, and what a run of them gives (docs/uart.md).

    STORE     chunk (2), pairs of bytes               -> PLACE, a WORD for each pair
    RUN       pictures, pixels, chunks, chunk (10)    -> COUNT, COUNT, COUNT, COUNT, RUN
    LABELS    index (2)                               -> labels, from that one on

    logits --+--> CRC-32                    +--> labels: a ring of link.LABEL_SPACE --> LABELS
             +--> PictureAnswer -- class ---+

A word is two bytes taken, as the loader's. A picture's answer is looked at where that of an INFER waits to be sent:

    cycle       0      1         2
    due         1      1         0
    state       TAKE   RELEASE   RELEASE
    head               one more
    answered           1         1
"""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, link, timing
from accel.rtl.memory.block_memory import BlockMemory

from .commands import order_signature
from .framing import frame_crc
from .picture_answer import AnswerByte

__all__ = ["Runs"]

RUN_WORDS = link.size(link.Run) // 2
LABEL_BITS = (link.MAX_LOGITS - 1).bit_length()
CHUNK_SHIFT = (link.CHUNK_BYTES - 1).bit_length()


class Runs(wiring.Component):
    """Carries out STORE, RUN and LABELS, and takes the answers of a run.

    Members
    -------
    control : the orders STORE, RUN and LABELS, whose payload has the right length; RUN when no picture is on its way.
        Faults: PLACE (STORE: the chunks are not behind the tape, or the memory ends before them), ORDER (LABELS: labels
        from another index on are kept)
    abandon : In(1): give the order up, in a cycle in which a word is not taken
    octets : In(stream of 8 bits), left : In(16): the payload, from a `PayloadReader`. After a fault bytes are left
    load : Out(stream of isa.LoadWord)
    chunks : In(16): of the tape
    logit_taken : In(1), at most each 4 cycles, logit : In(32): a logit of a picture
    due, whole, best : In: a picture's answer, as PictureAnswer has it; answered : Out(1): it is taken, up until `due`
    falls
    running : Out(1): answers are those of a run, which goes on, or has failed for a reason of its own
    ended : In(1): changes when the core has come to the end of a run. damaged : In(1): the core's net is
    clear : In(1): a run is given up; what it gave is forgotten, unless it failed
    results : Out(link.RunResults) but for cycles and check
    labels : Out(stream of AnswerByte), labels_length : Out(16): the answer to LABELS, from the
        third cycle on after the one in which its order is taken

    A label is kept until LABELS asks for one behind it. Without room for another one the run waits. Resources: 1
    DP16KD, 280 flip-flops.
    """
    def __init__(self):
        super().__init__({
            "control": In(order_signature()), "abandon": In(1), "octets": In(stream.Signature(8)), "left": In(16),
            "load": Out(stream.Signature(isa.LoadWord)), "chunks": In(16),
            "logit_taken": In(1), "logit": In(signed(32)), "due": In(1), "whole": In(1), "best": In(16),
            "answered": Out(1), "running": Out(1), "ended": In(1), "damaged": In(1), "clear": In(1),
            "results": Out(link.RunResults), "labels": Out(stream.Signature(AnswerByte)), "labels_length": Out(16)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = BlockMemory(width=LABEL_BITS, depth=link.LABEL_SPACE)
        results = self.results
        head, base, index = results.pictures, Signal(16), Signal(16)       # labels: the next one, the oldest kept
        pictures, seen = Signal(16), Signal()
        begins, asked = Signal(), Signal()                  # a run; LABELS is carried out
        self._orders(m, head=head, base=base, index=index, pictures=pictures, begins=begins, asked=asked)
        self._labels(m, memory, head=head, index=index, asked=asked)

        # All logits
        m.submodules.crc = crc = frame_crc()
        logit, octets = Signal(32), Signal(range(link.LOGIT_BYTES + 1))
        m.d.comb += [crc.start.eq(begins), crc.valid.eq(octets != 0), crc.data.eq(logit[:8]),
                     results.digest.eq(crc.crc)]
        with m.If(octets != 0):
            m.d.sync += [octets.eq(octets - 1), logit.eq(logit[8:])]
        with m.If(self.logit_taken & self.running):
            m.d.sync += [octets.eq(link.LOGIT_BYTES), logit.eq(self.logit)]

        # Answers
        full, waits, all_there = Signal(), Signal(), Signal()
        m.d.sync += [full.eq(head - base == link.LABEL_SPACE), all_there.eq(head == pictures)]
        m.d.comb += [memory.write_address.eq(head), memory.write_data.eq(self.best)]
        going = results.state == link.RunState.RUNNING
        with m.FSM():
            with m.State("TAKE"):
                m.d.sync += waits.eq(0)
                with m.If(self.running & going & self.due & self.whole & full):
                    m.d.sync += waits.eq(1)
                    with m.If(~waits):
                        m.d.sync += results.waits.eq(results.waits + 1)
                with m.Elif(self.running & self.due):
                    m.next = "RELEASE"
                    with m.If(going & self.whole):
                        m.d.comb += memory.write_enable.eq(1)
                        m.d.sync += head.eq(head + 1)
                    with m.Elif(going):
                        m.d.sync += [results.state.eq(link.RunState.FAILED), results.fault.eq(link.Fault.LOGITS)]
                with m.Elif(going & all_there & (self.ended != seen) & (octets == 0)):
                    m.d.sync += [results.state.eq(link.RunState.DONE), self.running.eq(0)]
            with m.State("RELEASE"):
                m.d.comb += self.answered.eq(1)
                with m.If(~self.due):
                    m.next = "SETTLE"
            with m.State("SETTLE"):                         # what is compared with `head` is that of now
                m.next = "TAKE"

        with m.If(self.clear):
            m.d.sync += self.running.eq(0)
            with m.If(going & self.damaged):
                m.d.sync += [results.state.eq(link.RunState.FAILED), results.fault.eq(link.Fault.DAMAGED)]
            with m.Elif(results.state != link.RunState.FAILED):
                m.d.sync += results.state.eq(link.RunState.NONE)
        with m.If(begins):
            m.d.sync += [self.running.eq(1), results.state.eq(link.RunState.RUNNING), results.fault.eq(link.Fault.NONE),
                         results.waits.eq(0), head.eq(0), base.eq(0), all_there.eq(0), seen.eq(self.ended)]
        return m

    def _orders(self, m, *, head, base, index, pictures, begins, asked):
        """The commands, pair after pair of bytes."""
        command, fault = self.control.order.p.command, self.control.fault
        word, position = Signal(16), Signal(range(RUN_WORDS))
        first, exhausted, fits, kept = Signal(), Signal(), Signal(), Signal()
        storing, to_run = command == link.Command.STORE, command == link.Command.RUN
        end = word + (self.left[:13] + (link.CHUNK_BYTES - 1) >> CHUNK_SHIFT)       # of at most a frame's bytes
        m.d.comb += first.eq(position == 0)
        # `begins` comes a cycle after the last word: that it is taken is said from far away.
        m.d.sync += [exhausted.eq(self.left == 0), fits.eq((word >= self.chunks) & (end <= link.MAX_CHUNKS)),
                     kept.eq((word >= base) & (word <= head)), begins.eq(0)]

        def take(part, following):
            m.d.comb += self.octets.ready.eq(1)
            with m.If(self.octets.valid):
                m.d.sync += part.eq(self.octets.payload)
                m.next = following

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [position.eq(0), fault.eq(link.Fault.NONE)]
                with m.If(self.control.order.valid):
                    m.next = "LOW"
            with m.State("LOW"):
                take(word[:8], "HIGH")
            with m.State("HIGH"):
                take(word[8:], "LEFT")
            with m.State("LEFT"):                           # two cycles after a byte: `left` is that behind it
                m.next = "COMPARE"
            with m.State("COMPARE"):                        # with what the word is
                m.next = "WORD"
                with m.If(command == link.Command.LABELS):
                    m.next = "INDEX"
                with m.If(storing & first):
                    m.next = "FIT"
            with m.State("FIT"):
                m.next = "WORD"
                with m.If(~fits):
                    m.d.sync += fault.eq(link.Fault.PLACE)
                    m.next = "DONE"
            with m.State("WORD"):
                m.d.comb += [
                    self.load.valid.eq(1), self.load.p.data.eq(word),
                    self.load.p.kind.eq(Mux(storing, Mux(first, isa.LoadKind.PLACE, isa.LoadKind.WORD),
                                            Mux(exhausted, isa.LoadKind.RUN, isa.LoadKind.COUNT)))]
                with m.If(self.abandon):
                    m.next = "IDLE"
                with m.If(self.load.ready):
                    m.d.sync += position.eq(Mux(position == RUN_WORDS - 1, position, position + 1))
                    m.next = "LOW"
                    with m.If(to_run & first):
                        m.d.sync += pictures.eq(word)
                    with m.If(exhausted):
                        m.d.sync += begins.eq(to_run)
                        m.next = "DONE"
            with m.State("INDEX"):
                m.next = "DONE"
                with m.If(kept):
                    m.d.comb += asked.eq(1)
                    m.d.sync += [base.eq(word), index.eq(word)]
                with m.Else():
                    m.d.sync += fault.eq(link.Fault.ORDER)
            with m.State("DONE"):
                m.d.comb += self.control.order.ready.eq(1)
                m.next = "IDLE"

    def _labels(self, m, memory, *, head, index, asked):
        """The bytes of an answer to LABELS, low one first."""
        left, count, high = Signal(range(link.LABELS_A_FRAME + 1)), Signal(16), Signal()
        m.d.sync += count.eq(head - index)
        m.d.comb += [memory.read_address.eq(index), self.labels.p.octet.eq(Mux(high, memory.read_data[8:],
                                                                               memory.read_data[:8])),
                     self.labels.p.last.eq(high & (left == 1))]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(asked):
                    m.next = "COUNT"
            with m.State("COUNT"):                          # `index` is that of this one, in the next cycle `count` too
                m.next = "CUT"
            with m.State("CUT"):
                m.d.sync += [left.eq(Mux(count > link.LABELS_A_FRAME, link.LABELS_A_FRAME, count)), high.eq(0)]
                m.next = "LENGTH"
            with m.State("LENGTH"):
                m.d.sync += self.labels_length.eq(left << 1)
                m.next = "IDLE"
                with m.If(left != 0):
                    m.next = "READ_0"
            for n in range(timing.BLOCK_MEMORY):
                with m.State(f"READ_{n}"):
                    m.next = f"READ_{n + 1}" if n + 1 < timing.BLOCK_MEMORY else "SEND"
            with m.State("SEND"):
                m.d.comb += self.labels.valid.eq(1)
                with m.If(self.labels.ready):
                    m.d.sync += high.eq(~high)
                    with m.If(high):
                        m.d.sync += [left.eq(left - 1), index.eq(index + 1)]
                        m.next = "READ_0"
                        with m.If(left == 1):
                            m.next = "IDLE"
