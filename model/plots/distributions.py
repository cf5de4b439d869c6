"""The numbers behind the pictures: how weights and accumulators are spread, and where quantizers cut them.

Statistics are of what is really there: the master weights of a checkpoint, the integer accumulators of test pictures.
"""
from dataclasses import dataclass

import numpy as np
import torch

from model.common.errors import UserError
from model.common.nearest import did_you_mean
from model.integer.golden import accumulators
from model.integer.net import Convolution, MaxPool
from model.quantizers.maths import phi_inverse, relu_thresholds
from model.training.network import Conv

__all__ = ["Bins", "Channel", "Published", "master_weights", "integer_weights", "quantized_layers", "channel",
           "channel_of", "channel_of_each_layer", "published", "normal_shares", "paper_thresholds",
           "distance_to_normal"]

SEARCH_PICTURES = 16       # on which a channel is looked for
OPEN = 0.4, 0.9          # share of accumulators above the first threshold in a channel worth showing


@dataclass(frozen=True, kw_only=True, eq=False)
class Bins:
    """The weights of one convolution.

    layer, title: of its layer, of the convolution itself. levels: int64 (2**bits,), the integer each code stands for.
    shares: float64 (2**bits,), of all weights. values (any shape) and edges (2**bits - 1,): float64, the master weights
    as the quantizer sees them and its bin edges; None where a net has codes alone.
    """
    layer: str
    title: str
    levels: np.ndarray
    shares: np.ndarray
    values: np.ndarray | None = None
    edges: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Channel:
    """The accumulators of one output channel.

    values: int64 (M,). thresholds: int64 (2**bits - 1,), the net's. shares: float64 (2**bits,), of the codes.
    mu, sigma: of the values. rule: float64 (2**bits - 1,), see `paper_thresholds`. rule_shares: float64 (2**bits,), of
    N(mu, sigma) between those.
    """
    net: str
    layer: str
    channel: int
    values: np.ndarray
    thresholds: np.ndarray
    shares: np.ndarray
    mu: float
    sigma: float
    rule: np.ndarray
    rule_shares: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Published:
    """The paper's Figure 1 of N(mu, sigma): thresholds float64 (2**bits - 1,), the boundary inside the last code, which
    needs no comparator, and the shares between all of them, float64 (2**bits + 1,)."""
    mu: float
    sigma: float
    thresholds: np.ndarray
    boundary: float
    shares: np.ndarray


def shares(codes, count):
    """How large a part of `codes` is 0, 1, .. count - 1: float64 (count,)."""
    return np.bincount(np.ravel(codes), minlength=count) / np.size(codes)


# Weights

def title(layer, shape):
    out_channels, in_channels, kernel, _ = shape
    return f"{layer}, {kernel}x{kernel}, {in_channels} to {out_channels}"


def of_layer(bins, layer, name):
    """Those of the layer of that name, all of them for None."""
    found = [one for one in bins if layer in (None, one.layer)]
    if not found:
        raise UserError(f"{name}: no convolution in a layer {layer!r}; "
                        f"known: {', '.join(dict.fromkeys(one.layer for one in bins))}"
                        + did_you_mean(layer, {one.layer for one in bins}))
    return found


@torch.no_grad()
def master_weights(net, layer=None, name="net"):
    """Bins of every convolution of a quantized Network (not the head, which is 8 bits everywhere), or of one layer."""
    bins = []
    for key, module in net.layers.items():
        for term in getattr(module, "terms", ()):
            if isinstance(term, Conv):
                quantizer, weight = term.quantizer, term.weight
                codes = torch.arange(2 ** quantizer.bits)
                bins.append(Bins(
                    layer=key, title=title(key, weight.shape), levels=quantizer.to_value(codes).numpy(),
                    shares=shares(quantizer.to_code(weight).numpy(), len(codes)),
                    values=quantizer.normalized(weight).double().numpy(), edges=quantizer.bin_edges().numpy()))
    return of_layer(bins, layer, name)


def integer_weights(net, layer=None):
    """Bins of every convolution of an IntegerNet, or of one layer; the head is a 1x1 convolution."""
    bins = []
    for part in net.layers:
        for term in () if isinstance(part, MaxPool) else part.terms:
            if isinstance(term, Convolution):
                levels = term.grid()
                bins.append(Bins(layer=part.name, title=title(part.name, term.codes.shape), levels=levels,
                                 shares=shares(term.codes, len(levels))))
    return of_layer(bins, layer, net.name)


