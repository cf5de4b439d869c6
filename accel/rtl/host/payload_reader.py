"""A request's payload, byte after byte, out of the buffer it was received into.

    cycle            0       1        2        3        4        5        6        7        8
    start            1
    reading, left            1, n                                n-1
    buffer_address           0                                   1
    buffer_data                                byte 0                              byte 1
    octets                                              byte 0                              byte 1
"""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel import link, timing

__all__ = ["PayloadReader"]


class PayloadReader(wiring.Component):
    """Reads `length` bytes from address 0 on.

    Members
    -------
    start : In(1), length : In(16): begins, whatever went on before
    stop : In(1): what is left is not wanted; not in the cycle of `start`
    octets : Out(stream of 8 bits)
    left : Out(16): bytes that have not been taken from `octets`
    reading : Out(1), buffer_address : Out: the bytes from `buffer_address` on are still wanted
    buffer_data : In(8), `timing.BLOCK_MEMORY` cycles after its address

    Latency: 4 cycles from `start` to the first byte. Throughput: a byte each 4 cycles, since the address moves when a
    byte is taken: what is on offer is still in the buffer. Resources: 41 flip-flops, 35 LUT4.
    """
    def __init__(self):
        super().__init__({
            "start": In(1), "length": In(16), "stop": In(1), "octets": Out(stream.Signature(8)), "left": Out(16),
            "reading": Out(1), "buffer_address": Out(range(link.MAX_PAYLOAD)), "buffer_data": In(8)})

    def elaborate(self, platform):
        m = Module()
        waited, exhausted = Signal(range(timing.BLOCK_MEMORY + 1)), Signal()
        m.d.sync += exhausted.eq(self.left == 0)
        with m.If(self.start):
            m.d.sync += [self.reading.eq(1), self.left.eq(self.length), self.buffer_address.eq(0), waited.eq(0),
                         self.octets.valid.eq(0)]
        with m.Elif(self.stop):
            m.d.sync += [self.reading.eq(0), self.octets.valid.eq(0)]
        with m.Elif(self.octets.valid):
            with m.If(self.octets.ready):
                m.d.sync += [self.octets.valid.eq(0), self.left.eq(self.left - 1), waited.eq(0),
                             self.buffer_address.eq(self.buffer_address + 1)]
        with m.Elif(waited != timing.BLOCK_MEMORY):
            m.d.sync += waited.eq(waited + 1)
        with m.Elif(exhausted):
            m.d.sync += self.reading.eq(0)
        with m.Elif(self.reading):
            m.d.sync += [self.octets.valid.eq(1), self.octets.payload.eq(self.buffer_data)]
        return m
