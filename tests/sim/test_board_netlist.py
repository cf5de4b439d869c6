"""The netlist of shipped boards, pin to pin: INFO, a board whose PLL has not locked, a picture with its logits and
cycles, and a net that is loaded, by way of the SDRAM where there is one, whose model has the registers of the pads.
Between the netlist and the chip are place and route, the PLL and the pads: no timing is simulated, and the two clocks
drift through all phases of each other instead of the one that the PLL makes."""
import copy
import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from accel import link
from accel.compiler.compile import compile_net
from accel.cycles import cycles
from boards import build
from boards.host import Device, FrameReader
from boards.index import BOARDS
from boards.toolchain import tool_environment
from boards.top import make_platform, oscillator_hz
from model import zoo
from model.integer import golden
from sim.sdram import sdram_timing
from tests.boards.small_system import SmallSystem
from tests.nets import random_net, random_pictures
from tests.sim.board_netlist import build_board_netlist, with_named_pins
from tests.sim.board_port import BoardPort

from .info import info_fields

BOARD = BOARDS["ulx3s-12f"]
DRIFT = Fraction(1009, 1008)        # of the core's clock against the oscillator's


def cell(kind, parameters=None, **wires):
    return {"type": kind, "parameters": parameters or {}, "attributes": {},
            "connections": {name: [bit] for name, bit in wires.items()}}


def pad(pin, wire, *, out=False):
    if out:
        return cell("TRELLIS_IO", {"DIR": "OUTPUT"}, B=pin, I=wire, T="0")
    return cell("TRELLIS_IO", {"DIR": "INPUT"}, B=pin, O=wire)


@pytest.fixture
def netlist():
    """Pins are the bits 1 .. 11, what is behind them 21 .. 31: the oscillator, rx, tx, eight LEDs."""
    names = ["clk25_0__io", "uart_0__rx__io", "uart_0__tx__io", *(f"led_{k}__io" for k in range(8))]
    return {
        "ports": {name: {"direction": "output" if k > 1 else "input", "bits": [k + 1]} for k, name in enumerate(names)},
        "netnames": {"tx": {"bits": [77]}, "other": {"bits": [40]}},
        "cells": {
            **{f"pad{k}": pad(k + 1, k + 21, out=k > 1) for k in range(len(names))},
            "pll": cell("EHXPLLL", CLKI=21, CLKFB=50, CLKOP=50, CLKOS=51, LOCK=52),
            "gate": cell("DCCA", CLKI=51, CE=52, CLKO=53), "register": cell("TRELLIS_FF", CLK=53, DI=22, Q=40)}}


def test_pins_have_names(netlist):
    made = with_named_pins(netlist, BOARD)
    assert {name: (port["direction"], port["bits"]) for name, port in made["ports"].items()} == {
        "host_clk": ("input", [21]), "clk": ("input", [53]), "locked": ("input", [52]), "rx": ("input", [22]),
        "tx": ("output", [23]), "leds": ("output", list(range(24, 32)))}
    assert made["cells"] == {"register": netlist["cells"]["register"]}
    assert list(made["netnames"]) == ["other"]


@pytest.mark.parametrize("name, port, bit, said", [
    ("gate", "CE", 40, "does not open with LOCK"), ("gate", "CLKI", 40, "is not the PLL's"),
    ("register", "CLK", 51, "goes round its gate"), ("pll", "CLKI", 40, "not run on the oscillator"),
    ("pad5", "T", 40, "a pad of both ways: pad5")])
def test_other_clocks_and_pads_are_refused(name, port, bit, said, netlist):
    broken = copy.deepcopy(netlist)
    broken["cells"][name]["connections"][port] = [bit]
    with pytest.raises(AssertionError, match=said):
        with_named_pins(broken, BOARD)


@pytest.fixture(scope="module")
def sdram_netlist(tmp_path_factory):
    """(board, module): of a small design on a board with an SDRAM."""
    board = replace(BOARD, config=replace(BOARD.config, sdram_hz=int(BOARD.clock_hz)))
    folder = tmp_path_factory.mktemp("sdram")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("boards.top.System", SmallSystem)
        build.prepare(board, net=None, baud=link.BAUD, folder=folder)
        build.synthesize(folder, tool_environment())
    return board, json.loads((folder / "top.json").read_text())["modules"]["top"]


