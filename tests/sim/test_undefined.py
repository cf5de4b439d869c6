"""A core that uses what hardware leaves undefined stops, with the cycle, the signal and where it came from."""
import numpy as np
import pytest

from accel.compiler.compile import compile_net
from accel.config import TINY
from model.integer.golden import forward
from sim.compiled import CompiledEngine, UndefinedValue
from sim.engine import NO_GAPS
from sim.engines import timeout_cycles
from sim.lanes.build import CORE_PORTS, build, build_simulator
from tests.nets import random_net, random_pictures

from .fake_core import HEIGHT, N_LOGITS, WIDTH, FakeCore, FakeImage

pytestmark = pytest.mark.cxx
BIASES = np.array([5, -7, 2**31 - 10**6], np.int32)


def test_a_net_that_is_loaded_whole_is_defined():
    net = random_net(3, TINY)
    image, pictures = compile_net(net, TINY), random_pictures(net, 3, 0)
    engine = CompiledEngine(image, build(TINY, watched=True), timeout=timeout_cycles(image, NO_GAPS))
    np.testing.assert_array_equal([result.logits for result in engine.run(pictures)], forward(net, pictures))
    engine.close()


def run_short(words):
    """Logits of a picture where so many words of the biases are loaded, and those that it should have."""
    with open(FakeCore.elaborate.__code__.co_filename) as file:
        library = build_simulator(FakeCore, name="fake", sources=file.read(), ports=CORE_PORTS, watched=True)
    image, pictures = FakeImage(BIASES, loaded=words), np.full((1, 3, HEIGHT, WIDTH), 9, np.uint8)
    engine = CompiledEngine(image, library, timeout=1000)
    try:
        return [result.logits for result in engine.run(pictures)], image.logits(pictures)
    finally:
        engine.close()


def test_a_word_that_is_not_loaded_is_told_where_it_is_used():
    np.testing.assert_array_equal(*run_short(2 * N_LOGITS))
    with pytest.raises(UndefinedValue, match=r"^cycle \d+: the output logits__payload is undefined, since it depends "
                                             r"on a word of biases.* that nobody has written$"):
        run_short(2 * N_LOGITS - 2)
