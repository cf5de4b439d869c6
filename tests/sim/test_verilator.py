"""Verilator runs the Verilog of the core as the other engines run its RTL; where there is none, that is said."""
from dataclasses import replace

import numpy as np
import pytest

from accel.compiler.compile import compile_net
from accel.config import TINY, TINY_1PX
from accel.cycles import cycles
from model.common.errors import UserError
from model.integer import golden
from sim.compare import first_mismatch
from sim.engine import NO_GAPS, Gaps
from sim.verilator import build, find_verilator, open_verilator
from tests.nets import corner_pictures, random_net, random_pictures

needs_verilator = pytest.mark.skipif(find_verilator() is None, reason="needs Verilator")
# What the core writes is narrower than a word, as wide as one, and wider than the widest integer.
CONFIGS = [TINY_1PX, pytest.param(TINY, marks=pytest.mark.slow),
           pytest.param(replace(TINY, name="tiny-wide", rows=16, chains=8), marks=pytest.mark.slow)]


@needs_verilator
@pytest.mark.cxx
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_logits_codes_and_cycles(config):
    for seed, gaps in enumerate([NO_GAPS, Gaps(pixels=0.4, logits=0.7)]):
        net = random_net(seed, config)
        image = compile_net(net, config)
        pictures = np.concatenate([random_pictures(net, 3, seed), corner_pictures(net)])
        logits, codes = golden.forward(net, pictures), golden.trace(net, pictures)
        engine = open_verilator(image, trace=True, gaps=gaps, timeout=100_000)
        for k, result in enumerate(engine.run(pictures)):
            np.testing.assert_array_equal(result.logits, logits[k])
            assert result.cycles == cycles(image)
            expected = {name: tensor[k] for name, tensor in codes.items()}
            assert first_mismatch(expected, image.tensors(*result.writes)) is None
        assert k == len(pictures) - 1
        engine.close()


def test_where_there_is_none_that_is_said(monkeypatch):
    monkeypatch.delenv("VERILATOR", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "/bin/true")
    assert find_verilator() is None
    with pytest.raises(UserError, match="no Verilator: install it, or set VERILATOR to its path"):
        build(TINY)


@pytest.mark.parametrize("chosen", ["/no/such/tool", "/bin/false"])
def test_a_chosen_one_that_does_not_run_is_an_error(monkeypatch, chosen):
    monkeypatch.setenv("VERILATOR", chosen)
    with pytest.raises(UserError, match=rf"\$VERILATOR is '{chosen}', which is not a Verilator that runs"):
        find_verilator()
