"""The tape straight from the load stream, where no SDRAM holds it."""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa

from .chunk_check import ChunkCheck
from .distributor import TapeWord

__all__ = ["LoadedTape"]


class LoadedTape(wiring.Component):
    """Hands the words of a load on to the distributor and checks them on the way.

    Parameters
    ----------
    whole : the memories hold a net at configuration

    Members
    -------
    load : In(stream of isa.LoadWord), taken in cycles without `busy`
    busy : In(1): a picture is being classified
    words : Out(stream of TapeWord); waiting : In(1): the distributor has no room for the word on offer
    rewind : Out(1), for one cycle: a load begins, the rings are empty
    whole : Out(1): there is a net. damaged : Out(1): there was to be one, but its words were wrong
    resident, go : Out(1): up, the memories hold all of a net and a picture may start: as TapePlayer's
    hold : Out(1): no net, or a word on offer: start no picture
    clear : Out(1): no net: take no pixels, forget those taken

    Latency: a word is on offer in the cycle after it was taken. Throughput: a word in two cycles. Resources: those of
    ChunkCheck and 70 flip-flops.
    """
    def __init__(self, *, whole=False):
        self.at_configuration = whole
        super().__init__({
            "load": In(stream.Signature(isa.LoadWord)), "busy": In(1), "words": Out(stream.Signature(TapeWord)),
            "waiting": In(1),
            "rewind": Out(1), "whole": Out(1, init=whole), "damaged": Out(1), "hold": Out(1), "clear": Out(1),
            "resident": Out(1), "go": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.check = check = ChunkCheck()
        wrong, expected = Signal(), Signal(32)
        taken = self.load.valid & self.load.ready
        kind, word = self.load.p.kind, self.load.p.data
        m.d.comb += [self.resident.eq(1), self.go.eq(1), self.hold.eq(self.load.valid | ~self.whole),
                     self.clear.eq(~self.whole), check.word.eq(word)]
        m.d.sync += wrong.eq(wrong | check.judged & check.wrong)
        with m.If(self.words.ready):
            m.d.sync += self.words.valid.eq(0)
        # There will be no room: the tape is too long. Its other words are dropped, so that the next load gets in.
        with m.If(self.words.valid & self.waiting):
            m.d.sync += [self.words.valid.eq(0), wrong.eq(1)]
        with m.FSM():
            with m.State("TAKE"):
                m.d.comb += self.load.ready.eq(~self.busy & ~self.words.valid)
                with m.If(taken):
                    with m.Switch(kind):
                        with m.Case(isa.LoadKind.BEGIN):
                            m.d.comb += [self.rewind.eq(1), check.start.eq(1)]
                            m.d.sync += [self.whole.eq(0), self.damaged.eq(0), wrong.eq(0)]
                        with m.Case(isa.LoadKind.WORD):
                            m.d.comb += check.valid.eq(1)
                            m.d.sync += [self.words.valid.eq(check.payload), self.words.p.word.eq(word)]
                        with m.Case(isa.LoadKind.CHECK):
                            m.d.sync += expected.eq(Cat(expected[16:], word))
                        with m.Case(isa.LoadKind.PLAY):
                            m.next = "SETTLE_0"
            for n in range(3):                              # the last word gets into its ring, the last chunk is judged
                with m.State(f"SETTLE_{n}"):
                    m.next = f"SETTLE_{n + 1}" if n < 2 else "JUDGE"
            with m.State("JUDGE"):
                m.d.sync += [self.whole.eq(~wrong & (expected == check.check)),
                             self.damaged.eq(wrong | (expected != check.check))]
                m.next = "TAKE"
        return m
