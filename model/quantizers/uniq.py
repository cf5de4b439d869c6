"""The paper's quantizer (arXiv 1811.10869): k-quantile weights, activations through CDF and ReLU; trained with UNIQ's
noise (arXiv 1804.10969), layer after layer, or straight-through.

What the papers leave open, and what is done here:

* between stages a layer is *companded but not rounded* (`Phase.SMOOTH`), so that every layer lives on the one integer
  scale from the first step on. On the `median` grid companding and its inverse cancel, and the weights are UNIQ's float
  ones;
* a layer whose stage is over goes on learning, straight-through; UNIQ's is frozen (`Schedule.freeze`);
* the statistics mu and sigma of the weights are those of each output channel, taken anew at each step.
"""
import torch
from torch import nn

from .base import Companding, Phase
from .maths import (
    DEAD,
    SQRT2,
    kquantile_edges,
    median_levels,
    per_channel,
    phi,
    phi_inverse,
    relu_thresholds,
    through,
    uniq_noise,
    weight_levels,
)

__all__ = ["KQuantileWeights", "ReluThresholds"]


class KQuantileWeights(nn.Module):
    """k-quantile bins of N(mu, sigma) per channel, `kquantile_edges`; gradient that of the
    levels without rounding: of the CDF on the index grid, linear on the median grid.

    grid: "index", levels 2 * code + 1 - 2**bits, or "median", a table of the bins' medians.
    """
    phase = Phase.ROUNDED

    def __init__(self, shape, bits, grid="index"):
        super().__init__()
        self.bits, self.grid = bits, grid
        self.alpha, self.beta = (2, 1 - 2 ** bits) if grid == "index" else (None, None)
        levels = weight_levels(bits) if grid == "index" else median_levels(bits)
        self.register_buffer("levels", levels, persistent=False)
        self.linear_gain = (levels[-1] / phi_inverse(1 - 0.5 / 2 ** bits)).item()

    def normalized(self, w):
        flat = w.flatten(1)
        return (w - per_channel(flat.mean(1), w)) / per_channel(flat.std(1) + 1e-8, w)

    def bin_edges(self):
        return kquantile_edges(0.0, 1.0, self.bits)

    def smooth(self, x):
        """The level that a normalized weight would have without rounding."""
        if self.grid == "index":
            return 2 ** (self.bits + 1) * phi(x) - 2 ** self.bits
        return x * self.linear_gain

    def to_code(self, w):
        code = (2 ** self.bits * phi(self.normalized(w))).floor()
        return code.clamp(0, 2 ** self.bits - 1).to(torch.uint8)

    def to_value(self, code):
        return self.levels[code.long()]

    def forward(self, w):
        x = self.normalized(w)
        phase = self.phase if self.training else Phase.ROUNDED
        if phase is Phase.SMOOTH:
            return self.smooth(x)
        if phase is Phase.NOISY:
            return self.smooth(uniq_noise(x, 0.0, 1.0, self.bits))
        return through(self.to_value(self.to_code(w)).to(w.dtype), self.smooth(x))


class ReluThresholds(Companding):
    """The paper's companding, one CDF per channel (see `relu_thresholds`); mu, sigma are batch-norm's beta, gamma."""
    def coefficients(self, gamma, beta):
        above = phi(beta / gamma).clamp_min(DEAD)                       # 1 - F0
        a = 2 ** self.bits / above
        return a / 2, torch.full_like(gamma, 1 / SQRT2), torch.zeros_like(gamma), a * (above - 0.5) + 1

    def thresholds(self, gamma, beta):
        return relu_thresholds(beta, gamma, self.bits)
