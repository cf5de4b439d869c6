"""What all activation quantizers share: the two forms their thresholds take, and the phases of gradual training."""
import enum

import torch
from torch import nn

from .maths import over_channels, through

__all__ = ["Phase", "Activation", "Companding", "Segmented", "Segments", "WideStart", "edge_gradient",
           "root_mean_square"]


class Phase(enum.Enum):
    """What training does with a layer's rounding (arXiv 1804.10969, section 3.3). Evaluation always rounds."""
    SMOOTH = 0              # left out: weights and activations are companded, not rounded
    NOISY = 1               # of weights, replaced by uniform noise; activations are rounded
    ROUNDED = 2             # done, with the gradient of the smooth function


class WideStart:
    """`A * erf(z / (S * rms * sqrt 2)) + O` in shares of 2**bits: where learned companding and thresholds start. z is
    what ReLU leaves: at 4 bits the last code begins at 3 times its root mean square, which in a channel of N(0, sigma)
    is 2.1 sigma; with the paper's thresholds it begins at 1.5 sigma."""
    START_A, START_S, START_O = 1.4, 3.3, 0.7


def root_mean_square(z):
    """Of all elements, and not zero where a layer gives nothing on the pictures it starts with."""
    return z.float().square().mean().sqrt().clamp_min(1e-6)


class Activation(nn.Module):
    """Maps z to codes. A subclass gives `forward` and `thresholds`."""
    phase = Phase.ROUNDED

    def __init__(self, bits):
        super().__init__()
        self.bits = bits

    def start(self, z):
        """Sets what is learned from one batch of z (N, C, H, W)."""


class Companding(Activation):
    """`v = a * erf(k * xhat + b) + o` of the normalized accumulator `xhat = (z - beta) / gamma`,
    code clamp(floor(v), 0, 2**bits - 1), gradient that of v inside the clamp; in the smooth phase v - 0.5, which
    floor(v) is on average, so that a layer's output does not sink when it begins to round. `fused.norm_compand` does
    the same in one pass.

    A subclass gives `coefficients(gamma, beta)`: a, k, b, o, each (C,).
    """
    @property
    def rounds(self):
        return not (self.training and self.phase is Phase.SMOOTH)

    def smooth(self, z, gamma, beta):
        a, k, b, o = map(over_channels, self.coefficients(gamma, beta))
        return a * torch.erf(k * ((z - over_channels(beta)) / over_channels(gamma)) + b) + o

    def to_code(self, z, gamma, beta):
        return self.smooth(z, gamma, beta).floor().clamp(0, 2 ** self.bits - 1).to(torch.uint8)

    def forward(self, z, gamma, beta):
        v, top = self.smooth(z, gamma, beta), 2 ** self.bits - 0.5
        if not self.rounds:
            return v.clamp(0.5, top) - 0.5
        v = v.clamp(0, top)
        return through(v.floor(), v)


def count(z, thresholds):
    """#{k : z >= thresholds[k]}, int32, of z (N, C, H, W)."""
    code = torch.bucketize(z.permute(0, 2, 3, 1).contiguous(), thresholds, right=True, out_int32=True)
    return code.permute(0, 3, 1, 2)                         # bucketize wants memory in order: channels last


class Segments(torch.autograd.Function):
    """code = #{k : z >= edges[k], 0 < k < n} of n + 1 ascending edges. The gradient is that of the piecewise linear
    function through (edges[k], k), in z and in the edges, and zero outside (arXiv 2111.14826, section 3.2)."""
    @staticmethod
    def forward(ctx, z, edges):
        code = count(z, edges[1:-1])
        ctx.save_for_backward(z, edges, code)
        return code.to(z.dtype)

    @staticmethod
    def backward(ctx, gradient):
        z, edges, code = ctx.saved_tensors
        code = code.long()
        width = edges.diff()[code]
        slope = torch.where((z >= edges[0]) & (z < edges[-1]), gradient / width, 0)
        upper = slope * (z - edges[code]) / width
        here = [code == k for k in range(len(edges) - 1)]
        sums = torch.stack([torch.stack([(slope * mask).sum(), (upper * mask).sum()]) for mask in here])
        return slope, edge_gradient(sums[:, 0], sums[:, 1])


def edge_gradient(slope, upper):
    """dL/dedges (n + 1,) from sums over the elements in each of n segments: of dL/dz, and of dL/dz times the
    element's place 0 .. 1 in its segment."""
    gradient = slope.new_zeros(len(slope) + 1)
    gradient[:-1] -= slope - upper
    gradient[1:] -= upper
    return gradient


class Segmented(Activation):
    """Thresholds that a whole layer shares: edges[1 .. 2**bits - 1]; `fused.norm_segment` does the same in one pass.

    A subclass gives `edges()`, float (2**bits + 1,), ascending: code k between edges[k] and edges[k + 1], no gradient
    below the first and above the last.
    """
    def to_code(self, z, gamma, beta):
        return count(z, self.edges()[1:-1].to(z.dtype)).to(torch.uint8)

    def forward(self, z, gamma, beta):
        return Segments.apply(z, self.edges().to(z.dtype))

    def thresholds(self, gamma, beta):
        return self.edges()[1:-1].double().expand(len(gamma), -1)
