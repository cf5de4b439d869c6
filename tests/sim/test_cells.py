# amaranth: UnusedElaboratable=no
"""A whole core with models of an ECP5's cells in place of the blocks' own twins, compiled: exact, so the pins are
right, and no word that is read in the cycle that writes it (the models give it inverted) is ever used."""
from pathlib import Path

import numpy as np
import pytest

from accel.compiler.compile import compile_net
from accel.config import TINY
from accel.cycles import cycles
from accel.image import Image
from accel.rtl.core import Core
from model.integer.golden import forward, trace
from sim.compare import first_mismatch
from sim.engines import open_engine
from sim.library import build_library, rtl_sources
from tests.accel import ecp5_cells
from tests.nets import corner_pictures, random_net, random_pictures

pytestmark = pytest.mark.cxx


def build(image=None):
    """A core of cells, with `image` in its initial words."""
    sources = [rtl_sources(), Path(ecp5_cells.__file__).read_text(), image.net_digest if image else ""]
    with pytest.MonkeyPatch.context() as patch:
        ecp5_cells.use_cells(patch)
        return build_library(lambda: Core(TINY, image=image), name="tiny-cells", sources="\0".join(sources))


def check(net, library):
    image = compile_net(net, TINY)
    pictures = np.concatenate([random_pictures(net, 2), corner_pictures(net)])
    engine = open_engine("cxxrtl", image, library=library, trace=True)
    expected, codes = forward(net, pictures), trace(net, pictures)
    for k, result in enumerate(engine.run(pictures)):
        np.testing.assert_array_equal(result.logits, expected[k])
        assert result.cycles == cycles(image)
        mismatch = first_mismatch({name: tensor[k] for name, tensor in codes.items()}, image.tensors(*result.writes))
        assert mismatch is None, mismatch
    engine.close()


def test_nets_from_the_load_stream():
    library = build()
    for seed in range(12):
        check(random_net(seed, TINY), library)


def test_a_net_in_the_initial_words(monkeypatch):
    net = random_net(4, TINY)
    library = build(compile_net(net, TINY))
    monkeypatch.setattr(Image, "load_words", lambda image: (np.zeros(0, np.uint8), np.zeros(0, np.uint32),
                                                             np.zeros(0, np.uint64)))
    check(net, library)
