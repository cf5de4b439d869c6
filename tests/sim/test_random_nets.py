"""The compiler's and the RTL's fuzz test: random nets through compile and the compiled simulator.

Every logit and every code of every layer equals the integer model's, every cycle count the cycle model's.
"""
from dataclasses import replace

import numpy as np
import pytest

from accel.compiler.compile import compile_net
from accel.config import TINY, TINY_1PX
from accel.cycles import cycles
from model.integer.golden import forward, trace
from sim.compare import first_mismatch
from sim.cxxrtl import build
from sim.engine import Gaps
from sim.engines import open_engine
from tests.nets import corner_pictures, random_net, random_pictures

CONFIGS = [TINY, TINY_1PX, replace(TINY, name="tiny-3bit", w_bits=3, a_bits=3),
           replace(TINY, name="tiny-2bit-4px", w_bits=2, a_bits=2, pixels_per_cycle=4, picture_width=20),
           replace(TINY, name="tiny-parts", rows=8),
           replace(TINY, name="tiny-three-taps", rows=12, chains=3)]        # the picture's taps side by side
SEEDS = range(30)


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda config: config.name)
def built(request):
    return request.param, build(request.param)


@pytest.mark.cxx
def test_random_nets(built):
    config, library = built
    for seed in SEEDS:
        net = random_net(1000 + seed, config)
        image = compile_net(net, config)
        pictures = np.concatenate([random_pictures(net, 2, seed), corner_pictures(net)])
        gaps = Gaps(pixels=0.4, logits=0.7, seed=seed) if seed % 3 == 0 else Gaps()
        engine = open_engine("cxxrtl", image, library=library, trace=True, gaps=gaps)
        expected = forward(net, pictures)
        codes = trace(net, pictures)
        for k, result in enumerate(engine.run(pictures)):
            np.testing.assert_array_equal(result.logits, expected[k], err_msg=f"{net.name}, picture {k}")
            assert result.cycles == cycles(image)
            mismatch = first_mismatch({name: tensor[k] for name, tensor in codes.items()},
                                      image.tensors(*result.writes))
            assert mismatch is None, f"{net.name}, picture {k}: {mismatch}"
        engine.close()
