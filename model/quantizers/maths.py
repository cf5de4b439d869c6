"""The quantizers' arithmetic as pure functions: edges, levels, thresholds and noise, each with its source.

Statistics mu and sigma are per output channel: batch-norm absorbs a scale per channel.
"""
import math

import torch

__all__ = ["kquantile_edges", "weight_levels", "median_levels", "relu_thresholds", "uniq_noise", "through",
           "phi", "phi_inverse", "per_channel", "over_channels", "SQRT2", "DEAD"]

SQRT2 = math.sqrt(2)
DEAD = 1e-3              # least share of a channel's distribution above zero that the companding divides by


def through(exact, smooth):
    """Straight-through estimator (arXiv 1308.3432): the value of `exact`, the gradient of `smooth`."""
    return smooth + (exact - smooth).detach()


def phi(x):
    """Normal CDF. erf rather than ndtr: it fuses, and the thresholds come from erfinv in float64 anyway."""
    return 0.5 + 0.5 * torch.erf(x / SQRT2)


def phi_inverse(p):
    """Inverse normal CDF in float64."""
    return torch.special.ndtri(torch.as_tensor(p, dtype=torch.float64))


def kquantile_edges(mu, sigma, bits):
    """The 2**bits - 1 inner edges `mu + sigma * Phi^-1(i / 2**bits)` of equiprobable bins (arXiv 1804.10969, 3.1)."""
    return mu + sigma * phi_inverse(torch.arange(1, 2 ** bits) / 2 ** bits)


def weight_levels(bits):
    """`index` grid: the centred bin index `2u - (2**bits - 1)` of code u, int64 (2**bits,)."""
    return 2 * torch.arange(2 ** bits) - (2 ** bits - 1)


def median_levels(bits, level_bits=6):
    """`median` grid: the bin medians of N(0, 1) (UNIQ's levels) on one integer scale of signed `level_bits`."""
    medians = phi_inverse((torch.arange(2 ** bits, dtype=torch.float64) + 0.5) / 2 ** bits)
    top = 2 ** (level_bits - 1) - 1
    return torch.round(medians * (top / medians[-1])).long()


def relu_thresholds(mu, sigma, bits):
    """Companding after ReLU (arXiv 1811.10869, Figure 1): `T[k] = mu + sigma * Phi^-1(F0 + (1 - F0) * k / 2**bits)`.

    mu, sigma: (C,) of the pre-activation; F0 = Phi(-mu / sigma). Returns float64 (C, 2**bits - 1).
    The top two of the 2**bits equal slices share the last code.
    """
    mu, sigma = (torch.as_tensor(t, dtype=torch.float64).reshape(-1, 1) for t in (mu, sigma))
    slices = torch.arange(2 ** bits - 1, dtype=torch.float64) / 2 ** bits
    above = torch.special.ndtr(mu / sigma).clamp_min(DEAD)              # 1 - F0
    return mu + sigma * -phi_inverse(above * (1 - slices))


def uniq_noise(w, mu, sigma, bits, generator=None, eps=1e-4):
    """UNIQ's noise injection (arXiv 1804.10969, equation 4): `F^-1(clamp(F(w) + u))`, u uniform over the width of a
    bin, half of it on either side."""
    u = (torch.rand(w.shape, generator=generator, device=w.device) - 0.5) / 2 ** bits
    p = (phi((w - mu) / sigma) + u).clamp(eps, 1 - eps)
    return mu + sigma * torch.special.ndtri(p)


def per_channel(t, like):
    """(C,) shaped to broadcast over dimension 0 of `like` (weights)."""
    return t.reshape(-1, *(1,) * (like.dim() - 1))


def over_channels(t):
    """(C,) or a scalar shaped to broadcast over (N, C, H, W)."""
    return t.reshape(1, -1, 1, 1)
