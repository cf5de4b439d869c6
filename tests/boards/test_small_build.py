"""What place and route makes of a board's clocks and pins, seen on a small design that takes seconds."""
import json
import re
from collections import Counter
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


def with_sdram(board, has_one):
    """The board at its clock, with or without the SDRAM."""
    return replace(board, config=replace(board.config, sdram_hz=int(board.clock_hz) if has_one else None))


WITHOUT = with_sdram(BOARDS["ulx3s-12f"], False)


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
    figures, log, _ = built(replace(WITHOUT, clock_hz=hertz, asked_hz=None), tmp_path, monkeypatch)
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
    board = replace(WITHOUT, clock_hz=Fraction(131_250_000), asked_hz=Fraction(500_000_000))
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


@pytest.mark.synth
@pytest.mark.parametrize("name", ["ulx3s-12f", "ulx3s-45f", "ulx3s-85f"])
def test_the_sdram_s_registers_lie_in_its_pads(tmp_path, monkeypatch, name):
    """All that the port has, in both directions; those of the command and of the released data lines come up as 1. The
    clock comes from a pad too. Edges are fast, and only LEDs have another drive than the FPGA's own."""
    _, log, config = built(with_sdram(BOARDS[name], True), tmp_path, monkeypatch)
    counts = Counter(re.findall(r"^enum: ((?:PIO|IOLOGIC)\w\..*)$", config, re.MULTILINE))
    settings = Counter()
    for setting, count in counts.items():
        settings[re.sub(r"^(PIO|IOLOGIC)\w", r"\1", setting)] += count
    command, address, data = 3, 2 + 13, 16
    assert settings["IOLOGIC.OUTREG.OUTREGMODE FF"] == command + address + data
    assert settings["IOLOGIC.OUTREG.REGSET SET"] == command
    assert settings["IOLOGIC.TSREG.OUTREGMODE FF"] == settings["IOLOGIC.TSREG.REGSET SET"] == data
    assert settings["IOLOGIC.FF.INREGMODE FF"] == settings["PIO.TRIMUX_TSREG IOLTO"] == data
    assert settings["PIO.DATAMUX_OREG IOLDO"] == command + address + data
    assert settings["PIO.DATAMUX_ODDR IOLDO"] == settings["IOLOGIC.MODE IDDRX1_ODDRX1"] == 1
    pins = command + address + data + 5                         # cke, cs_n, two of dqm, clk
    constraints = (tmp_path / "top.lpf").read_text()
    assert settings["PIO.SLEWRATE FAST"] == pins == len(re.findall('LOCATE COMP "sdram', constraints))
    leds = len(re.findall('LOCATE COMP "led', constraints))
    assert sum(count for setting, count in settings.items() if setting.startswith("PIO.DRIVE ")) == leds
    assert "out of legal range" not in log


@pytest.mark.synth
def test_the_sdram_s_clock_is_the_core_s_inverted(tmp_path, monkeypatch):
    """D0 is shown while the clock is high, D1 while it is low."""
    built(with_sdram(BOARDS["ulx3s-12f"], True), tmp_path, monkeypatch)
    top = json.loads((tmp_path / "top.json").read_text())["modules"]["top"]
    (pad,) = (cell["connections"] for cell in top["cells"].values() if cell["type"] == "ODDRX1F")
    core = top["netnames"]["clk"]["bits"]
    assert (pad["D0"], pad["D1"], pad["SCLK"]) == (["0"], ["1"], core)
