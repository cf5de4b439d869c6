"""The uniform baseline: learned steps (LSQ, arXiv 1902.08153), without its scaling of the steps' gradient, which a
learning rate of their own replaces. A weight's step is learned as a share of its channel's rms, so that the quantizer
does not depend on the size of the weights, which batch-norm cancels and decay moves."""
import torch
from torch import nn

from .base import Segmented, root_mean_square
from .maths import per_channel, through

__all__ = ["UniformWeights", "UniformThresholds"]


class UniformWeights(nn.Module):
    """A learned step per channel, 2.5 * rms[c] / (2**(bits - 1) * kappa[c]): level round(w / step), -2**(bits - 1) ..
    2**(bits - 1) - 1."""
    def __init__(self, shape, bits):
        super().__init__()
        self.bits, self.alpha, self.beta, self.levels = bits, 1, -2 ** (bits - 1), None
        self.log_kappa = nn.Parameter(torch.zeros(shape[0]))

    def normalized(self, w):
        """The weight in steps; the step starts where the outermost level is about 2.5 rms."""
        scale = self.log_kappa.exp() * torch.rsqrt(w.square().flatten(1).mean(1) + 1e-12)
        return w * per_channel(scale * 2 ** (self.bits - 1) / 2.5, w)

    def bin_edges(self):
        return torch.arange(1, 2 ** self.bits, dtype=torch.float64) - 2 ** (self.bits - 1) - 0.5

    def smooth(self, w):
        """Code + 1/2 before rounding."""
        return self.normalized(w) + 2 ** (self.bits - 1) + 0.5

    def to_code(self, w):
        return self.smooth(w).floor().clamp(0, 2 ** self.bits - 1).to(torch.uint8)

    def to_value(self, code):
        return code.long() + self.beta

    def forward(self, w):
        v = self.smooth(w).clamp(0.5, 2 ** self.bits - 0.5)
        return through(v.floor(), v - 0.5) + self.beta


class UniformThresholds(Segmented):
    """Code round(z / step), one learned step per layer; it starts at 3 / 2**bits of the rms of z, so
    that at 4 bits the last code begins at 2.7 times it."""
    def __init__(self, bits):
        super().__init__(bits)
        self.log_s = nn.Parameter(torch.zeros(()))

    def start(self, z):
        self.log_s.data = (3 * root_mean_square(z) / 2 ** self.bits).log()

    def edges(self):
        k = torch.arange(2 ** self.bits + 1, device=self.log_s.device)
        return (k - 0.5) * self.log_s.exp()
