"""What `read_netlist` makes of modules written by hand: where it cuts, what it finds, what it refuses."""
import re

import pytest

from sim.lanes.netlist import Part, UnsupportedNetlist, read_netlist, script
from tests.sim.lanes.modules import FlatModule


def read(module, clocks=("clk",), resets=(), joined=8):
    return read_netlist(module.json, clocks=clocks, resets=resets, joined=joined)


def widths(parts):
    """Of variables whole: the bits of each."""
    assert all(part.low == 0 and part.width == part.variable.width for part in parts)
    return [part.width for part in parts]


# Where variables are cut

def register_of(bits, uses, joined):
    """Widths of a register's variables. uses: (low, high) of bits that a reduction needs together."""
    module = FlatModule()
    register = module.register(module.input("d", bits), name="word")
    for k, (low, high) in enumerate(uses):
        module.output(f"y{k}", module.cell("$reduce_or", 1, A=register[low:high]))
    netlist = read(module, joined=joined)
    assert widths(netlist.inputs["d"]) == widths(netlist.names["word"])         # its data are cut where it is
    assert sum(widths(netlist.names["word"])) == bits
    return widths(netlist.names["word"])


@pytest.mark.parametrize("bits,uses,joined,cut", [
    (64, [(k, k + 4) for k in range(0, 64, 4)], 0, [4] * 16),
    (64, [(k, k + 4) for k in range(0, 64, 4)], 8, [8] * 8),
    (64, [(k, k + 4) for k in range(0, 64, 4)], 64, [64]),
    (20, [(0, 20)], 0, [20]),
    (20, [(5, 9)], 0, [5, 4, 11]),
    (20, [(5, 9), (0, 20)], 0, [20]),               # a use of all bits together keeps them together
    (20, [(5, 9), (7, 12)], 0, [5, 7, 8]),          # uses that overlap: nothing is cut inside one
    (20, [(5, 9), (9, 12)], 0, [5, 4, 3, 8]),
    (9, [(0, 8), (8, 9)], 8, [8, 1]),
    (9, [(0, 1), (1, 9)], 8, [1, 8]),               # neighbours are joined from the top
    (11, [(0, 2), (2, 10), (10, 11)], 8, [2, 8, 1]),
    (12, [(0, 2), (2, 8), (8, 10), (10, 12)], 8, [8, 4]),
    (130, [(0, 130)], 8, [2, 64, 64]),              # no variable has more than 64 bits
    (100, [(10, 90)], 8, [10, 16, 64, 10]),
    (1, [(0, 1)], 8, [1]),
])
def test_registers_are_cut_where_they_are_used(bits, uses, joined, cut):
    assert register_of(bits, uses, joined) == cut


def test_cuts_pass_whatever_treats_every_bit_alike():
    module = FlatModule()
    a, b, select = module.input("a", 32), module.input("b", 32), module.input("select", 1)
    first = module.register(module.cell("$mux", 32, A=a, B=module.cell("$not", 32, A=b), S=select), name="first")
    second = module.register(module.cell("$and", 32, A=first, B=a), name="second")
    module.output("y", module.cell("$neg", 16, A=second[16:]))
    netlist = read(module)
    assert widths(netlist.names["first"]) == widths(netlist.names["second"]) == [16, 16]
    assert widths(netlist.inputs["a"]) == widths(netlist.inputs["b"]) == [16, 16]
    assert [cell.output.width for cell in netlist.cells] == [16] * 6 + [16]
    muxes = [cell for cell in netlist.cells if cell.kind == "$mux"]
    assert [widths(mux.operands["A"]) for mux in muxes] == [[16], [16]]
    assert [mux.operands["S"] for mux in muxes] == [netlist.inputs["select"]] * 2


def test_a_value_beside_another_is_cut_between_them():
    module = FlatModule()
    a, b = module.input("a", 12), module.input("b", 12)
    for kind in ("$not", "$pos"):
        module.output(kind, module.cell(kind, 24, A=a + b))
    module.output("filled", module.cell("$not", 20, A=a + ["1"] * 8))
    netlist = read(module)
    assert [cell.output.width for cell in netlist.cells] == [12] * 5 + [8]
    assert netlist.cells[-1].operands["A"] == [Part(8, value=0xff)]


@pytest.mark.parametrize("signed", ["", "A"])
def test_operands_of_what_is_cut_are_extended_as_yosys_does(signed):
    module = FlatModule()
    a = module.input("a", 66)
    module.output("y", module.cell("$not", 70, signed=signed, A=a))
    [low, high] = read(module).cells
    assert (low.output.width, high.output.width) == (6, 64)      # 64 from the top
    assert sum(part.width for part in high.operands["A"]) == 64
    last = high.operands["A"][-4:]
    if signed:
        assert all(part.width == 1 and part.variable is last[0].variable for part in last)
    else:
        assert high.operands["A"][-1] == Part(4, value=0)


