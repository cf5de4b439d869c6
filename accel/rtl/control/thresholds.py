"""Reads the thresholds of a tile and hands them to the threshold units of their channels.

The threshold memory is read in the order of the program: the thresholds of a tile, channel by
channel in the order of `isa.heap_order`, and, for logits, the words of their biases.

    cycle    0        1          2          3          4          ...   n + 1      n + 2      n + 3      n + 4
    request  1
    busy     0        1          1          1          1                1          0
    free              1
    address           a          a          a + 1      a + 2            a + n - 1  a + n
    write                                              word a           ...                   a + n - 1

n = `config.threshold_words`. Where `free` or `there` comes later than in cycle 1, all behind it is as much later.
"""
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel import timing
from accel.config import AccelConfig
from accel.rtl.activation.threshold_unit import ThresholdWrite
from accel.rtl.timed import Timed

__all__ = ["ThresholdReader"]


class ThresholdReader(wiring.Component):
    """Address of the threshold memory, and the channel and node that its words belong to.

    Parameters
    ----------
    config : AccelConfig

    Members
    -------
    rewind : In(1), while not busy: back to word 0
    clear : In(1): whatever is requested or read comes to its end
    request : In(1), for one cycle, while not busy: read the thresholds of the next tile
    there : In(1): the next tile's thresholds are in the memory; taken : Out(1), for one cycle: they count for a request
    word_taken : Out(1): a word is read
    free : In(1): no token in flight needs the thresholds that the units hold
    busy : Out(1): a request waits for `free`, or its words are read; a final pass may be taken in the first cycle in
        which it is not, the last words are in the units long before their first value
    next_word : In(1): somebody else, while not busy, takes the word at the address; its data comes as usual
    address : Out, data : In(acc_bits), to a memory of latency `timing.BLOCK_MEMORY`
    write : Out(ThresholdWrite): to all threshold units

    Latency: 2 cycles from `request`, or 1 from `free`, to the first address, `timing.BLOCK_MEMORY` from there to the
    write. Throughput: a word a cycle. Resources: 40 flip-flops in 16x16x2: an address, a channel and a node counter,
    the two latter again for each cycle of the memory.
    """
    def __init__(self, config: AccelConfig):
        self.config = config
        super().__init__({
            "rewind": In(1), "clear": In(1), "request": In(1), "there": In(1), "taken": Out(1), "word_taken": Out(1),
            "free": In(1), "busy": Out(1), "next_word": In(1),
            "address": Out(range(config.threshold_depth)), "data": In(config.acc_bits),
            "write": Out(ThresholdWrite(a_bits=config.a_bits, acc_bits=config.acc_bits, channels=config.channels))})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        pending, reading = Signal(), Signal()
        channel, node = Signal(range(config.channels)), Signal(config.a_bits, init=1)
        last_node = node == config.thresholds
        m.d.comb += self.busy.eq(pending | reading)
        with m.If(self.request):
            m.d.sync += pending.eq(1)
        with m.Elif(pending & ~reading & self.free & self.there):
            m.d.comb += self.taken.eq(1)
            m.d.sync += [pending.eq(0), reading.eq(1), channel.eq(0)]
        with m.If(reading):
            m.d.sync += [node.eq(node + 1 + last_node), channel.eq(channel + last_node)]       # node 0 does not exist
            with m.If(last_node & (channel == config.channels - 1)):
                m.d.sync += reading.eq(0)
        with m.If(self.clear):
            m.d.sync += [pending.eq(0), reading.eq(0), node.eq(1)]
        m.d.comb += self.word_taken.eq(reading | self.next_word)
        with m.If(self.rewind):
            m.d.sync += self.address.eq(0)
        with m.Elif(self.word_taken):
            m.d.sync += self.address.eq(self.address + 1)
        m.d.comb += [self.write.valid.eq(Timed(m, reading, 0, name="reading").at(timing.BLOCK_MEMORY)),
                     self.write.channel.eq(Timed(m, channel, 0, name="channel").at(timing.BLOCK_MEMORY)),
                     self.write.node.eq(Timed(m, node, 0, name="node").at(timing.BLOCK_MEMORY)),
                     self.write.value.eq(self.data)]
        return m
