"""The integer net evaluated by torch: a second, independent reading of the same integers, on CPU or CUDA.

Every number is an integer held in float64, so each convolution is exact. Nothing but the net's fields is shared with
the numpy golden model: it checks that one and is checked by it, code by code.
"""
import torch
import torch.nn.functional as F

from model.integer.net import PICTURE, MaxPool, Skip

__all__ = ["forward", "trace"]

BATCH = 100


def tensor(values, device):
    return torch.as_tensor(values, device=device).double().contiguous()


def weights(term, device):
    """Integer weights float64 (OC, IC, K, K) of a convolution: the level of each code, its shift included."""
    if term.levels is None:
        levels = term.alpha * torch.arange(2 ** term.w_bits, device=device).double() + term.beta
    else:
        levels = tensor(term.levels, device)
    return levels[torch.as_tensor(term.codes, device=device).long()] * 2.0 ** term.shift


def accumulate(layer, tensors):
    """Accumulators float64 (N, OC, H, W), bias not included."""
    total = 0
    for term in layer.terms:
        x = tensors[term.source]
        if isinstance(term, Skip):
            total = total + x * tensor(term.gain, x.device).reshape(1, -1, 1, 1)
        else:
            x = x - x % 2 ** term.drop
            total = total + F.conv2d(x, weights(term, x.device), stride=term.stride, padding=term.padding)
    return total


def codes(acc, layer):
    """#{k : acc + bias >= thresholds[c][k]} by binary search in each channel."""
    acc = acc + tensor(layer.bias, acc.device).reshape(1, -1, 1, 1)
    by_channel = acc.transpose(0, 1)
    found = torch.searchsorted(tensor(layer.thresholds, acc.device), by_channel.flatten(1).contiguous(), right=True)
    return found.reshape(by_channel.shape).transpose(0, 1).double()


@torch.no_grad()
def run(net, pictures, device):
    """(logits int64 (N, classes), codes by name) of one batch."""
    tensors = {PICTURE: tensor(pictures, device)}
    for layer in net.layers[:-1]:
        if isinstance(layer, MaxPool):
            tensors[layer.name] = F.max_pool2d(tensors[layer.source], 2)
        else:
            tensors[layer.name] = codes(accumulate(layer, tensors), layer)
    head = net.layers[-1]
    return (accumulate(head, tensors).sum((2, 3)) + tensor(head.bias, device)).long(), tensors


def forward(net, pictures, device="cpu"):
    """Logits int32 (N, classes) as a numpy array."""
    parts = [run(net, pictures[at:at + BATCH], device)[0] for at in range(0, len(pictures), BATCH)]
    return torch.cat(parts).int().cpu().numpy()


def trace(net, pictures, device="cpu"):
    """Codes uint8 (N, C, H, W) of every thresholded and max-pool layer, by name, as numpy arrays."""
    tensors = run(net, pictures, device)[1]
    return {name: x.to(torch.uint8).cpu().numpy() for name, x in tensors.items() if name != PICTURE}
