"""Quantizers as modules with one interface, whatever their thresholds.

Every quantizer maps to codes 0 .. 2**bits - 1 by comparing with ascending thresholds, so any of them becomes integer
comparisons in hardware. Weight codes stand for integer levels; an activation's code is its value.

    weights      to_code(w) -> uint8               to_value(code) -> level     forward(w) -> level, differentiable
                 normalized(w) and its edges() -> float64 (2**bits - 1,): code u is the u-th bin between them
    activations  to_code(z, gamma, beta) -> uint8  to_value(code) -> code      forward(z, gamma, beta) -> code, as well
                 thresholds(gamma, beta) -> float64 (C, 2**bits - 1) in units of z

w is (OC, ...). z (N, C, H, W) is the output of batch-norm, gamma * xhat + beta: in each channel about
N(beta, gamma**2), with statistics that are frozen at inference.
"""
import torch
from torch import nn

from .quant import (
    DEAD,
    SQRT2,
    kquantile_edges,
    median_levels,
    over_channels,
    per_channel,
    phi,
    phi_inverse,
    relu_thresholds,
    through,
    uniq_noise,
    weight_levels,
)

__all__ = ["WEIGHTS", "ACTIVATIONS", "Companding"]


class KQuantileWeights(nn.Module):
    """The paper's weights: k-quantile bins of N(mu, sigma) per channel; straight-through over the CDF."""
    def __init__(self, shape, bits, grid="index"):
        super().__init__()
        self.bits, self.grid = bits, grid
        self.alpha, self.beta = (2, 1 - 2 ** bits) if grid == "index" else (None, None)
        levels = weight_levels(bits) if grid == "index" else median_levels(bits)
        self.register_buffer("levels", levels, persistent=False)

    def normalized(self, w):
        flat = w.flatten(1)
        return (w - per_channel(flat.mean(1), w)) / per_channel(flat.std(1) + 1e-8, w)

    def edges(self):
        return kquantile_edges(0.0, 1.0, self.bits)

    def smooth(self, x):
        """The level that a normalized weight would have without rounding."""
        if self.grid == "index":
            return 2 ** (self.bits + 1) * phi(x) - 2 ** self.bits
        return x * (self.levels[-1] / phi_inverse(1 - 0.5 / 2 ** self.bits).item())

    def to_code(self, w):
        code = (2 ** self.bits * phi(self.normalized(w))).floor()
        return code.clamp(0, 2 ** self.bits - 1).to(torch.uint8)

    def to_value(self, code):
        return self.levels[code.long()]

    def forward(self, w):
        return through(self.to_value(self.to_code(w)).to(w.dtype), self.smooth(self.normalized(w)))


class NoisyWeights(KQuantileWeights):
    """UNIQ: in training, uniform noise as wide as a bin stands for rounding (`uniq_noise`); evaluation rounds."""
    def forward(self, w):
        if not self.training:
            return super().forward(w)
        return self.smooth(uniq_noise(self.normalized(w), 0.0, 1.0, self.bits))


class LearnedWeights(nn.Module):
    """Learnable companding (as LCQ, arXiv 2103.07156): `v = A * erf(kappa[c] * w / (rms[c] * sqrt 2))`.

    Code floor(v + 2**(bits - 1)), level 2 * code + 1 - 2**bits. A = 2**(bits - 1), kappa = 1 is the k-quantile
    quantizer of N(0, rms); a larger A with a smaller kappa tends to the uniform one.
    """
    def __init__(self, shape, bits):
        super().__init__()
        self.bits, self.alpha, self.beta, self.levels = bits, 2, 1 - 2 ** bits, None
        self.log_a = nn.Parameter(torch.zeros(()))
        self.log_kappa = nn.Parameter(torch.zeros(shape[0]))

    def scale(self, w):
        """kappa / rms, (OC,)."""
        return self.log_kappa.exp() * torch.rsqrt(w.square().flatten(1).mean(1) + 1e-12)

    def normalized(self, w):
        return w * per_channel(self.scale(w), w)

    def edges(self):
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


class UniformWeights(nn.Module):
    """LSQ (arXiv 1902.08153), a learned step per channel: level round(w / step), -2**(bits-1) .. 2**(bits-1) - 1."""
    def __init__(self, shape, bits):
        super().__init__()
        self.bits, self.alpha, self.beta, self.levels = bits, 1, -2 ** (bits - 1), None
        self.log_kappa = nn.Parameter(torch.zeros(shape[0]))

    def normalized(self, w):
        """The weight in steps; the step starts where the outermost level is about 2.5 rms."""
        scale = self.log_kappa.exp() * torch.rsqrt(w.square().flatten(1).mean(1) + 1e-12)
        return w * per_channel(scale * 2 ** (self.bits - 1) / 2.5, w)

    def edges(self):
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


