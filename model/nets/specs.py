"""Layer specs: each net is described once, and its float, quantized and integer forms are all built from that.

A layer sums convolutions and identity skips into one accumulator per output channel, then applies one batch-norm and
one activation. A residual block's second convolution and its shortcut therefore share a batch-norm, which is what lets
the hardware add the shortcut in the accumulator.
"""
from dataclasses import dataclass

from model.common.errors import UserError
from model.common.nearest import did_you_mean

from .shapes import convolved, pooled

__all__ = ["PICTURE", "ConvSpec", "SkipSpec", "LayerSpec", "PoolSpec", "HeadSpec", "Arch", "ARCHS", "arch"]

PICTURE = "image"                         # the picture, as a source of layers


@dataclass(frozen=True)
class ConvSpec:
    """A kernel x kernel convolution of `source`, zero padding kernel // 2, no bias."""
    source: str
    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1


@dataclass(frozen=True)
class SkipSpec:
    """`source` times one gain per channel."""
    source: str
    channels: int


@dataclass(frozen=True)
class LayerSpec:
    """Batch-norm and activation of the sum of `terms`."""
    name: str
    terms: tuple
    channels: int


@dataclass(frozen=True)
class PoolSpec:
    """2x2 max-pool, stride 2."""
    name: str
    source: str


@dataclass(frozen=True)
class HeadSpec:
    """Global average pool and linear classifier."""
    name: str
    source: str
    features: int


@dataclass(frozen=True)
class Arch:
    """A net: layers in execution order, the head last; `input_shape` is (C, H, W)."""
    name: str
    layers: tuple
    input_shape: tuple = (3, 32, 32)

    def sizes(self):
        """Side length in pixels of every tensor, keyed by name."""
        sizes = {PICTURE: self.input_shape[1]}
        for layer in self.layers:
            if isinstance(layer, LayerSpec):
                term = layer.terms[0]
                side = sizes[term.source]
                sizes[layer.name] = (side if isinstance(term, SkipSpec) else
                                     convolved(side, term.kernel, term.stride, term.kernel // 2))
            else:
                sizes[layer.name] = pooled(sizes[layer.source]) if isinstance(layer, PoolSpec) else 1
        return sizes

    def residuals(self):
        """Names of the tensors that carry a residual: what shortcuts read, and what they are added into."""
        sums = [layer for layer in self.layers if isinstance(layer, LayerSpec) and len(layer.terms) > 1]
        return {layer.name for layer in sums} | {term.source for layer in sums for term in layer.terms[1:]}


def _conv(name, source, in_channels, out_channels, stride=1):
    return LayerSpec(name, (ConvSpec(source, in_channels, out_channels, 3, stride),), out_channels)


def _residual(name, widths, blocks):
    """A CIFAR ResNet: a stem, then stages of basic blocks; every stage but the first halves the side length."""
    layers = [_conv("stem", PICTURE, 3, widths[0])]
    source, channels = "stem", widths[0]
    for stage, width in enumerate(widths, 1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            first, last = f"s{stage}b{block}a", f"s{stage}b{block}b"
            layers.append(_conv(first, source, channels, width, stride))
            shortcut = (SkipSpec(source, width) if stride == 1 and channels == width
                        else ConvSpec(source, channels, width, 1, stride))
            layers.append(LayerSpec(last, (ConvSpec(first, width, width, 3), shortcut), width))
            source, channels = last, width
    return Arch(name, (*layers, HeadSpec("head", source, channels)))


def _vgg(name, widths):
    """Convolutions at the given widths, "M" is a 2x2 max-pool."""
    layers, source, channels = [], PICTURE, 3
    for index, width in enumerate(widths):
        if width == "M":
            layers.append(PoolSpec(f"pool{index}", source))
        else:
            layers.append(_conv(f"conv{index}", source, channels, width))
            channels = width
        source = layers[-1].name
    return Arch(name, (*layers, HeadSpec("head", source, channels)))


ARCHS = {net.name: net for net in (
    _residual("resnet8", (16, 32, 64), 1),                              # MLPerf Tiny image classification
    _residual("resnet8half", (8, 16, 32), 1),                           # at half the width, for small FPGAs
    _residual("resnet20", (16, 32, 64), 3),                             # arXiv 1512.03385, 4.2, but 1x1 shortcuts
    _residual("resnet18", (64, 128, 256, 512), 2),                      # arXiv 1512.03385, with a CIFAR stem
    _vgg("vgg", (32, 64, "M", 64, 256, "M", 256, 256, "M", 256)),       # 152 M MACs
)}


def arch(name):
    """The spec of that name."""
    if name not in ARCHS:
        raise UserError(f"unknown architecture {name!r}; known: {', '.join(ARCHS)}"
                        + did_you_mean(name, ARCHS))
    return ARCHS[name]
