"""python -m sim speed: what is measured, how the table says it, and the cores that it measures."""
import json
from dataclasses import replace

import numpy as np
import pytest

from accel.compiler.compile import compile_net
from accel.config import CONFIGS, TINY
from accel.cycles import cycles
from accel.digest import rtl_digest
from model import zoo
from model.data import datasets
from model.integer import golden
from sim import __main__ as command
from sim import speed
from sim.engines import open_engine
from sim.measurement import PYSIM_CYCLES, Measurement, measure
from sim.verilator import find_verilator
from tests.nets import random_net, random_pictures

SUBJECT = {"config": "16x16x2", "config_digest": "", "macs_per_cycle": 512, "net": "net", "net_digest": "",
           "cycles_per_image": 27_838}
BUILT = {"build_seconds": 41.26, "build_processor_seconds": 60.0, "build_megabytes": 311.4, "start_seconds": 0.24}
LANES = Measurement(simulator="lanes", lanes=16, **BUILT, images=20, exact=20, simulated_cycles=60_000,
                    processor_seconds=0.75, megabytes=88.6, **SUBJECT)
PYSIM = Measurement(simulator="pysim", lanes=1, start_seconds=30.04, simulated_cycles=1000, processor_seconds=6.4,
                    megabytes=140.2, **SUBJECT)
WRONG = Measurement(simulator="cxxrtl", lanes=1, **BUILT, images=64, exact=63, simulated_cycles=1_000_000,
                    processor_seconds=3.0, megabytes=60.0, **SUBJECT)
ABSENT = Measurement(simulator="verilator", installed=False, **SUBJECT)


def test_table():
    assert speed.table([LANES, PYSIM, WRONG, ABSENT]) == [
        "| core    | simulator | build, s      | build, MB | start, s | cycles/s | lanes | picture-cycles/s "
        "| memory, MB | exact |",
        "|---------|-----------|---------------|-----------|----------|----------|-------|------------------"
        "|------------|-------|",
        "| 16x16x2 | lanes     | 41.3          | 311       | 0.2      | 80,000   | 16    | 800,000          "
        "| 89         | 20/20 |",
        "| 16x16x2 | pysim     |               |           | 30.0     | 156      | 1     | 156              "
        "| 140        |       |",
        "| 16x16x2 | cxxrtl    | 41.3          | 311       | 0.2      | 333,000  | 1     | 333,000          "
        "| 60         | 63/64 |",
        "| 16x16x2 | verilator | not installed |           |          |          |       |                  "
        "|            |       |"]


@pytest.mark.parametrize("lanes, images, together", [(1, 5, 1), (16, 16, 16), (16, 20, 10), (16, 3, 3), (16, 64, 16)])
def test_lanes_without_a_picture_do_not_count(lanes, images, together):
    one = Measurement(simulator="lanes", lanes=lanes, images=images, exact=images, simulated_cycles=7_000,
                      processor_seconds=0.5, **SUBJECT)
    assert one.cycles_per_second == 14_000
    assert one.picture_cycles_per_second == together * 14_000


def workload(count=3):
    net = random_net(3, TINY)
    pictures = random_pictures(net, count)
    return compile_net(net, TINY), pictures, golden.forward(net, pictures)


def check_subject(measurement, image, simulator):
    assert (measurement.config, measurement.config_digest) == (TINY.name, TINY.digest())
    assert (measurement.net, measurement.net_digest) == (image.net_name, image.net_digest)
    assert (measurement.macs_per_cycle, measurement.cycles_per_image) == (TINY.macs_per_cycle, cycles(image))
    assert measurement.simulator == simulator


def test_pysim_is_measured_over_some_cycles():
    image, pictures, logits = workload()
    measurement = measure("pysim", image, pictures, logits)
    check_subject(measurement, image, "pysim")
    assert measurement.simulated_cycles == PYSIM_CYCLES < cycles(image)
    assert measurement.images is measurement.exact is measurement.build_seconds is None
    assert min(measurement.processor_seconds, measurement.start_seconds, measurement.megabytes) > 0


def test_logits_are_compared_and_cycles_counted():
    """With an engine that has nothing to build."""
    image, pictures, logits = workload()
    logits[1, 0] += 1
    measurement = measure("interp", image, pictures, logits)
    check_subject(measurement, image, "interp")
    assert (measurement.images, measurement.exact, measurement.lanes) == (3, 2, 1)
    assert measurement.simulated_cycles == 3 * cycles(image)
    assert min(measurement.processor_seconds, measurement.start_seconds, measurement.megabytes) > 0


@pytest.mark.slow
@pytest.mark.cxx
@pytest.mark.parametrize("simulator", ["cxxrtl", pytest.param("verilator", marks=pytest.mark.skipif(
    find_verilator() is None, reason="needs Verilator"))])
def test_a_build_begins_with_an_empty_cache(simulator, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    image, pictures, logits = workload()
    for _ in range(2):
        measurement = measure(simulator, image, pictures, logits)
        assert measurement.exact == 3 and measurement.simulated_cycles > 3 * cycles(image)
        # A compiler ran, which takes more of everything than a simulation of three small pictures.
        assert measurement.build_processor_seconds > measurement.processor_seconds
        assert measurement.build_megabytes > measurement.megabytes
    assert not list(tmp_path.rglob("*.so"))


def test_a_verilator_that_is_not_there_is_a_row(monkeypatch):
    monkeypatch.delenv("VERILATOR", raising=False)
    monkeypatch.setenv("PATH", "")
    measurement = measure("verilator", *workload(1))
    assert not measurement.installed and measurement.simulated_cycles is None


@pytest.mark.parametrize("measured, code", [([replace(WRONG, exact=64), PYSIM, ABSENT], 0), ([PYSIM, WRONG], 1)])
def test_the_command(tmp_path, monkeypatch, capsys, measured, code):
    """What it prints and writes, and its exit code, when these are the figures."""
    asked = []
    monkeypatch.setattr(speed, "warm_yosys", lambda: None)
    monkeypatch.setattr(speed, "workload_of", lambda *arguments, **options: (arguments, options))
    figures = {one.simulator: one for one in measured}
    monkeypatch.setattr(speed, "measure", lambda simulator, *workload: asked.append(workload) or figures[simulator])
    assert command.main(["speed", "--config", "16x16x2", "--engines", ",".join(figures), "--images", "20",
                         "--output", str(tmp_path / "speed.json")]) == code
    options = {"data_dir": None, "images": 20}
    assert asked == [((CONFIGS["16x16x2"], "resnet8-w4a4-cifar10"), options)] * len(measured)
    assert capsys.readouterr().out.splitlines() == speed.table(measured)
    written = json.loads((tmp_path / "speed.json").read_text())
    assert [Measurement(**one) for one in written["measurements"]] == measured
    assert written["rtl_digest"] == rtl_digest() and written["command"].startswith("python -m sim")


def test_the_widest_core_is_one_of_2048_macs_a_cycle_and_exact():
    net, pictures = zoo.load(speed.NETS["32x16x4"]), datasets.load("synthetic", "test").pictures[:5]
    assert speed.R32C16P4.macs_per_cycle == 2048
    results = open_engine("interp", compile_net(net, speed.R32C16P4)).run(pictures)
    np.testing.assert_array_equal([result.logits for result in results], golden.forward(net, pictures))


@pytest.mark.parametrize("name", speed.NETS)
def test_the_net_of_a_core_fits_it(name):
    assert cycles(compile_net(zoo.load(speed.NETS[name]), speed.MEASURABLE[name])) > PYSIM_CYCLES
