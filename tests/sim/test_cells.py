# amaranth: UnusedElaboratable=no
"""A whole core with models of an ECP5's cells in place of the blocks' own twins, compiled: exact, so the pins are
right, and no word that is read in the cycle that writes it (the models give it inverted) is ever used."""
from pathlib import Path

import numpy as np
import pytest

from accel.compiler.compile import compile_net
from accel.config import TINY
from accel.image import Image
from accel.rtl.core import Core
from sim.lanes.build import CORE_PORTS, build_simulator
from sim.library import rtl_sources
from tests.accel import ecp5_cells
from tests.nets import random_net
from tests.rtl_check import check_net

pytestmark = [pytest.mark.slow, pytest.mark.cxx]


def build(image=None):
    """A core of cells, with `image` in its initial words."""
    sources = [rtl_sources(), Path(ecp5_cells.__file__).read_text(), image.net_digest if image else ""]
    with pytest.MonkeyPatch.context() as patch:
        ecp5_cells.use_cells(patch)
        # A net in the initial words leaves blocks of zeros, which look like blocks that nobody has written.
        return build_simulator(lambda: Core(TINY, image=image), name="tiny-cells", sources="\0".join(sources),
                               ports=CORE_PORTS, watched=image is None)


def test_nets_from_the_load_stream():
    library = build()
    for seed in range(12):
        check_net(random_net(seed, TINY), TINY, library)


def test_a_net_in_the_initial_words(monkeypatch):
    net = random_net(4, TINY)
    library = build(compile_net(net, TINY))
    monkeypatch.setattr(Image, "load_words", lambda image: (np.zeros(0, np.uint8), np.zeros(0, np.uint16)))
    check_net(net, TINY, library)
