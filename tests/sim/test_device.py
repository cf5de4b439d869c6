"""A client of a device behind the engine interface: its answers in order, its cycles and its waiting added up."""
import time
from types import SimpleNamespace

import numpy as np
import pytest

from sim.device import DeviceEngine

WAIT = 0.02


class Client:
    """Answers picture k with k, after a wait; breaks at picture `broken`."""
    def __init__(self, broken=None):
        self.broken = broken

    def classify(self, pictures):
        for k, picture in enumerate(pictures):
            if k == self.broken:
                raise ConnectionError("gone")
            time.sleep(WAIT)
            yield SimpleNamespace(logits=np.array([int(picture.sum()), k], np.int32), label=k, cycles=100 + k,
                                  seconds=0.5 + k)


def test_answers_are_results():
    engine = DeviceEngine(Client())
    pictures = np.arange(3 * 12, dtype=np.uint8).reshape(3, 3, 2, 2)
    for k, result in enumerate(engine.run(pictures)):
        assert result.logits.tolist() == [int(pictures[k].sum()), k] and result.logits.dtype == np.int32
        assert (result.label, result.cycles, result.round_trip, result.writes) == (k, 100 + k, 0.5 + k, None)
        assert engine.simulated_cycles == sum(range(100, 101 + k))
        waited = engine.seconds
        time.sleep(5 * WAIT)                                # the caller's own time is none of the engine's
        assert engine.seconds == waited
    assert engine.seconds >= 3 * WAIT
    assert list(engine.run(pictures[:0])) == []
    engine.close()


def test_what_the_client_raises_goes_on():
    results = DeviceEngine(Client(broken=1)).run(np.zeros((2, 3, 2, 2), np.uint8))
    assert next(results).label == 0
    with pytest.raises(ConnectionError, match="gone"):
        next(results)
