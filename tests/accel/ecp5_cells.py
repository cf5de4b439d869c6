"""DP16KD and MULT18X18D as far as the blocks use them, behavioural, from Lattice's FPGA-TN-02204 (sysMEM) and
FPGA-TN-02205 (sysDSP): `use_cells` puts them where the blocks instantiate the cells of an ECP5, in Amaranth, before
synthesis. tests/sim/ecp5_cells.v is for yosys, which puts cells into a synthesized netlist from Verilog alone.

A word of a DP16KD that is read in the very cycle that writes it is undefined. Here it comes inverted, so that whoever
uses such a word is wrong.
"""
from amaranth import *
from amaranth.lib import memory

from accel.rtl.array import multiplier
from accel.rtl.memory import block_memory

__all__ = ["use_cells"]

WORD_PIN = {36: 5, 18: 4, 9: 3, 4: 2, 2: 1, 1: 0}          # lowest address pin that counts words, by width


def use_cells(monkeypatch):
    """Has the blocks elaborate as on an ECP5, with these models for the cells, in simulation."""
    for module in (block_memory, multiplier):
        monkeypatch.setattr(module, "is_ecp5", lambda platform: True)
        monkeypatch.setattr(module, "Instance", lambda kind, **connections: CELLS[kind](connections))


class Cell(Elaboratable):
    def __init__(self, connections):
        self.connections = connections

    def pins(self, name, count):
        """Pins name0, name1, ... of an input, all of which must be connected."""
        return Cat(Value.cast(self.connections[f"i_{name}{i}"])[0] for i in range(count))

    def drive(self, m, name, value):
        """Connects the pins of an output; those left open are left open."""
        for i in range(len(value)):
            if f"o_{name}{i}" in self.connections:
                m.d.comb += self.connections[f"o_{name}{i}"].eq(value[i])

    def require(self, **parameters):
        assert {name: self.connections[name] for name in parameters} == parameters


class DP16KD(Cell):
    """Port A writes, port B reads through its output register; of words of 36 bits each has the pins of one half."""
    def elaborate(self, platform):
        m = Module()
        width = self.connections["p_DATA_WIDTH_A"]
        self.require(p_DATA_WIDTH_B=width, p_REGMODE_B="OUTREG", p_WRITEMODE_A="NORMAL", p_CSDECODE_A="0b000",
                     p_CSDECODE_B="0b000", i_CEA=1, i_CEB=1, i_OCEB=1, i_RSTA=0, i_RSTB=0, i_WEB=0)
        low = WORD_PIN[width]
        depth = 1 << 14 - low
        m.submodules.words = words = memory.Memory(shape=width, depth=depth, init=self._initial_words(width, depth))
        write, read = words.write_port(granularity=9 if width >= 18 else None), words.read_port()
        address_a, address_b = self.pins("ADA", 14), self.pins("ADB", 14)
        selected = (self.pins("CSA", 3) == 0) & (self.pins("CSB", 3) == 0)
        enable = self.connections["i_WEA"] & selected
        collision = Signal()
        pins = Cat(self.pins("DIA", min(width, 18)), self.pins("DIB", 18) if width == 36 else ())
        bytes_enabled = address_a[:width // 9] if width >= 18 else 1
        m.d.comb += [write.addr.eq(address_a[low:]), write.data.eq(pins),
                     write.en.eq(enable.replicate(len(write.en)) & bytes_enabled),
                     read.addr.eq(address_b[low:])]
        m.d.sync += collision.eq((write.en != 0) & (write.addr == read.addr))
        output = Signal(width)
        m.d.sync += output.eq(read.data ^ collision.replicate(width))
        if width == 36:
            self.drive(m, "DOA", output[:18])
        self.drive(m, "DOB", output[18:] if width == 36 else output)
        return m

    def _initial_words(self, width, depth):
        """INITVAL_00 .. INITVAL_3F: sixteen groups of 20 bits each, two bytes of 9 bits in the low 18 of a group. Words
        of less than 9 bits lie in the low eight of a byte."""
        bits = []
        for n in range(64):
            value = self.connections.get(f"p_INITVAL_{n:02X}", Const(0, 320)).value
            for group in range(16):
                for byte in range(2):
                    start = 20 * group + 9 * byte
                    bits += [value >> start + i & 1 for i in range(9 if width >= 9 else 8)]
        assert len(bits) == width * depth
        return [sum(bit << i for i, bit in enumerate(bits[width * word:width * (word + 1)])) for word in range(depth)]


class MULT18X18D(Cell):
    """Unsigned, with input and output registers."""
    def elaborate(self, platform):
        m = Module()
        self.require(p_REG_INPUTA_CLK="CLK0", p_REG_INPUTB_CLK="CLK0", p_REG_OUTPUT_CLK="CLK0",
                     p_REG_PIPELINE_CLK="NONE", i_CE0=1, i_RST0=0, i_SIGNEDA=0, i_SIGNEDB=0, i_SOURCEA=0, i_SOURCEB=0)
        a, b, p = Signal(18), Signal(18), Signal(36)
        m.d.sync += [a.eq(self.pins("A", 18)), b.eq(self.pins("B", 18)), p.eq(a * b)]
        self.drive(m, "P", p)
        return m


CELLS = {"DP16KD": DP16KD, "MULT18X18D": MULT18X18D}
