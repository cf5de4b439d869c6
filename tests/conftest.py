"""What all tests share."""
import os
from pathlib import Path

# Before torch and BLAS are loaded: the tests run in as many processes as there are cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def cifar():
    """Folder of the real data sets; tests that need them are skipped without CIFAR_DIR."""
    folder = os.environ.get("CIFAR_DIR")
    if not folder:
        pytest.skip("needs the real CIFAR-10: set CIFAR_DIR")
    return Path(folder)
