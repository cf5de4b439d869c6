"""Plays the tape from SDRAM: loads it, checks it, and hands it to the distributor, again for each picture.

    load ==> TapePlayer == writes, reads ==> SdramController
                 |    <==== words ============== |
                 |  ChunkCheck -- judged --> ChunkQueue ==> words (to the distributor)
                 +-- MemoryTest
                 +-- PictureReader ==> pixels (to the picture loader)

    EMPTY           load words are taken: the tape into the SDRAM
    TEST, TESTING   the SDRAM is tested, then EMPTY
    DRAIN, CHECK    the last word is written, then all of it is read once
    JUDGE           what does not hold as a whole is no net
    PLAY            chunks are read while there is a free slot: once where the memories hold all of it, else round and
                    round
    FILLED, KEEP    the memories hold all of it; nothing is read any more
    STOP            chunks on their way come to their end, and the picture that runs, or it is given up; then EMPTY, or
                    PLAY from the beginning

The player owns the SDRAM and lends it to the reader of pictures while it wants nothing of it itself, and will not
before the next picture starts: in KEEP, and in PLAY between two pictures, be they of one batch, when the rings are
full. What was read by then changes nothing for the picture that follows, since the SDRAM is refreshed before it. Words
of pictures are written in all states; the host sends none while a picture is on its way.
"""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, tape, timing
from accel.config import AccelConfig
from accel.rtl.sdram.controller import SdramController
from accel.rtl.sdram.memory_test import MemoryTest
from accel.rtl.sdram.port import SdramPort, WriteWord
from accel.rtl.stream_register import StreamRegister
from accel.sdram import SdramTiming

from .chunk_check import ChunkCheck
from .chunk_queue import ChunkQueue
from .distributor import TapeWord
from .picture_reader import PictureReader

__all__ = ["TapePlayer"]

LOAN_AFTER_RESTART = 4      # cycles from `restarted` to a picture that is seen, and one


