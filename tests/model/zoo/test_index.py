"""The shipped nets, by name."""
import pytest

from model import zoo


@pytest.mark.parametrize("name", zoo.names())
def test_zoo(name):
    net = zoo.load(name)
    assert net.name == name
    assert net.header["accuracy"] > {"cifar100": 0.6}.get(net.header["dataset"], 0.75)


def test_zoo_has_the_nets_that_commands_default_to():
    assert zoo.names()[0] == zoo.DEFAULT and zoo.SYNTHETIC in zoo.names()
