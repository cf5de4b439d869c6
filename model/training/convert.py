"""From a trained net, float or of other bits, to a quantized one that starts close to it.

Layer by layer on one batch of pictures: shortcuts are given the shift and gains that keep the trained net's proportion
between the terms of a sum, batch-norm the statistics of the new accumulators, and activations their starting points.
"""
import math

import torch

from model.nets.specs import PICTURE, LayerSpec, PoolSpec

from .network import GAIN_BITS, PIXEL_UNIT, Conv, Network, Skip, of_quantizer

__all__ = ["quantize"]

PROJECTION_SHIFTS = range(0, 4)
SILENT = 1e-5                           # a spread less than one code in millions makes


def spread(x):
    """Standard deviation per channel, (C,)."""
    return x.float().std((0, 2, 3)) + 1e-6


@torch.no_grad()
def quantize(net, pictures, config):
    """A quantized Network with the weights of `net`, which is a float one or quantized, with other bits or quantizers;
    pictures: uint8 (N, 3, H, W), some hundreds of them."""
    net.eval()
    head = net.layers[net.arch.layers[-1].name]
    quantized = Network(net.arch, head.linear.out_features, config)
    quantized.load_state_dict({name: value for name, value in net.state_dict().items() if not of_quantizer(name)},
                              strict=False)
    quantized.train()
    trained = {PICTURE: pictures.float() * PIXEL_UNIT}
    codes = dict(trained)
    for spec in net.arch.layers:
        if isinstance(spec, PoolSpec):
            for tensors in trained, codes:
                tensors[spec.name] = torch.nn.functional.max_pool2d(tensors[spec.source], 2)
        elif isinstance(spec, LayerSpec):
            convert_layer(net.layers[spec.name], quantized.layers[spec.name], trained, codes)
    log_gain = (trained[spec.source].mean((2, 3)).norm() / codes[spec.source].mean((2, 3)).norm()).log()
    quantized.layers[spec.name].log_gain.copy_(log_gain if head.log_gain is None else log_gain + head.log_gain)
    return quantized


def convert_layer(old, new, trained, codes):
    """Fits the quantized layer `new` to `old` and adds the outputs of both to the dicts of tensors."""
    name = old.spec.name
    old_spreads = [spread(term(trained[term.spec.source])) for term in old.terms]
    for before, term in zip(old.terms, new.terms, strict=True):
        if isinstance(term, Conv):
            take_over(before.quantizer, term.quantizer)
    scale = spread(new.terms[0](codes[new.terms[0].spec.source])) / old_spreads[0]
    for before, term, old_spread in zip(old.terms[1:], new.terms[1:], old_spreads[1:], strict=True):
        if isinstance(term, Skip):
            fit_gain(before, term, old_spread * scale, codes)
        else:
            fit_projection(term, old_spread * scale, codes)
    acc = new.accumulate(codes)
    new.norm.running_mean.copy_(acc.mean((0, 2, 3)))
    new.norm.running_var.copy_(acc.var((0, 2, 3)))
    trained[name] = old(trained)
    new.norm.eval()
    new.activation.start(new.norm(acc).relu())
    take_over(old.activation, new.activation)
    codes[name] = new.activate(acc)
    new.norm.train()


def take_over(before, quantizer):
    """What `before` learned is the start of `quantizer`, where both are of one kind that can be."""
    if type(before) is type(quantizer) and hasattr(quantizer, "take_over"):
        quantizer.take_over(before)


def fit_gain(before, term, term_spread, codes):
    """Gains of a skip such that its term has the spread `term_spread` per channel. A channel that gives one code alone,
    whose gain would be thousands of times the others' and leave those no bits of the shift they share, has its old one
    in the median proportion of theirs."""
    source_spread = spread(codes[term.spec.source])
    gain = term_spread / (source_spread * term.unit)
    live = source_spread > SILENT
    old = before.gain.abs()
    ratio = (gain / old)[live].median().nan_to_num(1.0)
    gain = torch.where(live, gain, old * ratio) * before.gain.sign()
    bits = math.log2(gain.abs().max().item() / (2 ** GAIN_BITS - 1))
    term.shift.fill_(max(0, math.ceil(bits - 0.01)))            # a gain of 15 that the spreads make 15.001 fits
    term.gain.copy_(gain / 2 ** term.shift)


def fit_projection(term, term_spread, codes):
    """Shift of a projection such that its term has the spread `term_spread` at the median channel."""
    ratio = (term_spread / spread(term(codes[term.spec.source]))).log2()
    shift = min(PROJECTION_SHIFTS, key=lambda s: abs(ratio.median().item() - s))
    term.shift.fill_(shift)
    if hasattr(term.quantizer, "log_kappa"):
        term.quantizer.log_kappa.add_(((ratio - shift) * math.log(2)).clamp(-1.0, 0.7))
