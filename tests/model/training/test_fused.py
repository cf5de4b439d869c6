"""The fused kernels against the same arithmetic in torch operations."""
import pytest

torch = pytest.importorskip("torch")

from model.nets.specs import arch  # noqa: E402
from model.quantizers.base import Segments  # noqa: E402
from model.training import fused, network  # noqa: E402
from model.training.network import BatchNorm, Network, QuantConfig  # noqa: E402

pytestmark = pytest.mark.train
TOP, UNIT = 15, 0.125


def reference(x, a, k, b, o, norm, rounds):
    xhat = torch.nn.functional.batch_norm(x.float(), norm.running_mean, norm.running_var, None, None,
                                          norm.training, norm.momentum, norm.eps)
    a, k, b, o = (t.reshape(1, -1, 1, 1) for t in (a, k, b, o))
    v = (a * torch.erf(k * xhat + b) + o).clamp(0 if rounds else 0.5, TOP + 0.5)
    return (v + (v.floor() - v).detach() if rounds else v - 0.5) * UNIT


@pytest.mark.parametrize("channels, training, rounds", [(16, True, True), (48, False, True), (32, True, False)])
def test_codes_gradients_and_statistics(channels, training, rounds):
    torch.manual_seed(0)
    data = (torch.randn(8, channels, 12, 11) * 2 + 1).bfloat16().to(memory_format=torch.channels_last)
    if not fused.available(data):
        pytest.skip("no C compiler")
    down = torch.randn(data.shape)
    coefficients = (torch.rand(channels) * 4 + 14, torch.rand(channels) + 0.5,
                    torch.randn(channels) * 0.3, torch.rand(channels) + 0.5)
    results = []
    for function in (lambda *args: fused.norm_compand(*args, TOP, UNIT, rounds),
                     lambda *args: reference(*args, rounds)):
        norm = BatchNorm(channels)
        norm.train(training)
        x, *given = (t.clone().requires_grad_() for t in (data, *coefficients))
        y = function(x, *given, norm)
        y.backward(down.to(y.dtype))
        results.append((y.detach().float(), [x.grad.float(), *(t.grad for t in given)],
                        [norm.running_mean, norm.running_var]))
    (codes, gradients, statistics), (codes_expected, gradients_expected, statistics_expected) = results
    if rounds:
        assert (codes == codes_expected).float().mean() > 0.9999      # erf differs by 1e-7
    else:
        torch.testing.assert_close(codes, codes_expected.bfloat16().float(), atol=1e-5, rtol=2 ** -7)
        assert codes.min() == 0 and len(codes.unique()) > 2 * TOP
    for got, expected in zip(gradients, gradients_expected, strict=True):
        assert (got - expected).norm() < 0.01 * expected.norm()
    for got, expected in zip(statistics, statistics_expected, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("levels, channels, training", [(16, 16, True), (8, 32, False), (4, 16, True), (2, 16, False),
                                                        (32, 16, True)])
def test_segments(levels, channels, training):
    torch.manual_seed(0)
    data = (torch.randn(8, channels, 12, 11) * 2 + 1).bfloat16().to(memory_format=torch.channels_last)
    if not fused.available(data):
        pytest.skip("no C compiler")
    down = torch.randn(data.shape)
    given = (torch.rand(channels) + 0.5, torch.randn(channels) * 0.3,
             (torch.rand(levels + 1) + 0.2).cumsum(0) * 3 / levels)
    results = []
    for kernel in (True, False):
        norm = BatchNorm(channels)
        norm.train(training)
        x, k, b, edges = (t.clone().requires_grad_() for t in (data, *given))
        if kernel:
            y = fused.norm_segment(x, k, b, edges, norm, UNIT)
        else:
            xhat = torch.nn.functional.batch_norm(x.float(), norm.running_mean, norm.running_var, None, None,
                                                  training, norm.momentum, norm.eps)
            z = k.reshape(1, -1, 1, 1) * xhat + b.reshape(1, -1, 1, 1)
            y = Segments.apply(z, edges) * UNIT
        y.backward(down.to(y.dtype))
        results.append((y.detach().float(), [t.grad.float() for t in (x, k, b, edges)],
                        [norm.running_mean, norm.running_var]))
    (codes, gradients, statistics), (codes_expected, gradients_expected, statistics_expected) = results
    assert (codes == codes_expected).float().mean() > 0.9999
    assert len(codes.unique()) == levels
    for got, expected in zip(gradients, gradients_expected, strict=True):
        assert (got - expected).norm() < 0.01 * expected.norm()
    for got, expected in zip(statistics, statistics_expected, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("quantizer", ["learned", "uniq", "uniform"])
def test_a_layer_gives_the_same_codes_without_the_kernels(monkeypatch, quantizer):
    torch.manual_seed(0)
    layer = Network(arch("resnet8"), 10, QuantConfig(quantizer=quantizer)).layers["s1b1a"]
    acc = (torch.randn(4, 16, 9, 9) * 2 + 0.5).bfloat16().to(memory_format=torch.channels_last)
    if not fused.available(acc):
        pytest.skip("no C compiler")
    layer.activation.start(torch.randn(4, 16, 9, 9).relu())
    codes = [layer.activate(acc)]
    monkeypatch.setattr(fused, "available", lambda _: False)
    codes.append(layer.activate(acc))
    monkeypatch.setattr(network, "world_size", lambda: 2)               # two processes with the same pictures
    monkeypatch.setattr(network, "add_over_processes", lambda t: 2 * t)
    codes.append(layer.activate(acc))
    assert len(codes[0].unique()) > 8
    for other in codes[1:]:
        assert (other == codes[0]).float().mean() > 0.9995              # float32 in another order


def test_other_shapes_and_types_are_left_to_torch():
    assert not fused.available(torch.zeros(1, 10, 4, 4, dtype=torch.bfloat16))
    assert not fused.available(torch.zeros(1, 16, 4, 4))
