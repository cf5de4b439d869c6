"""Settings of a PLL: within the data sheet's ranges, exact, and the frequencies that ecppll finds in them."""
import re
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest

pytest.importorskip("amaranth_boards")

from boards.clocking import PllClock, pll_plan
from boards.index import BOARDS
from boards.top import make_platform, oscillator_hz
from model.common.errors import UserError
from model.common.tools import find_tool

MHZ = 10**6
PORTS = ("CLKOP", "CLKOS", "CLKOS2", "CLKOS3")
# Hz: input, clock, and whether the clock's own output feeds back.
ONE_OUTPUT = [(25, Fraction(125)), (25, Fraction(275, 2)), (25, Fraction(225, 2)), (50, Fraction(125)),
              (50, Fraction(275, 2)), (50, Fraction(225, 2))]
TWO_OUTPUTS = [(25, Fraction(525, 4)), (50, Fraction(525, 4)), (25, Fraction(325, 3)),
               (50, Fraction(325, 3)), (25, Fraction(80))]


def figures(parameters, input_hz):
    """(phase detector, oscillator, {port: hertz}, {port: degrees after CLKOP}) of parameters of EHXPLLL, by Lattice's
    formulas."""
    detector = Fraction(input_hz) / parameters["CLKI_DIV"]
    oscillator = detector * parameters["CLKFB_DIV"] * parameters[f"{parameters['FEEDBK_PATH']}_DIV"]
    ports = [port for port in PORTS if f"{port}_DIV" in parameters]
    late = {port: parameters[f"{port}_CPHASE"] + Fraction(parameters[f"{port}_FPHASE"], 8) for port in ports}
    return (detector, oscillator, {port: oscillator / parameters[f"{port}_DIV"] for port in ports},
            {port: 360 * (late[port] - late["CLKOP"]) / parameters[f"{port}_DIV"] for port in ports})


def check(plan, input_hz, *clocks, tolerance=0):
    """All that the data sheet asks for, recomputed from the parameters alone; the plan says the same."""
    parameters = plan.parameters()
    detector, oscillator, hertz, _ = figures(parameters, input_hz)
    assert 10 * MHZ <= detector <= 400 * MHZ and 400 * MHZ <= oscillator <= 800 * MHZ
    assert all(3_125_000 <= made <= 400 * MHZ for made in hertz.values())
    for name, value in parameters.items():
        if name.endswith("_DIV"):
            assert type(value) is int and 1 <= value <= 128
        if name.endswith("PHASE"):
            assert type(value) is int and 0 <= value <= (127 if name.endswith("CPHASE") else 7)
    assert (plan.phase_detector_hz, plan.oscillator_hz) == (detector, oscillator)
    assert [output.hertz for output in plan.outputs] == [hertz[port] for port in plan.ports]
    assert plan.ports[plan.feedback_output] == parameters["FEEDBK_PATH"] == "CLKOP"
    assert len(set(plan.ports)) == len(plan.outputs) == len(hertz) <= len(clocks) + 1
    for clock, output in zip(clocks, plan.outputs, strict=False):
        assert abs(output.hertz - clock) <= tolerance * clock


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_every_board_s_clock_is_exact_and_within_the_ranges(board):
    input_hz = oscillator_hz(board, make_platform(board))
    check(pll_plan(input_hz, PllClock(board.clock_hz)), input_hz, board.clock_hz)


@pytest.mark.parametrize("input_mhz, mhz", ONE_OUTPUT)
def test_one_output_is_enough(input_mhz, mhz):
    plan = pll_plan(Fraction(input_mhz * MHZ), PllClock(mhz * MHZ))
    check(plan, input_mhz * MHZ, mhz * MHZ)
    assert len(plan.outputs) == 1 and plan.ports == ["CLKOP"]


@pytest.mark.parametrize("input_mhz, mhz", TWO_OUTPUTS)
def test_a_second_output_feeds_back(input_mhz, mhz):
    plan = pll_plan(Fraction(input_mhz * MHZ), PllClock(mhz * MHZ))
    check(plan, input_mhz * MHZ, mhz * MHZ)
    assert plan.ports == ["CLKOS", "CLKOP"] and plan.outputs[0].hertz == mhz * MHZ


def possible(input_mhz):
    """MHz, Fractions, of all that a PLL makes, by search."""
    return {Fraction(input_mhz, reference) * multiple / divider
            for reference in range(1, 129) if 10 <= Fraction(input_mhz, reference)
            for multiple in range(1, 129) if 400 <= Fraction(input_mhz, reference) * multiple <= 800
            for divider in range(1, 129) if 25 * reference * divider <= 8 * input_mhz * multiple
            and input_mhz * multiple <= 400 * reference * divider}


