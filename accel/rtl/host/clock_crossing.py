"""A stream from one clock to another, whatever the two clocks are to each other.

    w_domain                                    r_domain
    i ==> word ================================ register ==> o
          sent, changes with each word -------> two stages: it has come
          two stages: there is room <---------- taken, changes with each word

Only `sent` and `taken` are looked at while they may change, a bit each. The word stands still from the write edge that
takes it until `taken` has come back:

    write edge    0 A taken; sent changes                               room, on the second edge after `taken` changes
    read edge         1 sent, perhaps undecided   2 sent, settled   3 A on offer at o; taken changes
"""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["ClockCrossing"]


class ClockCrossing(wiring.Component):
    """Carries every payload across once, in order.

    Parameters
    ----------
    shape : of the payload
    w_domain, r_domain : clock domains of `i` and of `o`, without reset

    Members
    -------
    i : In(stream of shape), in w_domain; o : Out(stream of shape), in r_domain
    empty : Out(1), in w_domain: all that `i` took has left w_domain; the last of it may still be on offer at `o`

    A clock may stand still, also from the start: what is taken waits. Every output is a register's, but `i.ready` and
    `empty`, which compare two flip-flops.

    Latency: a payload is on offer at `o` from the third read edge on after the write edge that takes it, where the one
    before has gone; else on the edge after that goes. Throughput: where `o` takes at once, a payload in at most 3 read
    periods and 3 write periods, and in more than 2 of each.
    Needs: the wires of a word take less than a read period longer than that of `sent`.
    Resources: with b bits 2 * b + 7 flip-flops and 6 LUT4, no carry and no memory: `amaranth.lib.fifo.AsyncFIFO`
    has pointers of binary and Gray numbers in both domains, which were the slowest paths of the whole core.
    """
    def __init__(self, shape, *, w_domain="write", r_domain="read"):
        self.shape = shape
        self._w_domain, self._r_domain = w_domain, r_domain
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)), "empty": Out(1)})

    def elaborate(self, platform):
        m = Module()
        write, read = m.d[self._w_domain], m.d[self._r_domain]
        word = Signal(self.shape)
        sent, came, taken, room = Signal(), Signal(), Signal(), Signal()
        m.submodules.forth = FFSynchronizer(sent, came, o_domain=self._r_domain)
        m.submodules.back = FFSynchronizer(taken, room, o_domain=self._w_domain)

        m.d.comb += [self.empty.eq(sent == room), self.i.ready.eq(self.empty)]
        with m.If(self.i.valid & self.i.ready):
            write += [word.eq(self.i.payload), sent.eq(~sent)]

        with m.If(self.o.valid):
            with m.If(self.o.ready):
                read += self.o.valid.eq(0)
        with m.Elif(came != taken):
            read += [self.o.payload.eq(word), self.o.valid.eq(1), taken.eq(~taken)]
        return m
