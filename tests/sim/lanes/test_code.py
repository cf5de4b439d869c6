"""What the generated code computes: every kind of cell, registers and memories, in one lane and in many, against yosys'
documentation (`modules.cell_result`, which yosys itself confirms) and against pysim."""
import importlib.util
import json
import platform
import random
import re
import sys
from pathlib import Path

import pytest

from model.common.tools import find_cxxrtl
from sim.inspector import Inspector
from sim.lanes.analysis import mark_vectors
from sim.lanes.build import Ports, build_simulator
from sim.lanes.code import generate
from sim.lanes.netlist import UnsupportedNetlist, read_netlist
from sim.library import step
from tests.sim.lanes import machine
from tests.sim.lanes.circuits import CLOCK_SETS, CLOCKS, INPUTS, State, by_the_book, circuit
from tests.sim.lanes.libraries import library_of
from tests.sim.lanes.modules import FlatModule, cell_result
from tests.sim.lanes.zoo import ONE_OPERAND, Zoo, shapes

CPU_FLAGS = {"x86-64": set(), "x86-64-v3": {"avx2", "bmi2", "fma", "movbe"}}


def skip_unless_it_runs(target):
    """Skips the test on a machine whose processor does not know the instructions of `target`."""
    if target == "native":
        return
    if platform.machine() != "x86_64":
        pytest.skip(f"{target} is not for this machine")
    info = Path("/proc/cpuinfo")
    known = set(info.read_text().split()) if info.exists() else set()
    if not CPU_FLAGS[target] <= known:
        pytest.skip(f"this processor is not a {target}")


def test_the_reference_is_what_yosys_computes(tmp_path):
    rng, module, wanted = random.Random(1), FlatModule(clocks=()), {}
    for number, (kind, a, b, y, signed) in enumerate(shapes(rng, 32)):
        operands = {"A": (rng.getrandbits(a), a)}
        if kind not in ONE_OPERAND:
            operands["B"] = rng.choice((rng.getrandbits(b), rng.randrange(80) & (1 << b) - 1)), b
        if kind == "$mux":
            operands["S"] = rng.getrandbits(1), 1
        module.output(f"y{number}", module.cell(kind, y, signed=signed, **{
            port: list(f"{value:0{bits}b}"[::-1]) for port, (value, bits) in operands.items()}))
        wanted[f"y{number}"] = (kind, operands, signed), list(f"{cell_result(kind, operands, signed, y):0{y}b}"[::-1])
    (tmp_path / "cells.json").write_text(json.dumps({"modules": {"core": module.json}}))
    (tmp_path / "fold.ys").write_text("read_json cells.json\nopt_expr\nwrite_json folded.json\n")
    step([*find_cxxrtl().command, "-q", "fold.ys"], tmp_path)
    ports = json.loads((tmp_path / "folded.json").read_text())["modules"]["core"]["ports"]
    for name, (what, bits) in wanted.items():
        assert [{"x": "0"}.get(bit, bit) for bit in ports[name]["bits"]] == bits, what


def check_cells(seed, count, *, one_lane, target="native", cycles=4):
    """`count` cells of every kind, on other values in every lane."""
    zoo = Zoo(random.Random(seed), count)
    ports = Ports(pixels=zoo.own_inputs, answers=("results",), clocks=())
    inspector = Inspector(library_of(zoo.module.json, name="cells", ports=ports, one_lane=one_lane, target=target))
    assert one_lane == (inspector.lanes == 1)
    for _ in range(cycles * (16 if one_lane else 1)):
        shared, lanes = zoo.values(), []
        for lane in range(inspector.lanes):
            lanes.append(shared | {name: value for name, value in zoo.values().items() if name in zoo.own_inputs})
            for name, value in lanes[lane].items():
                inspector.set(name, value, lane)
        inspector.step()
        for lane, values in enumerate(lanes):
            wanted, seen = zoo.results(values), zoo.split(inspector.get("results", lane))
            assert wanted == seen, next(
                f"{zoo.cells[k]} is {seen[k]:#x}, not {wanted[k]:#x}, in lane {lane} with {values}"
                for k in range(len(wanted)) if seen[k] != wanted[k])
    inspector.close()


@pytest.mark.cxx
@pytest.mark.parametrize("count,one_lane,target", [
    (16, True, "native"), (8, False, "native"), (3, False, "x86-64"), (4, False, "x86-64-v3")])
def test_every_kind_of_cell(count, one_lane, target):
    skip_unless_it_runs(target)
    check_cells(1, count, one_lane=one_lane, target=target)


@pytest.mark.slow
@pytest.mark.cxx
@pytest.mark.parametrize("one_lane,target", [
    (True, "native"), (False, "native"), (False, "x86-64"), (False, "x86-64-v3")])
@pytest.mark.parametrize("seed", [2, 3])
def test_more_of_every_kind_of_cell(seed, one_lane, target):
    skip_unless_it_runs(target)
    check_cells(seed, 16, one_lane=one_lane, target=target, cycles=8)


@pytest.mark.slow           # the first time, this compiler makes its own standard library
@pytest.mark.cxx
@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="needs ziglang")
@pytest.mark.parametrize("one_lane", [True, False])
def test_every_kind_of_cell_with_the_compiler_that_is_a_wheel(one_lane, monkeypatch):
    monkeypatch.setenv("CXX", f"{sys.executable} -m ziglang c++")
    check_cells(1, 8, one_lane=one_lane)


