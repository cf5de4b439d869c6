"""Nets that are played from an SDRAM, with rings of every size: logits are the golden model's, cycles the cycle
model's, to the cycle, in every picture."""
from dataclasses import replace

import numpy as np
import pytest

from accel.compiler.compile import compile_net
from accel.config import TINY, TINY_SDRAM
from accel.cycles import cycles
from model.integer.golden import forward
from sim.engine import NO_GAPS, Gaps
from sim.engines import open_engine
from sim.lanes.build import build
from tests.nets import NetBuilder, random_net, random_pictures

# The smallest rings there may be; TINY_SDRAM's; some that are no power of two, and hold whole layers.
SMALLEST = replace(TINY, name="tiny-smallest", weight_depth=8, threshold_depth=64, program_depth=1,
                   sdram_hz=50_000_000)
LARGER = replace(TINY, name="tiny-larger", weight_depth=220, threshold_depth=256, program_depth=64,
                 sdram_hz=25_000_000)
CONFIGS = [pytest.param(SMALLEST, id=SMALLEST.name),
           *(pytest.param(config, id=config.name, marks=pytest.mark.slow) for config in (TINY_SDRAM, LARGER))]


def with_classes(seed, classes, config):
    """A net whose logits leave with several `Emit`s where there are more than `2 * chains` of them."""
    build_net = NetBuilder(np.random.default_rng(seed), (3, 6, 7), f"classes{classes}")
    first = build_net.layer(build_net.conv("image", 6))
    build_net.logits(build_net.layer(build_net.conv(first, 8, stride=2)), classes)
    return build_net.net()


NETS = [*(lambda config, seed=seed: random_net(seed, config) for seed in range(9)),
        *(lambda config, classes=classes: with_classes(classes, classes, config) for classes in (2, 4, 5, 30))]


def play(image, net, library, *, count=3, gaps=NO_GAPS, kind="lanes"):
    """Cycles of `count` pictures, whose logits are right."""
    pictures = random_pictures(net, count, 5)
    engine = open_engine(kind, image, library=library, gaps=gaps)
    # One after the other, so that the pictures are in the same core.
    results = [result for k in range(count) for result in engine.run(pictures[k:k + 1])]
    engine.close()
    np.testing.assert_array_equal([result.logits for result in results], forward(net, pictures))
    return [result.cycles for result in results]


@pytest.mark.cxx
@pytest.mark.parametrize("config", CONFIGS)
def test_cycles_are_the_models_in_every_picture(config):
    library, played = build(config, watched=True), 0
    for number, make in enumerate(NETS):
        net = make(config)
        image = compile_net(net, config)
        gaps = Gaps(pixels=0.5, seed=number) if number % 2 else NO_GAPS
        assert play(image, net, library, gaps=gaps) == 3 * [cycles(image)], net.name
        played += not image.resident
    assert played >= len(NETS) - 2


@pytest.mark.cxx
@pytest.mark.parametrize("config", CONFIGS)
def test_logits_that_wait_can_only_make_it_faster(config):
    """The counter stands still while a logit waits, but the tape goes on to the rings."""
    library = build(config, watched=True)
    for number, make in enumerate(NETS[6:]):
        net = make(config)
        image = compile_net(net, config)
        for figure in play(image, net, library, gaps=Gaps(pixels=0.3, logits=0.9, seed=number)):
            assert figure <= cycles(image)


@pytest.mark.parametrize("number", [8, 11])
def test_in_pysim(number):
    config = replace(TINY_SDRAM, sdram_hz=25_000_000)
    net = NETS[number](config)
    image = compile_net(net, config)
    assert not image.resident
    assert play(image, net, None, count=2, kind="pysim") == 2 * [cycles(image)]
