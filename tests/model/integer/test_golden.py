"""The golden model against loops over its definition, and its ranges against what can happen."""
import numpy as np
import pytest

from model.integer import golden
from model.integer.net import (
    PICTURE,
    Convolution,
    IntegerNet,
    Layer,
    MaxPool,
    Skip,
    accumulator_range,
    channel_ranges,
    tensor_bounds,
)
from tests.nets import corner_pictures, every_term_net, random_pictures


def accumulate_by_definition(layer, tensors):
    """int64 (OC, H, W) of one image, one multiplication after the other."""
    total = layer.bias.astype(np.int64)[:, None, None]
    for term in layer.terms:
        x = tensors[term.source].astype(np.int64)
        if isinstance(term, Skip):
            total = total + term.gain[:, None, None] * x
            continue
        weights, kernel, pad = term.weights(), term.codes.shape[2], term.padding
        x = x - x % 2 ** term.drop
        height, width = ((side + 2 * pad - kernel) // term.stride + 1 for side in x.shape[1:])
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        out = np.zeros((len(weights), height, width), np.int64)
        for oc, row, column in np.ndindex(out.shape):
            top, left = row * term.stride, column * term.stride
            out[oc, row, column] = (weights[oc] * padded[:, top:top + kernel, left:left + kernel]).sum()
        total = total + out
    return total


def run_by_definition(net, image):
    tensors = {PICTURE: image}
    for layer in net.layers:
        if isinstance(layer, MaxPool):
            x = tensors[layer.source]
            tensors[layer.name] = np.max([x[:, dy::2, dx::2] for dy in (0, 1) for dx in (0, 1)], axis=0)
            continue
        acc = accumulate_by_definition(layer, tensors)
        if layer.thresholds is None:
            return (acc - layer.bias[:, None, None]).sum((1, 2)) + layer.bias, tensors
        tensors[layer.name] = (acc[..., None] >= layer.thresholds[:, None, None]).sum(-1)


@pytest.mark.parametrize("seed", [0, 1])
def test_forward_and_trace_are_the_definition(seed):
    net = every_term_net(seed)
    images = np.concatenate([random_pictures(net, 2), corner_pictures(net)])
    logits, codes = golden.forward(net, images), golden.trace(net, images)
    assert logits.dtype == np.int32 and list(codes) == ["a", "b", "c", "d"]
    for index, image in enumerate(images):
        expected, tensors = run_by_definition(net, image)
        np.testing.assert_array_equal(logits[index], expected)
        for name, code in codes.items():
            assert code.dtype == np.uint8
            np.testing.assert_array_equal(code[index], tensors[name])


def test_accumulators_are_what_the_thresholds_are_compared_with():
    net = every_term_net()
    images = random_pictures(net, 3)
    codes = golden.trace(net, images)
    for layer in net.layers[:2]:
        acc = golden.accumulators(net, images, layer.name)
        assert acc.dtype == np.int64
        for index, image in enumerate(images):
            tensors = run_by_definition(net, image)[1]
            np.testing.assert_array_equal(acc[index], accumulate_by_definition(layer, tensors))
        np.testing.assert_array_equal((acc[..., None] >= layer.thresholds[:, None, None]).sum(-1), codes[layer.name])


def test_batches_do_not_matter():
    net = every_term_net()
    images = random_pictures(net, golden.BATCH + 7)
    np.testing.assert_array_equal(golden.forward(net, images[-3:]), golden.forward(net, images)[-3:])
    np.testing.assert_array_equal(golden.trace(net, images[-3:])["d"], golden.trace(net, images)["d"][-3:])


def one_channel(weight_shift, thresholds):
    term = Convolution(source=PICTURE, codes=np.full((1, 3, 1, 1), 15, np.uint8), w_bits=4, alpha=2, beta=-15,
                       shift=weight_shift)
    head = Convolution(source="a", codes=np.ones((1, 1, 1, 1), np.uint8), w_bits=1)
    zero = np.zeros(1, np.int32)
    layers = (Layer(name="a", terms=(term,), bias=zero, thresholds=np.array([thresholds], np.int32), a_bits=2),
              Layer(name="b", terms=(head,), bias=zero))
    return IntegerNet(name="one", layers=layers, input_shape=(3, 2, 2), classes=("x",))


def test_sums_that_float32_cannot_hold_are_exact():
    largest = (3 * 255 * 15) << 15
    assert largest > golden.EXACT_FLOAT32
    net = one_channel(15, [largest - 1, largest, largest + 1])
    codes = golden.trace(net, np.full((1, 3, 2, 2), 255, np.uint8))["a"]
    np.testing.assert_array_equal(codes, 2)


def test_a_bias_does_not_hide_sums_that_float32_cannot_hold():
    """The range with bias ends below 2**24; the sums before it is added reach 28 million below zero."""
    rng = np.random.default_rng(0)
    bias = np.array([2 ** 24 - 4000], np.int32)
    coarse = Convolution(source=PICTURE, codes=rng.integers(0, 30, (1, 3, 3, 3)).astype(np.uint8), w_bits=8, alpha=1,
                         beta=-255, shift=4, padding=1)
    fine = Convolution(source=PICTURE, codes=np.ones((1, 3, 1, 1), np.uint8), w_bits=1)
    head = Convolution(source="a", codes=np.ones((1, 1, 1, 1), np.uint8), w_bits=1)
    layers = (Layer(name="a", terms=(coarse, fine), bias=bias, thresholds=np.zeros((1, 1), np.int32), a_bits=1),
              Layer(name="b", terms=(head,), bias=np.zeros(1, np.int32)))
    net = IntegerNet(name="biased", layers=layers, input_shape=(3, 6, 6), classes=("x",))
    images = rng.integers(0, 256, (4, 3, 6, 6), dtype=np.uint8)
    low, high = channel_ranges(layers[0], {PICTURE: 255})
    assert -(2 ** 24) < low[0] and high[0] < 2 ** 24 and low[0] - bias[0] < -(2 ** 24)
    acc = golden.accumulators(net, images, "a")
    for image, one in zip(images, acc, strict=True):
        np.testing.assert_array_equal(one, accumulate_by_definition(layers[0], {PICTURE: image}))


def test_equal_and_extreme_thresholds():
    lowest, highest = np.iinfo(np.int32).min, np.iinfo(np.int32).max
    net = one_channel(0, [lowest, 0, highest])
    np.testing.assert_array_equal(golden.trace(net, np.zeros((1, 3, 2, 2), np.uint8))["a"], 2)
    net = one_channel(0, [15, 15, 15])
    image = np.zeros((1, 3, 2, 2), np.uint8)
    image[0, 0, 0, 0] = 1
    np.testing.assert_array_equal(golden.trace(net, image)["a"][0, 0], [[3, 0], [0, 0]])


def test_ranges_hold_and_are_reached():
    net = every_term_net()
    bounds = tensor_bounds(net)
    assert bounds == {"image": 255, "a": 15, "b": 7, "c": 7, "d": 15}
    for layer in net.layers:
        if isinstance(layer, MaxPool):
            continue
        low, high = channel_ranges(layer, bounds)
        assert accumulator_range(layer, bounds) == (low.min(), high.max())
        for sign, expected in ((1, high), (-1, low)):
            reached = layer.bias.astype(np.int64)
            for term in layer.terms:
                weights = term.gain if isinstance(term, Skip) else term.weights()
                largest = bounds[term.source] - bounds[term.source] % 2 ** getattr(term, "drop", 0)
                best = np.where(sign * weights > 0, largest, 0) * weights
                reached = reached + best.reshape(len(reached), -1).sum(1)
            np.testing.assert_array_equal(reached, expected)
