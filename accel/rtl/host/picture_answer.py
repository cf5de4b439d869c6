"""The payload of an answer to INFER: a picture's logits, collected whole, then its class and cycles.

    cycle     0      1        2        3        4
    state     TAKE   COMPARE  CHOOSE   STORE    TAKE        or, after the last logit: COUNT
    logits    taken                             the next

    cycle     0      1        2        3        4       5        6       7 .. 10      11
    state     COUNT  READ_0   READ_1   FETCH    SEND    FETCH    SEND    ...          READ_0
    due              1        1        1        1       1        1       1            1
    octets                                      byte 0           byte 1  bytes 2, 3
"""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, link, timing
from accel.rtl.memory.block_memory import BlockMemory

__all__ = ["AnswerByte", "PictureAnswer"]


class AnswerByte(data.Struct):
    """last: of a picture's answer."""
    octet: 8
    last: 1


class PictureAnswer(wiring.Component):
    """Logits into bytes, with an argmax over them.

    Members
    -------
    logits : In(stream of isa.LogitWord); cycles : In(32), of the picture, when its last logit is taken
    n_logits : In(16): how many the net has, 1 .. link.MAX_LOGITS
    due : Out(1): a whole picture has come, up to the cycle in which `answered` : In(1) says that it is done with
    whole : Out(1): as many logits as the net has
    octets : Out(stream of AnswerByte), of a whole picture: 4 a logit, then 2 of the class and 4 of the cycles, lowest
        first
    best : Out(16): index of the largest logit so far, the lowest of equals; the class, while `due`
    unsent : In(1): nobody wants the bytes
    clear : In(1): forget everything; logits are taken and dropped

    Logits are taken while none is due: those of the next picture wait until this one is answered, no longer than that
    takes on the line. What is more than an answer has room for is counted and dropped.

    Latency: 5 cycles from the last logit to `due`, 3 more to the first byte. Throughput: a logit each 4 cycles, then
    10 a logit and 12 more a picture. Resources: 160 flip-flops, 310 LUT4, two
    block memories (1022 words of 32 bits).
    """
    def __init__(self):
        super().__init__({"logits": In(stream.Signature(isa.LogitWord)), "cycles": In(32), "n_logits": In(16),
                          "due": Out(1), "whole": Out(1), "answered": In(1), "unsent": In(1), "clear": In(1),
                          "octets": Out(stream.Signature(AnswerByte)), "best": Out(16)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.buffer = buffer = BlockMemory(width=32, depth=link.MAX_LOGITS)
        logit, largest, cycles = Signal(signed(32)), Signal(signed(32)), Signal(32)
        last, better, room, tail, final = Signal(), Signal(), Signal(), Signal(), Signal()
        # Its end means "too many": it counts no further.
        count, index = Signal(range(link.MAX_LOGITS + 2)), Signal(range(link.MAX_LOGITS + 1))
        answer = Cat(buffer.read_data, self.best, cycles)
        position, end = Signal(range(len(answer) // 8)), Signal(range(len(answer) // 8))
        m.d.comb += [buffer.write_address.eq(count), buffer.write_data.eq(logit), buffer.read_address.eq(index)]
        m.d.sync += room.eq(count < link.MAX_LOGITS)

        with m.FSM():
            with m.State("TAKE"):
                m.d.comb += self.logits.ready.eq(1)
                m.d.sync += [logit.eq(self.logits.p.logit), last.eq(self.logits.p.last), cycles.eq(self.cycles)]
                with m.If(self.logits.valid):
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.sync += better.eq((count == 0) | (logit > largest))
                m.next = "CHOOSE"
            with m.State("CHOOSE"):
                with m.If(better):
                    m.d.sync += [largest.eq(logit), self.best.eq(count)]
                m.next = "STORE"
            with m.State("STORE"):
                m.d.comb += buffer.write_enable.eq(room)
                with m.If(count != link.MAX_LOGITS + 1):
                    m.d.sync += count.eq(count + 1)
                m.next = "TAKE"
                with m.If(last):
                    m.next = "COUNT"
            with m.State("COUNT"):
                m.d.sync += [self.whole.eq(count == self.n_logits), index.eq(0)]
                m.next = "READ_0"
            for n in range(timing.BLOCK_MEMORY):
                with m.State(f"READ_{n}"):
                    m.d.comb += self.due.eq(1)
                    m.d.sync += [position.eq(0), tail.eq(index + 1 == count),
                                 end.eq(Mux(index + 1 == count, len(answer) // 8, link.LOGIT_BYTES) - 1)]
                    m.next = f"READ_{n + 1}" if n + 1 < timing.BLOCK_MEMORY else "FETCH"
            with m.State("FETCH"):
                m.d.comb += self.due.eq(1)
                m.d.sync += [self.octets.p.octet.eq(answer.word_select(position, 8)),
                             self.octets.p.last.eq(tail & (position == end)), final.eq(position == end),
                             position.eq(position + 1)]
                m.next = "SEND"
                with m.If(~self.whole | self.unsent):
                    m.next = "DONE"
            with m.State("SEND"):
                m.d.comb += [self.due.eq(1), self.octets.valid.eq(1)]
                with m.If(self.octets.ready):
                    m.next = "FETCH"
                    with m.If(final):
                        m.d.sync += index.eq(index + 1)
                        m.next = "READ_0"
                        with m.If(tail):
                            m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.due.eq(1)
                with m.If(self.answered):
                    m.d.sync += count.eq(0)
                    m.next = "TAKE"
        return ResetInserter(self.clear)(m)
