"""Quantizers as modules with one interface, whatever their thresholds; one file each.

Every quantizer maps to codes 0 .. 2**bits - 1 by comparing with ascending thresholds, so any of them becomes integer
comparisons in hardware. Weight codes stand for integer levels; an activation's code is its value.

    weights      to_code(w) -> uint8               to_value(code) -> level     forward(w) -> level, differentiable
                 normalized(w), bin_edges() -> float64 (2**bits - 1,): code u is the u-th bin of the normalized weight
    activations  to_code(z, gamma, beta) -> uint8                              forward(z, gamma, beta) -> code, as well
                 thresholds(gamma, beta) -> float64 (C, 2**bits - 1) in units of z

w is (OC, ...). z (N, C, H, W) is the output of batch-norm, gamma * xhat + beta: in each channel about
N(beta, gamma**2), with statistics that are frozen at inference.

The numbers are arXiv's.

| name | weights | activations | training |
|---|---|---|---|
| `uniq` | k-quantile of N(mu, sigma) per channel | CDF-and-ReLU (1811.10869) | noise, layer after layer (1804.10969) |
| `plain` | as `uniq` | as `uniq` | straight-through, all layers at once |
| `learned` | companding, after LCQ (2103.07156) | learnable thresholds (N2UQ, 2111.14826) | straight-through |
| `companded` | as `learned` | learnable companding, three parameters a layer | straight-through |
| `uniform` | learned step per channel (LSQ, 1902.08153) | learned step per layer | straight-through |
"""
from .base import Companding, Phase, Segmented
from .companded import CompandedActivations
from .learned import LearnedThresholds, LearnedWeights
from .uniform import UniformThresholds, UniformWeights
from .uniq import KQuantileWeights, ReluThresholds

__all__ = ["WEIGHTS", "ACTIVATIONS", "GRIDDED", "Companding", "Phase", "Segmented"]

WEIGHTS = {"uniq": KQuantileWeights, "plain": KQuantileWeights, "learned": LearnedWeights,
           "companded": LearnedWeights, "uniform": UniformWeights}
ACTIVATIONS = {"uniq": ReluThresholds, "plain": ReluThresholds, "learned": LearnedThresholds,
               "companded": CompandedActivations, "uniform": UniformThresholds}
GRIDDED = ("uniq", "plain")             # whose weights have a choice of grids
