"""The place-and-route harness without a tool run: floorplan, figures, missing tools."""
import json
import re
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest

pytest.importorskip("amaranth_boards")

from accel.config import R16C16P2, TINY
from boards import harness, toolchain
from boards.floorplan import lfe5u_85f
from boards.index import BOARDS
from boards.route_report import missed, read_report
from model.common.errors import UserError
from model.common.tools import find_tool


def report(fmax, host=200.0):
    """As nextpnr writes it, of a design whose core reaches `fmax` MHz and whose host side reaches `host`."""
    def end(cell, port):
        return {"cell": cell, "loc": [3, 4], "port": port}

    def step(kind, delay, start, to):
        return {"type": kind, "delay": delay, "from": end(*start), "to": end(*to)}
    a, b, c = ("core.a", "Q"), ("core.b", "A"), ("core.b", "F")
    return json.dumps({
        "fmax": {"$glbnet$host_clk": {"achieved": host, "constraint": 25},
                 "clk": {"achieved": fmax, "constraint": 150}},
        "utilization": {cell: {"available": 83640, "used": used} for cell, used in [
            ("TRELLIS_COMB", 26973), ("TRELLIS_FF", 34860), ("MULT18X18D", 130), ("DP16KD", 113), ("DCCA", 2)]},
        "critical_paths": [
            {"from": "posedge clk", "to": "posedge clk", "path": [
                step("clk-to-q", 0.52, a, a), step("routing", 2.117, a, b), step("logic", 0.45, b, c),
                step("routing", 4.259, c, ("core.c", "CE")), step("setup", 0, ("core.c", "CE"), ("core.c", "CE"))]},
            {"from": "<async>", "to": "posedge $glbnet$host_clk", "path": [
                step("source", 0, ("rx", "O"), ("rx", "O")), step("routing", 1.5, ("rx", "O"), ("o", "DI")),
                step("setup", 0.25, ("o", "DI"), ("o", "DI"))]}]})


SMALL = replace(BOARDS["ulx3s-85f"], config=TINY, floorplan=None)


def test_every_multiplier_has_a_site_of_its_own():
    sites = {lfe5u_85f(row, chain) for row in range(R16C16P2.rows) for chain in range(R16C16P2.chains)}
    assert len(sites) == R16C16P2.rows * R16C16P2.chains
    assert lfe5u_85f(0, 0) == "X4/Y34/MULT18_0"


def test_a_chain_is_a_third_of_the_width_or_a_row_of_sites_from_the_one_before():
    """And of the nine thirds of rows the one that is left over is where the activation memory lies."""
    thirds, rows = (4, 41, 82), (10, 34, 58)
    places = [tuple(map(int, re.findall(r"[XY](\d+)", lfe5u_85f(0, chain)))) for chain in range(R16C16P2.chains)]
    steps = [(thirds.index(x), rows.index(y)) for x, y in places]
    assert all(abs(x - next_x) + abs(y - next_y) == 1 for (x, y), (next_x, next_y) in pairwise(steps))
    assert {(x, y) for x in range(3) for y in range(3)} - set(steps) == {(0, 2)}


@pytest.mark.parametrize("unit", sorted(set(harness.UNITS) - {"core"}))
def test_every_unit_can_be_put_into_the_harness(unit):
    top = harness.Harness(harness.UNITS[unit](SMALL), uart=SMALL.uart)
    plan = harness._platform(SMALL, 100_000_000).build(top, name="core", do_build=False)
    assert "module \\core.unit" in plan.files["core.il"]


@pytest.mark.parametrize("name", BOARDS)
def test_the_harness_is_on_any_board_at_the_clock_that_is_asked_for(name):
    board = BOARDS[name]
    top = harness.Harness(harness.UNITS["stream-register"](board), uart=board.uart)
    platform = harness._platform(board, 150_000_000)
    constraints = platform.build(top, name="core", do_build=False).files["core.lpf"]
    assert "150000000" in constraints and f"{board.oscillator}_0__io" in constraints
    assert platform.device.endswith(board.device)


def test_the_floorplan_is_of_the_board_s_own_array():
    board = BOARDS["ulx3s-85f"]
    assert harness._with_config(board, replace(R16C16P2, weight_depth=16384)).floorplan is lfe5u_85f
    assert harness._with_config(board, TINY).floorplan is None


