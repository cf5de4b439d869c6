"""The torch net of a spec, float or quantized: one forward, in which a quantizer may replace weights and ReLU.

Quantized, every tensor is an integer times a fixed power of two, so that the batch-norm sees accumulators of about
unit size while bfloat16 still holds weights and codes exactly. Weights, gains and codes are those of the integer net.
"""
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from model.nets.specs import PICTURE, ConvSpec, HeadSpec, LayerSpec, PoolSpec
from model.quantizers import ACTIVATIONS, GRIDDED, WEIGHTS, Companding, Phase, Segmented
from model.quantizers.maths import over_channels, through

from . import fused
from .distributed import add_over_processes, world_size

__all__ = ["QuantConfig", "Network", "Layer", "Conv", "Skip", "BatchNorm", "of_quantizer", "PIXEL_UNIT", "CODE_UNIT",
           "GAIN_BITS", "HEAD_BITS"]

PIXEL_UNIT = 2.0 ** -8
CODE_UNIT = 2.0 ** -3
GAIN_BITS = 4            # a skip gain is a multiplier of this many bits and a sign, shifted by the layer's `shift`
HEAD_BITS = 8


@dataclass(frozen=True, kw_only=True)
class QuantConfig:
    """quantizer: a name in WEIGHTS and ACTIVATIONS; grid: "index" or "median" (of `uniq` and `plain`);
    first_bits: of the weights that see the pixels; residual_bits: of the tensors in `Arch.residuals`, a_bits if 0.
    Shortcuts, sums and the head have all of these bits, the other convolutions the upper a_bits."""
    quantizer: str = "learned"
    w_bits: int = 4
    a_bits: int = 4
    grid: str = "index"
    first_bits: int = 4
    residual_bits: int = 0

    @property
    def drop(self):
        """Low bits of a residual's codes that convolutions off the residual path do not see."""
        return self.residual_bits - self.a_bits if self.residual_bits else 0

    def weights(self, spec):
        """The weight quantizer of the convolution `spec`."""
        options = {"grid": self.grid} if self.quantizer in GRIDDED else {}
        bits = self.first_bits if spec.source == PICTURE else self.w_bits
        return WEIGHTS[self.quantizer]((spec.out_channels,), bits, **options)

    def activation(self, residual):
        """The activation quantizer of a layer, whose output is a residual or not."""
        return ACTIVATIONS[self.quantizer](self.a_bits + (self.drop if residual else 0))


def at_least_float32(x):
    return x.to(torch.promote_types(x.dtype, torch.float32))


def of_quantizer(name):
    """Whether the parameter or buffer of that name in a Network says how it is quantized."""
    return any(part in name for part in ("quantizer", "activation", "log_gain", "shift"))