def test_a_shift_is_cut_in_words():
    module = FlatModule()
    module.output("y", module.cell("$shr", 130, A=module.input("a", 200), B=module.input("by", 8)))
    netlist = read(module)
    assert [(cell.output.width, cell.low) for cell in netlist.cells] == [(64, 0), (64, 64), (2, 128)]
    assert all(sum(part.width for part in cell.operands["A"]) == 200 for cell in netlist.cells)


@pytest.mark.parametrize("kind,joined,cut", [
    ("$shift", 0, [12, 12, 24]), ("$shiftx", 0, [12, 12, 24]), ("$shr", 0, [12, 12, 24]), ("$shl", 0, [48]),
    ("$shift", 8, [48])])
def test_words_that_a_shift_chooses_from_are_cut_apart_where_fields_are(kind, joined, cut):
    module = FlatModule()
    words = [bit for k, width in enumerate((12, 12, 24)) for bit in module.input(f"word{k}", width)]
    register = module.register(words, name="words")
    module.output("y", module.cell(kind, 12, A=register, B=module.input("by", 6)))
    assert widths(read(module, joined=joined).names["words"]) == cut


def test_parts_are_as_long_as_they_can_be():
    module = FlatModule()
    a, b = module.input("a", 6), module.input("b", 6)
    module.output("y", a[2:5] + ["1", "0", "x", "1"] + b + a[5:] + a[5:])
    netlist = read(module)
    [a], [b] = (parts for parts in netlist.inputs.values())
    assert netlist.outputs["y"] == [
        Part(3, a.variable, 2), Part(4, value=0b1001), Part(6, b.variable), *[Part(1, a.variable, 5)] * 2]


def test_every_variable_is_listed_once():
    module = FlatModule()
    a, enable = module.input("a", 4), module.input("enable", 1)
    [word] = module.memory("memory", 9, 16, reads=[(a, enable)], writes=[(a, a + a + enable, enable)])
    module.output("y", module.register(module.cell("$add", 9, A=word, B=a)))
    variables = read(module).variables()
    assert sorted((variable.kind, variable.width) for variable in variables) == [
        ("cell", 9), ("input", 1), ("input", 4), ("register", 9), ("register", 9)]
    assert len(set(variables)) == len(variables)


# Registers

def test_names_and_first_values():
    module = FlatModule()
    d = module.input("d", 12)
    q = module.register(d, name="unit.deep.state", init=0xa5c)
    module.name("unit.state", q, init=0xa5c)
    module.name("$hidden", q)
    module.name("\\$signature__data", q)                  # Amaranth's, not hidden
    module.name("half", q[4:8])
    module.name("unit.deep.with_input", q[:3] + d[:3])
    module.output("y", module.cell("$neg", 4, A=q[4:8]))
    netlist = read(module, joined=0)
    # Whatever is made of registers alone, by every name in the RTL.
    assert set(netlist.names) == {"unit.deep.state", "unit.state", "half"}
    assert netlist.names["unit.state"] == netlist.names["unit.deep.state"]
    assert [register.init for register in netlist.registers] == [0xc, 0x5, 0xa]
    # Variables go by the name of the fewest dots.
    assert [register.output.name for register in netlist.registers] == ["unit.state[0]", "half[0]", "unit.state[8]"]


@pytest.mark.parametrize("polarity", [0, 1])
def test_a_register_with_an_enable(polarity):
    module = FlatModule()
    enable = module.input("enable", 1)
    module.register(module.input("d", 20), kind="$dffe", name="q", EN=enable, EN_POLARITY=polarity)
    netlist = read(module)
    [register] = netlist.registers
    assert (register.enable, register.on) == (netlist.inputs["enable"], polarity)


@pytest.mark.parametrize("kept,on", [("A", 1), ("B", 0)])
@pytest.mark.parametrize("uses", [[(0, 20)], [(0, 10), (10, 20)]])
def test_a_multiplexer_that_keeps_the_value_is_an_enable(kept, on, uses):
    module = FlatModule()
    d, select, q = module.input("d", 20), module.input("select", 1), module.net(20)
    operands = {"A": q, "B": d} if kept == "A" else {"A": d, "B": q}
    module.register(module.cell("$mux", 20, S=select, **operands), out=q, name="q")
    for k, (low, high) in enumerate(uses):
        module.output(f"y{k}", module.cell("$neg", high - low, A=q[low:high]))
    netlist = read(module)
    assert len(netlist.registers) == len(uses)
    for register, d in zip(netlist.registers, netlist.inputs["d"], strict=True):
        assert (register.enable, register.on, register.data) == (netlist.inputs["select"], on, [d])


