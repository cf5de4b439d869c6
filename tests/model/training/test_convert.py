"""From a trained net to the quantized one that training starts from: sums and logits keep their proportions."""
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from model.data import synthetic  # noqa: E402
from model.nets.specs import arch  # noqa: E402
from model.training.convert import quantize, spread  # noqa: E402
from model.training.network import Network, QuantConfig, Skip  # noqa: E402

pytestmark = pytest.mark.train
IMAGES = torch.as_tensor(synthetic.make("test")[0][:64])


def float_net(name="resnet8"):
    """An untrained float net with the running statistics of the images."""
    torch.manual_seed(0)
    net = Network(arch(name), 10)
    with torch.no_grad():
        for layer in net.layers.values():
            if hasattr(layer, "norm"):
                layer.norm.momentum = 1.0
        net.train()(IMAGES)
    return net.eval()


@torch.no_grad()
def term_spreads(net):
    """{layer: spread of each term, (terms, C)} of the sums with several terms."""
    tensors, hooks = {}, []
    for name, layer in net.layers.items():
        for term in getattr(layer, "terms", ()):
            hooks.append(term.register_forward_hook(
                lambda _term, _inputs, output, name=name: tensors.setdefault(name, []).append(spread(output))))
    net.eval()(IMAGES)
    for hook in hooks:
        hook.remove()
    return {name: torch.stack(spreads) for name, spreads in tensors.items() if len(spreads) > 1}


@pytest.mark.parametrize("quantizer", ["uniq", "learned", "uniform"])
def test_shortcuts_keep_their_share_of_the_sum(quantizer):
    net = float_net()
    old, new = term_spreads(net), term_spreads(quantize(net, IMAGES, QuantConfig(quantizer=quantizer)))
    shares = {name: (spreads[1] / spreads[0]) / (old[name][1] / old[name][0]) for name, spreads in new.items()}
    assert list(shares) == ["s1b1b", "s2b1b", "s3b1b"]
    assert 0.9 < shares["s1b1b"].min() and shares["s1b1b"].max() < 1.1         # gains of four bits, one a channel
    for name in "s2b1b", "s3b1b":                                               # one shift for all channels
        assert 2 ** -0.5 < shares[name].median() < 2 ** 0.5


@pytest.mark.parametrize("quantizer", ["learned", "uniform"])
@torch.no_grad()
def test_logits_are_close_before_any_training(quantizer):
    net = float_net()
    old = net(IMAGES)
    new = quantize(net, IMAGES, QuantConfig(quantizer=quantizer)).eval()(IMAGES)
    old, new = old - old.mean(0), new - new.mean(0)
    assert torch.corrcoef(torch.stack([old.flatten(), new.flatten()]))[0, 1] > 0.8
    assert 0.7 < new.norm() / old.norm() < 1.4


@torch.no_grad()
def test_a_quantized_net_is_a_start_for_fewer_bits():
    old = quantize(float_net(), IMAGES, QuantConfig(w_bits=6, a_bits=6, first_bits=6))
    old.layers["head"].log_gain.add_(1.0)                       # what training may have made of it
    for layer in old.layers.values():
        for term in getattr(layer, "terms", ()):
            if isinstance(term, Skip):
                term.gain[0] *= -1
    new = quantize(old, IMAGES, QuantConfig())
    for name, value in new.state_dict().items():
        if name.endswith("linear.weight") or (name.endswith("weight") and "terms" in name):
            assert torch.equal(value, old.state_dict()[name]), name
    shares = {name: (spreads[1] / spreads[0]) / (before[1] / before[0]) for (name, spreads), before
              in zip(term_spreads(new).items(), term_spreads(old).values(), strict=True)}
    assert 0.9 < shares["s1b1b"].min() and shares["s1b1b"].max() < 1.1
    skip = new.layers["s1b1b"].terms[1]
    assert skip.integer_gain()[0] < 0 < skip.integer_gain()[1:].min()
    before, after = old(IMAGES), new.eval()(IMAGES)
    before, after = before - before.mean(0), after - after.mean(0)
    assert torch.corrcoef(torch.stack([before.flatten(), after.flatten()]))[0, 1] > 0.9
    assert 0.9 < after.norm() / before.norm() < 1.1


