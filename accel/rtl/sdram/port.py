"""The wires between the core and an SDRAM, and the words that go over them.

Outside the core each pin has one more register in each direction, in its pad, and the chip's clock is the inverted one.
cke is 1, cs_n and dqm are 0 at all times, so every cycle is a command; with all three lines high it is none.

    cycle      n         n + 1     n + 2     n + 3     n + 4     n + 5
    port       READ A                                            dq_i = word A
    pads                 READ A                        word A
"""
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ReadWord", "SdramPort", "WriteWord"]


class ReadWord(data.Struct):
    """A word that was read. last: of its chunk."""
    valid: 1
    data: 16
    last: 1


class WriteWord(data.Struct):
    """A word to write, and where to."""
    chunk: 15
    column: 9
    data: 16


class SdramPort(wiring.Signature):
    """Seen from the core. ras_n, cas_n, we_n: the command. dq_oe: the core drives dq.

    All outputs are registers. The word of a READ in cycle n is in dq_i in cycle n + timing.SDRAM_READ = n + 5; the word
    of a WRITE is in dq_o, with dq_oe, in the cycle of its command.
    """
    def __init__(self):
        super().__init__({
            "ras_n": Out(1, init=1), "cas_n": Out(1, init=1), "we_n": Out(1, init=1),
            "bank": Out(2), "address": Out(13), "dq_o": Out(16), "dq_oe": Out(1), "dq_i": In(16)})

    def __eq__(self, other):
        return isinstance(other, SdramPort)