class Conv(nn.Module):
    """A convolution term. unit: what an integer weight of 1 is worth in the layer's accumulator; drop: low bits of the
    source's codes that it does not see."""
    def __init__(self, spec, config, unit, drop):
        super().__init__()
        self.spec, self.unit, self.drop = spec, unit, drop
        shape = (spec.out_channels, spec.in_channels, spec.kernel, spec.kernel)
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.kaiming_normal_(self.weight)
        self.quantizer = config.weights(spec) if config else None
        self.register_buffer("shift", torch.zeros(()))

    def forward(self, x):
        weight = self.weight
        if self.quantizer is not None:
            weight = self.quantizer(weight) * (self.unit * 2 ** self.shift)
        if self.drop:
            step = CODE_UNIT * 2 ** self.drop
            x = through((x / step).floor() * step, x)
        return F.conv2d(x, weight, stride=self.spec.stride, padding=self.spec.kernel // 2)


class Skip(nn.Module):
    """An identity term: x times a gain per channel, integer (g << shift, |g| < 2**GAIN_BITS) when quantized."""
    def __init__(self, spec, config, unit):
        super().__init__()
        self.spec, self.unit, self.quantized = spec, unit, config is not None
        self.gain = nn.Parameter(torch.ones(spec.channels))
        self.register_buffer("shift", torch.zeros(()))

    def integer_gain(self):
        """Gains as whole numbers in units of 2**shift, differentiable."""
        top = 2 ** GAIN_BITS - 1
        gain = self.gain.clamp(-top, top)
        return through(gain.round(), gain)

    def forward(self, x):
        gain = self.integer_gain() * (self.unit * 2 ** self.shift) if self.quantized else self.gain
        return x * over_channels(gain).to(x.dtype)


class BatchNorm(nn.Module):
    """Batch-norm whose gamma is positive, so that codes ascend with the accumulator."""
    LEAST = 1e-4

    def __init__(self, channels, momentum=0.1, eps=1e-5):
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def gamma(self):
        return self.weight.abs() + self.LEAST

    def track(self, mean, var):
        """Takes the moments of a batch (C,) into the running ones."""
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var, self.momentum)

    def forward(self, x):
        if self.training and world_size() > 1:
            return self.forward_distributed(x)
        return F.batch_norm(x, self.running_mean, self.running_var, self.gamma(), self.bias,
                            self.training, self.momentum, self.eps)

    def forward_distributed(self, x):
        """With the moments of the batch over all processes, so that their number does not change the result."""
        kind, x = x.dtype, at_least_float32(x)
        count = x.numel() // x.shape[1] * world_size()
        mean = add_over_processes(x.sum((0, 2, 3))) / count
        x = x - over_channels(mean)
        var = add_over_processes(x.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.track(mean, var * (count / (count - 1)))
        x = x * over_channels(self.gamma() * torch.rsqrt(var + self.eps)) + over_channels(self.bias)
        return x.to(kind)


class Layer(nn.Module):
    """Sum of terms, batch-norm, activation."""
    def __init__(self, spec, config, residuals):
        super().__init__()
        self.spec = spec
        first = spec.terms[0]
        # 9 is the rms of the levels -15, -13 .. 15.
        unit = 2.0 ** -round(math.log2(9 * math.sqrt(first.in_channels * first.kernel ** 2)))
        drop = config.drop if config and first.source in residuals else 0          # shortcuts, after it, see all
        self.terms = nn.ModuleList(
            Conv(term, config, unit, drop if term is first else 0) if isinstance(term, ConvSpec)
            else Skip(term, config, unit) for term in spec.terms)
        self.norm = BatchNorm(spec.channels)
        self.activation = config.activation(spec.name in residuals) if config else None

    def accumulate(self, tensors):
        """The accumulator: sum of terms over the dict of tensors by name."""
        total = None
        for term in self.terms:
            value = term(tensors[term.spec.source])
            total = value if total is None else total + value
        return total

    def activate(self, acc):
        if self.activation is None:
            return F.relu(self.norm(acc))
        gamma, beta, activation = self.norm.gamma(), self.norm.bias, self.activation
        if fused.available(acc):
            if isinstance(activation, Companding):
                return fused.norm_compand(acc, *activation.coefficients(gamma, beta), self.norm,
                                          2 ** activation.bits - 1, CODE_UNIT, activation.rounds)
            if isinstance(activation, Segmented):
                return fused.norm_segment(acc, gamma, beta, activation.edges(), self.norm, CODE_UNIT)
        code = activation(self.norm(at_least_float32(acc)), gamma, beta)
        return (code * CODE_UNIT).to(acc.dtype)

    def set_phase(self, phase):
        """What training does with the rounding of this layer's weights and codes."""
        self.activation.phase = phase
        for term in self.terms:
            if isinstance(term, Conv):
                term.quantizer.phase = phase

    def forward(self, tensors):
        return self.activate(self.accumulate(tensors))


class Head(nn.Module):
    """Average pool and linear; quantized, the weights are HEAD_BITS integers, the largest of them the top level."""
    def __init__(self, spec, classes, config):
        super().__init__()
        self.spec, self.quantized = spec, config is not None
        self.linear = nn.Linear(spec.features, classes)
        self.log_gain = nn.Parameter(torch.zeros(())) if self.quantized else None

    def step(self):
        """What an integer weight of 1 is worth."""
        return self.linear.weight.detach().abs().max() / (2 ** (HEAD_BITS - 1) - 1)

    def forward(self, tensors):
        features = at_least_float32(tensors[self.spec.source]).mean((2, 3))
        weight = self.linear.weight
        if self.quantized:
            weight = through((weight / self.step()).round() * self.step(), weight) * self.log_gain.exp()
        return F.linear(features, weight, self.linear.bias)


class Network(nn.Module):
    """The net of `arch`; quantized if a QuantConfig is given. Takes uint8 pixels (N, 3, H, W), returns logits."""
    def __init__(self, arch, classes, config=None):
        super().__init__()
        self.arch, self.config = arch, config
        self.layers = nn.ModuleDict()
        residuals = arch.residuals()
        for spec in arch.layers:
            if isinstance(spec, LayerSpec):
                self.layers[spec.name] = Layer(spec, config, residuals)
            elif isinstance(spec, HeadSpec):
                self.layers[spec.name] = Head(spec, classes, config)

    def set_stage(self, progress):
        """Gradual quantization (arXiv 1804.10969, section 3.3), `progress` 0 .. 1 of it done: layers before the
        current one round, the current one is noisy, those after it are smooth; from 1 on all of them round."""
        layers = [layer for layer in self.layers.values() if isinstance(layer, Layer)]
        current = int(progress * len(layers))
        for index, layer in enumerate(layers):
            layer.set_phase(Phase.ROUNDED if index < current else Phase.NOISY if index == current else Phase.SMOOTH)

    def freeze_rounded(self):
        """Takes the gradients away from layers that round, so that the optimizer passes them over."""
        for layer in self.layers.values():
            if isinstance(layer, Layer) and layer.activation.phase is Phase.ROUNDED:
                layer.zero_grad(set_to_none=True)

    def forward(self, pictures):
        kind = next(self.parameters()).dtype
        tensors = {PICTURE: pictures.to(memory_format=torch.channels_last).to(kind) * PIXEL_UNIT}
        for spec in self.arch.layers:
            if isinstance(spec, PoolSpec):
                tensors[spec.name] = F.max_pool2d(tensors[spec.source], 2)
            else:
                tensors[spec.name] = self.layers[spec.name](tensors)
        return tensors[spec.name]
