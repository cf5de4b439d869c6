"""What pixels reach is a vector; where they reach what all lanes share, that is refused by name."""
import re

import pytest
from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from model.common.errors import UserError
from sim.inspector import Inspector
from sim.lanes import build
from sim.lanes.analysis import PixelsDecide, mark_vectors
from sim.lanes.build import Ports, build_simulator
from sim.lanes.netlist import read_netlist
from tests.sim.lanes.modules import FlatModule


class Marked:
    """A module with the inputs pixel and plain (8 bits each) and flag (1 bit)."""
    def __init__(self):
        self.module = FlatModule()
        self.pixel, self.plain = self.module.input("pixel", 8), self.module.input("plain", 8)
        self.flag = self.module.input("flag", 1)

    def mark(self, outputs=("result",), joined=0):
        netlist = read_netlist(self.module.json, clocks=("clk",), joined=joined)
        mark_vectors(netlist, inputs=("pixel",), outputs=outputs)
        return netlist

    def reaches(self, bits):
        """Whether pixels reach each of the variables of `bits`, lowest first."""
        self.module.output("result", bits)
        return [part.variable.vector for part in self.mark().outputs["result"]]

    def refused(self, message, **more):
        with pytest.raises(PixelsDecide, match=re.escape(message)):
            self.mark(**more)


@pytest.mark.parametrize("operands", [
    lambda m: ("$add", 8, {"A": m.pixel, "B": m.plain}),
    lambda m: ("$mux", 8, {"A": m.plain, "B": m.plain, "S": m.pixel[:1]}),
    lambda m: ("$mux", 8, {"A": m.pixel, "B": m.plain, "S": m.flag}),
    lambda m: ("$shr", 8, {"A": m.plain, "B": m.pixel}),
    lambda m: ("$reduce_or", 1, {"A": m.plain + m.pixel}),
])
def test_pixels_reach_whatever_has_them_for_an_operand(operands):
    marked = Marked()
    kind, width, ports = operands(marked)
    first = marked.module.cell(kind, width, **ports)
    assert marked.reaches(marked.module.cell("$neg", width, A=first)) == [True]


def test_what_has_none_is_one_for_all_lanes():
    marked = Marked()
    assert marked.reaches(marked.module.cell("$add", 8, A=marked.plain, B=marked.flag)) == [False]


def test_inputs_are_what_they_are_said_to_be():
    marked = Marked()
    netlist = marked.mark()
    assert {name: parts[0].variable.vector for name, parts in netlist.inputs.items()} == {
        "pixel": True, "plain": False, "flag": False}


def test_pixels_pass_registers_round_and_round():
    marked = Marked()
    module, loop = marked.module, marked.module.net(8)
    own = module.register(module.cell("$add", 8, A=loop, B=marked.pixel), out=loop)
    for _ in range(3):
        own = module.register(own)
    other = module.net(8)
    module.register(module.cell("$add", 8, A=other, B=marked.plain), out=other)
    assert marked.reaches(own + other) == [True, False]


def test_pixels_may_be_a_register_s_enable():
    marked = Marked()
    module = marked.module
    register = module.register(marked.plain, kind="$dffe", EN=marked.pixel[3:4], EN_POLARITY=1)
    kept = module.net(8)
    module.register(module.cell("$mux", 8, A=kept, B=marked.plain, S=marked.pixel[:1]), out=kept)
    assert marked.reaches(register + kept) == [True, True]


def test_pixels_pass_a_memory():
    marked = Marked()
    module, flag, address = marked.module, marked.flag, marked.module.input("address", 4)
    read = module.memory("own", 8, 16, reads=[(address, flag), (address, None)],
                         writes=[(address, marked.pixel, flag)])
    [other] = module.memory("other", 8, 16, reads=[(address, flag)], writes=[(address, marked.plain, flag)])
    assert marked.reaches(read[0] + read[1] + other) == [True, True, False]
    assert {memory.name: memory.vector for memory in marked.mark().memories} == {"own": True, "other": False}


@pytest.mark.parametrize("enable", [None, "1"])
def test_pixels_may_be_a_read_address_and_the_memory_is_shared_all_the_same(enable):
    marked = Marked()
    module = marked.module
    own, shared = module.memory("table", 8, 16, reads=[
        (marked.pixel[:4], enable and [enable]), (marked.plain[:4], None)])
    assert marked.reaches(own + shared) == [True, False]
    assert not marked.mark().memories[0].vector


def test_fields_of_a_register_are_told_apart():
    marked = Marked()
    module = marked.module
    both = module.register(marked.pixel[:4] + marked.plain[:3])
    field = module.cell("$neg", 3, A=both[4:])
    assert marked.reaches(field + module.cell("$neg", 4, A=both[:4])) == [False, True]
    # Joined, they share a byte, so pixels count as reaching both.
    assert [part.variable.vector for part in marked.mark(joined=8).outputs["result"]] == [True, True]


