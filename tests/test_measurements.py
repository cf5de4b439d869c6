"""Committed figures say which RTL they are of, and are reported, not refused, where that is an older one."""
import json
import re
from pathlib import Path

import pytest

from accel.clocks import CORE_CLOCKS
from accel.config import CONFIGS
from accel.digest import CORE, SYSTEM, rtl_digest
from boards.index import BOARDS
from boards.paths import report_path
from boards.report import BASELINES as BASELINE_FOLDER
from boards.top import make_platform, oscillator_hz
from model import zoo
from model.common.errors import UserError
from model.data import datasets
from model.integer import golden, store
from sim.measurement import Measurement
from sim.speed import table
from tests.nightly_record import RECORD
from tests.rtl_check import FUZZED
from tests.test_nightly import NETS

ROOT = Path(__file__).parents[1]
RUNS = sorted((ROOT / "docs" / "measurements").glob("rtl-*.json"))
SPEED = ROOT / "docs" / "measurements" / "simulation-speed.json"
BASELINES = sorted((ROOT / "boards" / "baselines").glob("*.json"))
FEW = 200                   # pictures that the integer model evaluates in seconds


def check_digest(figures, top):
    """Fails where there is no digest, and marks the test as expected to fail where it is of another RTL."""
    assert re.fullmatch("[0-9a-f]{64}", figures.get("rtl_digest", "")), "no rtl_digest"
    if figures["rtl_digest"] != rtl_digest(top):
        pytest.xfail(f"stale: of another {top}, measured again by: {figures['command']}")
    if "config" in figures and (figures["config"] not in CONFIGS
                                or figures.get("config_digest") != CONFIGS[figures["config"]].digest()):
        pytest.xfail(f"stale: of another configuration {figures['config']}: {figures['command']}")


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_runs_are_of_the_present_rtl_and_net(path):
    run = json.loads(path.read_text())
    check_digest(run, CORE)
    if run["net_digest"] != store.digest(zoo.load(run["net"])):
        pytest.xfail(f"stale: of another {run['net']}: {run['command']}")


@pytest.mark.parametrize("path", BASELINES, ids=lambda path: path.stem)
def test_baselines_are_of_the_present_rtl(path):
    check_digest(json.loads(path.read_text()), SYSTEM)


def test_a_clock_is_said_to_be_met_of_no_configuration_without_a_baseline():
    assert set(CORE_CLOCKS) == {json.loads(path.read_text())["config"] for path in BASELINES}


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board.name)
def test_baselines_meet_each_clock_and_were_asked_for_what_the_board_says(board):
    """nextpnr counts whole picoseconds of a period."""
    figures = json.loads(report_path(BASELINE_FOLDER, board).read_text())
    host_hz = oscillator_hz(board, make_platform(board))
    clocks = {"sync": (board.clock_hz, board.asked_hz), "host": (host_hz, host_hz)}
    assert figures["clocks"].keys() == clocks.keys()
    for name, (needed, asked) in clocks.items():
        found = figures["clocks"][name]
        assert found["fmax_mhz"] >= needed / 10**6
        assert abs(found["constraint_mhz"] - asked / 10**6) <= asked / 10**6 / 5000
    ways = {(path["from_clock"], path["to_clock"]) for path in figures["critical_paths"]}
    assert {(one, other) for one in clocks for other in clocks} <= ways


def test_speeds_are_of_the_present_rtl():
    check_digest(json.loads(SPEED.read_text()), CORE)


def test_the_table_of_speeds_is_of_the_committed_ones():
    rows = table([Measurement(**one) for one in json.loads(SPEED.read_text())["measurements"]])
    assert "\n\n" + "\n".join(rows) + "\n\n" in (ROOT / "docs" / "simulation.md").read_text()


def test_the_nightly_tests_ran_on_the_present_rtl():
    if not RECORD.exists():
        pytest.xfail("no nightly run is recorded: python -m pytest -m nightly --record")
    record = json.loads(RECORD.read_text())
    check_digest(record, CORE)
    expected = {f"test_random_nets[{config.name}]" for config in FUZZED}
    expected |= {f"test_real_pictures[{name}]" for name in NETS}
    assert expected <= set(record["tests"]) and not record["skipped"] and record["commit"] and record["date"]
    assert record["tests"][f"test_real_pictures[{zoo.DEFAULT}]"]["exact"] == 10_000


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_runs_classified_as_the_integer_model_does(path, cifar):
    """The pictures of a run, evaluated again: as many are right, and every logit of the RTL was the model's."""
    run = json.loads(path.read_text())
    assert run["exact"] == run["images"] and run["engine"] in ("lanes", "cxxrtl")
    if run["images"] > FEW:
        pytest.skip(f"{run['images']} pictures take minutes")
    try:
        dataset = datasets.load(run["dataset"], "test", None if run["dataset"] == "synthetic" else cifar)
    except UserError as missing:
        pytest.skip(str(missing))
    chosen = slice(run["start"], run["start"] + run["images"])
    predictions = golden.forward(zoo.load(run["net"]), dataset.pictures[chosen]).argmax(axis=1)
    assert run["correct"] == (predictions == dataset.labels[chosen]).sum()
