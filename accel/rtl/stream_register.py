"""A register in every wire of a stream, for long ways across the chip.

    cycle    0          1            2          3
    i        A          not ready    B          not ready
    o                   A                       B
"""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["StreamRegister"]


class StreamRegister(wiring.Component):
    """Passes a stream on with no combinational path from one side to the other, `ready` included.

    Parameters
    ----------
    shape : of the payload

    Members
    -------
    i : In(stream of shape); o : Out(stream of shape)

    Latency: timing.STREAM_REGISTER = 1 cycle. Throughput: a payload every 2 cycles, since `i.ready` waits until the one
    before has gone; one register of payload and one of control, where a full-rate stage would take two.
    """
    def __init__(self, shape):
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.i.ready.eq(~self.o.valid)
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), self.o.payload.eq(self.i.payload)]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m