@pytest.mark.parametrize("input_mhz", [10, 12, 25, 48, 50, pytest.param(100, marks=pytest.mark.slow)])
def test_sweep(input_mhz):
    """Multiples of 125 kHz: what is possible is made exactly, anything else is refused, or made as nearly as can be."""
    made = possible(input_mhz)
    for eighths in range(3 * 8, 401 * 8, 71):
        mhz = Fraction(eighths, 8)
        if mhz not in made:
            with pytest.raises(UserError, match="no PLL setting makes"):
                pll_plan(Fraction(input_mhz * MHZ), PllClock(mhz * MHZ))
        plan = pll_plan(Fraction(input_mhz * MHZ), PllClock(mhz * MHZ), tolerance=0 if mhz in made else Fraction(1, 2))
        nearest = min(abs(each - mhz) for each in made) / mhz
        check(plan, input_mhz * MHZ, mhz * MHZ, tolerance=nearest)


def test_a_tolerance_is_the_share_that_is_allowed():
    """107.77 MHz: the nearest is 537.5 / 5, 0.25 % below."""
    wanted, nearest = Fraction(107_770_000), Fraction(107_500_000)
    share = (wanted - nearest) / wanted
    assert pll_plan(Fraction(25 * MHZ), PllClock(wanted), tolerance=share).outputs[0].hertz == nearest
    with pytest.raises(UserError, match="no PLL setting makes 107.77 MHz"):
        pll_plan(Fraction(25 * MHZ), PllClock(wanted), tolerance=share - Fraction(1, 10**12))


def test_a_clock_that_can_be_exact_is_exact_whatever_the_tolerance():
    wanted = Fraction(525, 4) * MHZ
    assert pll_plan(Fraction(25 * MHZ), PllClock(wanted), tolerance=Fraction(1, 10)).outputs[0].hertz == wanted


@pytest.mark.parametrize("degrees, eighths", [(0, 0), (90, 12), (180, 24), (45, 6), (360, 0), (-90, 36), (1, 0),
                                              (5, 1)])
def test_a_phase_is_the_nearest_that_there_is(degrees, eighths):
    """Of an oscillator of 600 MHz, for 100 MHz: 48 steps of 7.5 degrees."""
    clocks = PllClock(Fraction(100 * MHZ)), PllClock(Fraction(100 * MHZ), Fraction(degrees))
    plan = pll_plan(Fraction(25 * MHZ), *clocks)
    check(plan, 25 * MHZ, 100 * MHZ, 100 * MHZ)
    assert plan.outputs[1].eighths == eighths and plan.outputs[1].phase == Fraction(15 * eighths, 2)
    assert figures(plan.parameters(), 25 * MHZ)[3] == {"CLKOP": 0, "CLKOS": Fraction(15 * eighths, 2)}


