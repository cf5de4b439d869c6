"""The integer net: layers, terms, and what follows from them alone: ranges, shapes, sizes.

An `IntegerNet` is a list of layers in execution order. Every tensor is named after the layer that
makes it; `PICTURE` is the picture itself. A layer adds integer terms into one accumulator per output
channel and pixel,

    acc[c] = bias[c] + sum over terms of term[c]

and turns it into codes, `code = #{k : acc >= thresholds[c][k]}`, or, in the last layer, into
logits. The code itself is the integer activation the next layer multiplies (arXiv 1811.10869,
section 3). `golden` evaluates it.
"""
from dataclasses import dataclass, field

import numpy as np

from model.nets.shapes import convolved, pooled
from model.nets.specs import PICTURE

__all__ = ["PICTURE", "PIXEL_MAX", "Convolution", "Skip", "Layer", "MaxPool", "IntegerNet", "accumulator_range",
           "channel_ranges", "macs", "tensor_bounds", "tensor_shapes"]

PIXEL_MAX = 255


@dataclass(frozen=True, kw_only=True, eq=False)
class Convolution:
    """A convolution term: `2**shift * sum(level(codes) * activation)`, zero padding (activation 0).

    codes: uint8 (OC, IC, K, K), K 1 or 3, values 0 .. 2**w_bits - 1.
    level(u) = alpha * u + beta, or levels[u] where a table of 2**w_bits signed integers is given.
    padding: zeros on each side, K // 2 or 0. drop: low bits of the activation that read as 0: of 4-bit codes that a
    residual needs, a convolution may see the upper 2.
    """
    source: str
    codes: np.ndarray
    w_bits: int
    alpha: int = 1
    beta: int = 0
    levels: np.ndarray | None = None
    stride: int = 1
    padding: int = 0
    shift: int = 0
    drop: int = 0

    def grid(self):
        """The level of every code, int64 (2**w_bits,), before the shift."""
        if self.levels is not None:
            return self.levels.astype(np.int64)
        return self.alpha * np.arange(2 ** self.w_bits) + self.beta

    def weights(self):
        """The integer weights, int64 (OC, IC, K, K), the term's shift included."""
        return self.grid()[self.codes] << self.shift

    def seen(self, activation):
        """Of activations, or a bound of them, what the term multiplies."""
        return activation >> self.drop << self.drop

    def output_shape(self, source):
        """(OC, H', W') from the shape (IC, H, W) of its source."""
        kernel = self.codes.shape[2]
        return len(self.codes), *(convolved(side, kernel, self.stride, self.padding) for side in source[1:])


@dataclass(frozen=True, kw_only=True, eq=False)
class Skip:
    """An identity residual: `gain[c] * activation[c]`. gain: int32 (OC,)."""
    source: str
    gain: np.ndarray

    def output_shape(self, source):
        """That of its source, (C, H, W)."""
        return source


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """Terms into one accumulator, then thresholds (codes out) or, without thresholds, logits.

    bias: int32 (OC,).
    thresholds: int32 (OC, 2**a_bits - 1), ascending along the last axis; None in the logits layer,
    whose accumulators are summed over all pixels (the average pool's integer sum, folded into the
    linear layer; `bias` is added once).
    """
    name: str
    terms: tuple
    bias: np.ndarray
    thresholds: np.ndarray | None = None
    a_bits: int = 0


@dataclass(frozen=True, kw_only=True)
class MaxPool:
    """2x2 max-pool, stride 2, on codes."""
    name: str
    source: str

    def output_shape(self, source):
        """(C, H // 2, W // 2) from the shape (C, H, W) of its source."""
        return source[0], *map(pooled, source[1:])


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerNet:
    """name, layers in execution order (the last one gives the logits), input shape (C, H, W) of
    uint8 pixels, class names, and a free-form JSON-able header (config, seed, accuracy, ...)."""
    name: str
    layers: tuple
    input_shape: tuple = (3, 32, 32)
    classes: tuple = ()
    header: dict = field(default_factory=dict)


# Ranges

def channel_ranges(layer, bounds):
    """Smallest and largest accumulator of each channel, int64 (2, OC), of any order of summation.

    bounds: largest activation of every tensor, by name. Activations may be 0 anywhere, so the
    range contains every partial sum that starts from the bias.
    """
    low = layer.bias.astype(np.int64)
    high = low.copy()
    for term in layer.terms:
        skip, largest = isinstance(term, Skip), bounds[term.source]
        weights, largest = (term.gain.astype(np.int64), largest) if skip else (term.weights(), term.seen(largest))
        products = (weights * largest).reshape(len(weights), -1)
        low += products.clip(max=0).sum(1)
        high += products.clip(min=0).sum(1)
    return np.stack([low, high])


def accumulator_range(layer, bounds):
    """(lo, hi): the smallest and the largest accumulator of any channel, see `channel_ranges`."""
    low, high = channel_ranges(layer, bounds)
    return int(low.min()), int(high.max())


def tensor_bounds(net):
    """Largest activation of every tensor of the net, by name."""
    bounds = {PICTURE: PIXEL_MAX}
    for layer in net.layers:
        if isinstance(layer, MaxPool):
            bounds[layer.name] = bounds[layer.source]
        elif layer.thresholds is not None:
            bounds[layer.name] = layer.thresholds.shape[1]
    return bounds


# Shapes and sizes

def tensor_shapes(net):
    """(C, H, W) of every tensor of the net, by name; of the logits layer's, what its sums are over. ValueError where
    the terms of a layer give different shapes."""
    shapes = {PICTURE: tuple(net.input_shape)}
    for layer in net.layers:
        parts = [layer] if isinstance(layer, MaxPool) else layer.terms
        found = {part.output_shape(shapes[part.source]) for part in parts}
        if len(found) != 1:
            raise ValueError(f"layer {layer.name}: its terms give outputs of shapes {sorted(found)}")
        shapes[layer.name] = found.pop()
    return shapes


def macs(net):
    """Multiply-accumulates of each layer for one picture, by name: of its convolutions, gains left out. The logits
    layer's are counted once and not once a pixel: its sum over pixels can come first."""
    shapes, counts = tensor_shapes(net), {}
    for layer in net.layers:
        terms = () if isinstance(layer, MaxPool) else layer.terms
        weights = sum(term.codes.size for term in terms if isinstance(term, Convolution))
        _, height, width = shapes[layer.name]
        logits = not isinstance(layer, MaxPool) and layer.thresholds is None
        counts[layer.name] = weights if logits else weights * height * width
    return counts
