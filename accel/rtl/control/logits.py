"""Sends logits: to each sum that is shifted out of the array's chains its bias is added.

    cycle      0        1      2          3           4                5        6
    emits      valid
    next_word           1      1
    word                                  bias low    bias high
    logit                                                              is added
    logits                                                                      valid

The offer stays until it is taken. In the cycle in which it is, `shift` asks for the next logit, which goes on as in
cycle 1 a cycle later; with the last one it is `emits` that is taken.
"""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, timing
from accel.config import AccelConfig

__all__ = ["LogitSender"]


class LogitSender(wiring.Component):
    """Offers logits, one after the other, each plus a bias of two threshold words (low 16 bits, high 16).

    Parameters
    ----------
    config : AccelConfig

    Members
    -------
    emits : In(stream of isa.Emit): how many logits, at least 1; taken in the cycle in which the last of them is
    next_word : Out(1): the next threshold word is read; word : In(acc_bits): `timing.BLOCK_MEMORY` cycles later
    logit : In(signed(32)): the lowest logit, at the latest in cycle `timing.LOGIT` after emits is valid or after
        shift : Out(1), for one cycle: the next one, please
    logits : Out(stream of isa.LogitWord): `last` with the last one of an `Emit` that has `last`

    Latency: `timing.LOGIT` + 1 cycles from the request to the first offer. Throughput: a logit in `timing.LOGIT` + 1
    cycles. Resources: 75 flip-flops (logit, bias, a count), a 32-bit adder; no memory.
    """
    def __init__(self, config: AccelConfig):
        super().__init__({
            "emits": In(stream.Signature(isa.Emit)), "next_word": Out(1), "word": In(config.acc_bits),
            "logit": In(signed(32)), "shift": Out(1), "logits": Out(stream.Signature(isa.LogitWord))})

    def elaborate(self, platform):
        m = Module()
        count, bias = Signal(isa.SIDE_BITS, reset_less=True), Signal(32, reset_less=True)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += count.eq(self.emits.p.count)
                with m.If(self.emits.valid):
                    m.next = "LOGIT_0"
            for n in range(timing.LOGIT):
                with m.State(f"LOGIT_{n}"):
                    if n < 2:
                        m.d.comb += self.next_word.eq(1)
                    if n == timing.BLOCK_MEMORY:
                        m.d.sync += bias[:16].eq(self.word)
                    if n == timing.BLOCK_MEMORY + 1:
                        m.d.sync += bias[16:].eq(self.word)
                    if n + 1 < timing.LOGIT:
                        m.next = f"LOGIT_{n + 1}"
                    else:
                        m.d.sync += [self.logits.p.logit.eq(self.logit + bias), count.eq(count - 1),
                                     self.logits.p.last.eq((count == 1) & self.emits.p.last)]
                        m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += [self.logits.valid.eq(1), self.shift.eq(self.logits.ready)]
                with m.If(self.logits.ready):
                    m.next = "LOGIT_0"
                    with m.If(count == 0):
                        m.d.comb += self.emits.ready.eq(1)
                        m.next = "IDLE"
        return m
