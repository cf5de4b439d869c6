"""From an integer net back to one that can be trained: what `integerize` does, undone, so that a shipped net is a start
for further training where its checkpoint, eight times as large, is not at hand.

Weights lie in the middle of their bins; the bins' companding is the quantizer's start. A layer's thresholds on the
accumulator, T[c][k] = p[c] + q[c] t[k] within the rounding to integers, give the thresholds t that the layer shares
and, with the accumulator's moments on some images, each channel's batch-norm. What an integer net does not have is
chosen: the norm of weights, which no code depends on, the scale and origin of t, and the unit of the logits.
"""
import math

import torch
import torch.nn.functional as F

from .errors import UserError
from .integer import Skip, channel_ranges, tensor_bounds
from .integerize import unit_of
from .nets import IMAGE, HeadSpec, PoolSpec, arch
from .network import CODE_UNIT, GAIN_BITS, PIXEL_UNIT, Network, QuantConfig
from .quant import SQRT2
from .quantizers.learned import LearnedWeights

__all__ = ["deintegerize"]

WEIGHT_NORM = 0.4                       # rms of weights, over that of a new layer (arXiv 1502.01852)
SWEEPS = 200                            # of alternating least squares
SMOOTHING = 0.1                         # of the labels that the unit of the logits suits
LOGIT_UNITS = 2.0 ** torch.arange(-24, 1, 0.25)


@torch.no_grad()
def deintegerize(integer_net, images, labels):
    """The quantized Network, in evaluation mode, whose codes are those of `integer_net`, but where an accumulator
    meets a threshold that is rounded to another integer.

    images: uint8 (N, 3, H, W), some hundreds, for the statistics; labels: int64 (N,) of these. UserError for nets that
    are not of the quantizer `learned`.
    """
    header, first = integer_net.header, integer_net.layers[0].terms[0]
    if header.get("quant", {}).get("quantizer") != "learned":
        raise UserError(f"{integer_net.name}: training goes on from integer nets of the quantizer learned alone; "
                        "from others it needs their 02_qat.pt")
    config = QuantConfig(**header["quant"] | {"first_bits": first.w_bits})
    net = Network(arch(header["arch"]), len(integer_net.classes), config).eval()
    bounds = tensor_bounds(integer_net)
    tensors = {IMAGE: images.float() * PIXEL_UNIT}
    for spec, layer in zip(net.arch.layers, integer_net.layers, strict=True):
        if isinstance(spec, PoolSpec):
            tensors[spec.name] = F.max_pool2d(tensors[spec.source], 2)
        elif isinstance(spec, HeadSpec):
            restore_head(net.layers[spec.name], layer, tensors, labels, net.arch.sizes()[spec.source] ** 2)
        else:
            module = net.layers[spec.name]
            for term, old in zip(module.terms, layer.terms, strict=True):
                restore_gain(term, old) if isinstance(old, Skip) else restore_weights(term, old)
            restore_thresholds(module, layer, bounds, module.accumulate(tensors))
            tensors[spec.name] = module(tensors)
    return net


def restore_gain(module, term):
    """Gains as multipliers of GAIN_BITS bits and one shift."""
    gain = torch.as_tensor(term.gain)
    shift = max(0, int(gain.abs().max()).bit_length() - GAIN_BITS)
    module.shift.fill_(shift)
    module.gain.copy_(gain >> shift)


def restore_weights(module, term):
    """Weights in the middle of their bins, with the quantizer's kappa such that these are the bins."""
    quantizer = module.quantizer
    assert isinstance(quantizer, LearnedWeights) and quantizer.bits == term.w_bits
    module.shift.fill_(term.shift)
    level = torch.as_tensor(quantizer.to_value(torch.as_tensor(term.codes))).double()
    x = SQRT2 * torch.erfinv(level / (2 ** term.w_bits * quantizer.log_a.exp()))
    rms = x.square().flatten(1).mean(1).sqrt()
    quantizer.log_kappa.copy_(rms.log())
    fan_in = module.weight[0].numel()
    module.weight.copy_(x / x.square().mean().sqrt() * (WEIGHT_NORM * math.sqrt(2 / fan_in)))