# Accumulators

def normal_shares(mu, sigma, thresholds):
    """Share of N(mu, sigma) in each bin between ascending thresholds (K,): float64 (K + 1,)."""
    scaled = (torch.as_tensor(thresholds, dtype=torch.float64) - mu) / sigma
    return np.diff(torch.special.ndtr(scaled).numpy(), prepend=0, append=1)


def paper_thresholds(mu, sigma, zero, bits):
    """The paper's thresholds for a channel of N(mu, sigma) that is cut at `zero`: float64 (2**bits - 1,).

    The accumulator that batch-norm and ReLU turn into 0 is `zero`, not 0: the rule is of the distance to it.
    """
    return zero + relu_thresholds(mu - zero, sigma, bits)[0].numpy()


def distance_to_normal(values):
    """Kolmogorov-Smirnov distance of the values (M,) to the normal distribution of their mean and deviation."""
    steps, counts = np.unique(values, return_counts=True)
    sigma = values.std()
    if sigma == 0:
        return 1.0
    below = np.cumsum(counts) / len(values)
    normal = torch.special.ndtr(torch.as_tensor((steps - values.mean()) / sigma)).numpy()
    return max(np.abs(below - normal).max(), np.abs(below - counts / len(values) - normal).max())


def channel(net, pictures, layer, index):
    """The Channel of that index in the Layer `layer`."""
    if not 0 <= index < len(layer.bias):
        raise UserError(f"--channel must be 0 .. {len(layer.bias) - 1} in layer {layer.name}, not {index}")
    values = accumulators(net, pictures, layer.name)[:, index].ravel()
    thresholds = layer.thresholds[index].astype(np.int64)
    mu, sigma = float(values.mean()), float(values.std())
    if sigma == 0:
        raise UserError(f"{net.name}: all accumulators of layer {layer.name}, channel {index}, are {values[0]}")
    codes = np.searchsorted(thresholds, values, side="right")
    rule = paper_thresholds(mu, sigma, thresholds[0], layer.a_bits)
    return Channel(net=net.name, layer=layer.name, channel=index, values=values, thresholds=thresholds,
                   shares=shares(codes, len(thresholds) + 1), mu=mu, sigma=sigma,
                   rule=rule, rule_shares=normal_shares(mu, sigma, rule))


def ranked(net, pictures, layer):
    """(distance to normal, index) of the channel to show: of those worth showing, else of all, the most normal."""
    acc = accumulators(net, pictures[:SEARCH_PICTURES], layer.name).transpose(1, 0, 2, 3).reshape(len(layer.bias), -1)
    above = (acc >= layer.thresholds[:, :1]).mean(1)
    return min((not OPEN[0] <= above[index] <= OPEN[1], distance_to_normal(values), index)
               for index, values in enumerate(acc))


def quantized_layers(net, name=None):
    """The layers that have thresholds, or the one of that name."""
    layers = [layer for layer in net.layers if getattr(layer, "thresholds", None) is not None]
    found = [layer for layer in layers if name in (None, layer.name)]
    if not found:
        raise UserError(f"{net.name}: no layer {name!r} with thresholds; "
                        f"known: {', '.join(layer.name for layer in layers)}"
                        + did_you_mean(name, [layer.name for layer in layers]))
    return found


def channel_of(net, pictures, layer=None, index=None):
    """The Channel of that layer and index; where one is None, the one whose accumulators are closest to normal."""
    layers = quantized_layers(net, layer)
    if index is None:
        best = min((ranked(net, pictures, one), at) for at, one in enumerate(layers))
        index, at = best[0][-1], best[1]
        layers = layers[at:]
    return channel(net, pictures, layers[0], index)


def channel_of_each_layer(net, pictures):
    """One Channel a layer, chosen as in `channel_of`."""
    return [channel(net, pictures, layer, ranked(net, pictures, layer)[-1]) for layer in quantized_layers(net)]


def published(mu=900.0, sigma=900.0, bits=3):
    """The paper's Figure 1."""
    thresholds = relu_thresholds(mu, sigma, bits)[0].numpy()
    above = torch.special.ndtr(torch.tensor(mu / sigma, dtype=torch.float64))
    boundary = float(mu - sigma * phi_inverse(above / 2 ** bits))
    return Published(mu=mu, sigma=sigma, thresholds=thresholds, boundary=boundary,
                     shares=normal_shares(mu, sigma, [*thresholds, boundary]))
