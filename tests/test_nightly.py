"""What takes hours: thousands of random nets through compiler and RTL, and the real pictures through the RTL.

    python -m pytest -m nightly [--record]      # recorded: tests/nightly.json, and docs/measurements anew
"""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from accel.config import DEFAULT
from model import zoo
from model.common.errors import UserError
from model.data import datasets
from sim.lanes.build import build
from tests.rtl_check import FUZZED, check_random_net

pytestmark = [pytest.mark.nightly, pytest.mark.cxx]
SEEDS = range(10_000, 10_400)
ROOT = Path(__file__).parents[1]
MEASUREMENTS = ROOT / "docs" / "measurements"


@pytest.mark.parametrize("config", FUZZED, ids=lambda config: config.name)
def test_random_nets(config, record_property):
    library = build(config, watched=True)
    pictures = sum(check_random_net(seed, config, library) for seed in SEEDS)
    record_property("seeds", f"{SEEDS.start} .. {SEEDS.stop - 1}")
    record_property("nets", len(SEEDS))
    record_property("pictures", pictures)


# Every net of the zoo, those that are played from SDRAM too.
NETS = {name: DEFAULT for name in zoo.names()}


@pytest.mark.parametrize("name", NETS)
def test_real_pictures(name, cifar, request, record_property, tmp_path):
    """All of the default net, 200 of each other one: every logit, and of the 200 every code of every layer too. With
    --record the summary becomes the committed measurement."""
    config, images = NETS[name], 10_000 if name == zoo.DEFAULT else 200
    record_property("config", config.name)
    dataset = zoo.load(name).header["dataset"]
    try:
        datasets.load(dataset, "test", None if dataset == "synthetic" else cifar)
    except UserError as missing:
        pytest.skip(str(missing))
    record = request.config.getoption("--record")
    output = MEASUREMENTS / f"rtl-{name}.json" if record else tmp_path / "summary.json"
    command = ["sim", "classify", name, "--images", str(images), *(["--trace"] if images <= 200 else []),
               *(["--config", config.name] if config != DEFAULT else []),
               "--output", os.path.relpath(output, ROOT)]
    subprocess.run([sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    summary = json.loads(output.read_text())
    assert (summary["images"], summary["exact"]) == (images, images)
    for key in ("net_digest", "dataset", "images", "correct", "exact", "cycles_per_image"):
        record_property(key, summary[key])