def test_a_register_has_one_enable():
    module = FlatModule()
    d, select, enable, q = module.input("d", 8), module.input("select", 1), module.input("enable", 1), module.net(8)
    module.register(module.cell("$mux", 8, A=q, B=d, S=select), out=q, kind="$dffe", EN=enable, EN_POLARITY=1)
    netlist = read(module)
    [register] = netlist.registers
    assert register.enable == netlist.inputs["enable"] and register.data[0].variable is netlist.cells[0].output


def test_a_multiplexer_that_keeps_something_else_is_none():
    module = FlatModule()
    d, select, q, other = module.input("d", 8), module.input("select", 1), module.net(8), module.net(8)
    module.register(module.cell("$mux", 8, A=other, B=d, S=select), out=q)
    module.register(module.cell("$mux", 8, A=q, B=d, S=select), out=other)
    assert [register.enable for register in read(module).registers] == [None, None]


def test_an_asynchronous_reset_that_is_never_up_is_none():
    module = FlatModule()
    for polarity, reset in ((1, "0"), (0, "1")):
        module.register(module.input(f"d{polarity}", 4), kind="$adff", name=f"q{polarity}", init=5, ARST=[reset],
                        ARST_POLARITY=polarity)
    assert [(register.init, register.enable) for register in read(module).registers] == [(5, None), (5, None)]


def test_resets_are_no_inputs_and_the_script_ties_them_off():
    module = FlatModule()
    module.input("rst", 1)
    module.input("other_rst", 1)
    assert set(read(module, resets=("rst",)).inputs) == {"other_rst"}
    assert "connect -nounset -set other_rst 1'0" in script(("rst", "other_rst"))
    assert "connect" not in script(())


def test_each_register_has_its_clock():
    module = FlatModule(clocks=("clk", "b_clk"))
    for clock in ("clk", "b_clk"):
        module.register(module.input(f"d_{clock}", 4), clock=clock)
    netlist = read(module, clocks=("clk", "b_clk"))
    assert netlist.clocks == ["clk", "b_clk"]
    assert [register.clock for register in netlist.registers] == ["clk", "b_clk"]
    assert not {"clk", "b_clk"} & set(netlist.inputs)


# Memories

