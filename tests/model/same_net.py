"""Whether two integer nets are one, but for the rounding of thresholds."""
import numpy as np

from model.integer.net import MaxPool, Skip


def assert_same(net, other):
    """All integers but thresholds, and of these all but a few, which are the next integer."""
    assert len(net.layers) == len(other.layers)
    for one, two in zip(net.layers, other.layers, strict=True):
        if isinstance(one, MaxPool):
            assert one == two
            continue
        np.testing.assert_array_equal(one.bias, two.bias)
        for term, restored in zip(one.terms, two.terms, strict=True):
            if isinstance(term, Skip):
                np.testing.assert_array_equal(term.gain, restored.gain)
            else:
                np.testing.assert_array_equal(term.weights(), restored.weights())
                assert (term.source, term.stride, term.drop) == (restored.source, restored.stride, restored.drop)
        if one.thresholds is not None:
            moved = np.abs(one.thresholds - two.thresholds)
            assert moved.max() <= 1 and moved.mean() < 0.06, one.name