def test_columns_of_a_memory_are_told_apart():
    marked = Marked()
    module, flag, address = marked.module, marked.flag, marked.plain[:2]
    [word] = module.memory("both", 16, 4, reads=[(address, flag)],
                           writes=[(address, marked.pixel + marked.plain, flag)])
    assert marked.reaches(module.cell("$neg", 8, A=word[8:]) + module.cell("$neg", 8, A=word[:8])) == [False, True]
    assert [memory.vector for memory in marked.mark().memories] == [True, False]


# What is refused

def through(marked):
    """A register that pixels reach, with a name."""
    return marked.module.register(marked.pixel, name="unit.state")


def test_an_output_that_lanes_share():
    marked = Marked()
    marked.module.output("valid", marked.module.cell("$reduce_or", 1, name="any", A=through(marked)))
    marked.refused("pixels reach the output valid, through any")
    marked.mark(outputs=("valid",))


@pytest.mark.parametrize("what,ports", [
    ("the write enable", lambda m, own: {"writes": [(m.plain[:3], m.plain, own[:1])]}),
    ("the write address", lambda m, own: {"writes": [(own[:3], m.plain, m.flag)]}),
    ("the write address", lambda m, own: {"writes": [(m.plain[:2] + own[:1], m.plain, m.flag)]}),
    ("the read enable", lambda m, own: {"reads": [(m.plain[:3], own[:1])]}),
])
def test_what_a_memory_does_when_and_where(what, ports):
    marked = Marked()
    marked.module.memory("unit.memory", 8, 8, **ports(marked, through(marked)))
    marked.refused(f"pixels reach {what} of unit.memory, through unit.state[0]: lanes would go apart")


# Components

class Rigid(wiring.Component):
    """A memory of pixels. decide: lets a pixel decide "valid", "enable", "address" or nothing; "beside" is nothing too,
    with a pixel and what is valid in one register."""
    def __init__(self, decide):
        self.decide = decide
        super().__init__({"pixel": In(8), "valid": In(1), "write": In(3), "read": In(3),
                          "result": Out(8), "taken": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = memory.Memory(shape=8, depth=8, init=[])
        write, read = words.write_port(), words.read_port()
        state = Signal(8)
        m.d.sync += state.eq(self.pixel)
        m.d.comb += [write.data.eq(self.pixel), write.en.eq(self.valid), write.addr.eq(self.write),
                     read.addr.eq(self.read), self.result.eq(read.data), self.taken.eq(self.valid)]
        match self.decide:
            case "valid":
                m.d.comb += self.taken.eq(state == 3)
            case "beside":
                both = Signal(5)
                m.d.sync += both.eq(Cat(self.pixel[:4], self.valid))
                m.d.comb += [self.taken.eq(both[4]), self.result.eq(both[:4])]
            case "enable":
                m.d.comb += write.en.eq(self.valid & state[0])
            case "address":
                m.d.comb += write.addr.eq(state)
        return m


PORTS = Ports(pixels=("pixel",), answers=("result",))


def simulator(decide, ports=PORTS, **more):
    return build_simulator(lambda: Rigid(decide), name=f"rigid-{decide}", sources=decide, ports=ports, **more)


@pytest.mark.cxx
@pytest.mark.parametrize("decide,message", [
    ("valid", "pixels reach the output taken, through "),
    ("enable", "pixels reach the write enable of words"),
    ("address", "pixels reach the write address of words"),
])
def test_a_component_that_breaks_the_rule_is_refused_in_one_line(decide, message, monkeypatch, tmp_path):
    monkeypatch.setattr(build, "compile_sources", None)             # it does not come to that
    with pytest.raises(UserError) as error:
        simulator(decide)
    text = str(error.value)
    assert text.startswith(f"rigid-{decide} cannot be simulated in lanes: {message}") and "\n" not in text


@pytest.mark.cxx
def test_a_flag_beside_a_pixel_is_told_apart():
    """Where joined bits would have to be refused, none are joined."""
    inspector = Inspector(simulator("beside"))
    for pixel, valid in ((5, 1), (9, 0), (3, 1)):
        inspector.set("valid", valid)
        for lane in range(inspector.lanes):
            inspector.set("pixel", pixel ^ lane % 16, lane)
        inspector.step()
        inspector.set("valid", 0)
        inspector.step()
        assert inspector.get("taken") == valid
        for lane in range(inspector.lanes):
            assert inspector.get("result", lane) == pixel ^ lane % 16
    inspector.close()


@pytest.mark.cxx
@pytest.mark.parametrize("decide,ports,one_lane", [
    ("nothing", PORTS, False), ("address", Ports(), False), ("address", PORTS, True)])
def test_it_builds_without_the_break_or_without_lanes_of_its_own(decide, ports, one_lane):
    inspector = Inspector(simulator(decide, ports, one_lane=one_lane))
    inspector.set("read", 2 if decide == "nothing" else 5)
    for pixel, write, valid in ((5, 2, 0), (7, 2, 1), (9, 3, 1)):
        for name, value in (("pixel", pixel), ("write", write), ("valid", valid)):
            inspector.set(name, value)
        inspector.step()
    inspector.step()
    inspector.step()
    # The address is `write`, or the pixel of one cycle before.
    assert inspector.get("result") == 7
    inspector.close()
