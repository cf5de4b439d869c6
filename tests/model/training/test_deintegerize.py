"""An integer net made trainable again is the same integer net."""
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from model import zoo  # noqa: E402
from model.common.errors import UserError  # noqa: E402
from model.data import synthetic  # noqa: E402
from model.integer import golden  # noqa: E402
from model.integer.net import Skip  # noqa: E402
from model.quantizers import ACTIVATIONS  # noqa: E402
from model.training.convert import quantize  # noqa: E402
from model.training.deintegerize import deintegerize, refuse_untrainable, shared_steps  # noqa: E402
from model.training.integerize import integerize  # noqa: E402
from tests.model.same_net import assert_same  # noqa: E402

pytestmark = pytest.mark.train
PICTURES, LABELS = map(torch.as_tensor, synthetic.chunk(np.random.default_rng(5), 64))
LEARNED = [name for name in zoo.names() if zoo.load(name).header["quant"]["quantizer"] == "learned"]


@pytest.mark.parametrize("name", [name if name.startswith("resnet8") else pytest.param(name, marks=pytest.mark.slow)
                                  for name in LEARNED])
def test_every_learned_net_of_the_zoo_comes_back(name):
    net = zoo.load(name)
    restored = deintegerize(net, PICTURES, LABELS)
    assert_same(net, integerize(restored, name, net.classes))
    again = quantize(restored, PICTURES, restored.config)               # what training does with its start
    assert_same(net, integerize(again, name, net.classes))


@torch.no_grad()
def test_the_unit_of_logits_suits_the_labels():
    net = zoo.load("resnet8-w2a2-cifar10")
    expected = golden.forward(net, PICTURES.numpy())
    labels = torch.as_tensor(expected.argmax(1))
    logits = deintegerize(net, PICTURES, labels)(PICTURES)
    loss = [torch.nn.functional.cross_entropy(logits * factor, labels, label_smoothing=0.1) for factor in (0.7, 1, 1.4)]
    assert loss[1] < loss[0] and loss[1] < loss[2]
    assert np.corrcoef(logits.numpy().ravel(), expected.ravel())[0, 1] > 0.99     # thresholds one further, seldom


def test_thresholds_out_of_reach_are_no_evidence():
    generator = np.random.default_rng(3)
    t = np.sort(generator.normal(size=7))
    q, p = generator.uniform(300, 900, 32), generator.normal(scale=2000, size=32)
    exact = p[:, None] + q[:, None] * t
    low, high = np.full(32, -2500), np.full(32, 2500)
    exact[0] += 1e6                                                     # one code whatever comes: 0, 7, 3
    exact[1] -= 1e6
    exact[2] = [-9e3, -8e3, -7e3, 3e3, 4e3, 5e3, 6e3]
    exact[3] = [-9e3, -8e3, 100.3, 3e3, 4e3, 5e3, 6e3]                  # 2 or 3
    thresholds = np.clip(np.ceil(exact), low[:, None], high[:, None] + 1).astype(np.int64)
    clipped = (thresholds == low[:, None]) | (thresholds == high[:, None] + 1)
    assert 0.1 < clipped[4:].mean() < 0.5
    found = [part.numpy() for part in shared_steps(*map(torch.as_tensor, (thresholds, low, high)))]
    restored = np.ceil(found[0][:, None] + found[1][:, None] * found[2])
    restored = np.clip(restored, low[:, None], high[:, None] + 1)
    assert np.abs(restored - thresholds).max() <= 1 and (restored != thresholds).mean() < 0.1
    np.testing.assert_array_equal(restored[:4], thresholds[:4])
    assert (found[1] > 0).all()


def test_codes_that_no_accumulator_reaches_are_refused():
    low, high = torch.tensor([-10, -10]), torch.tensor([10, 10])
    for thresholds in ([[0, 5, 11], [1, 4, 11]], [[0, 5, 11], [-10, -10, 4]], [[11, 11, 11], [11, 11, 11]]):
        with pytest.raises(UserError, match="codes that no accumulator reaches"):
            shared_steps(torch.tensor(thresholds), low, high)


def test_one_threshold_has_no_slope():
    p, q, t = shared_steps(torch.tensor([[7], [-3], [11]]), torch.tensor([-10] * 3), torch.tensor([10] * 3))
    assert t == 0 and (q == 1).all() and p.tolist() == [6.5, -3.5, 10.5]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_thresholds_are_restored_with_outer_bins(bits):
    thresholds = (torch.linspace(-1, 2, 2 ** bits - 1).double() + 2) ** 2
    quantizer = ACTIVATIONS["learned"](bits)
    quantizer.restore(thresholds)
    edges = quantizer.edges().detach().double()
    torch.testing.assert_close(edges[1:-1], thresholds, rtol=1e-5, atol=1e-5)
    if bits > 1:
        torch.testing.assert_close(edges.diff()[[0, -1]], edges.diff()[[1, -2]], rtol=1e-4, atol=1e-5)
    assert (edges.diff() > 0).all()


def test_other_quantizers_are_refused():
    for name in "resnet8-w4a4-companded-cifar10", "resnet8-w4a4-uniq-cifar10":
        with pytest.raises(UserError, match="of the quantizer learned alone; from others it needs their 02_qat.pt"):
            deintegerize(zoo.load(name), PICTURES, LABELS)


def changed(net, index, **fields):
    """The net with other fields in the layer of that index, or, where terms have them, in its last term."""
    layer = net.layers[index]
    if "bias" not in fields and "a_bits" not in fields:
        fields = {"terms": (*layer.terms[:-1], replace(layer.terms[-1], **fields))}
    layers = list(net.layers)
    layers[index] = replace(layer, **fields)
    return replace(net, layers=tuple(layers))


def test_nets_that_are_not_those_of_their_record_are_refused():
    net = zoo.load("resnet8-w3a3-cifar10")
    stem, gains = net.layers[0].terms[0], net.layers[2].terms[1].gain
    assert isinstance(net.layers[2].terms[1], Skip)
    head = net.layers[-1].terms[0].codes
    refuse_untrainable(net)
    for other in (replace(net, layers=(net.layers[0], *net.layers[2:])), changed(net, 1, stride=2),
                  changed(net, 0, codes=stem.codes[:, :, :1, :1]), changed(net, 0, alpha=1), changed(net, 1, drop=1),
                  replace(net, header=net.header | {"quant": net.header["quant"] | {"a_bits": 2}})):
        with pytest.raises(UserError, match="its layers are not those of its record, a resnet8 of {'quantizer'"):
            refuse_untrainable(other)
    for other in (changed(net, 1, bias=net.layers[1].bias + 1), changed(net, -1, codes=head // 2 + 64),
                  changed(net, 2, gain=np.where(np.arange(len(gains)) == 0, 33, gains))):
        with pytest.raises(UserError, match="biases, gains or last weights that training does not give"):
            refuse_untrainable(other)
    for header in ({}, {"quant": 3}, net.header | {"quant": {"quantizer": "learned", "bits": 4}},
                   net.header | {"arch": []}):
        with pytest.raises(UserError, match="no record of its training in it that could be used"):
            refuse_untrainable(replace(net, header=header))
