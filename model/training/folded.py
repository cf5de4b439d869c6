"""A float net for inference only: batch-norm folded into the convolutions before it.

The teacher of a distillation runs in every step and is never trained: its norms need not cost a pass over memory each.
"""
import copy

import torch
from torch import nn

from model.quantizers.maths import over_channels

from .network import Conv, Layer

__all__ = ["folded"]


class Offset(nn.Module):
    """Adds a bias (C,) to (N, C, H, W), in the type of the latter."""
    def __init__(self, bias):
        super().__init__()
        self.register_buffer("bias", bias)

    def forward(self, x):
        return x + over_channels(self.bias).to(x.dtype)


@torch.no_grad()
def folded(net):
    """A copy of the float Network `net` that computes what it does in inference mode, without batch-norm."""
    net = copy.deepcopy(net).eval()
    for layer in net.layers.values():
        if isinstance(layer, Layer):
            norm = layer.norm
            scale = norm.gamma() * torch.rsqrt(norm.running_var + norm.eps)
            for term in layer.terms:
                if isinstance(term, Conv):
                    term.weight.mul_(scale[:, None, None, None])
                else:
                    term.gain.mul_(scale)
            layer.norm = Offset(norm.bias - norm.running_mean * scale)
    return net.requires_grad_(False)
