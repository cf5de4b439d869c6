"""Several simulator processes: what one of them refuses is said once, and in its own words."""
import numpy as np
import pytest

from accel.compiler.compile import compile_net
from accel.config import TINY
from model.common.errors import UserError
from sim import parallel
from tests.nets import random_net, random_pictures


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_engine_that_cannot_be_opened_is_one_line(jobs, capfd):
    net = random_net(0, TINY)
    batches = parallel.classify("cxxrtl", compile_net(net, TINY), random_pictures(net, 4), jobs=jobs,
                                library="/no/such/library.so")
    with pytest.raises(UserError, match="cannot load the simulator /no/such/library.so, remove it"):
        list(batches)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_order_with_the_cycles_and_seconds_they_took(jobs):
    net = random_net(0, TINY)
    image, pictures = compile_net(net, TINY), random_pictures(net, 7)
    batches = list(parallel.classify("interp", image, pictures, jobs=jobs))
    assert [batch.first for batch in batches] == np.cumsum([0, *(len(b.results) for b in batches[:-1])]).tolist()
    results = [result for batch in batches for result in batch.results]
    assert len(results) == 7 and all(batch.seconds > 0 for batch in batches)
    assert sum(batch.simulated_cycles for batch in batches) == sum(result.cycles for result in results)
