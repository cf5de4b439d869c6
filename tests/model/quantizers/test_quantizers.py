"""The quantizers' arithmetic against published vectors and definitions."""
import pytest

torch = pytest.importorskip("torch")

from model.quantizers import (  # noqa: E402
    ACTIVATIONS,
    WEIGHTS,
    Phase,
    maths,  # noqa: E402
)
from model.quantizers.base import Segments  # noqa: E402

pytestmark = pytest.mark.train


def test_relu_thresholds_are_figure_1_of_the_paper():
    thresholds = maths.relu_thresholds([900.0], [900.0], bits=3)[0]
    assert thresholds.round().int().tolist() == [0, 332, 599, 842, 1080, 1332, 1625]


def test_relu_thresholds_cut_what_relu_leaves_into_equal_slices():
    mu, sigma = torch.tensor([0.3, -0.5]), torch.tensor([1.0, 2.0])
    share = torch.special.ndtr((maths.relu_thresholds(mu, sigma, 4) - mu[:, None]) / sigma[:, None])
    below = torch.special.ndtr(-mu / sigma)[:, None]
    expected = below + (1 - below) * torch.arange(15) / 16
    torch.testing.assert_close(share, expected.double(), atol=1e-6, rtol=0)


def test_relu_thresholds_of_a_dead_channel_are_finite_and_ascend():
    thresholds = maths.relu_thresholds([-50.0], [1.0], bits=4)[0]
    assert torch.isfinite(thresholds).all() and (thresholds.diff() > 0).all()


def test_kquantile_bins_are_equally_likely():
    edges = maths.kquantile_edges(0.2, 0.5, bits=3)
    torch.testing.assert_close(torch.special.ndtr((edges - 0.2) / 0.5), torch.arange(1, 8) / 8.0,
                               check_dtype=False)


def test_levels():
    assert maths.weight_levels(2).tolist() == [-3, -1, 1, 3]
    median = maths.median_levels(4)
    assert median[-1] == 31 and (median == -median.flip(0)).all() and (median.diff() > 0).all()
    assert maths.median_levels(2, level_bits=4).tolist() == [-7, -2, 2, 7]     # 7 * 0.319 / 1.150


def test_uniq_noise_stays_within_half_a_bin_of_the_cdf():
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(1000, generator=generator)
    moved = maths.phi(maths.uniq_noise(w, 0.0, 1.0, 3, generator)) - maths.phi(w).clamp(1e-4, 1 - 1e-4)
    assert moved.abs().max() <= 0.5 / 8 + 1e-5
    assert moved.abs().max() > 0.4 / 8


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_forward_is_the_value_of_the_code(name, bits):
    torch.manual_seed(0)
    w = torch.randn(8, 16, 3, 3, requires_grad=True)
    quantizer = WEIGHTS[name](w.shape, bits).eval()
    levels = quantizer(w)
    code = quantizer.to_code(w)
    assert code.unique().tolist() == list(range(2 ** bits))
    torch.testing.assert_close(levels, quantizer.to_value(code).float(), atol=1e-4, rtol=0)
    (levels * torch.randn_like(levels)).sum().backward()
    assert w.grad.abs().sum() > 0
    assert all(p.grad.abs().sum() > 0 for p in quantizer.parameters())


@pytest.mark.parametrize("amplitude", [0.8, 1.5])
@pytest.mark.parametrize("name", WEIGHTS)
def test_weight_codes_count_edges(name, amplitude):
    torch.manual_seed(0)
    w = torch.randn(8, 16, 3, 3).double()
    quantizer = WEIGHTS[name](w.shape, 3).double()
    for parameter in quantizer.parameters():
        parameter.data.fill_(amplitude).log_()
    edges = quantizer.bin_edges()
    assert edges.shape == (7,) and (edges.diff() > 0).all()
    assert (quantizer.to_code(w) == (quantizer.normalized(w)[..., None] >= edges).sum(-1)).all()


def line(z, edges):
    """The piecewise linear function through (edges[k], k), flat outside."""
    k = (z[..., None] >= edges).sum(-1).clamp(1, len(edges) - 1) - 1
    return (k + (z - edges[k]) / (edges[k + 1] - edges[k])).clamp(0, len(edges) - 1)


def test_segments_have_the_gradient_of_the_line_through_their_edges():
    torch.manual_seed(0)
    z = torch.randn(2, 3, 8, 8).double().requires_grad_()
    edges = torch.linspace(-0.9, 1.1, 9).double().pow(3).requires_grad_()
    down = torch.randn(z.shape).double()
    code = Segments.apply(z, edges)
    assert (code == (z[..., None] >= edges[1:-1]).sum(-1)).all()
    (code * down).sum().backward()
    step = 1e-7
    for index in range(len(edges)):
        moved = torch.zeros_like(edges)
        moved[index] = step
        slope = ((line(z, edges + moved) - line(z, edges - moved)) * down).sum() / (2 * step)
        assert edges.grad[index].item() == pytest.approx(slope.item(), rel=1e-5, abs=1e-6)
    slope = (line(z + step, edges) - line(z - step, edges)) * down / (2 * step)
    torch.testing.assert_close(z.grad, slope.detach(), rtol=1e-5, atol=1e-6)