def test_what_the_harness_cannot_do_is_one_line(capsys, monkeypatch, tmp_path):
    for target in ("0", "1/0", "-5", "fast"):
        assert harness.main([f"--target-mhz={target}"]) == 2
        assert capsys.readouterr().err.startswith(f"error: argument --target-mhz: {target} is no positive number")
    for seed in ("-1", "2147483648", "1.5"):
        assert harness.main([f"--seed={seed}"]) == 2
        assert capsys.readouterr().err == (f"error: argument --seed: {seed} is no whole number from 0 to 2147483647 "
                                           "(python -m boards.harness --help)\n")
    for variable in toolchain.TOOLS:
        monkeypatch.setenv(variable, "/bin/true")
    for module in [name for name in sys.modules if name.split(".")[0] == "amaranth_boards"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [WithoutBoards, *sys.meta_path])
    assert harness.main(["--unit", "stream-register", "-o", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: this needs amaranth_boards: pip install -e '.[fpga]'\n"


@pytest.mark.synth
def test_a_unit_is_placed_and_routed(tmp_path, capsys):
    """The smallest: its clock, asked for and reached, and its slowest path."""
    assert harness.main(["--board", "ulx3s-12f", "--unit", "stream-register", "-o", str(tmp_path)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["unit"], figures["device"]) == ("stream-register", "LFE5U-12F speed grade 6")
    assert figures["clocks"].keys() == {"sync"} and figures["clocks"]["sync"]["fmax_mhz"] == figures["fmax_mhz"] > 150
    assert round(figures["clocks"]["sync"]["constraint_mhz"]) == 150
    path = next(path for path in figures["critical_paths"] if (path["from_clock"], path["to_clock"]) == ("sync",) * 2)
    assert abs(1e3 / figures["fmax_mhz"] - path["logic_ns"] - path["routing_ns"]) < 0.02
    assert figures["ff"] > 0 == figures["dsp"]


class WithoutBoards:
    """Finds no amaranth-boards, whether it is installed or not."""
    @staticmethod
    def find_spec(name, path, target=None):
        if name == "amaranth_boards":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_figures_come_from_the_routed_design():
    """109.616 MHz is no 109.62: a clock is never rounded up to what it needs."""
    assert read_report(report(109.616)) == {
        "fmax_mhz": 109.61, "clocks": {"host": {"fmax_mhz": 200.0, "constraint_mhz": 25},
                                       "sync": {"fmax_mhz": 109.61, "constraint_mhz": 150}},
        "lut4": 26973, "ff": 34860, "dsp": 130, "dp16kd": 113,
        "critical_paths": [
            {"from_clock": "sync", "to_clock": "sync", "from": "core.a.Q", "to": "core.c.CE", "logic_ns": 0.97,
             "routing_ns": 6.38, "steps": ["0.52 clk-to-q core.a.Q", "2.12 routing core.b.A", "0.45 logic core.b.F",
                                           "4.26 routing core.c.CE"]},
            {"from_clock": "async", "to_clock": "host", "from": "rx.O", "to": "o.DI", "logic_ns": 0.25,
             "routing_ns": 1.5}]}


def test_a_clock_is_known_in_the_harness_too():
    """There the platform makes it, in a module of its own."""
    assert read_report(report(90).replace('"clk"', '"$glbnet$cd_sync.clk"'))["fmax_mhz"] == 90


@pytest.mark.parametrize("fmax, host, needed, names", [
    (109.61, 25, {"sync": Fraction(10961, 100), "host": Fraction(25)}, []),
    (109.61, 25, {"sync": Fraction(10962, 100), "host": Fraction(25)}, ["sync"]),
    (109.61, 24.99, {"sync": Fraction(100), "host": Fraction(25)}, ["host"]),
    (90, 20, {"sync": Fraction(100), "host": Fraction(25)}, ["sync", "host"]),
    (109.61, 25, {"sync": Fraction(100)}, ["host"]),
    (109.61, 25, {"sync": Fraction(100), "host": Fraction(25), "video": Fraction(1)}, ["video"])])
def test_timing_is_met_when_every_domain_meets_its_own_clock(fmax, host, needed, names):
    """A clock that nobody expects, or that is not there, is not met."""
    assert missed(read_report(report(fmax, host)), needed) == names


@pytest.mark.parametrize("text", ["nothing of the kind", "[]", "{}", '{"fmax": {}}', report(90)[:-1],
                                  report(90).replace('"clk"', '"other"'), report(90).replace("DP16KD", "RAM")])
def test_a_foreign_report_is_refused(text):
    with pytest.raises(UserError, match="^this is not the report of a finished place and route$"):
        read_report(text)


def test_missing_tools_are_named(monkeypatch):
    monkeypatch.setenv("NEXTPNR_ECP5", "/nowhere/nextpnr-ecp5")
    with pytest.raises(UserError, match="NEXTPNR_ECP5=/nowhere/nextpnr-ecp5: there is no such program"):
        toolchain.tool_environment()
    monkeypatch.delenv("NEXTPNR_ECP5")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("model.common.tools.sysconfig.get_path", lambda *_, **__: "/nowhere")
    with pytest.raises(UserError, match=r"no nextpnr-ecp5: pip install -e '.\[fpga\]'"):
        find_tool("nextpnr-ecp5")


def test_tools_are_found_from_any_folder_and_say_their_version(tmp_path, monkeypatch):
    (tmp_path / "yosys").write_text("#!/bin/sh\necho 'Yosys 0.99 (git sha1 abc)'\n")
    (tmp_path / "yosys").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    for variable in toolchain.TOOLS:
        monkeypatch.setenv(variable, "./yosys")
    assert toolchain.tool_environment()["YOSYS"] == str(tmp_path / "yosys")
    assert toolchain.tool_versions()["yosys"] == "Yosys 0.99 (git sha1 abc)"


def test_a_folder_that_cannot_be_made_is_refused(monkeypatch):
    for variable in toolchain.TOOLS:
        monkeypatch.setenv(variable, "/bin/true")
    with pytest.raises(UserError, match="cannot write to /dev/null/x"):
        harness.place_and_route(SMALL, unit="stream-register", build_dir="/dev/null/x")


@pytest.mark.parametrize("version, chosen", [("0.9", False), ("0.44", False), ("0.45", True), ("1.0", True)])
def test_a_native_yosys_is_preferred_only_if_it_is_recent(tmp_path, monkeypatch, version, chosen):
    native = tmp_path / "yosys"
    native.write_text(f"#!/bin/sh\necho 'Yosys {version} (git sha1 abc)'\n")
    native.chmod(0o755)
    monkeypatch.delenv("YOSYS", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert (find_tool("yosys") == str(native)) == chosen
