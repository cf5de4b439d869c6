"""The specs: sizes, widths, names."""
import pytest

from model.common.errors import UserError
from model.nets.specs import ARCHS, ConvSpec, LayerSpec, arch


def test_resnet8_is_the_mlperf_tiny_net():
    assert arch("resnet8").sizes()["s3b1b"] == 8


@pytest.mark.parametrize("name", ARCHS)
def test_every_source_is_an_earlier_tensor_of_the_right_width(name):
    widths = {"image": 3}
    for layer in arch(name).layers:
        if isinstance(layer, LayerSpec):
            for term in layer.terms:
                width = term.in_channels if isinstance(term, ConvSpec) else term.channels
                assert widths[term.source] == width
            widths[layer.name] = layer.channels
        else:
            widths[layer.name] = widths[layer.source]


def test_unknown_architecture_is_named():
    with pytest.raises(UserError, match="'lenet'.*resnet8"):
        arch("lenet")
