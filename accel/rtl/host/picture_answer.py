"""The payload of an answer to INFER: a picture's logits as the core gives them, then its class and cycles.

    cycle     0      1        2        3      4       5      6       7 .. 10       11
    state     TAKE   COMPARE  CHOOSE   FETCH  SEND    FETCH  SEND    ...           TAKE
    logits    taken                                                                the next
    octets                                    byte 0         byte 1  bytes 2, 3
"""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa

__all__ = ["AnswerByte", "PictureAnswer"]

LOGIT_BYTES = 4


class AnswerByte(data.Struct):
    """last: of a picture's answer."""
    octet: 8
    last: 1


class PictureAnswer(wiring.Component):
    """Logits into bytes, with an argmax over them.

    Members
    -------
    logits : In(stream of isa.LogitWord); cycles : In(32), of the picture, when its last logit is taken
    octets : Out(stream of AnswerByte): 4 a logit, then 2 of the class and 4 of the cycles, lowest first
    best : Out(16): index of the largest logit so far, the lowest of equals; the class, while `last` is on offer

    Latency: 4 cycles from a logit to its first byte. Throughput: a logit each 11 cycles, 12 more a picture. The bytes
    are read by address out of the registers. Resources: 147 flip-flops, 160 LUT4.
    """
    def __init__(self):
        super().__init__({"logits": In(stream.Signature(isa.LogitWord)), "cycles": In(32),
                          "octets": Out(stream.Signature(AnswerByte)), "best": Out(16)})

    def elaborate(self, platform):
        m = Module()
        logit, largest, cycles = Signal(signed(32)), Signal(signed(32)), Signal(32)
        index, last, better = Signal(16), Signal(), Signal()
        answer = Cat(logit, self.best, cycles)
        position, final = Signal(range(len(answer) // 8)), Signal()
        with m.FSM():
            with m.State("TAKE"):
                m.d.comb += self.logits.ready.eq(1)
                m.d.sync += [logit.eq(self.logits.p.logit), last.eq(self.logits.p.last), cycles.eq(self.cycles),
                             position.eq(0)]
                with m.If(self.logits.valid):
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.sync += better.eq((index == 0) | (logit > largest))
                m.next = "CHOOSE"
            with m.State("CHOOSE"):
                m.d.sync += index.eq(Mux(last, 0, index + 1))
                with m.If(better):
                    m.d.sync += [largest.eq(logit), self.best.eq(index)]
                m.next = "FETCH"
            with m.State("FETCH"):
                m.d.sync += [self.octets.p.octet.eq(answer.word_select(position, 8)),
                             self.octets.p.last.eq(position == len(answer) // 8 - 1),
                             final.eq(position == Mux(last, len(answer) // 8, LOGIT_BYTES) - 1),
                             position.eq(position + 1)]
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.octets.valid.eq(1)
                with m.If(self.octets.ready):
                    m.next = "FETCH"
                    with m.If(final):
                        m.next = "TAKE"
        return m
