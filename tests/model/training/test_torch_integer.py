"""The two golden models, numpy's and torch's, against each other: every code and every logit."""
import numpy as np
import pytest

pytest.importorskip("torch")

from accel.config import TINY  # noqa: E402
from model import zoo  # noqa: E402
from model.integer import golden  # noqa: E402
from model.training import torch_integer  # noqa: E402
from tests.nets import corner_pictures, every_term_net, random_net, random_pictures  # noqa: E402

pytestmark = pytest.mark.train


def check(net, count):
    pictures = np.concatenate([random_pictures(net, count), corner_pictures(net)])
    np.testing.assert_array_equal(golden.forward(net, pictures), torch_integer.forward(net, pictures))
    by_numpy, by_torch = golden.trace(net, pictures), torch_integer.trace(net, pictures)
    assert list(by_numpy) == list(by_torch)
    for name, codes in by_numpy.items():
        assert codes.dtype == by_torch[name].dtype == np.uint8
        np.testing.assert_array_equal(codes, by_torch[name], err_msg=name)


@pytest.mark.parametrize("seed", range(12))
def test_random_nets(seed):
    check(random_net(seed, TINY), 2)


@pytest.mark.parametrize("seed", range(4))
def test_every_term(seed):
    check(every_term_net(seed), 3)


@pytest.mark.parametrize("name", [name for name in zoo.names() if name.startswith("resnet8")])
def test_nets_of_the_zoo(name):
    check(zoo.load(name), 1)