class Activation(nn.Module):
    """code = clamp(floor(smooth(z)), 0, 2**bits - 1), the gradient that of `smooth` inside the clamp."""
    def __init__(self, channels, bits):
        super().__init__()
        self.bits = bits

    def start(self, z):
        """Sets what is learned from one batch of z (N, C, H, W)."""

    def to_code(self, z, gamma, beta):
        return self.smooth(z, gamma, beta).floor().clamp(0, 2 ** self.bits - 1).to(torch.uint8)

    def to_value(self, code):
        return code

    def forward(self, z, gamma, beta):
        top = 2 ** self.bits - 1
        v = self.smooth(z, gamma, beta).clamp(0, top + 0.5)
        return through(v.floor(), v)


class Companding(Activation):
    """`v = a * erf(k * xhat + b) + o` of the normalized accumulator `xhat = (z - beta) / gamma`; see fused.py."""
    def smooth(self, z, gamma, beta):
        a, k, b, o = map(over_channels, self.coefficients(gamma, beta))
        return a * torch.erf(k * ((z - over_channels(beta)) / over_channels(gamma)) + b) + o


class ReluThresholds(Companding):
    """The paper's companding, one CDF per channel (see `relu_thresholds`)."""
    def coefficients(self, gamma, beta):
        above = phi(beta / gamma).clamp_min(DEAD)                       # 1 - F0
        a = 2 ** self.bits / above
        return a / 2, torch.full_like(gamma, 1 / SQRT2), torch.zeros_like(gamma), a * (above - 0.5) + 1

    def thresholds(self, gamma, beta):
        return relu_thresholds(beta, gamma.abs(), self.bits)


class LearnedThresholds(Companding):
    """Learnable companding: `v = A * erf(z / (s * sqrt 2)) + o`.

    A = 2**bits, o = 1 and s the spread of z are the paper's rule for a channel of mean 0; as A and s grow together it
    tends to the uniform quantizer. One A, s, o per layer; batch-norm's gamma and beta place every channel in it.
    The start is a normal CDF again, but wider than the data, so that its last code begins at about 3 times their root
    mean square rather than at 1.5: after 100 steps from a float net of 77.9 % the paper's start had 70.1 %, a wide
    one 78.5 %.
    """
    START_A, START_S, START_O = 1.4, 3.3, 0.7

    def __init__(self, channels, bits):
        super().__init__(channels, bits)
        self.log_a = nn.Parameter(torch.tensor(self.START_A).log())
        self.log_s = nn.Parameter(torch.zeros(()))
        self.offset = nn.Parameter(torch.tensor(self.START_O))

    def start(self, z):
        self.log_s.data = (self.START_S * z.float().square().mean().sqrt()).log()

    def coefficients(self, gamma, beta):
        scale = (-self.log_s).exp() / SQRT2
        a = 2 ** self.bits * self.log_a.exp()
        return a.expand_as(gamma), gamma * scale, beta * scale, self.offset.expand_as(gamma)

    def thresholds(self, gamma, beta):
        k = torch.arange(1, 2 ** self.bits, dtype=torch.float64)
        share = (k - self.offset.double()) / (2 ** self.bits * self.log_a.double().exp())
        edges = SQRT2 * self.log_s.double().exp() * torch.erfinv(share.clamp(-1, 1))     # +-inf: never, always
        return edges.expand(len(gamma), -1)


class UniformThresholds(Activation):
    """LSQ: code round(z / step), one learned step per layer."""
    def __init__(self, channels, bits):
        super().__init__(channels, bits)
        self.log_s = nn.Parameter(torch.zeros(()))

    def start(self, z):
        self.log_s.data = (3 * z.float().square().mean().sqrt() / 2 ** self.bits).log()

    def smooth(self, z, gamma, beta):
        return z * (-self.log_s).exp() + 0.5

    def thresholds(self, gamma, beta):
        k = torch.arange(1, 2 ** self.bits, dtype=torch.float64)
        return ((k - 0.5) * self.log_s.double().exp()).expand(len(gamma), -1)


WEIGHTS = {"plain": KQuantileWeights, "noise": NoisyWeights, "learned": LearnedWeights, "uniform": UniformWeights}
ACTIVATIONS = {"plain": ReluThresholds, "noise": ReluThresholds, "learned": LearnedThresholds,
               "uniform": UniformThresholds}