class TapePlayer(wiring.Component):
    """Everything between the load stream and the distributor, with the SDRAM.

    Parameters
    ----------
    config : AccelConfig with `sdram_hz`
    whole : the memories hold a resident net at configuration

    Members
    -------
    load : In(stream of isa.LoadWord); one may be taken while `busy`, and waits, unless it is PLACE, COUNT, RUN or a
        WORD behind PLACE. RUN comes only when no picture is on its way
    busy : In(1): a program runs; computing : In(1): and does not wait for its next picture
    words : Out(stream of TapeWord); waiting : In(1): the distributor has no room; ended : In(1): it took the last word
    rewind : Out(1): the rings are empty, the tape begins
    resident : Out(1): the memories hold all of the net
    ask : In(1): a picture would start; go : Out(1): it may. A resident net's at once; else when the rings are full,
        the SDRAM is refreshed, and so all that follows is the same for every picture
    whole : Out(1): there is a net. damaged : Out(1): there was to be one, but its words are wrong
    hold : Out(1): no net, or a load waits: start no picture; clear : Out(1): no net: forget pixels
    forget : In(1): the picture that runs is given up, and `busy` falls; a net that is played starts again
    memory : Out(isa.MemoryReport)
    pixels : Out(stream of isa.PixelWord), running : Out(1): a run goes on, and they are its pixels; answered : In(1):
        the last logit of a picture was taken; run : Out(isa.RunReport)
    sdram : Out(SdramPort())

    Throughput: see SdramController; a chunk's words are passed on when all of it has come and its check has held,
    timing.TAPE_CHUNK = 9 cycles after its last one. Resources: those of its parts and about 220 flip-flops.
    """
    def __init__(self, config: AccelConfig, *, whole=False):
        self.config, self.at_configuration = config, whole
        super().__init__({
            "load": In(stream.Signature(isa.LoadWord)), "busy": In(1), "computing": In(1),
            "words": Out(stream.Signature(TapeWord)), "waiting": In(1), "ended": In(1), "rewind": Out(1),
            "resident": Out(1, init=whole), "ask": In(1), "go": Out(1), "whole": Out(1, init=whole),
            "damaged": Out(1), "hold": Out(1), "clear": Out(1), "forget": In(1),
            "memory": Out(isa.MemoryReport), "sdram": Out(SdramPort()), "pixels": Out(stream.Signature(isa.PixelWord)),
            "running": Out(1), "answered": In(1), "run": Out(isa.RunReport)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.controller = controller = SdramController(SdramTiming.of(self.config.sdram_hz))
        m.submodules.check = check = ChunkCheck()
        m.submodules.queue = queue = ChunkQueue()
        m.submodules.test = test = MemoryTest()
        m.submodules.reader = reader = PictureReader()
        wiring.connect(m, controller.port, wiring.flipped(self.sdram))
        wiring.connect(m, queue.o, wiring.flipped(self.words))
        wiring.connect(m, reader.pixels, wiring.flipped(self.pixels))

        m.submodules.load_register = load_register = StreamRegister(isa.LoadWord)
        wiring.connect(m, wiring.flipped(self.load), load_register.i)
        load = load_register.o
        kind, word = load.p.kind, load.p.data
        taken = load.valid & load.ready
        gentle = Signal()                                   # not of a load or a test
        m.d.comb += gentle.eq((kind == isa.LoadKind.PLACE) | (kind == isa.LoadKind.COUNT) | (kind == isa.LoadKind.RUN)
                              | (kind == isa.LoadKind.WORD))
        expected, last, place = Signal(32), Signal(isa.CHUNK_BITS), Signal(isa.CHUNK_BITS + 9)
        testing, playing, again, quiet, seed = Signal(), Signal(), Signal(), Signal(), Signal(16)

        # Requests, of the player, the tester, or the reader of pictures. `lent`: those of the last.
        lendable, lent = Signal(), Signal()
        asked, request = Signal(range(tape.SLOTS + 1)), stream.Signature(isa.CHUNK_BITS).create()
        chunk, at_last, all_asked = Signal(isa.CHUNK_BITS), Signal(), Signal()
        wants_chunk, accepted = Signal(), Signal()
        m.d.comb += [request.payload.eq(chunk), accepted.eq(request.valid & request.ready)]
        m.d.sync += at_last.eq(chunk == last)
        with m.If(accepted):
            m.d.sync += [request.valid.eq(0), chunk.eq(Mux(at_last, 0, chunk + 1)), all_asked.eq(at_last)]
        with m.Elif(wants_chunk & ~request.valid & (asked != tape.SLOTS)):
            m.d.sync += request.valid.eq(1)
        m.d.sync += asked.eq(asked + accepted - Mux(playing, queue.freed, check.judged & (asked != 0)))
        m.d.comb += [
            controller.reads.valid.eq(Mux(testing, test.reads.valid, Mux(lent, reader.reads.valid, request.valid))),
            controller.reads.payload.eq(
                Mux(testing, test.reads.payload, Mux(lent, reader.reads.payload, request.payload))),
            test.reads.ready.eq(testing & controller.reads.ready), reader.reads.ready.eq(lent & controller.reads.ready),
            request.ready.eq(~testing & ~lent & controller.reads.ready)]

        # Words that come: checked, and stored while the tape plays; or a picture's.
        checking = Signal()
        m.d.comb += [check.last.eq(last), check.valid.eq(controller.word.valid & ~testing & ~lent),
                     check.word.eq(controller.word.data), check.counts.eq(checking),
                     check.other.eq(controller.word.valid & lent),
                     queue.valid.eq(check.payload & playing), queue.word.eq(controller.word.data),
                     queue.end.eq(check.end & playing), queue.commit.eq(check.judged & ~check.wrong & playing),
                     queue.last.eq(last), test.word.eq(controller.word), test.seed.eq(seed),
                     reader.valid.eq(controller.word.valid & lent), reader.word.eq(controller.word.data),
                     reader.last.eq(controller.word.last)]

        # Words of a load.
        m.submodules.write_register = write_register = StreamRegister(WriteWord)
        wiring.connect(m, write_register.o, controller.writes)
        to_write, writes = write_register.i, stream.Signature(WriteWord).create()
        m.d.comb += [writes.p.chunk.eq(place[9:]), writes.p.column.eq(place[:9])]
        m.d.comb += [
            to_write.valid.eq(Mux(testing, test.writes.valid, writes.valid)),
            to_write.payload.eq(Mux(testing, test.writes.payload, writes.payload)),
            test.writes.ready.eq(testing & to_write.ready), writes.ready.eq(~testing & to_write.ready)]
        with m.If(writes.valid & writes.ready):
            m.d.sync += [writes.valid.eq(0), place.eq(place + 1)]

        # What the core and the player say to each other goes far: all of it is registered. No picture starts from the
        # cycle after `hold` on, so two cycles after it `idle` is up only if there is none.
        idle, stopping, disturbed = Signal(), Signal(), Signal()
        m.d.sync += [self.hold.eq(self.load.valid | load.valid | ~self.whole | stopping),
                     idle.eq(self.hold & ~self.busy), disturbed.eq(load.valid & ~gentle & idle),
                     self.go.eq(self.resident | controller.restarted)]

        # A picture may start when everything waits for it.
        steady, primed, picture_waits = Signal(range(timing.TAPE_SETTLED)), Signal(), Signal()
        most = timing.TAPE_SETTLED - 1
        rings_full = Signal()
        calm = rings_full & queue.full & controller.idle & ~request.valid
        settled = picture_waits & calm & ~reader.reads.valid & ~lent
        m.d.sync += [steady.eq(Mux(settled, Mux(steady == most, most, steady + 1), 0)),
                     primed.eq(settled & (steady == most))]
        m.d.sync += [picture_waits.eq(self.ask & ~controller.restarted), rings_full.eq(self.waiting)]
        m.d.sync += controller.restart.eq(
            playing & ~self.resident & primed & picture_waits & self.whole & ~controller.restarted)
        m.d.comb += self.clear.eq(~self.whole)

        # The loan. No picture starts in it: `primed` has fallen a cycle after the reader asks, and the restart with it.
        # A picture that may start is seen to be computed some cycles later.
        keeping, started, calm_for = Signal(), Signal(LOAN_AFTER_RESTART), Signal(range(timing.TAPE_SETTLED))
        m.d.sync += [started.eq(Cat(controller.restarted, started)),
                     calm_for.eq(Mux(calm & playing & self.whole & ~self.computing & ~started.any(),
                                     Mux(calm_for == most, most, calm_for + 1), 0)),
                     lendable.eq(keeping | playing & (calm_for == most) & ~controller.restarted & ~started.any())]
        with m.If(lent):
            m.d.sync += lent.eq(~controller.idle | reader.reads.valid)
        with m.Elif(lendable & reader.reads.valid & ~primed & ~controller.restart & ~controller.restarted):
            m.d.sync += lent.eq(1)
        m.d.sync += quiet.eq(controller.idle & ~controller.reads.valid & ~controller.writes.valid & ~to_write.valid)

        # All ends of it are far.
        beginning, ended = Signal(), Signal()
        m.d.sync += [beginning.eq(0), ended.eq(self.ended)]
        m.d.comb += [check.start.eq(beginning), queue.rewind.eq(beginning), self.rewind.eq(beginning)]
        with m.If(beginning):
            m.d.sync += asked.eq(0)

        def begin():
            """The tape from the beginning; no chunk is asked for, and no picture."""
            m.d.sync += [beginning.eq(1), chunk.eq(0), all_asked.eq(0)]

        # What a state waits for is put together in the cycle before.
        wrong, differs, count = Signal(), Signal(), Signal(range(4))
        broken, forgotten, all_back, stopped = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [differs.eq(expected != check.check), broken.eq(check.judged & check.wrong),
                     forgotten.eq(self.forget & ~self.resident), all_back.eq(checking & all_asked & (asked == 0)),
                     stopped.eq(stopping & quiet & ~request.valid & idle & ~lent & ~lendable)]
        # After a word of the load the next one comes two cycles later: what is decided here is decided anew by then.
        loading, may_take = Signal(), Signal()
        counts, runs = Signal(), Signal()
        m.d.comb += load.ready.eq(may_take)
        m.d.sync += [may_take.eq(load.valid & ~may_take & ~writes.valid & controller.ready
                                 & Mux(gentle & ~loading, (playing | keeping) & ~lent, loading & idle)),
                     counts.eq(taken & (kind == isa.LoadKind.COUNT)), runs.eq(taken & (kind == isa.LoadKind.RUN))]
        with m.If(taken):
            with m.Switch(kind):
                with m.Case(isa.LoadKind.BEGIN, isa.LoadKind.PLACE):
                    m.d.sync += place.eq(word[:isa.CHUNK_BITS] << 9)
                with m.Case(isa.LoadKind.WORD):
                    m.d.sync += [writes.valid.eq(1), writes.p.data.eq(word)]
                with m.Case(isa.LoadKind.CHECK):
                    m.d.sync += expected.eq(Cat(expected[16:], word))
        # The word stands still for one more cycle than it is on offer.
        m.d.comb += [reader.count.eq(counts), reader.start.eq(runs), reader.data.eq(word), check.other_start.eq(runs),
                     reader.clear.eq(self.forget | ~self.whole), reader.answered.eq(self.answered),
                     self.running.eq(reader.running), self.run.ended.eq(reader.ended),
                     self.run.cycles.eq(reader.cycles), self.run.check.eq(check.check)]
        with m.FSM(init="KEEP" if self.at_configuration else "EMPTY"):
            with m.State("EMPTY"):
                m.d.comb += loading.eq(1)
                with m.If(taken):
                    with m.Switch(kind):
                        with m.Case(isa.LoadKind.BEGIN):
                            m.d.sync += [self.damaged.eq(0), self.resident.eq(0)]
                        with m.Case(isa.LoadKind.PLAY):
                            m.d.sync += [last.eq(isa.Play(word).last), self.resident.eq(isa.Play(word).resident)]
                            m.next = "DRAIN"
                        with m.Case(isa.LoadKind.TEST):
                            m.d.sync += [self.memory.eq(0), seed.eq(word)]
                            m.next = "TEST"
            with m.State("TEST"):
                m.d.comb += [testing.eq(1), test.start.eq(1)]
                m.next = "TESTING"
            with m.State("TESTING"):
                m.d.comb += testing.eq(1)
                with m.If(test.done):
                    m.d.sync += [self.memory.tested.eq(1), self.memory.errors.eq(test.errors),
                                 self.memory.address.eq(test.address)]
                    m.next = "EMPTY"
            with m.State("DRAIN"):
                with m.If(quiet):
                    begin()
                    m.d.sync += wrong.eq(0)
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.comb += [checking.eq(1), wants_chunk.eq(~all_asked)]
                m.d.sync += wrong.eq(wrong | check.judged & check.wrong)
                with m.If(all_back):
                    m.next = "JUDGE"
            with m.State("JUDGE"):
                m.d.sync += again.eq(0)
                m.next = "STOP"
                with m.If(wrong | differs):
                    m.d.sync += self.damaged.eq(1)
                with m.Else():
                    m.d.sync += again.eq(1)
            with m.State("STOP"):                           # what is on its way comes, and is not looked at
                m.d.comb += stopping.eq(1)
                m.d.sync += count.eq(0)
                # A picture that still sends logits has the words for them in the rings.
                with m.If(stopped):
                    begin()
                    m.next = "EMPTY"
                    with m.If(again):
                        m.next = "PLAY"
            with m.State("PLAY"):
                m.d.comb += [playing.eq(1), wants_chunk.eq(~(self.resident & all_asked))]
                # The rings are full: the settings, which decide what becomes of pixels, are those of this tape.
                with m.If(rings_full & queue.full & ~self.resident):
                    m.d.sync += self.whole.eq(1)
                with m.If(broken):
                    m.d.sync += [self.damaged.eq(1), self.whole.eq(0), again.eq(0)]
                    m.next = "STOP"
                with m.Elif(forgotten):
                    m.d.sync += again.eq(1)
                    m.next = "STOP"
                with m.Elif(disturbed):
                    m.d.sync += [self.whole.eq(0), again.eq(0)]
                    m.next = "STOP"
                with m.Elif(self.resident & ended):
                    m.next = "FILLED"
            with m.State("FILLED"):                         # the last word gets into its ring
                m.d.sync += count.eq(count + 1)
                with m.If(count == 3):
                    m.d.sync += self.whole.eq(1)
                    m.next = "KEEP"
            with m.State("KEEP"):
                m.d.comb += keeping.eq(1)
                with m.If(disturbed):
                    m.d.sync += [self.whole.eq(0), again.eq(0)]
                    m.next = "STOP"
        return m
