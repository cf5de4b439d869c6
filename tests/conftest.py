"""What all tests share, the record of nightly runs among it."""
import functools
import os
from pathlib import Path

# Before torch and BLAS are loaded: the tests run in as many processes as there are cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from model.data import synthetic  # noqa: E402
from tests.nightly_record import NightlyRecord  # noqa: E402

TIERS = ("slow", "synth", "nightly")

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
synthetic.make = functools.cache(synthetic.make)        # seconds a call, and the same each time, which has a test


def pytest_addoption(parser):
    parser.addoption("--record", action="store_true", help="write tests/nightly.json if all nightly tests pass")


def pytest_configure(config):
    if config.getoption("--record") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(NightlyRecord())


def pytest_collection_modifyitems(items):
    for item in items:
        if sum(item.get_closest_marker(tier) is not None for tier in TIERS) > 1:
            raise pytest.UsageError(f"{item.nodeid} is in several tiers, so it would run several times")


@pytest.fixture(scope="session")
def cifar():
    """Folder of the real data sets; tests that need them are skipped without CIFAR_DIR."""
    folder = os.environ.get("CIFAR_DIR")
    if not folder:
        pytest.skip("needs the real CIFAR-10: set CIFAR_DIR")
    return Path(folder)