@pytest.mark.parametrize("kind,a,b,y,signed,message", [
    ("$add", 65, 3, 65, "", "a $add of 65 bits"),
    ("$lt", 64, 65, 1, "AB", "a $lt of 65 bits"),
    ("$eq", 70, 2, 1, "", "a $eq of 70 bits"),
    ("$shl", 65, 3, 8, "", "a $shl of 65 bits"),
    ("$sshl", 8, 3, 65, "", "a $sshl of 65 bits"),
    ("$shr", 8, 65, 8, "", "a $shr by a number of 65 bits"),
    ("$shift", 65, 3, 8, "B", "a $shift of 65 bits"),
    ("$sshr", 65, 3, 8, "A", "a $sshr of a signed number of 65 bits"),
])
def test_what_is_too_wide_is_refused(kind, a, b, y, signed, message):
    module = FlatModule()
    module.output("y", module.cell(kind, y, signed=signed, A=module.input("a", a), B=module.input("b", b)))
    with pytest.raises(UnsupportedNetlist, match=re.escape(message)):
        generate(read_netlist(module.json, clocks=("clk",)), [("clk",)])


@pytest.mark.parametrize("kind,a,signed", [
    ("$shift", 8, "B"), ("$shiftx", 8, "B"), ("$shift", 65, ""), ("$shr", 70, "")])
def test_shifts_by_what_pixels_reach_are_refused_where_there_is_no_code(kind, a, signed):
    module = FlatModule()
    module.output("y", module.cell(kind, 8, signed=signed, A=module.input("a", a), B=module.input("pixel", 3)))
    netlist = read_netlist(module.json, clocks=("clk",))
    generate(netlist, [("clk",)])
    mark_vectors(netlist, inputs=("pixel",), outputs=("y",))
    with pytest.raises(UnsupportedNetlist, match="by what pixels reach"):
        generate(netlist, [("clk",)])


@pytest.mark.cxx
@pytest.mark.parametrize("one_lane", [True, False])
def test_random_circuits_on_two_clocks(one_lane):
    rng, steps = random.Random(4), 40
    module = circuit(rng, 60)
    ports = Ports(pixels=("pixel",), answers=("result",), clocks=CLOCKS, clock_sets=CLOCK_SETS, resets=())
    inspector = Inspector(library_of(module.json, name="circuit", ports=ports, one_lane=one_lane))
    netlist = read_netlist(module.json, clocks=CLOCKS)
    lanes = range(0, inspector.lanes, 7)
    states = [State(netlist) for _ in lanes]
    for _ in range(steps):
        plain, clocks = rng.getrandbits(INPUTS["plain"]), rng.randrange(len(CLOCK_SETS))
        inspector.set("plain", plain)
        for lane in range(inspector.lanes):
            pixel = rng.getrandbits(INPUTS["pixel"])
            inspector.set("pixel", pixel, lane)
            if lane in lanes:
                states[lane // 7].set(netlist.inputs["plain"], plain)
                states[lane // 7].set(netlist.inputs["pixel"], pixel)
        inspector.step(clocks)
        for lane, state in zip(lanes, states, strict=True):
            assert by_the_book(netlist, state, CLOCK_SETS[clocks]) == {"result": inspector.get("result", lane)}
            for name, parts in netlist.names.items():
                assert inspector.get(name, lane) == state.number(parts), (name, lane)
    inspector.close()


@pytest.mark.cxx
@pytest.mark.parametrize("target", [
    "native", *(pytest.param(target, marks=pytest.mark.slow) for target in ("x86-64", "x86-64-v3"))])
def test_a_machine_in_many_lanes_in_one_and_in_pysim(target):
    """Registers and memories: each lane is what a run of that lane alone is, cycle by cycle, register by register."""
    skip_unless_it_runs(target)
    source, cycles, rng = Path(machine.__file__).read_text(), 60, random.Random(2)
    libraries = [build_simulator(machine.Machine, name="machine", sources=source, ports=machine.PORTS,
                                 one_lane=one_lane, target=target) for one_lane in (False, True)]
    together = Inspector(libraries[0])
    shared, own = machine.inputs(rng, cycles)
    lanes = [[first | second for first, second in zip(shared, own(), strict=True)] for _ in range(together.lanes)]
    seen = [[] for _ in lanes]
    reference = machine.in_pysim(lanes[3])
    registers = list(reference[0][1])
    for cycle in range(cycles):
        for lane, values in enumerate(lanes):
            for name, value in values[cycle].items():
                together.set(name, value, lane)
        together.step()
        for lane in range(together.lanes):
            seen[lane].append((together.get("results", lane), {name: together.get(name, lane) for name in registers}))
    together.close()
    assert seen[3] == reference
    assert seen[4] != reference
    for lane, values in enumerate(lanes):
        alone = Inspector(libraries[1])
        for cycle in range(cycles):
            for name, value in values[cycle].items():
                alone.set(name, value)
            alone.step()
            assert (alone.get("results"), {name: alone.get(name) for name in registers}) == seen[lane][cycle]
        alone.close()
