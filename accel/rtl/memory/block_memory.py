"""Simple dual-port memory of DP16KD blocks with their output registers on; a behavioural twin off ECP5.

A DP16KD takes 5.8 ns from clock to data, 0.96 ns with REGMODE = OUTREG; yosys infers only the former, so blocks are
instantiated. The shape of the blocks follows the depth, so that no multiplexer stands behind the blocks of one memory:

    depth up to      512   1024   2048   4096   8192   16384
    bits a block      36     18      9      4      2       1

Those of 36 bits take the data pins of both ports: low halves of words are A's, written and read, high halves B's.

A deeper memory, and one that takes fewer blocks so, is one of a power of two words and one of the rest, with a
multiplexer of two behind them: 18432 words of 64 bits take 64 + 8 blocks, 6144 take 16 + 8, where 8192 take 32.
"""
from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from accel import timing
from accel.rtl.platform import is_ecp5
from accel.rtl.timed import Timed

__all__ = ["BlockMemory"]

SHAPES = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))      # (words, bits) of one block
DEEPEST = SHAPES[-1][0]


class BlockMemory(wiring.Component):
    """Memory with one write and one read port.

    Parameters
    ----------
    width : bits of a word; depth : words, at most 32768
    init : the words it holds at configuration (zeros where there are fewer than `depth`)

    Members
    -------
    write_enable, write_address, write_data : a word is readable from an address of the next cycle on
    read_address : In;  read_data : Out, timing.BLOCK_MEMORY = 2 cycles after its address

    A word read in the very cycle that writes it is undefined in hardware; the core's schedule never uses such a read.

        cycle           0       1       2       3
        write_*         A = x
        read_address            A
        read_data                               x
    """
    def __init__(self, *, width, depth, init=()):
        if depth > 2 * DEEPEST:
            raise ValueError(f"a block memory has at most {2 * DEEPEST} words, not {depth}")
        if len(init) > depth:
            raise ValueError(f"{len(init)} words do not fit in a memory of {depth}")
        self.width, self.depth, self.init = width, depth, tuple(int(word) for word in init)
        address = max(1, (depth - 1).bit_length())
        super().__init__({
            "write_enable": In(1), "write_address": In(address), "write_data": In(width),
            "read_address": In(address), "read_data": Out(width)})

    @property
    def block_shape(self):
        """(words, bits) of the DP16KD blocks this memory is made of, where it is not two memories."""
        return next(shape for shape in SHAPES if self.depth <= shape[0])

    @property
    def low_depth(self):
        """Words of the first of the two memories that this one is made of; None where it is one."""
        if self.depth <= SHAPES[0][0]:
            return None
        if self.depth > DEEPEST:
            return DEEPEST
        below = 1 << (self.depth - 1).bit_length() - 1
        apart = _blocks(below, self.width) + _blocks(self.depth - below, self.width)
        return below if apart < _blocks(self.depth, self.width) else None

    def elaborate(self, platform):
        m = Module()
        if self.low_depth:
            self._two_memories(m)
            return m
        if is_ecp5(platform):
            words, bits = self.block_shape
            for low in range(0, self.width, bits):
                m.submodules[f"block{low // bits}"] = self._block(words, bits, low)
            return m
        m.submodules.storage = storage = memory.Memory(shape=self.width, depth=self.depth, init=self.init)
        write, read = storage.write_port(), storage.read_port()
        m.d.comb += [write.addr.eq(self.write_address), write.data.eq(self.write_data),
                     write.en.eq(self.write_enable), read.addr.eq(self.read_address)]
        m.d.sync += self.read_data.eq(read.data)
        return m

    def _two_memories(self, m):
        below = self.low_depth
        m.submodules.low = low = BlockMemory(width=self.width, depth=below, init=self.init[:below])
        m.submodules.high = high = BlockMemory(width=self.width, depth=self.depth - below, init=self.init[below:])
        for number, part in enumerate((low, high)):
            m.d.comb += [part.write_enable.eq(self.write_enable & (self.write_address[-1] == number)),
                         part.write_address.eq(self.write_address), part.write_data.eq(self.write_data),
                         part.read_address.eq(self.read_address)]
        from_high = Timed(m, self.read_address[-1], 0, name="from_high").at(timing.BLOCK_MEMORY)
        m.d.comb += self.read_data.eq(Mux(from_high, high.read_data, low.read_data))

    def _block(self, words, bits, low):
        """One DP16KD holding bits `low` .. `low + bits - 1` of every word."""
        high = min(low + bits, self.width)
        first = 14 - (words - 1).bit_length()                  # address pins below select inside a word
        ports = {}
        for port, address in (("A", self.write_address), ("B", self.read_address)):
            ports |= {f"i_AD{port}{i}": address[i - first] if 0 <= i - first < len(address) else 0 for i in range(14)}
            ports |= {f"i_CS{port}{i}": 0 for i in range(3)}
            ports |= {f"i_CLK{port}": ClockSignal(), f"i_CE{port}": 1, f"i_OCE{port}": 1, f"i_RST{port}": 0}
        if bits >= 18:
            # Byte enables. At 36 bits they are what is documented to keep a word from being written.
            enable = self.write_enable if bits == 36 else 1
            ports |= {f"i_ADA{i}": enable for i in range(bits // 9)}
        for i in range(36 if bits == 36 else 18):
            ports[f"i_DI{'AB'[i // 18]}{i % 18}"] = self.write_data[low + i] if low + i < high else 0
        halves = "AB" if bits == 36 else "B"
        ports |= {f"o_DO{halves[i // 18]}{i % 18}": self.read_data[low + i] for i in range(high - low)}
        ports |= {f"p_INITVAL_{n:02X}": value for n, value in enumerate(self._init_values(words, bits, low))}
        return Instance(
            "DP16KD", p_DATA_WIDTH_A=bits, p_DATA_WIDTH_B=bits, p_REGMODE_A="OUTREG", p_REGMODE_B="OUTREG",
            p_GSR="DISABLED", p_CSDECODE_A="0b000", p_CSDECODE_B="0b000", p_WRITEMODE_A="NORMAL",
            p_WRITEMODE_B="NORMAL", i_WEA=self.write_enable, i_WEB=0, **ports)

    def _init_values(self, words, bits, low):
        """Parameters INITVAL_00 .. INITVAL_3F of the block of bits `low` ...: none where all is zero.

        A parameter is 16 groups of 20 bits, of which 18 count: two bytes, each with its ninth bit. Narrow words lie in
        the eights of the bytes and leave the ninth bit alone.
        """
        if not self.init:
            return []
        mask = (1 << bits) - 1
        groups = [0] * 1024
        if bits == 36:
            for i, word in enumerate(self.init):
                for half in range(2):
                    groups[2 * i + half] = word >> low + 18 * half & 0x3FFFF
        elif bits >= 9:
            per_group = 18 // bits
            for i, word in enumerate(self.init):
                groups[i // per_group] |= (word >> low & mask) << i % per_group * bits
        else:
            per_byte = 8 // bits
            for i, word in enumerate(self.init):
                byte, at = divmod(i, per_byte)
                groups[byte // 2] |= (word >> low & mask) << (byte % 2 * 9 + at * bits)
        return [Const(sum(group << 20 * k for k, group in enumerate(groups[n:n + 16])), 320)
                for n in range(0, 1024, 16)]


def _blocks(depth, width):
    """DP16KD blocks of one memory."""
    bits = next(bits for words, bits in SHAPES if depth <= words)
    return -(-width // bits)
