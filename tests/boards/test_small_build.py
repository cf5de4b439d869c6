"""What place and route makes of a board's clocks and pins, seen on a small design that takes seconds."""
import re
from dataclasses import replace
from fractions import Fraction

import pytest

pytest.importorskip("amaranth_boards")

from boards import build
from boards.index import BOARDS
from boards.route_report import read_report
from boards.toolchain import tool_environment

from .small_system import SmallSystem

# Inputs that are pulled up.
PINS = {"ulx3s-12f": "M1 F1 L2", "ulx3s-85f": "M1 F1 L2", "icesugar_pro-25f": "A9", "icepi_zero-25f": "K16"}


def built(board, folder, monkeypatch):
    """(figures, nextpnr's log, its configuration in text) of a small design on `board`."""
    monkeypatch.setattr("boards.top.System", SmallSystem)
    environment = tool_environment()
    arguments = build.prepare(board, net=None, baud=115_200, folder=folder)
    build.synthesize(folder, environment)
    router = build.Router(1, folder, arguments, environment)
    assert router.process.wait() == 0
    return read_report(router.report.read_text()), router.log.read_text(), router.config.read_text()


@pytest.mark.synth
@pytest.mark.parametrize("hertz", [Fraction(112_500_000), Fraction(131_250_000), Fraction(325_000_000, 3)])
def test_both_clocks_are_constrained_to_what_they_are(tmp_path, monkeypatch, hertz):
    """Of the oscillator and of the PLL's output through its gate. nextpnr counts whole picoseconds of a period."""
    figures, log, _ = built(replace(BOARDS["ulx3s-12f"], clock_hz=hertz, asked_hz=None), tmp_path, monkeypatch)
    assert figures["clocks"].keys() == {"sync", "host"}
    assert figures["clocks"]["host"]["constraint_mhz"] == 25
    picoseconds = float(10**12 / hertz)
    slowest, fastest = 10**6 / (picoseconds + 1), 10**6 / (picoseconds - 1)
    assert round(slowest, 2) <= figures["clocks"]["sync"]["constraint_mhz"] <= round(fastest, 2)
    assert "out of legal range" not in log and "Unable to determine" not in log
    pairs = {(path["from_clock"], path["to_clock"]) for path in figures["critical_paths"]}
    assert {("sync", "sync"), ("host", "host"), ("host", "sync"), ("sync", "host")} <= pairs


@pytest.mark.synth
def test_a_faster_clock_can_be_asked_for_than_the_board_has(tmp_path, monkeypatch):
    """The core's alone, and missed it fails nothing: the board's clock is what counts."""
    board = replace(BOARDS["ulx3s-12f"], clock_hz=Fraction(131_250_000), asked_hz=Fraction(500_000_000))
    clocks = built(board, tmp_path, monkeypatch)[0]["clocks"]
    assert clocks["sync"]["constraint_mhz"] == 500 and clocks["host"]["constraint_mhz"] == 25
    assert 131.25 <= clocks["sync"]["fmax_mhz"] < 500


@pytest.mark.synth
@pytest.mark.parametrize("name", PINS)
def test_pins_are_pulled_up_in_the_configuration_too(tmp_path, monkeypatch, name):
    """Those of the UART's receiver and of the ESP32, though nothing reads the latter; no other input is. Some platforms
    have it at outputs too."""
    board = BOARDS[name]
    _, _, config = built(board, tmp_path, monkeypatch)
    constraints = (tmp_path / "top.lpf").read_text()
    sites = dict(re.findall(r'LOCATE COMP "([^"]+)" SITE "([^"]+)"', constraints))
    up = re.findall(r'IOBUF PORT "([^"]+)" .*PULLMODE=UP', constraints)
    assert [sites[port] for port in up if not re.search("tx|led", port)] == PINS[name].split()
    assert len(re.findall(r"PIO\w\.PULLMODE UP$", config, re.MULTILINE)) == len(up)
