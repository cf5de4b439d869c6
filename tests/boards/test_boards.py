"""Every board is data that holds together: clocks exact, pins there, a bitstream's inputs made without any tool."""
import json
import re
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

pytest.importorskip("amaranth_boards")

from accel import link
from accel.clocks import CORE_CLOCKS
from accel.config import CONFIGS
from boards.build import prepare
from boards.index import BOARDS
from boards.report import BASELINES
from boards.top import led_levels, make_platform, oscillator_hz
from model.common.errors import UserError

from .small_system import SmallSystem

MULTIPLIERS = {"12F": 28, "25F": 28, "45F": 72, "85F": 156}          # MULT18X18D of an LFE5U
PACKAGES = {"ulx3s": "BG381 6", "icesugar_pro": "BG256 6", "icepi_zero": "BG256 6"}       # and speed grade
OSCILLATORS = {"ulx3s": 25_000_000, "icesugar_pro": 25_000_000, "icepi_zero": 50_000_000}
LEDS = {"ulx3s": "B2 C2 C1 D2 D1 E2 E1 H3", "icesugar_pro": "A11 A12 B11", "icepi_zero": "E13 D14 E12 C13 D13"}
PULLED_UP = {"ulx3s": "F1 L2"}                                              # the ESP32's enable and its GPIO0
UARTS = {"ulx3s": "M1 L4", "icesugar_pro": "A9 B9", "icepi_zero": "K16 K15"}      # rx tx

# ras_n cas_n we_n, ba, a, cke, cs_n, dqm, dq, clk
SDRAMS = {"ulx3s": "R20 T19 T20 P19 N20 M20 M19 L20 L19 K20 K19 K18 J20 J19 H20 N19 G20 G19 F20 P20 U19 E20 "
                   "J16 L18 M18 N18 P18 T18 T17 U20 E19 D20 D19 C20 E18 F18 J18 J17 F19"}

each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)


def test_every_family_is_in_the_index():
    """A module with a `Board` in it that the index lacks would be tested by nobody."""
    files = {path.stem for path in Path(import_module("boards").__file__).parent.glob("*.py")
             if "Board(" in path.read_text() and path.stem != "board"}
    assert files == {board.family for board in BOARDS.values()}


@each_board
def test_data_hold_together(board):
    family = import_module(f"boards.{board.family}")
    assert board in family.BOARDS and callable(family.main)
    assert CONFIGS[board.config.name] is board.config
    assert type(board.clock_hz) is Fraction and board.clock_hz == CORE_CLOCKS[board.config.name]
    places = [(row, chain) for row in range(board.config.rows) for chain in range(board.config.chains)]
    assert board.floorplan is None or len({board.floorplan(*place) for place in places}) == len(places)
    assert all(0 < number < 1 << 16 for adapter in board.adapters for number in adapter)


@each_board
def test_the_chip_is_the_one_of_the_platform(board):
    platform = make_platform(board)
    assert platform.device == f"LFE5U-{board.device}"
    assert f"{platform.package} {platform.speed}" == PACKAGES[board.family]
    assert oscillator_hz(board, platform) == OSCILLATORS[board.family]
    assert board.oscillator == platform.default_clk


@pytest.mark.parametrize("clock", [80e6, 80_000_000, Fraction(0)])
def test_a_clock_that_is_no_fraction_is_refused(clock):
    with pytest.raises(ValueError, match="clock_hz must be a positive Fraction, not "):
        replace(BOARDS["ulx3s-85f"], clock_hz=clock)


@pytest.mark.parametrize("clock", [80e6, 80_000_000, Fraction(80_000_000)])
def test_a_clock_that_is_asked_for_is_a_fraction_and_not_below_the_board_s(clock):
    board = BOARDS["ulx3s-85f"]
    with pytest.raises(ValueError, match="asked_hz must be a Fraction of at least clock_hz, not "):
        replace(board, asked_hz=clock)
    assert replace(board, asked_hz=board.clock_hz).asked_hz == board.clock_hz


def test_an_sdram_is_timed_for_the_clock_that_it_has():
    board = BOARDS["ulx3s-85f"]
    with pytest.raises(ValueError, match="the configuration's SDRAM is timed for 100000000 Hz, not 125000000"):
        replace(board, config=replace(board.config, sdram_hz=100_000_000))
    with pytest.raises(ValueError, match="needs a clock_hz of at least 80000000, not 100000000/3"):
        replace(board, config=replace(board.config, sdram_hz=33_333_334), clock_hz=Fraction(100_000_000, 3))
    third = replace(board, config=replace(board.config, sdram_hz=108_333_334), clock_hz=Fraction(325_000_000, 3))
    assert third.config.sdram_hz == 108_333_334


