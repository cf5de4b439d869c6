"""What takes hours: thousands of random nets through compiler and RTL, and the real pictures through the RTL.

    python -m pytest -m nightly [--record]
"""
import contextlib
import io
import json
import os

import pytest

from accel.compiler.compile import DoesNotFit, compile_net
from accel.config import R16C16P2, R16C16P2_DEEP
from model import zoo
from model.common.errors import UserError
from model.data import datasets
from sim import __main__ as command
from sim.cxxrtl import build
from tests.rtl_check import FUZZED, check_random_net

pytestmark = [pytest.mark.nightly, pytest.mark.cxx]
SEEDS = range(10_000, 10_400)


@pytest.mark.parametrize("config", FUZZED, ids=lambda config: config.name)
def test_random_nets(config, record_property):
    library = build(config)
    pictures = sum(check_random_net(seed, config, library) for seed in SEEDS)
    record_property("seeds", f"{SEEDS.start} .. {SEEDS.stop - 1}")
    record_property("nets", len(SEEDS))
    record_property("pictures", pictures)


def configuration_of(name):
    """The configuration that a net of the zoo fits, or None."""
    for config in (R16C16P2, R16C16P2_DEEP):
        with contextlib.suppress(DoesNotFit):
            compile_net(zoo.load(name), config)
            return config
    return None


@pytest.mark.parametrize("name", zoo.names())
def test_real_pictures(name, cifar, record_property):
    """All of the default net, 200 of each other one: every logit, and of the 200 every code of every layer too."""
    config, images = configuration_of(name), 10_000 if name == zoo.DEFAULT else 200
    record_property("config", config and config.name)
    if config is None:
        return                                  # that each configuration refuses it is tested in tests/sim
    dataset = zoo.load(name).header["dataset"]
    try:
        data = "synthetic" if dataset == "synthetic" else str(cifar)
        datasets.load(dataset, "test", cifar)
    except UserError as missing:
        pytest.skip(str(missing))
    arguments = ["classify", name, "--images", str(images), "--config", config.name, "--data", data, "--json",
                 "--jobs", str(os.cpu_count())] + ["--trace"] * (images <= 200)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert command.main(arguments) == 0
    summary = json.loads(out.getvalue())
    assert (summary["images"], summary["exact"]) == (images, images)
    for key in ("net_digest", "dataset", "images", "correct", "exact", "cycles_per_image"):
        record_property(key, summary[key])
