"""Frees the core of all its pictures, and gives it up where it does not answer.

    cycle      0    1   2   3   4   5   6   7
    forget     1
    clear               1   1   1
    cleared                     1   1   1
    clearing        1   1   1   1   1   1   (to the cycle in which `cleared` is seen to have fallen)
"""
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["LONG", "CoreGuard"]
LONG = 5                    # times the patience, for what the core may compute meanwhile

class CoreGuard(wiring.Component):
    """The handshake that clears the core, and the limit of the host's patience with it.

    Parameters
    ----------
    patience : cycles that a command may wait for the core, all its waits together

    Members
    -------
    begin : In(1): a command begins, its patience too
    waits : In(1): something is offered to the core that it does not take in this cycle, or is expected of it
    long : In(1): it may compute meanwhile, a picture or the check of a tape: the patience is LONG times as long
    forget : In(1), for one cycle: clear the core; where that is going on already, it goes on
    clear : Out(1), cleared : In(1): `clear` rises, `cleared` rises, `clear` falls, `cleared` falls
    clearing : Out(1): from the cycle after `forget` to the end of the handshake
    stalled : Out(1): the command waits, as `waits` or `clearing` say, and its patience has come to its end

    A clearing outlives the command that it belongs to: it ends when the core has answered. Resources: 29
    flip-flops, 25 of them the counter of 0.5 s at 50 MHz, 50 LUT4.
    """
    def __init__(self, *, patience):
        self.patience = patience
        super().__init__({"begin": In(1), "waits": In(1), "long": In(1), "forget": In(1), "clear": Out(1),
                          "cleared": In(1), "clearing": Out(1), "stalled": Out(1)})

    def elaborate(self, platform):
        m = Module()
        waiting, waited = Signal(), Signal(range(LONG * self.patience + 1))
        limit = Mux(self.long & ~self.clearing, LONG * self.patience, self.patience)
        m.d.comb += [waiting.eq(self.waits | self.clearing), self.stalled.eq(waiting & (waited >= limit))]
        with m.If(self.begin):
            m.d.sync += waited.eq(0)
        with m.Elif(waiting & ~self.stalled):
            m.d.sync += waited.eq(waited + 1)

        m.d.comb += self.clearing.eq(1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.clearing.eq(0)
                with m.If(self.forget):
                    m.next = "RISE"
            with m.State("RISE"):
                m.d.sync += self.clear.eq(1)                # a register: it goes to another clock
                with m.If(self.clear & self.cleared):
                    m.d.sync += self.clear.eq(0)
                    m.next = "FALL"
            with m.State("FALL"):
                with m.If(~self.cleared):
                    m.next = "IDLE"
        return m