@pytest.mark.synth
def test_the_sdram_is_at_the_registers_of_its_pads(sdram_netlist):
    board, module = sdram_netlist
    made = with_named_pins(module, board)
    assert {name.removeprefix("sdram__"): (port["direction"], len(port["bits"]))
            for name, port in made["ports"].items() if name.startswith("sdram")} == {
        "ras_n": ("output", 1), "cas_n": ("output", 1), "we_n": ("output", 1), "bank": ("output", 2),
        "address": ("output", 13), "dq_o": ("output", 16), "dq_oe": ("output", 1), "dq_i": ("input", 16)}
    kinds = {cell["type"] for cell in made["cells"].values()}
    assert not kinds & {"TRELLIS_IO", "ODDRX1F"}
    assert not any(cell["attributes"].get("ioff_dir") for cell in made["cells"].values())
    registers = [sum(cell["type"] == "TRELLIS_FF" for cell in cells["cells"].values()) for cells in (module, made)]
    assert registers[0] - registers[1] == 3 + 2 + 13 + 3 * 16


def _is_register(cell, level, direction="output"):
    return (cell["attributes"].get("ioff_dir"), cell["parameters"].get("REGSET")) == (direction, level)


@pytest.mark.synth
@pytest.mark.parametrize("wanted, change, said", [
    (lambda cell: _is_register(cell, "SET"), lambda cell: cell["parameters"].update(REGSET="RESET"), "is another"),
    (lambda cell: _is_register(cell, "RESET"), lambda cell: cell["connections"].update(CE=["0"]), "core's clock"),
    (lambda cell: _is_register(cell, "RESET", "input"), lambda cell: cell["connections"].update(CLK=[1]),
     "core's clock"),
    (lambda cell: cell["type"] == "ODDRX1F", lambda cell: cell["connections"].update(D0=["1"]), "not inverted"),
    (lambda cell: cell["type"] == "TRELLIS_IO" and cell["connections"].get("I") == ["1"],
     lambda cell: cell["connections"].update(I=["0"]), "other levels")])
def test_other_pads_of_an_sdram_are_refused(wanted, change, said, sdram_netlist):
    board, module = sdram_netlist
    broken = copy.deepcopy(module)
    change(next(filter(wanted, broken["cells"].values())))
    with pytest.raises(AssertionError, match=said):
        with_named_pins(broken, board)


def ask_status(port):
    """Of a board that may have no core yet, which a `Device` would reset."""
    reader = FrameReader()
    reader.feed(port.board.exchange(link.frame(link.Command.STATUS, 7), 50_000))
    kind, sequence, payload = reader.next()
    assert (kind, sequence) == (link.Command.STATUS | link.REPLY, 7)
    return link.from_bytes(link.Status, payload)


@pytest.mark.nightly
@pytest.mark.cxx
@pytest.mark.parametrize("name", BOARDS)
def test_shipped_netlists(name, tmp_path, record_property):
    board = BOARDS[name]
    net, host_hz = zoo.load(board.net), oscillator_hz(board, make_platform(board))
    image = compile_net(net, board.config)
    port = BoardPort(build_board_netlist(board, tmp_path), bit_cycles=float(host_hz / link.BAUD),
                     core_ratio=board.clock_hz / host_hz * DRIFT, sdram=sdram_timing(board.config))
    port.board.line.locked = 0
    status = ask_status(port)
    assert (status.locked, status.beats, status.loaded) == (0, 0, 1)
    port.board.line.locked = 1
    with Device(port, timeout=2.0, now=port.now) as device:
        expected = info_fields(board.config, image, clock_hz=board.clock_hz, baud=link.BAUD)
        assert tuple(device.info.gateware[i] for i in range(3)) == tuple(expected.pop("gateware"))
        assert {field: getattr(device.info, field) for field in expected} == expected
        pictures = random_pictures(net, 1)
        [answer] = device.classify(pictures)
        np.testing.assert_array_equal(answer.logits, golden.forward(net, pictures)[0])
        assert answer.cycles == cycles(image)
        small = random_net(0, board.config)
        assert device.load(compile_net(small, board.config))
        pictures = random_pictures(small, 2)
        for given, logits in zip(device.classify(pictures), golden.forward(small, pictures), strict=True):
            np.testing.assert_array_equal(given.logits, logits)
        status = device.status()
        assert (status.locked, status.images, status.outstanding, status.framing_errors) == (1, 3, 0, 0)
        assert status.header_errors == status.frame_errors == status.timeouts == status.overruns == 0
    assert not port.board.line.framing_errors
    record_property("config", board.config.name)
    record_property("net_digest", image.net_digest)
    record_property("cycles_per_image", answer.cycles)
