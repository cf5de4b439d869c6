"""The first difference between what a net should compute and what an engine wrote."""
import numpy as np

from sim.compare import Mismatch, first_mismatch


def tensors():
    random = np.random.default_rng(1)
    return {name: random.integers(0, 16, shape, dtype=np.uint8)
            for name, shape in [("first", (4, 6, 6)), ("second", (8, 3, 3))]}


def test_equal_tensors_have_no_mismatch():
    assert first_mismatch(tensors(), tensors()) is None


def test_the_first_layer_that_differs_is_named_with_coordinates():
    expected, got = tensors(), tensors()
    got["second"][5, 2, 1] ^= 1
    got["second"][7, 0, 0] ^= 1
    found = first_mismatch(expected, got)
    value = int(expected["second"][5, 2, 1])
    assert found == Mismatch("second", 5, 2, 1, value, value ^ 1)
    assert str(found) == f"layer second, channel 5, y 2, x 1: expected {value}, got {value ^ 1}"
    got["first"][0, 0, 3] ^= 2
    assert first_mismatch(expected, got).layer == "first"


def test_a_missing_layer_or_another_shape_is_a_mismatch():
    expected, got = tensors(), tensors()
    got["first"] = got["first"][:, :5]
    assert str(first_mismatch(expected, got)) == "layer first: expected a tensor of (4, 6, 6), got (4, 5, 6)"
    del got["first"]
    assert str(first_mismatch(expected, got)) == "layer first: expected a tensor of (4, 6, 6), got nothing"
