"""Learnable companding of activations: a normal CDF with three parameters a layer (after LCQ, arXiv 2103.07156)."""
import torch
from torch import nn

from .base import Companding, WideStart, root_mean_square
from .maths import SQRT2

__all__ = ["CompandedActivations"]


class CompandedActivations(WideStart, Companding):
    """`v = A * erf(z / (s * sqrt 2)) + o`.

    A = 2**bits, o = 1 and s the spread of z are the paper's rule for a channel of mean 0; as A and s grow together it
    tends to the uniform quantizer. One A, s, o per layer; batch-norm's gamma and beta place every channel in it. The
    start is a normal CDF wider than the data (`WideStart`).
    """
    def __init__(self, bits):
        super().__init__(bits)
        self.log_a = nn.Parameter(torch.tensor(self.START_A).log())
        self.log_s = nn.Parameter(torch.zeros(()))
        self.offset = nn.Parameter(torch.tensor(self.START_O))

    def start(self, z):
        self.log_s.data = (self.START_S * root_mean_square(z)).log()

    def coefficients(self, gamma, beta):
        scale = (-self.log_s).exp() / SQRT2
        a = 2 ** self.bits * self.log_a.exp()
        return a.expand_as(gamma), gamma * scale, beta * scale, self.offset.expand_as(gamma)

    def thresholds(self, gamma, beta):
        k = torch.arange(1, 2 ** self.bits, dtype=torch.float64)
        share = (k - self.offset.double()) / (2 ** self.bits * self.log_a.double().exp())
        edges = SQRT2 * self.log_s.double().exp() * torch.erfinv(share.clamp(-1, 1))     # +-inf: never, always
        return edges.expand(len(gamma), -1)
