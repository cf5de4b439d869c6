"""Torch net, torch reading of the integer net and numpy golden model: the same codes in every layer."""
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from model.data import synthetic  # noqa: E402
from model.integer import golden  # noqa: E402
from model.integer.net import PICTURE, MaxPool, Skip, channel_ranges, tensor_bounds  # noqa: E402
from model.nets.specs import LayerSpec, PoolSpec, arch  # noqa: E402
from model.training import torch_integer  # noqa: E402
from model.training.convert import quantize  # noqa: E402
from model.training.integerize import integerize  # noqa: E402
from model.training.network import CODE_UNIT, PIXEL_UNIT, Network, QuantConfig  # noqa: E402

pytestmark = pytest.mark.train
CLASSES = tuple("abcdefghij")
IMAGES = synthetic.chunk(np.random.default_rng(5), 24)[0]


def quantized(arch_name="resnet8", **config):
    """A random float net with the statistics of real pictures, then quantized; in float64."""
    torch.manual_seed(0)
    net = Network(arch(arch_name), len(CLASSES))
    with torch.no_grad():
        for layer in net.layers.values():
            if hasattr(layer, "norm"):
                layer.norm.momentum = 1.0
                layer.norm.weight.uniform_(0.5, 1.5)
                layer.norm.bias.uniform_(-0.5, 0.5)
            for term in getattr(layer, "terms", ()):
                if hasattr(term, "gain"):
                    term.gain.uniform_(-0.5, 1.5)
        net.train()(torch.as_tensor(IMAGES))
    return quantize(net, torch.as_tensor(IMAGES), QuantConfig(**config)).double().eval()


@torch.no_grad()
def torch_codes(net, images):
    """The training net's own codes, layer by layer."""
    tensors = {PICTURE: torch.as_tensor(images).double() * PIXEL_UNIT}
    for spec in net.arch.layers:
        if isinstance(spec, PoolSpec):
            tensors[spec.name] = torch.nn.functional.max_pool2d(tensors[spec.source], 2)
        elif isinstance(spec, LayerSpec):
            tensors[spec.name] = net.layers[spec.name](tensors)
    del tensors[PICTURE]
    return {name: (x / CODE_UNIT).numpy() for name, x in tensors.items()}, net.layers[spec.name](tensors).numpy()


CONFIGS = [
    ("resnet8", {"quantizer": "learned"}),
    ("resnet8", {"quantizer": "learned", "w_bits": 2, "a_bits": 3}),
    ("resnet8", {"quantizer": "plain"}),
    ("resnet8", {"quantizer": "companded", "a_bits": 8}),
    ("resnet8", {"quantizer": "uniform", "w_bits": 8, "first_bits": 8, "a_bits": 1}),
    ("resnet8", {"quantizer": "plain", "grid": "median"}),
    ("resnet8", {"quantizer": "uniform", "a_bits": 2}),
    ("resnet20", {"quantizer": "learned"}),
    ("resnet8", {"quantizer": "learned", "w_bits": 2, "a_bits": 2, "residual_bits": 4}),
    ("resnet20", {"quantizer": "uniform", "w_bits": 2, "a_bits": 1, "residual_bits": 3}),
    ("vgg", {"quantizer": "learned"}),
]


@pytest.mark.parametrize("name, config", CONFIGS)
def test_every_code_of_every_layer_agrees(name, config):
    net = quantized(name, **config)
    exported = integerize(net, "test", CLASSES)
    images = IMAGES[:3]
    first, second = golden.trace(exported, images), torch_integer.trace(exported, images)
    trained, logits = torch_codes(net, images)
    assert list(first) == list(second) == list(trained)
    for layer, codes in first.items():
        np.testing.assert_array_equal(codes, second[layer], err_msg=layer)
        np.testing.assert_array_equal(codes, trained[layer], err_msg=layer)
        assert len(np.unique(codes)) > 1, layer
    golden_logits = golden.forward(exported, images)
    np.testing.assert_array_equal(golden_logits, torch_integer.forward(exported, images))
    head = net.layers["head"]
    unit = (head.step() * head.log_gain.exp()).item() * CODE_UNIT / exported_pixels(exported, name)
    np.testing.assert_allclose(golden_logits * unit, logits, atol=unit)       # the bias is rounded


def exported_pixels(net, name):
    return arch(name).sizes()[net.layers[-1].terms[0].source] ** 2


def test_thresholds_lie_where_accumulators_can_be():
    exported = integerize(quantized(), "test", CLASSES)
    bounds = tensor_bounds(exported)
    for layer in exported.layers[:-1]:
        low, high = channel_ranges(layer, bounds)
        assert (layer.thresholds >= low[:, None]).all() and (layer.thresholds <= high[:, None] + 1).all()


def test_shortcuts_and_head_see_bits_of_residuals_that_other_convolutions_do_not():
    exported = integerize(quantized(a_bits=2, residual_bits=4), "test", CLASSES)
    bits = {layer.name: layer.a_bits for layer in exported.layers[:-1]}
    assert bits == {"stem": 4, "s1b1a": 2, "s1b1b": 4, "s2b1a": 2, "s2b1b": 4, "s3b1a": 2, "s3b1b": 4}
    drops = {(layer.name, term.source): term.drop for layer in exported.layers for term in layer.terms
             if not isinstance(term, Skip)}
    assert {reader for reader, drop in drops.items() if drop == 2} == {
        ("s1b1a", "stem"), ("s2b1a", "s1b1b"), ("s3b1a", "s2b1b")}
    assert set(drops.values()) == {0, 2} and drops["s2b1b", "s1b1b"] == drops["head", "s3b1b"] == 0


def test_gains_are_a_few_bits_and_a_shift():
    for layer in integerize(quantized(), "test", CLASSES).layers:
        for term in () if isinstance(layer, MaxPool) else layer.terms:
            if isinstance(term, Skip):
                gain = np.abs(term.gain)
                shift = min((gain & -gain)[gain > 0]).item().bit_length() - 1
                assert (gain >> shift).max() <= 15
