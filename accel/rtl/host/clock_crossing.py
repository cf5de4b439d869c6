"""A stream from one clock to another, whatever the two clocks are to each other.

    w_domain                             r_domain
    i ==> AsyncFIFO, distributed RAM ==> StreamRegister ==> o

What is to be known of an edge of the other clock is one bit at a time, since pointers cross in Gray code:

    write edge    0 A taken; its word and the pointer change
    read edge         1 pointer, perhaps undecided    2 pointer, settled    3 A on offer at o
"""
from amaranth import *
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from accel.rtl.stream_register import StreamRegister

__all__ = ["ClockCrossing"]


class ClockCrossing(wiring.Component):
    """Carries every payload across once, in order.

    Parameters
    ----------
    shape : of the payload
    w_domain, r_domain : clock domains of `i` and of `o`, without reset
    depth : words of the queue, a power of two; ValueError for another. 16 words are distributed RAM

    Members
    -------
    i : In(stream of shape), in w_domain; o : Out(stream of shape), in r_domain
    empty : Out(1), in w_domain: all that `i` took has left the queue, for up to four write edges; the last of it may
        still be on offer at `o`

    A clock may stand still, also from the start: what is taken waits. Every output is a register's, but `i.ready`,
    which compares two pointers of w_domain.

    Latency: a payload is on offer at `o` from the third read edge on after the write edge that takes it; room that a
    payload leaves is seen by `i.ready` from the second write edge on after the read edge on which it leaves the queue.
    Throughput: a payload every write cycle until `depth` wait, every 2 read cycles out of it; in the long run the
    slower of the two.
    Needs: the wires of a pointer differ by less than a period of the clock that they come from, which nothing but the
    chip's size keeps: a wire across all of it takes less.
    Resources: with b bits 41 + 2b flip-flops, ceil(b / 4) TRELLIS_DPR16X4, about 35 LUT4 and 6 CCU2C; 11 flip-flops
    more where `empty` is used.
    """
    def __init__(self, shape, *, w_domain="write", r_domain="read", depth=16):
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"the depth of a clock crossing is a power of two, not {depth}")
        self.shape, self.depth = shape, depth
        self._w_domain, self._r_domain = w_domain, r_domain
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)), "empty": Out(1)})

    def elaborate(self, platform):
        m = Module()
        taken = Signal()
        w_domain, r_domain = self._w_domain, self._r_domain
        m.submodules.queue = queue = fifo.AsyncFIFO(width=Shape.cast(self.shape).width, depth=self.depth,
                                                    w_domain=w_domain, r_domain=r_domain)
        m.submodules.register = register = DomainRenamer(r_domain)(StreamRegister(self.shape))
        m.d.comb += [queue.w_data.eq(self.i.payload), queue.w_en.eq(self.i.valid), self.i.ready.eq(queue.w_rdy),
                     register.i.payload.eq(queue.r_data), register.i.valid.eq(queue.r_rdy),
                     queue.r_en.eq(register.i.ready)]
        # `w_level` is of the cycle before.
        m.d[w_domain] += taken.eq(self.i.valid & self.i.ready)
        m.d.comb += self.empty.eq((queue.w_level == 0) & ~taken)
        connect(m, register.o, flipped(self.o))
        return m
