"""The integer net evaluated: what the hardware computes, in numpy alone.

No float appears anywhere but inside BLAS, where every sum is exact. Activations are uint8 (N, H, W, C) inside, so that
a convolution is one product.
"""
import numpy as np

from .net import PICTURE, MaxPool, Skip, channel_ranges, tensor_bounds

__all__ = ["EXACT_FLOAT32", "accumulators", "forward", "trace"]

EXACT_FLOAT32 = 1 << 24          # float32 holds every integer up to here, so sums below are exact
BATCH = 100                      # pictures at a time: some 100 MB of unfolded activations


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
    width = acc.shape[2]                            # all pixels of a row at once: numpy is slow where the last axis,
    rows = acc.reshape(-1, width * acc.shape[3])    # over the channels alone, is short
    code = np.zeros(rows.shape, np.uint8)
    for step in steps.T.astype(acc.dtype):
        code += rows >= np.tile(step, width)
    return code.reshape(acc.shape)


def _max_pool(x):
    n, height, width, channels = x.shape
    x = x[:, :height // 2 * 2, :width // 2 * 2]
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))


def _run(net, pictures):
    """(logits int32 (N, classes), tensors by name uint8 (N, H, W, C)) of one batch."""
    bounds = tensor_bounds(net)
    tensors = {PICTURE: pictures.transpose(0, 2, 3, 1)}
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


def _batches(pictures):
    return (pictures[start:start + BATCH] for start in range(0, len(pictures), BATCH))


def forward(net, pictures):
    """Logits int32 (N, classes) of uint8 pictures (N, C, H, W)."""
    return np.concatenate([_run(net, batch)[0] for batch in _batches(pictures)])


def trace(net, pictures):
    """Codes uint8 (N, C, H, W) of every thresholded and max-pool layer, by name."""
    parts = [_run(net, batch)[1] for batch in _batches(pictures)]
    return {name: np.concatenate([part[name] for part in parts]).transpose(0, 3, 1, 2).copy()
            for name in parts[0] if name != PICTURE}


def accumulators(net, pictures, name):
    """Accumulators int64 (N, OC, H, W) of the layer of that name, bias included: what its thresholds cut into codes."""
    layer = next(layer for layer in net.layers if layer.name == name)
    bounds = tensor_bounds(net)
    parts = [_accumulate(layer, _run(net, batch)[1], bounds).astype(np.int64) for batch in _batches(pictures)]
    return (np.concatenate(parts) + layer.bias).transpose(0, 3, 1, 2).copy()
