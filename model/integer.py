"""The integer net: what the hardware computes, in numpy alone.

An `IntegerNet` is a list of layers in execution order. Every tensor is named after the layer that
makes it; `IMAGE` is the picture itself. A layer adds integer terms into one accumulator per output
channel and pixel,

    acc[c] = bias[c] + sum over terms of term[c]

and turns it into codes, `code = #{k : acc >= thresholds[c][k]}`, or, in the last layer, into
logits. The code itself is the integer activation the next layer multiplies (arXiv 1811.10869,
section 3). No float appears anywhere but inside BLAS, where every sum is exact.
"""
from dataclasses import dataclass, field

import numpy as np

from .nets import IMAGE

__all__ = ["IMAGE", "PIXEL_MAX", "Convolution", "Skip", "Layer", "MaxPool", "IntegerNet", "forward", "trace",
           "accumulators", "accumulator_range", "channel_ranges", "macs", "tensor_bounds"]

PIXEL_MAX = 255
EXACT_FLOAT32 = 1 << 24          # float32 holds every integer up to here, so sums below are exact
BATCH = 100                      # images at a time: some 100 MB of unfolded activations


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Skip:
    """An identity residual: `gain[c] * activation[c]`. gain: int32 (OC,)."""
    source: str
    gain: np.ndarray


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
    bounds = {IMAGE: PIXEL_MAX}
    for layer in net.layers:
        if isinstance(layer, MaxPool):
            bounds[layer.name] = bounds[layer.source]
        elif layer.thresholds is not None:
            bounds[layer.name] = layer.thresholds.shape[1]
    return bounds


# Size

def macs(net):
    """Multiply-accumulates of each layer for one image, by name: of its convolutions, gains left out. The logits
    layer's are counted once and not once a pixel: its sum over pixels can come first."""
    shapes, counts = {IMAGE: net.input_shape[1:]}, {}
    for layer in net.layers:
        if isinstance(layer, MaxPool):
            shapes[layer.name], counts[layer.name] = tuple(side // 2 for side in shapes[layer.source]), 0
            continue
        for term in layer.terms:
            shape = shapes[term.source]
            if isinstance(term, Convolution):
                margin = 2 * term.padding - term.codes.shape[2]
                shape = tuple((side + margin) // term.stride + 1 for side in shape)
            shapes[layer.name] = shape
        height, width = (1, 1) if layer.thresholds is None else shapes[layer.name]
        weights = sum(term.codes.size for term in layer.terms if isinstance(term, Convolution))
        counts[layer.name] = weights * height * width
    return counts


# Evaluation; activations are uint8 (N, H, W, C) inside, so that a convolution is one product

def _exact_dtype(layer, bounds):
    """float32 where no partial sum, bias left out, can leave its exact integers, else float64."""
    low, high = channel_ranges(layer, bounds) - layer.bias
    limit = max(-int(low.min()), int(high.max()))
    assert limit < 1 << 53
    return np.float32 if limit < EXACT_FLOAT32 else np.float64


def _convolve(term, x, dtype):
    """The term as (N, H', W', OC) of dtype."""
    weights = term.weights()
    kernel, pad, stride = weights.shape[2], term.padding, term.stride
    x = np.pad(term.seen(x), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(1, 2))
    windows = windows[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)     # (N, H', W', K, K, IC)
    matrix = weights.transpose(2, 3, 1, 0).reshape(-1, len(weights)).astype(dtype)
    columns = windows.astype(dtype, order="C").reshape(-1, len(matrix))     # one product: of 4-D numpy makes many
    return (columns @ matrix).reshape(*windows.shape[:3], len(weights))


def _accumulate(layer, tensors, bounds):
    """Accumulators (N, H', W', OC) without bias: whole numbers in a float type."""
    dtype = _exact_dtype(layer, bounds)
    total = 0
    for term in layer.terms:
        x = tensors[term.source]
        if isinstance(term, Skip):
            total = total + x.astype(dtype) * term.gain.astype(dtype)
        else:
            total = total + _convolve(term, x, dtype)
    return total


def _to_codes(acc, layer):
    """code = #{k : acc + bias >= thresholds[c][k]}, uint8."""
    steps = layer.thresholds.astype(np.int64) - layer.bias[:, None]
    if acc.dtype == np.float32:                     # whose sums without bias are all within these
        steps = steps.clip(-EXACT_FLOAT32, EXACT_FLOAT32)
    code = np.zeros(acc.shape, np.uint8)
    for step in steps.T.astype(acc.dtype):
        code += acc >= step
    return code


def _max_pool(x):
    n, height, width, channels = x.shape
    x = x[:, :height // 2 * 2, :width // 2 * 2]
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))


def _run(net, images):
    """(logits int32 (N, classes), tensors by name uint8 (N, H, W, C)) of one batch."""
    bounds = tensor_bounds(net)
    tensors = {IMAGE: images.transpose(0, 2, 3, 1)}
    for layer in net.layers:
        if isinstance(layer, MaxPool):
            tensors[layer.name] = _max_pool(tensors[layer.source])
            continue
        acc = _accumulate(layer, tensors, bounds)
        if layer.thresholds is None:
            logits = acc.sum((1, 2), dtype=np.float64).astype(np.int64) + layer.bias
            return logits.astype(np.int32), tensors
        tensors[layer.name] = _to_codes(acc, layer)
    raise ValueError(f"{net.name} has no logits layer")


def _batches(images):
    return (images[start:start + BATCH] for start in range(0, len(images), BATCH))


def forward(net, images):
    """Logits int32 (N, classes) of uint8 images (N, C, H, W)."""
    return np.concatenate([_run(net, batch)[0] for batch in _batches(images)])


def trace(net, images):
    """Codes uint8 (N, C, H, W) of every thresholded and max-pool layer, by name."""
    parts = [_run(net, batch)[1] for batch in _batches(images)]
    return {name: np.concatenate([part[name] for part in parts]).transpose(0, 3, 1, 2).copy()
            for name in parts[0] if name != IMAGE}


def accumulators(net, images, name):
    """Accumulators int64 (N, OC, H, W) of the layer of that name, bias included: what its thresholds cut into codes."""
    layer = next(layer for layer in net.layers if layer.name == name)
    bounds = tensor_bounds(net)
    parts = [_accumulate(layer, _run(net, batch)[1], bounds).astype(np.int64) for batch in _batches(images)]
    return (np.concatenate(parts) + layer.bias).transpose(0, 3, 1, 2).copy()