def restore_thresholds(module, layer, bounds, acc):
    """The layer's thresholds and batch-norm, from the integer thresholds and accumulators (N, C, H, W)."""
    norm, activation = module.norm, module.activation
    p, q, t = shared_steps(*map(torch.as_tensor, (layer.thresholds, *channel_ranges(layer, bounds))))
    unit = unit_of(module)
    norm.running_mean.copy_(acc.mean((0, 2, 3)))
    norm.running_var.copy_(acc.var((0, 2, 3)))
    mean, std = norm.running_mean.double(), torch.sqrt(norm.running_var.double() + norm.eps)
    gamma, beta = std / (q * unit), mean / (q * unit) - p / q
    scale, origin = gamma.median(), beta.median()       # of t: such that the middle channel has gamma 1 and beta 0
    norm.weight.copy_((gamma / scale - norm.LEAST).clamp_min(0))
    norm.bias.copy_((beta - origin) / scale)
    activation.restore((t - origin) / scale)


def shared_steps(thresholds, low, high):
    """(p (C,), q (C,), t (K,)), float64, of least square error in thresholds[c][k] - 1/2 = p[c] + q[c] t[k]: the middle
    of what rounds up to these. low, high (C,): the accumulators' range; thresholds outside it stand for any that none
    reaches, and are passed over. q is positive."""
    inside = ((thresholds > low[:, None]) & (thresholds <= high[:, None])).double()
    if not inside.any(0).all():
        raise UserError("a layer has codes that no accumulator reaches: its thresholds cannot be found again")
    steps, sloped = thresholds - 0.5, inside.sum(1) > 1
    count = inside.sum(1, keepdim=True).clamp_min(1)
    t = torch.arange(steps.shape[1]).double()

    def line():
        middle = (inside * t).sum(1, keepdim=True) / count
        rise = inside * (t - middle)
        q = torch.where(sloped, (rise * steps).sum(1) / (rise * t).sum(1), 0.0)
        return ((inside * steps).sum(1) - q * (inside * t).sum(1)) / count[:, 0], q

    for _ in range(SWEEPS if sloped.any() else 0):
        p, q = line()
        pull = inside * q[:, None]
        t = (pull * (steps - p[:, None])).sum(0) / (pull * q[:, None]).sum(0)
    p, q = line()
    usual = q[sloped].median() if sloped.any() else 1.0
    anchors = ((thresholds <= high[:, None]).sum(1) - 1).clamp_min(0)
    for c in (~sloped).nonzero()[:, 0]:
        p[c], q[c] = through_one(steps[c], anchors[c], t, usual)
    return p, q, t


def through_one(steps, anchor, t, usual):
    """(p, q) of a channel with no more than one threshold inside the accumulators' range, such that p + q t[anchor] is
    steps[anchor]: q is `usual`, or as much more as it takes to have the others, which lie on the range's edges, no
    further inside."""
    rise, run = steps - steps[anchor], t - t[anchor]
    q = torch.where(run != 0, rise / run, 0.0).max().clamp_min(usual)
    return steps[anchor] - q * t[anchor], q


def restore_head(module, layer, tensors, labels, pixels):
    """Weights, bias, and the unit of the logits that suits the labels best."""
    term, = layer.terms
    weights = torch.as_tensor(term.weights()[:, :, 0, 0]).float()
    module.linear.weight.copy_(weights / weights.square().mean().sqrt() / math.sqrt(weights.shape[1]))
    features = tensors[module.spec.source].mean((2, 3)) / CODE_UNIT * pixels
    logits = F.linear(features, weights, torch.as_tensor(layer.bias).float())
    unit = min(LOGIT_UNITS, key=lambda unit: F.cross_entropy(logits * unit, labels, label_smoothing=SMOOTHING))
    module.log_gain.copy_((unit * pixels / CODE_UNIT / module.step()).log())
    module.linear.bias.copy_(torch.as_tensor(layer.bias) * unit)
