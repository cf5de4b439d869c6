"""The learned quantizer: weights through a learnable companding (after LCQ, arXiv 2103.07156), activations by learnable
thresholds with uniform integer outputs (N2UQ, arXiv 2111.14826).

LCQ compresses by a piecewise linear function, rounds, and expands again, so that the levels are learned; here the
compression alone is learned, an erf of two parameters, and the levels stay equally spaced integers: what one integer
scale can hold, at one multiplier a weight, and N2UQ's form for activations."""
import math

import torch
from torch import nn

from .base import Segmented, WideStart, root_mean_square
from .maths import SQRT2, per_channel, through

__all__ = ["LearnedWeights", "LearnedThresholds"]


class LearnedWeights(nn.Module):
    """`v = A * erf(kappa[c] * w / (rms[c] * sqrt 2))`: code floor(v + 2**(bits - 1)), level 2 * code + 1 - 2**bits.

    A = 2**(bits - 1), kappa = 1 is the k-quantile quantizer of N(0, rms); a larger A with a smaller kappa tends to the
    uniform one. The start lies between, near the least square error for N(0, rms) of 2 to 4 bits: v leaves the range of
    the codes at 2.4 rms for 2 bits, at 3.0 for 4.
    """
    START_A = 1.4                           # in shares of 2**(bits - 1)

    def __init__(self, shape, bits):
        super().__init__()
        self.bits, self.alpha, self.beta, self.levels = bits, 2, 1 - 2 ** bits, None
        self.log_a = nn.Parameter(torch.tensor(self.START_A).log())
        self.log_kappa = nn.Parameter(torch.full(shape[:1], self.start_kappa(bits)).log())

    def take_over(self, trained):
        """Starts from what another of these learned, of other bits: its A, its kappa in proportion to both starts'."""
        self.log_a.data.copy_(trained.log_a)
        self.log_kappa.data.add_(trained.log_kappa - math.log(self.start_kappa(trained.bits)))

    @staticmethod
    def start_kappa(bits):
        return 0.57 * bits ** (-1 / 3)

    def scale(self, w):
        """kappa / rms, (OC,)."""
        return self.log_kappa.exp() * torch.rsqrt(w.square().flatten(1).mean(1) + 1e-12)

    def normalized(self, w):
        return w * per_channel(self.scale(w), w)

    def bin_edges(self):
        share = torch.arange(1, 2 ** self.bits, dtype=torch.float64) / 2 ** (self.bits - 1) - 1
        return SQRT2 * torch.erfinv((share / self.log_a.double().exp()).clamp(-1, 1))      # +-inf: never reached

    def smooth(self, w):
        """Code + 1/2 before rounding."""
        half = 2 ** (self.bits - 1)
        return half + half * self.log_a.exp() * torch.erf(w * per_channel(self.scale(w) / SQRT2, w))

    def to_code(self, w):
        return self.smooth(w).floor().clamp(0, 2 ** self.bits - 1).to(torch.uint8)

    def to_value(self, code):
        return self.alpha * code.long() + self.beta

    def forward(self, w):
        v = self.smooth(w).clamp(0, 2 ** self.bits)
        return through(2 * v.floor().clamp(max=2 ** self.bits - 1) + self.beta, 2 * v - 2 ** self.bits)


class LearnedThresholds(WideStart, Segmented):
    """`edges = scale * (offset + cumsum(exp(log_width) + LEAST))`: every threshold of the layer is learned, in an
    order that cannot break. The gradient is that of the line through (edges[k], k), floor its rounding; N2UQ's runs
    half an interval beside it.

    The start is a normal CDF wider than the data (`WideStart`).
    """
    LEAST = 1e-3                # width of a bin, in rms of z: also bounds the gradient's slope

    def __init__(self, bits):
        super().__init__(bits)
        share = (torch.arange(2 ** bits + 1, dtype=torch.float64) - self.START_O) / (2 ** bits * self.START_A)
        edges = SQRT2 * self.START_S * torch.erfinv(share)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.offset = nn.Parameter(edges[0].float())
        self.log_width = nn.Parameter((edges.diff() - self.LEAST).log().float())

    def start(self, z):
        self.log_scale.data = root_mean_square(z).log()

    def take_over(self, trained):
        """Starts from the function that another of these learned, with more or fewer steps."""
        edges, ratio = trained.edges(), 2.0 ** (trained.bits - self.bits)
        place = torch.arange(2 ** self.bits + 1) * ratio
        below = place.long().clamp(max=2 ** trained.bits - 1)
        self.set_edges(torch.lerp(edges[below], edges[below + 1], place - below), trained.log_scale)

    def restore(self, thresholds):
        """Starts from 2**bits - 1 thresholds alone; the bins of the first and the last code, which have no outer edge,
        are as wide as their neighbours."""
        first, last = thresholds[:1], thresholds[-1:]
        below, above = (thresholds.diff()[[0, -1]] if len(thresholds) > 1 else thresholds.new_ones(2)).split(1)
        self.set_edges(torch.cat([first - below, thresholds, last + above]), ((last - first + below) / 3).log()[0])

    def set_edges(self, edges, log_scale):
        edges = edges / log_scale.exp()
        self.log_scale.data.copy_(log_scale)
        self.offset.data.copy_(edges[0])
        self.log_width.data.copy_((edges.diff() - self.LEAST).clamp_min(self.LEAST).log())

    def edges(self):
        widths = torch.cat([self.offset.reshape(1), self.log_width.exp() + self.LEAST])
        return widths.cumsum(0) * self.log_scale.exp()