def test_a_platform_without_the_sdram_that_the_configuration_needs_is_refused(tmp_path):
    board = replace(BOARDS["ulx3s-25f"], platform="amaranth_boards.ecpix5:ECPIX545Platform")
    with pytest.raises(UserError, match="8x8x2 uses an SDRAM, and amaranth_boards.ecpix5:ECPIX545Platform has none"):
        prepare(board, net=None, baud=link.BAUD, folder=tmp_path)


@pytest.mark.parametrize("name", [name for name, board in BOARDS.items() if board.family in SDRAMS])
def test_the_sdram_s_pins_are_the_board_s_fast_and_of_full_strength(name, tmp_path, monkeypatch):
    monkeypatch.setattr("boards.top.System", SmallSystem)
    board = BOARDS[name]
    board = replace(board, config=replace(board.config, sdram_hz=int(board.clock_hz)))
    prepare(board, net=None, baud=link.BAUD, folder=tmp_path)
    constraints = (tmp_path / "top.lpf").read_text()
    assert re.findall(r'LOCATE COMP "sdram[^"]+" SITE "([^"]+)"', constraints) == SDRAMS[board.family].split()
    buffers = re.findall(r'IOBUF PORT "sdram[^"]+" (.*);', constraints)
    assert len(buffers) == len(SDRAMS[board.family].split())
    assert all("SLEWRATE=FAST" in buffer and "DRIVE" not in buffer for buffer in buffers)


@each_board
def test_the_pins_are_the_board_s(board, tmp_path, monkeypatch):
    monkeypatch.setattr("boards.top.System", SmallSystem)
    prepare(board, net=None, baud=link.BAUD, folder=tmp_path)
    sites = dict(re.findall(r'LOCATE COMP "([^"]+)" SITE "([^"]+)"', (tmp_path / "top.lpf").read_text()))
    assert [site for name, site in sites.items() if "led" in name] == LEDS[board.family].split()
    assert [sites["uart_0__rx__io"], sites["uart_0__tx__io"]] == UARTS[board.family].split()
    held = [site for name, site in sites.items() if "pull_ups" in name]
    assert held == PULLED_UP.get(board.family, "").split()
    sdram = [site for name, site in sites.items() if "sdram" in name]
    assert sdram == (SDRAMS[board.family].split() if board.config.sdram_hz is not None else [])
    assert len(sites) == len(LEDS[board.family].split()) + len(held) + len(sdram) + 3           # and the oscillator
    option = {"12F": "--12k", "25F": "--25k", "45F": "--45k", "85F": "--85k"}[board.device]
    assert option in (tmp_path / "build_top.sh").read_text()


@pytest.mark.parametrize("board", [pytest.param(board, id=name, marks=[] if name == "ulx3s-25f" else pytest.mark.slow)
                                   for name, board in BOARDS.items()])
def test_every_board_is_prepared_with_its_net_and_needs_no_tool(board, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    main = import_module(f"boards.{board.family}").main
    assert main(["build", "--device", board.device, "-o", str(tmp_path), "--dry-run"]) == 0
    folder = tmp_path / f"work-{board.name}"
    assert capsys.readouterr().out == f"{folder}: all that the tools need; they were not run\n"
    netlist = (folder / "top.il").read_text()
    assert "INITVAL_00" in netlist and "EHXPLLL" in netlist
    multipliers = sum(line.strip().startswith("cell \\MULT18X18D") for line in netlist.splitlines())
    assert 0 < multipliers <= MULTIPLIERS[board.device]
    assert not list(tmp_path.glob("*.bit"))


@pytest.mark.parametrize("path", sorted(BASELINES.glob("uniqore-*.json")), ids=lambda path: path.stem)
def test_a_committed_build_is_of_a_board_as_it_is(path):
    figures, board = json.loads(path.read_text()), BOARDS[path.stem.removeprefix("uniqore-")]
    assert (figures["device"], figures["config"], figures["net"]) == (board.device, board.config.name, board.net)
    assert figures["config_digest"] == board.config.digest() and figures["clock_mhz"] == board.clock_mhz
    assert figures["timing_met"] and figures["fmax_mhz"] >= board.clock_hz / 10**6
    assert figures["command"].startswith(f"python -m boards.{board.family} build --device {board.device} --seed ")


@pytest.mark.parametrize("count, shown", [(8, 0b1_0110101), (5, 0b1_0101), (3, 0b1_01), (1, 0b1)])
def test_few_leds_show_that_it_is_busy_and_the_low_bits_of_the_class(count, shown):
    m = Module()
    leds = Signal(8, init=0b1_0110101)
    levels = Signal(count)
    m.d.comb += levels.eq(led_levels(leds, count))
    simulator = Simulator(m)

    async def check(ctx):
        assert ctx.get(levels) == shown
    simulator.add_testbench(check)
    simulator.run()
