"""A small integer net that has every kind of term."""
import numpy as np

from model.integer.net import PICTURE, Convolution, IntegerNet, Layer, MaxPool, Skip


def convolution(rng, source, shape, w_bits=4, **fields):
    codes = rng.integers(0, 2 ** w_bits, shape, dtype=np.uint8)
    fields = {"alpha": 2, "beta": 1 - 2 ** w_bits, "padding": shape[2] // 2, **fields}
    return Convolution(source=source, codes=codes, w_bits=w_bits, **fields)


def layer(rng, name, terms, channels, a_bits=4, spread=200):
    thresholds = np.sort(rng.integers(-spread, spread, (channels, 2 ** a_bits - 1)), axis=1).astype(np.int32)
    bias = rng.integers(-9, 9, channels).astype(np.int32)
    return Layer(name=name, terms=tuple(terms), bias=bias, thresholds=thresholds, a_bits=a_bits)


def random_net(seed=0):
    rng = np.random.default_rng(seed)
    levels = np.sort(rng.integers(-31, 32, 16)).astype(np.int32)
    layers = (
        layer(rng, "a", [convolution(rng, PICTURE, (6, 3, 3, 3))], 6, spread=9000),
        layer(rng, "b", [convolution(rng, "a", (6, 6, 3, 3), levels=levels, drop=2),
                         Skip(source="a", gain=rng.integers(-30, 30, 6).astype(np.int32))], 6, a_bits=3),
        MaxPool(name="c", source="b"),
        layer(rng, "d", [convolution(rng, "c", (8, 6, 3, 3), w_bits=2, stride=2, drop=1),
                         convolution(rng, "c", (8, 6, 1, 1), stride=2, drop=2),
                         convolution(rng, "c", (8, 6, 1, 1), w_bits=3, alpha=1, beta=-3, stride=2, shift=2, drop=1)],
              8),
        Layer(name="e", terms=(convolution(rng, "d", (5, 8, 1, 1), w_bits=8, alpha=1, beta=-128, drop=2),),
              bias=rng.integers(-99, 99, 5).astype(np.int32)),
    )
    return IntegerNet(name="random", layers=layers, input_shape=(3, 12, 12), classes=tuple("vwxyz"),
                      header={"dataset": "none"})


def random_images(count, seed=1):
    images = np.random.default_rng(seed).integers(0, 256, (count, 3, 12, 12), dtype=np.uint8)
    images[0], images[-1] = 0, 255
    return images
