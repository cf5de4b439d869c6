"""The integer net by its definition, one kernel tap at a time.

Slow, short, and independent of `model.integer` and `accel`.
"""
import numpy as np

from model.integer.net import PICTURE, Convolution, MaxPool


def levels_of(term):
    """Signed weights int64 (OC, IC, K, K) of a convolution, without its shift."""
    levels = term.levels
    if levels is None:
        levels = [term.alpha * u + term.beta for u in range(1 << term.w_bits)]
    return np.array([int(level) for level in levels], dtype=np.int64)[term.codes]


def convolve(term, source):
    """source int64 (C, H, W) -> (OC, H', W')."""
    weights, stride, pad = levels_of(term), term.stride, term.padding
    size = weights.shape[2]
    _, height, width = source.shape
    padded = np.pad(source, ((0, 0), (pad, pad), (pad, pad)))
    out_height = (height + 2 * pad - size) // stride + 1
    out_width = (width + 2 * pad - size) // stride + 1
    total = np.zeros((weights.shape[0], out_height, out_width), dtype=np.int64)
    for ky in range(size):
        for kx in range(size):
            pixels = padded[:, ky:ky + stride * (out_height - 1) + 1:stride,
                            kx:kx + stride * (out_width - 1) + 1:stride]
            total += np.tensordot(weights[:, :, ky, kx], pixels, axes=1)
    return total * 2 ** term.shift


def accumulate(layer, tensors):
    """Sum of a layer's terms, int64 (OC, H, W), without the bias."""
    total = 0
    for term in layer.terms:
        source = tensors[term.source].astype(np.int64)
        if isinstance(term, Convolution):
            source = source // 2 ** term.drop * 2 ** term.drop
            total = total + convolve(term, source)
        else:
            total = total + term.gain.astype(np.int64)[:, None, None] * source
    return total


def max_pool(source):
    height, width = source.shape[1] // 2 * 2, source.shape[2] // 2 * 2
    return np.max([source[:, dy:height:2, dx:width:2] for dy in (0, 1) for dx in (0, 1)], axis=0)


def to_codes(acc, thresholds):
    """Number of thresholds (C, T) that acc (C, H, W) reaches, uint8."""
    thresholds = thresholds.astype(np.int64)
    return (acc[:, None] >= thresholds[:, :, None, None]).sum(axis=1).astype(np.uint8)


def evaluate(net, pixels):
    """A picture uint8 (3, H, W) -> ({layer name: codes uint8 (C, H, W)}, logits int64 (n,))."""
    tensors = {PICTURE: pixels}
    for layer in net.layers:
        if isinstance(layer, MaxPool):
            tensors[layer.name] = max_pool(tensors[layer.source])
            continue
        acc, bias = accumulate(layer, tensors), layer.bias.astype(np.int64)
        if layer.thresholds is None:
            logits = acc.sum(axis=(1, 2)) + bias
        else:
            tensors[layer.name] = to_codes(acc + bias[:, None, None], layer.thresholds)
    del tensors[PICTURE]
    return tensors, logits
