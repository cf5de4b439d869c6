"""The compiler's and the RTL's fuzz test: random nets through compile and the compiled simulator.

Every logit and every code of every layer equals the integer model's, every cycle count the cycle model's. By default
the smallest configuration runs a few, in the slow tier all of them do; many more: tests/test_nightly.py.
"""
import pytest

from accel.config import TINY
from sim.lanes.build import build
from tests.nets import SIZES, sized_net
from tests.rtl_check import FUZZED, LARGE, PLAYED, check_net, check_random_batch, check_random_net, check_residual_net

pytestmark = pytest.mark.cxx
SEEDS = range(1000, 1030)
CONFIGS = [pytest.param(TINY, SEEDS[:12], id=f"few-{TINY.name}"),
           pytest.param(PLAYED, SEEDS[:6], id=f"few-{PLAYED.name}"),
           *(pytest.param(config, SEEDS, id=config.name, marks=pytest.mark.slow) for config in (*FUZZED, PLAYED))]


@pytest.mark.parametrize("config, seeds", CONFIGS)
def test_random_nets(config, seeds):
    library = build(config, watched=True)
    for seed in seeds:
        check_random_net(seed, config, library)


@pytest.mark.parametrize("config, seeds", CONFIGS)
def test_random_nets_in_batches(config, seeds):
    library = build(config, watched=True)
    for seed in seeds:
        check_random_batch(seed, config, library)


@pytest.mark.parametrize("config, seeds", CONFIGS)
def test_residuals_in_place(config, seeds):
    library = build(config, watched=True)
    for seed in seeds:
        check_residual_net(seed, config, library)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_sizes(name):
    check_net(sized_net(name), LARGE, build(LARGE, watched=True), count=1)
