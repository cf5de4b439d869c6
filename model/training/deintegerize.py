"""From an integer net back to one that can be trained: what `integerize` does, undone, so that a shipped net is a start
for further training where its checkpoint, many times as large, is not at hand.

Weights lie in the middle of their bins; the bins' companding is the quantizer's start. A layer's thresholds on the
accumulator, T[c][k] = p[c] + q[c] t[k] within the rounding to integers, give the thresholds t that the layer shares
and, with the accumulator's moments on some pictures, each channel's batch-norm. What an integer net does not have is
chosen: the norm of weights, which no code depends on, the scale and origin of t, and the unit of the logits.
"""
import math

import torch
import torch.nn.functional as F

from model.common.errors import UserError
from model.integer.net import MaxPool, Skip, channel_ranges, tensor_bounds
from model.nets.specs import PICTURE, HeadSpec, PoolSpec, arch
from model.quantizers.maths import SQRT2

from .integerize import integerize, unit_of
from .network import CODE_UNIT, GAIN_BITS, HEAD_BITS, PIXEL_UNIT, Network, QuantConfig

__all__ = ["deintegerize", "refuse_untrainable"]

# rms of weights, over that of a new layer (arXiv 1502.01852): of a ResNet-18's layers, gradients and decay hold most at
# 0.2 to 1.2. A norm that is too small grows in a few hundred steps, one that is too large sinks in some epochs.
WEIGHT_NORM = 0.4
SWEEPS = 200                            # of alternating least squares
LEAST_SLOPE = 1e-3                      # of a channel's thresholds, over the median channel's
SMOOTHING = 0.1                         # of the labels that the unit of the logits suits
LOGIT_UNITS = 2.0 ** torch.arange(-24, 1, 0.25)


def untrained(integer_net):
    """A new Network of the integer net's record: architecture, classes, bits."""
    header, first = integer_net.header, integer_net.layers[0].terms[0]
    config = QuantConfig(**header["quant"] | {"first_bits": first.w_bits})
    return Network(arch(header["arch"]), len(integer_net.classes), config)


def structure(layer):
    """What two layers of one architecture and quantizer have in common, whatever they learned."""
    if isinstance(layer, MaxPool):
        return layer
    steps = None if layer.thresholds is None else layer.thresholds.shape
    terms = [(term.source, term.gain.shape) if isinstance(term, Skip) else
             (term.source, term.codes.shape, term.w_bits, term.alpha, term.beta, term.levels is None, term.stride,
              term.padding, term.drop) for term in layer.terms]
    return layer.name, layer.bias.shape, steps, terms


def refuse_untrainable(integer_net):
    """UserError for nets that `deintegerize` does not take: of another quantizer than `learned`, or changed since
    they were trained."""
    name, header = integer_net.name, integer_net.header
    try:
        learned = header["quant"]["quantizer"] == "learned"
        template = integerize(untrained(integer_net), name, integer_net.classes) if learned else None
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError):
        raise UserError(f"{name}: no record of its training in it that could be used") from None
    if not learned:
        raise UserError(f"{name}: training goes on from integer nets of the quantizer learned alone; from others it "
                        "needs their 02_qat.pt")
    if list(map(structure, template.layers)) != list(map(structure, integer_net.layers)):
        raise UserError(f"{name}: its layers are not those of its record, a {header['arch']} of {header['quant']}")
    *hidden, head = integer_net.layers
    gains = [torch.as_tensor(term.gain) for layer in hidden if not isinstance(layer, MaxPool)
             for term in layer.terms if isinstance(term, Skip)]
    if (any(layer.bias.any() for layer in hidden if not isinstance(layer, MaxPool))
            or any((gain != gain >> gain_shift(gain) << gain_shift(gain)).any() for gain in gains)
            or abs(head.terms[0].weights()).max() != 2 ** (HEAD_BITS - 1) - 1):
        raise UserError(f"{name}: biases, gains or last weights that training does not give")


@torch.no_grad()
def deintegerize(integer_net, pictures, labels):
    """The quantized Network, in evaluation mode, whose codes are those of `integer_net`, but where an accumulator
    meets a threshold that is rounded to another integer.

    pictures: uint8 (N, 3, H, W), some hundreds, for the statistics; labels: int64 (N,) of these. UserError as
    `refuse_untrainable`, and for a layer with codes that no accumulator reaches.
    """
    refuse_untrainable(integer_net)
    net = untrained(integer_net).eval()
    bounds = tensor_bounds(integer_net)
    tensors = {PICTURE: pictures.float() * PIXEL_UNIT}
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


def gain_shift(gain):
    """The shift that leaves gains GAIN_BITS bits."""
    return max(0, int(gain.abs().max()).bit_length() - GAIN_BITS)


def restore_gain(module, term):
    """Gains as multipliers of GAIN_BITS bits and one shift."""
    gain = torch.as_tensor(term.gain)
    module.shift.fill_(gain_shift(gain))
    module.gain.copy_(gain >> gain_shift(gain))


def restore_weights(module, term):
    """Weights in the middle of their bins, with the quantizer's kappa such that these are the bins."""
    quantizer = module.quantizer
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
    reaches, and are passed over. q is positive.

    A channel with one threshold in the range, or none, has the median q, or as much more as keeps the others out of it.
    UserError where some t[k] is in the range of no other channels than these.
    """
    inside = ((thresholds > low[:, None]) & (thresholds <= high[:, None])).double()
    sloped = inside.sum(1) > 1 if thresholds.shape[1] > 1 else inside.sum(1) > 0
    if not inside[sloped].any(0).all():
        raise UserError("a layer has codes that no accumulator reaches: its thresholds cannot be found again")
    steps, t = thresholds.double() - 0.5, torch.arange(thresholds.shape[1]).double()
    count = inside.sum(1, keepdim=True).clamp_min(1)

    def line():
        rise = inside * (t - (inside * t).sum(1, keepdim=True) / count)
        q = (rise * steps).sum(1) / (rise * t).sum(1)
        usual = q[sloped].nan_to_num(1.0).median()                      # nan: of one threshold there is no slope
        q = torch.where(sloped, q.nan_to_num(1.0).clamp_min(LEAST_SLOPE * usual), usual)
        return ((inside * steps).sum(1) - q * (inside * t).sum(1)) / count[:, 0], q

    for _ in range(SWEEPS):
        p, q = line()
        pull = inside[sloped] * q[sloped, None]
        t = (pull * (steps - p[:, None])[sloped]).sum(0) / (pull * q[sloped, None]).sum(0)
    p, q = line()
    anchors = ((thresholds <= high[:, None]).sum(1) - 1).clamp_min(0)   # the last threshold that can be reached
    for c in (~sloped).nonzero()[:, 0]:
        rise, run = steps[c] - steps[c, anchors[c]], t - t[anchors[c]]
        q[c] = torch.where(run != 0, rise / run, 0.0).max().clamp_min(q[c])
        p[c] = steps[c, anchors[c]] - q[c] * t[anchors[c]]
    return p, q, t


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