@torch.no_grad()
def test_gains_of_a_quantized_net_keep_their_bits():
    old = quantize(float_net(), IMAGES, QuantConfig())
    gain = torch.arange(-15, 17, 2).float()                     # odd ones: no coarser shift has them
    old.layers["s1b1b"].terms[1].gain.copy_(gain)
    for shift in 0, 1:
        old.layers["s1b1b"].terms[1].shift.fill_(shift)
        new = quantize(old, IMAGES, QuantConfig()).layers["s1b1b"].terms[1]
        assert new.shift == shift and torch.equal(new.integer_gain(), gain)


@torch.no_grad()
def trained(bits):
    """A quantized net whose quantizers have learned something."""
    net = quantize(float_net(), IMAGES, QuantConfig(w_bits=bits, a_bits=bits, first_bits=bits))
    generator = torch.Generator().manual_seed(1)
    for name, value in net.named_parameters():
        if "quantizer" in name or "activation" in name:
            value.add_(0.2 * torch.randn(value.shape, generator=generator))
    return net.eval()


@torch.no_grad()
def test_what_quantizers_learned_is_taken_over():
    old = trained(4)
    new = quantize(old, IMAGES, QuantConfig())
    for name, value in old.named_parameters():
        if "activation" in name or "terms.0.quantizer" in name:             # projections are fitted to their sums
            torch.testing.assert_close(new.get_parameter(name), value, rtol=1e-3, atol=1e-3, msg=name)
    other = quantize(old, IMAGES, QuantConfig(quantizer="uniform"))         # another kind begins anew
    assert other.layers["stem"].activation.log_s.abs() > 0


@pytest.mark.parametrize("before, after", [(4, 2), (2, 4), (3, 2), (3, 3)])
@torch.no_grad()
def test_steps_are_taken_out_of_a_layers_function_or_put_in(before, after):
    old = trained(before)
    new = quantize(old, IMAGES, QuantConfig(w_bits=after, a_bits=after))
    for name, layer in old.layers.items():
        if hasattr(layer, "activation"):
            edges = layer.activation.edges().numpy()
            place = np.arange(2 ** after + 1) * 2.0 ** (before - after)
            expected = np.interp(place, np.arange(len(edges)), edges)
            np.testing.assert_allclose(new.layers[name].activation.edges().numpy(), expected, rtol=1e-4, atol=1e-4)
    one, other = (net.layers["s1b1a"].terms[0].quantizer for net in (old, new))
    assert other.log_a == one.log_a
    ratio = (after / before) ** (-1 / 3)
    torch.testing.assert_close(other.log_kappa.exp(), one.log_kappa.exp() * ratio)


@torch.no_grad()
def test_steps_narrower_than_the_least_are_widened():
    old = trained(2)
    activation = old.layers["stem"].activation
    activation.log_width[1] = -20.0                     # narrowed to the least: its quarters would be less
    edges = quantize(old, IMAGES, QuantConfig()).layers["stem"].activation.edges()
    assert (edges.diff() >= activation.log_scale.exp() * activation.LEAST).all() and edges.isfinite().all()


@torch.no_grad()
def test_a_channel_that_rounds_to_nothing_leaves_the_other_gains_alone():
    def skip_of(net):
        return next(term for term in net.layers["s1b1b"].terms if isinstance(term, Skip))

    def quantized(weight, gain=1.0):
        net = float_net()
        net.layers["stem"].norm.weight[0] = weight
        skip_of(net).gain[0] = gain
        return skip_of(quantize(net, IMAGES, QuantConfig()))

    alive, silent = (skip.integer_gain() * 2 ** skip.shift for skip in (quantized(1.0), quantized(0.003)))
    assert silent.min() > 0                                 # channel 0 stays below the first threshold
    torch.testing.assert_close(silent[1:], alive[1:], rtol=0.3, atol=0)
    one, three = (skip.gain * 2 ** skip.shift for skip in (quantized(0.003), quantized(0.003, gain=3.0)))
    torch.testing.assert_close(three, one * torch.tensor([3.0] + [1.0] * (len(one) - 1)))   # in proportion
