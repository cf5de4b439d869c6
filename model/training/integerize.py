"""From a quantized torch net to the integer net: batch-norm disappears into integer thresholds.

A layer's code steps up where z = gamma * (unit * acc - mean) / sqrt(var + eps) + beta reaches a threshold t, that is at
acc >= ((t - beta) * sqrt(var + eps) / gamma + mean) / unit. The accumulator is an integer, so the ceiling of the right
side is the same comparison, exactly. Gamma is positive (`network.BatchNorm`). Thresholds are computed in float64; no
code depends on anything after them.
"""
from dataclasses import replace

import numpy as np
import torch

from model.integer.net import PICTURE, PIXEL_MAX, Convolution, IntegerNet, Layer, MaxPool, Skip, channel_ranges
from model.nets.specs import HeadSpec, PoolSpec, SkipSpec

from .network import CODE_UNIT, HEAD_BITS, PIXEL_UNIT

__all__ = ["integerize", "unit_of"]


def array(t, dtype):
    return t.detach().cpu().numpy().astype(dtype)


def term_of(module):
    """The integer term of a Conv or Skip module."""
    spec = module.spec
    if isinstance(spec, SkipSpec):
        gain = array(module.integer_gain(), np.int64) << int(module.shift)
        return Skip(source=spec.source, gain=gain.astype(np.int32))
    quantizer = module.quantizer
    grid = ({"levels": array(quantizer.levels, np.int32)} if quantizer.alpha is None
            else {"alpha": quantizer.alpha, "beta": quantizer.beta})
    codes = array(quantizer.to_code(module.weight), np.uint8)
    return Convolution(source=spec.source, codes=codes, w_bits=quantizer.bits, stride=spec.stride,
                       padding=spec.kernel // 2, shift=int(module.shift), drop=module.drop, **grid)


def unit_of(module):
    """What an integer accumulator of 1 is worth in the layer's accumulator in training."""
    return module.terms[0].unit * (PIXEL_UNIT if module.spec.terms[0].source == PICTURE else CODE_UNIT)


def thresholds_of(module):
    """Real thresholds on the integer accumulator: float64 (C, 2**a_bits - 1)."""
    norm, gamma = module.norm, module.norm.gamma().detach()
    z = module.activation.thresholds(gamma, norm.bias.detach()).detach()
    gamma, beta, mean, var = (t.detach().double().reshape(-1, 1)
                              for t in (gamma, norm.bias, norm.running_mean, norm.running_var))
    return ((z - beta) * torch.sqrt(var + norm.eps) / gamma + mean) / unit_of(module)


def layer_of(module, bounds):
    """The integer layer; thresholds no accumulator can reach are clipped to the nearest that means the same."""
    spec = module.spec
    layer = Layer(name=spec.name, terms=tuple(map(term_of, module.terms)), bias=np.zeros(spec.channels, np.int32),
                  a_bits=module.activation.bits)
    low, high = channel_ranges(layer, bounds)
    steps = np.ceil(thresholds_of(module).numpy())
    return replace(layer, thresholds=np.clip(steps, low[:, None], high[:, None] + 1).astype(np.int32))


def head_of(module, pixels):
    """The logits layer: sums over pixels where the torch net averages, so the bias grows by as much."""
    step = module.step().double()
    weight = torch.round(module.linear.weight.detach().double() / step)
    unit = step * module.log_gain.detach().double().exp() * CODE_UNIT / pixels
    offset = 2 ** (HEAD_BITS - 1)
    term = Convolution(source=module.spec.source, codes=array(weight + offset, np.uint8)[:, :, None, None],
                       w_bits=HEAD_BITS, alpha=1, beta=-offset)
    bias = torch.round(module.linear.bias.detach().double() / unit)
    return Layer(name=module.spec.name, terms=(term,), bias=array(bias, np.int32))


def integerize(net, name, classes, header=None):
    """The IntegerNet of a quantized Network."""
    net = net.eval().cpu()
    sizes = net.arch.sizes()
    bounds, layers = {PICTURE: PIXEL_MAX}, []
    for spec in net.arch.layers:
        if isinstance(spec, PoolSpec):
            layers.append(MaxPool(name=spec.name, source=spec.source))
            bounds[spec.name] = bounds[spec.source]
        elif isinstance(spec, HeadSpec):
            layers.append(head_of(net.layers[spec.name], sizes[spec.source] ** 2))
        else:
            layers.append(layer_of(net.layers[spec.name], bounds))
            bounds[spec.name] = 2 ** layers[-1].a_bits - 1
    return IntegerNet(name=name, layers=tuple(layers), input_shape=net.arch.input_shape, classes=tuple(classes),
                      header=header or {})
