"""A core that uses what hardware leaves undefined stops, with the cycle, the signal and where it came from."""
import numpy as np
import pytest

from accel.compiler.compile import compile_net
from accel.config import TINY
from accel.image import Image
from accel.isa import Target
from model.integer.golden import forward
from sim.compiled import CompiledEngine, UndefinedValue
from sim.engine import NO_GAPS
from sim.engines import timeout_cycles
from sim.lanes.build import build
from tests.nets import random_net, random_pictures

pytestmark = pytest.mark.cxx
NET = random_net(3, TINY)


def run(monkeypatch, target=None, word=None):
    """Logits of a few pictures; that word of a target is not loaded."""
    image, load_words = compile_net(NET, TINY), Image.load_words

    def all_but_one(image):
        targets, addresses, words = load_words(image)
        kept = (targets != target) | (addresses != word) if target is not None else slice(None)
        return targets[kept], addresses[kept], words[kept]
    monkeypatch.setattr(Image, "load_words", all_but_one)
    pictures = random_pictures(NET, 3, 0)
    engine = CompiledEngine(image, build(TINY, watched=True), timeout=timeout_cycles(image, NO_GAPS))
    try:
        return [result.logits for result in engine.run(pictures)], forward(NET, pictures)
    finally:
        engine.close()


def test_a_net_that_is_loaded_whole_is_defined(monkeypatch):
    np.testing.assert_array_equal(*run(monkeypatch))


@pytest.mark.parametrize("target, memory", [(Target.PROGRAM, "program"), (Target.WEIGHTS, "weights"),
                                            (Target.THRESHOLDS, "thresholds")], ids=lambda value: str(value))
def test_a_word_that_is_not_loaded_is_told_where_it_is_used(monkeypatch, target, memory):
    with pytest.raises(UndefinedValue, match=rf"^cycle \d+: the .* is undefined, since it depends on a word of "
                                             rf"memories\.{memory}\.storage.* that nobody has written$"):
        run(monkeypatch, target.value, 2)
