"""The procedural pictures: always the same, out of reach for a linear classifier, not for the shipped net."""
import numpy as np
import pytest

from model import zoo
from model.data import datasets, synthetic
from model.integer import golden


def test_sets_are_the_same_on_every_call_and_differ():
    images, labels = synthetic.make("test")
    again, _ = synthetic.make.__wrapped__("test")           # not the cached one of tests/conftest.py
    np.testing.assert_array_equal(images, again)
    assert images.shape == (2000, 3, 32, 32) and images.dtype == np.uint8
    counts = np.bincount(labels)
    assert len(counts) == len(synthetic.CLASSES) and counts.min() > 150
    train = synthetic.chunk(np.random.default_rng(synthetic.SEEDS["train"]), 1000)[0]
    assert (train != images[:1000]).any()


@pytest.mark.slow
def test_a_linear_classifier_stays_below_60_percent():
    train, test = (datasets.load("synthetic", split) for split in ("train", "test"))
    x, x_test = (s.pictures.reshape(len(s.pictures), -1).astype(np.float32) / 128 - 1 for s in (train, test))
    x, y = x[:4000], np.eye(10, dtype=np.float32)[train.labels[:4000]]
    weights = np.linalg.solve(x.T @ x + 100 * np.eye(x.shape[1], dtype=np.float32), x.T @ y)
    assert ((x @ weights).argmax(1) == train.labels[:4000]).mean() > 0.6        # it does learn its own pictures
    assert ((x_test @ weights).argmax(1) == test.labels).mean() < 0.6


def test_the_shipped_net_reaches_95_percent():
    test = datasets.load("synthetic", "test")
    logits = golden.forward(zoo.load(zoo.SYNTHETIC), test.pictures[:500])
    assert (logits.argmax(1) == test.labels[:500]).mean() >= 0.95
