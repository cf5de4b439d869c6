"""Credits of a ring: whether there is room for what comes, and whether there is something to read."""
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Credits"]


class Credits(wiring.Component):
    """Counts room in units and what is there in blocks of them.

    Parameters
    ----------
    capacity : units of the ring
    largest : units of its largest block

    Members
    -------
    wanted : In: units of the next block; reserve : In(1): it gets them, with `room` up
    room : Out(1): there are as many free; up to date in the second cycle after `wanted` or `reserve` changed, in the
        third after `free`
    free : In(1): a unit is read for the last time
    credit : In(1): a block is whole; there : Out(1): one is, from the cycle after
    taken : In(1), with `there` up: a reader counts on the oldest block; `there` is the next one's from the second cycle
        after
    rewind : In(1): the ring is empty

        cycle    0         1       2          3
        reserve  1
        room               as before          of the next block
        credit   1
        there              1
        taken              1
        there              1       1          0

    Resources: two counters, a comparison; 26 flip-flops for 1,024 units in blocks of one.
    """
    def __init__(self, *, capacity, largest=1):
        self.capacity = capacity
        super().__init__({
            "wanted": In(range(largest + 1), init=largest), "reserve": In(1), "room": Out(1), "free": In(1),
            "credit": In(1), "there": Out(1), "taken": In(1), "rewind": In(1)})

    def elaborate(self, platform):
        m = Module()
        left, blocks = Signal(range(self.capacity + 1), init=self.capacity), Signal(range(self.capacity + 1))
        freed, taken = Signal(), Signal()           # both come far
        m.d.sync += [freed.eq(self.free), taken.eq(self.taken),
                     left.eq(left - Mux(self.reserve, self.wanted, 0) + freed), self.room.eq(self.wanted <= left),
                     blocks.eq(blocks + self.credit - taken),
                     self.there.eq(self.credit | (blocks > 1) | (blocks == 1) & ~taken)]
        with m.If(self.rewind):
            m.d.sync += [left.eq(self.capacity), blocks.eq(0), self.there.eq(0), self.room.eq(0), freed.eq(0),
                         taken.eq(0)]
        return m