def test_learned_thresholds_keep_their_order_and_start_at_the_spread_of_the_data():
    quantizer = ACTIVATIONS["learned"](4)
    start = quantizer.edges().detach()
    quantizer.start(torch.full((2, 8, 4, 4), 5.0))
    torch.testing.assert_close(quantizer.edges().detach(), 5 * start)
    with torch.no_grad():
        quantizer.log_width.fill_(-100)
    assert (quantizer.edges().diff() > 0).all()
    quantizer.start(torch.zeros(2, 8, 4, 4))
    assert torch.isfinite(quantizer.edges()).all()


@pytest.mark.parametrize("bits, least", [(2, 0.11748), (3, 0.03454), (4, 0.009497)])     # J. Max, 1960, table I
def test_learned_weights_start_near_the_least_square_error(bits, least):
    torch.manual_seed(0)
    w = torch.randn(1, 200_000)
    error = {}
    quantizers = {name: WEIGHTS[name]((1,), bits) for name in ("plain", "uniform", "learned")}
    for name, quantizer in {**quantizers, "median": WEIGHTS["plain"]((1,), bits, grid="median")}.items():
        level = quantizer.to_value(quantizer.to_code(w)).double()
        scale = (level * w).sum() / level.square().sum()
        error[name] = ((w - scale * level).square().mean() / least).item()
    assert error["learned"] == pytest.approx({2: 1.02, 3: 1.11, 4: 1.34}[bits], rel=0.02)
    assert error["plain"] == pytest.approx({2: 1.23, 3: 2.16, 4: 5.65}[bits], rel=0.02)
    assert error["median"] == pytest.approx({2: 1.20, 3: 1.62, 4: 2.47}[bits], rel=0.02)
    assert error["uniform"] == pytest.approx({2: 1.33, 3: 1.18, 4: 1.31}[bits], rel=0.02)


def test_a_smooth_layer_is_not_rounded_in_training():
    torch.manual_seed(0)
    z, ones = torch.randn(2, 8, 4, 4), torch.ones(8)
    quantizer = ACTIVATIONS["uniq"](4)
    quantizer.phase = Phase.SMOOTH
    smooth = quantizer(z, ones, 0 * ones)
    assert len(smooth.unique()) > 100
    rounded = quantizer.eval()(z, ones, 0 * ones)
    assert smooth.min() == 0 and smooth.max() == 15
    inside = (rounded > 0) & (rounded < 15)
    assert ((smooth + 0.5).floor() == rounded)[inside].all() and inside.sum() > 100
    assert (smooth - rounded)[inside].mean().abs() < 0.05


def test_plain_weight_codes_are_the_kquantile_bins():
    torch.manual_seed(0)
    w = torch.randn(1, 64, 3, 3) * 0.1 + 0.02
    edges = maths.kquantile_edges(w.mean(), w.std(), 4)
    expected = (w[..., None] >= edges).sum(-1)
    assert (WEIGHTS["plain"](w.shape, 4).to_code(w) == expected).all()


def test_median_grid_gives_table_levels():
    torch.manual_seed(0)
    w = torch.randn(4, 16, 3, 3)
    quantizer = WEIGHTS["plain"](w.shape, 4, grid="median")
    levels = quantizer.to_value(quantizer.to_code(w))
    assert set(levels.unique().tolist()) == set(maths.median_levels(4).tolist())
    torch.testing.assert_close(quantizer(w), levels.float(), atol=1e-4, rtol=0)


def test_noise_replaces_rounding_only_in_training():
    torch.manual_seed(0)
    w = torch.randn(4, 16, 3, 3)
    quantizer = WEIGHTS["uniq"](w.shape, 4)
    quantizer.phase = Phase.SMOOTH
    smooth = quantizer(w)
    assert torch.equal(smooth, quantizer(w))
    quantizer.phase = Phase.NOISY
    noise = torch.stack([quantizer(w) - smooth for _ in range(200)])
    assert noise.abs().max() <= 1.001                       # half a bin on either side; levels are 2 apart
    middle = smooth.abs() < 14                              # no part of the bins beyond the clamp
    torch.testing.assert_close(noise.std(0)[middle].mean(), torch.tensor(3 ** -0.5), atol=0.01, rtol=0)
    assert noise.mean(0)[middle].abs().max() < 0.25
    assert set(quantizer.eval()(w).unique().tolist()) <= set(range(-15, 16, 2))


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_codes_count_thresholds(name, bits):
    torch.manual_seed(0)
    gamma, beta = torch.rand(8).double() + 0.5, torch.randn(8).double() * 0.5
    z = (torch.randn(4, 8, 9, 9).double() * gamma.view(1, 8, 1, 1) + beta.view(1, 8, 1, 1)).requires_grad_()
    quantizer = ACTIVATIONS[name](bits).double()
    quantizer.start(z.detach().relu())
    thresholds = quantizer.thresholds(gamma, beta)
    counted = (z[..., None] >= thresholds.view(1, 8, 1, 1, -1)).sum(-1)
    code = quantizer(z, gamma, beta)
    assert (quantizer.to_code(z, gamma, beta) == counted).all()
    torch.testing.assert_close(code, counted.double(), atol=1e-9, rtol=0)
    code.sum().backward()
    assert z.grad.abs().sum() > 0
    assert all(p.grad.abs().sum() > 0 for p in quantizer.parameters())
