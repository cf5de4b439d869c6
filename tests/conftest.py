"""What all tests share."""
import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def cifar():
    """Folder of the real data sets; tests that need them are skipped without CIFAR_DIR."""
    folder = os.environ.get("CIFAR_DIR")
    if not folder:
        pytest.skip("needs the real CIFAR-10: set CIFAR_DIR")
    return Path(folder)