def memory_of(*, width=8, size=6, reads=1, slices=(), enable_bits=1, joined=8, **more):
    """Columns of a memory with one write port. slices: bits of the read data that an adder needs."""
    module = FlatModule()
    address, enable = module.input("address", 3), module.input("enable", enable_bits)
    enables = [enable[k * enable_bits // width] for k in range(width)] if enable_bits > 1 else enable
    words = module.memory("memory", width, size, reads=[(address, enable[:1])] * reads,
                          writes=[(address, module.input("data", width), enables)], **more)
    for k, (low, high) in enumerate(slices):
        module.output(f"y{k}", module.cell("$neg", high - low, A=words[0][low:high]))
    return read(module, joined=joined).memories


def test_a_memory():
    [memory] = memory_of(init=[1, 2, 3])
    assert (memory.name, memory.width, memory.size, memory.loaded) == ("memory", 8, 6, True)
    assert memory.init == [1, 2, 3, 0, 0, 0]
    [read_port], [write_port] = memory.reads, memory.writes
    assert read_port.clock == write_port.clock == "clk"
    assert read_port.output.kind == "register" and read_port.output.width == 8
    assert read_port.address == write_port.address and read_port.enable == write_port.enable
    assert [part.variable.name for part in write_port.data] == ["data"]


def test_a_memory_of_zeros_counts_as_empty():
    assert not memory_of()[0].loaded
    assert not memory_of(init=[0] * 6)[0].loaded
    assert memory_of(init=[0] * 5 + [1])[0].loaded


def test_a_column_of_zeros_is_loaded_with_its_memory():
    low, high = memory_of(init=[1, 2, 3], joined=0, slices=((0, 4), (4, 8)))
    assert not any(high.init) and low.loaded and high.loaded


def test_a_combinational_read():
    module = FlatModule()
    module.output("y", module.memory("memory", 8, 4, reads=[(module.input("address", 2), None)], init=[7])[0])
    [memory] = read(module).memories
    assert (memory.reads[0].clock, memory.reads[0].enable, memory.reads[0].output.kind) == (None, None, "cell")
    assert memory.writes == []


@pytest.mark.parametrize("more,columns", [
    ({"width": 64}, ["memory"]),
    ({"width": 100}, ["memory[0:36]", "memory[36:100]"]),
    ({"width": 64, "slices": [(0, 16), (16, 64)]}, ["memory[0:16]", "memory[16:64]"]),
    ({"width": 64, "slices": [(0, 16), (0, 64)]}, ["memory"]),
    ({"width": 32, "enable_bits": 4}, ["memory[0:8]", "memory[8:16]", "memory[16:24]", "memory[24:32]"]),
    ({"width": 32, "enable_bits": 2, "slices": [(0, 32)]}, ["memory[0:16]", "memory[16:32]"]),
    ({"width": 8, "slices": [(0, 4), (4, 8)]}, ["memory"]),
    ({"width": 8, "slices": [(0, 4), (4, 8)], "joined": 0}, ["memory[0:4]", "memory[4:8]"]),
    ({"width": 64, "reads": 2, "slices": [(0, 16), (16, 64)]}, ["memory[0:16]", "memory[16:64]"]),
])
def test_memories_are_cut_in_columns(more, columns):
    init = [int.from_bytes(bytes(range(k, k + 13))) & (1 << more["width"]) - 1 for k in range(6)]
    memories = memory_of(**more, init=init)
    assert [memory.name for memory in memories] == columns
    low = 0
    for memory in memories:
        assert memory.init == [word >> low & (1 << memory.width) - 1 for word in init]
        assert len(memory.reads) == more.get("reads", 1) and len(memory.writes) == 1
        assert all(port.output.width == memory.width for port in memory.reads)
        [write] = memory.writes
        assert sum(part.width for part in write.data) == memory.width
        assert write.enable[0].low == low * more.get("enable_bits", 1) // more["width"]
        low += memory.width
    assert low == more["width"]


# What is refused

def refused(module, message, **more):
    with pytest.raises(UnsupportedNetlist, match=re.escape(message)):
        read(module, **more)


@pytest.mark.parametrize("kind", ["$div", "$modfloor", "$pmux", "$lut", "$dlatch", "$check", "$sdff", "my_block"])
def test_unknown_cells_are_refused(kind):
    module = FlatModule()
    module.cell(kind, 4, A=module.input("a", 4), B=module.input("b", 4), name="unit.cell")
    refused(module, f"a cell {kind} (unit.cell)")


def test_what_nothing_drives_is_refused():
    module = FlatModule()
    module.output("y", module.cell("$neg", 4, A=module.net(4, "unit.forgotten")))
    refused(module, "nothing drives unit.forgotten")


def test_a_clock_as_a_value_is_refused():
    module = FlatModule()
    module.output("y", module.cell("$not", 1, A=module.json["ports"]["clk"]["bits"]))
    refused(module, "nothing drives clk")


def test_other_clocks_are_refused():
    module = FlatModule(clocks=("clk", "b_clk"))
    module.register(module.input("d", 4), clock="b_clk")
    read(module, clocks=("clk", "b_clk"))
    refused(module, "$dff0 has a clock that is none of clk")


def test_falling_edges_are_refused():
    module = FlatModule()
    module.register(module.input("d", 4), rising=False)
    refused(module, "$dff0 has a clock that is none of clk, or its falling edge")


@pytest.mark.parametrize("polarity", [0, 1])
@pytest.mark.parametrize("reset", ["input", "active"])
def test_asynchronous_resets_are_refused(polarity, reset):
    module = FlatModule()
    bits = module.input("reset", 1) if reset == "input" else [str(polarity)]
    module.register(module.input("d", 4), kind="$adff", ARST=bits, ARST_POLARITY=polarity)
    refused(module, "$adff0 has an asynchronous reset")


@pytest.mark.parametrize("parameter,value,message", [
    ("RD_TRANSPARENCY_MASK", "1", "a memory with transparent ports (memory)"),
    ("RD_WIDE_CONTINUATION", "1", "a memory with wide ports (memory)"),
    ("WR_WIDE_CONTINUATION", "1", "a memory with wide ports (memory)"),
    ("WR_PRIORITY_MASK", "1", "a memory with write ports of which one goes before another (memory)"),
    ("RD_INIT_VALUE", "xxxxxxx1", "a memory with read data that begin as 1 (memory)"),
    ("OFFSET", "100", "a memory that does not begin at address 0 (memory)"),
    ("RD_CLK_POLARITY", "0", "memory has a clock that is none of clk, or its falling edge"),
    ("WR_CLK_POLARITY", "0", "memory has a clock that is none of clk, or its falling edge"),
])
def test_memories_with_more_than_is_known_are_refused(parameter, value, message):
    memory_of()
    with pytest.raises(UnsupportedNetlist, match=re.escape(message)):
        memory_of(**{parameter: value})


@pytest.mark.parametrize("port", ["RD_ARST", "RD_SRST"])
def test_memories_whose_read_data_have_a_reset_are_refused(port):
    module = FlatModule()
    module.memory("memory", 8, 4, reads=[(module.input("address", 2), ["1"])])
    module.json["cells"]["memory"]["connections"][port] = ["x"]
    read(module)
    module.json["cells"]["memory"]["connections"][port] = ["1"]
    refused(module, "a memory with a reset of its read data (memory)")
