"""A client of a device behind the engine interface: its answers in order, its cycles and its waiting added up."""
import time
from types import SimpleNamespace

import numpy as np
import pytest

from sim.device import DeviceEngine

WAIT = 0.02


class Client:
    """Answers picture k with k, after a wait; breaks at picture `broken`."""
    def __init__(self, broken=None, batch=1):
        self.broken, self.batch = broken, batch

    def classify(self, pictures):
        for k, picture in enumerate(pictures):
            if k == self.broken:
                raise ConnectionError("gone")
            time.sleep(WAIT)
            last = k - k % self.batch + self.batch - 1
            yield SimpleNamespace(logits=np.array([int(picture.sum()), k], np.int32), label=k, cycles=100 + k,
                                  program_cycles=100 + last, seconds=0.5 + k)


def test_answers_are_results():
    engine = DeviceEngine(Client())
    pictures = np.arange(3 * 12, dtype=np.uint8).reshape(3, 3, 2, 2)
    for k, result in enumerate(engine.run(pictures)):
        assert result.logits.tolist() == [int(pictures[k].sum()), k] and result.logits.dtype == np.int32
        assert (result.label, result.cycles, result.round_trip, result.writes) == (k, 100 + k, 0.5 + k, None)
        assert (result.program_cycles, result.number) == (100 + k, 0)
        assert engine.simulated_cycles == sum(range(100, 101 + k))
        waited = engine.seconds
        time.sleep(5 * WAIT)                                # the caller's own time is none of the engine's
        assert engine.seconds == waited
    assert engine.seconds >= 3 * WAIT
    assert list(engine.run(pictures[:0])) == []
    engine.close()


def test_pictures_of_a_batch():
    """Seven in batches of three: the cycles of each batch count once, those of the last one too."""
    engine = DeviceEngine(Client(batch=3))
    results = list(engine.run(np.zeros((7, 3, 2, 2), np.uint8)))
    assert [result.cycles for result in results] == [*range(100, 107)]
    assert [result.number for result in results] == [0, 1, 2, 0, 1, 2, 0]
    assert [result.program_cycles for result in results] == [102] * 3 + [105] * 3 + [108]
    assert engine.simulated_cycles == 102 + 105 + 108


def test_what_the_client_raises_goes_on():
    results = DeviceEngine(Client(broken=1)).run(np.zeros((2, 3, 2, 2), np.uint8))
    assert next(results).label == 0
    with pytest.raises(ConnectionError, match="gone"):
        next(results)