def test_a_late_slow_output_still_fits_its_register():
    """128 whole periods of the oscillator and half an output's period more would be beyond 127."""
    clocks = PllClock(Fraction(3_125_000)), PllClock(Fraction(3_125_000), Fraction(355))
    plan = pll_plan(Fraction(25 * MHZ), *clocks)
    check(plan, 25 * MHZ, 3_125_000, 3_125_000)
    assert max(plan.outputs[k].eighths // 8 for k in (0, 1)) > 64
    degrees = figures(plan.parameters(), 25 * MHZ)[3]
    assert degrees[plan.ports[1]] - degrees[plan.ports[0]] == plan.outputs[1].phase
    assert abs(plan.outputs[1].phase - 355) <= Fraction(360, 2 * 8 * 128)


def test_up_to_four_clocks():
    wanted = [Fraction(mhz * MHZ) for mhz in (100, 50, 25, 300)]
    for count in range(1, 5):
        check(pll_plan(Fraction(25 * MHZ), *map(PllClock, wanted[:count])), 25 * MHZ, *wanted[:count])
    for clocks in ([], [PllClock(wanted[0])] * 5):
        with pytest.raises(ValueError, match=f"^a PLL makes 1 to 4 clocks, not {len(clocks)}$"):
            pll_plan(Fraction(25 * MHZ), *clocks)


@pytest.mark.parametrize("input_hz, hertz, sentence", [
    (25 * MHZ, [107_770_000], "no PLL setting makes 107.77 MHz of 25 MHz: the nearest are 107.5 MHz and 108.333333 "
                              "MHz"),
    (25 * MHZ, [Fraction(325_000_001, 3)], "no PLL setting makes 108.333334 MHz of 25 MHz: the nearest are 108.333333 "
                                           "MHz and 108.928571 MHz"),
    (25 * MHZ, [MHZ], "no PLL setting makes 1 MHz of 25 MHz: the nearest is 3.125 MHz"),
    (25 * MHZ, [401 * MHZ], "no PLL setting makes 401 MHz of 25 MHz: the nearest is 400 MHz"),
    (25 * MHZ, [100 * MHZ, 107_770_000], "no PLL setting makes 107.77 MHz of 25 MHz: the nearest are 107.5 MHz "
                                         "and 108.333333 MHz"),
    (9 * MHZ, [100 * MHZ], "no PLL setting takes 9 MHz: its phase detector needs 10 to 400 MHz"),
    (401 * MHZ, [100 * MHZ], "no PLL setting takes 401 MHz: its phase detector needs 10 to 400 MHz"),
    (25 * MHZ, [125 * MHZ, 137_500_000],
     "no PLL setting makes 125 and 137.5 MHz of 25 MHz at once: each alone it does")])
def test_what_no_setting_makes_is_refused_with_the_nearest_clocks(input_hz, hertz, sentence):
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        pll_plan(Fraction(input_hz), *(PllClock(Fraction(each)) for each in hertz))


def ecppll(folder, *arguments):
    """Parameters that Project Trellis' own tool finds."""
    ecppack = Path(find_tool("ecppack"))                # ecppll comes with it
    tool = ecppack.with_name(ecppack.name.replace("ecppack", "ecppll"))
    subprocess.run([tool, *arguments, "-f", "pll.v"], cwd=folder, check=True, capture_output=True)
    found = re.findall(r"\.(\w+)\((?:\"(\w+)\"|(\d+))\)", (folder / "pll.v").read_text())
    return {name: text or int(number) for name, text, number in found}


def same(ours, theirs):
    """Every divider and phase; but for where the counters start, which ecppll computes in floating point."""
    names = ["CLKI_DIV", "CLKFB_DIV", "FEEDBK_PATH",
             *(f"{port}_{kind}" for port in PORTS for kind in ("DIV", "FPHASE"))]
    assert [ours.get(name) for name in names] == [theirs.get(name) for name in names]
    assert ours["CLKOP_CPHASE"] - theirs["CLKOP_CPHASE"] in (0, 1)
    for port in PORTS[1:]:
        if f"{port}_CPHASE" in ours:
            assert (ours[f"{port}_CPHASE"] - ours["CLKOP_CPHASE"]
                    == theirs[f"{port}_CPHASE"] - theirs["CLKOP_CPHASE"])


@pytest.mark.synth
@pytest.mark.parametrize("input_mhz, mhz", [pair for pair in ONE_OUTPUT if pair[1].denominator < 3])
def test_ecppll_finds_the_same_setting(tmp_path, input_mhz, mhz):
    theirs = ecppll(tmp_path, "-i", str(input_mhz), "-o", str(float(mhz)))
    same(pll_plan(Fraction(input_mhz * MHZ), PllClock(mhz * MHZ)).parameters(), theirs)


@pytest.mark.synth
@pytest.mark.parametrize("mhz, degrees", [(100, 90), (50, 45), (25, 270), (300, 180)])
def test_ecppll_finds_the_same_phase(tmp_path, mhz, degrees):
    """Of an oscillator of 600 MHz, on whose eighths of a period these phases lie."""
    theirs = ecppll(tmp_path, "-i", "25", "-o", "100", "--clkout1", str(mhz), "--phase1", str(degrees))
    clocks = PllClock(Fraction(100 * MHZ)), PllClock(Fraction(mhz * MHZ), Fraction(degrees))
    same(pll_plan(Fraction(25 * MHZ), *clocks).parameters(), theirs)


@pytest.mark.synth
@pytest.mark.parametrize("input_mhz, mhz", TWO_OUTPUTS)
def test_ecppll_makes_the_same_clock_with_a_phase_detector_that_is_too_slow(tmp_path, input_mhz, mhz):
    """It allows 3.125 MHz. With a feedback output of its own it means the same ports as ours."""
    ours = figures(pll_plan(Fraction(input_mhz * MHZ), PllClock(mhz * MHZ)).parameters(), input_mhz * MHZ)
    for option, port in ((), "CLKOP"), (("--highres",), "CLKOS"):
        theirs = ecppll(tmp_path, "-i", str(input_mhz), "-o", str(float(mhz)), *option)
        detector, oscillator, hertz, _ = figures(theirs, input_mhz * MHZ)
        assert abs(hertz[port] - mhz * MHZ) < 1 and 400 * MHZ <= oscillator <= 800 * MHZ
        assert ours[2]["CLKOS"] == mhz * MHZ and ours[0] >= 10 * MHZ
        assert option or detector < 10 * MHZ
