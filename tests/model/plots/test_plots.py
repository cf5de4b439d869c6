"""The numbers behind the pictures against independent ones, and the files: whole, repeatable or refused in one line."""
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from statistics import NormalDist
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib")
torch = pytest.importorskip("torch")

from model import __main__ as command  # noqa: E402
from model import zoo  # noqa: E402
from model.common import files  # noqa: E402
from model.common.errors import UserError  # noqa: E402
from model.data import datasets  # noqa: E402
from model.integer import golden, store  # noqa: E402
from model.nets.specs import arch  # noqa: E402
from model.plots import canvas, distributions, drawings, results  # noqa: E402
from model.training.convert import quantize  # noqa: E402
from model.training.network import Network, QuantConfig  # noqa: E402
from model.zoo import card  # noqa: E402
from tests.model.test_main import failure  # noqa: E402
from tests.nets import every_term_net, random_pictures  # noqa: E402

pytestmark = pytest.mark.train
ROOT = Path(__file__).parents[3]
CODES = "resnet8-w4a4-plain-cifar10"


@pytest.fixture(scope="module")
def quantized():
    """Quantized Networks of untrained weights, by quantizer."""
    torch.manual_seed(0)
    net = Network(arch("resnet8half"), 10)
    images = torch.as_tensor(pictures_of_cifar_size(8))
    return {name: quantize(net, images, QuantConfig(quantizer=name, w_bits=3, a_bits=3))
            for name in ("plain", "learned", "uniform")}


def pictures_of_cifar_size(count):
    return np.random.default_rng(3).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


def write_checkpoint(net, path, stage="quantized"):
    header = {"name": "some-net", "arch": net.arch.name, "stage": stage, "classes": list("0123456789")}
    if stage == "quantized":
        header["quant"] = asdict(net.config)
    torch.save({"header": header, "net": net.state_dict(), "log": []}, path)


def drawn(path):
    """The finished picture's bytes; nothing else was left in its folder."""
    assert [other.name for other in path.parent.glob(f"{path.name}*")] == [path.name]
    return path.read_bytes()


# Numbers

def test_published_is_figure_1_of_the_paper():
    figure_1 = distributions.published()
    assert figure_1.thresholds.round().astype(int).tolist() == [0, 332, 599, 842, 1080, 1332, 1625]
    assert round(figure_1.boundary) == 2027
    below = NormalDist().cdf(-1)
    np.testing.assert_allclose(figure_1.shares, [below, *[(1 - below) / 8] * 8], atol=1e-12)


def test_paper_thresholds_follow_the_rule_from_any_zero():
    mu, sigma, zero, bits = -120.0, 700.0, 35.0, 4
    normal = NormalDist(mu, sigma)
    below = normal.cdf(zero)
    expected = [normal.inv_cdf(below + (1 - below) * k / 2 ** bits) for k in range(2 ** bits - 1)]
    rule = distributions.paper_thresholds(mu, sigma, zero, bits)
    np.testing.assert_allclose(rule, expected, rtol=1e-9)
    assert rule[0] == pytest.approx(zero)
    np.testing.assert_allclose(distributions.normal_shares(mu, sigma, rule),
                               [below, *[(1 - below) / 16] * 14, (1 - below) / 8], atol=1e-12)


@pytest.mark.parametrize("name", ["a", "b", "d"])
def test_a_channel_is_its_accumulators_and_thresholds(name):
    net = every_term_net()
    images = random_pictures(net, 5)
    layer = next(layer for layer in net.layers if layer.name == name)
    one = distributions.channel(net, images, layer, 2)
    codes = golden.trace(net, images)[name][:, 2]
    np.testing.assert_array_equal((one.values[:, None] >= one.thresholds).sum(1), codes.ravel())
    np.testing.assert_array_equal(one.thresholds, layer.thresholds[2])
    np.testing.assert_array_equal(one.shares, [(codes == code).mean() for code in range(2 ** layer.a_bits)])
    assert one.mu == one.values.mean() and one.sigma == one.values.std() and (one.net, one.layer) == ("random", name)
    assert len(one.rule) == len(one.thresholds) and one.rule[0] == pytest.approx(one.thresholds[0])
    assert one.rule_shares.sum() == pytest.approx(1)


def test_distance_to_normal_is_that_of_kolmogorov_and_smirnov():
    rng = np.random.default_rng(0)
    values = np.round(rng.normal(50, 9, 400)).astype(np.int64)
    normal = NormalDist(values.mean(), values.std())
    gaps = [abs((values <= x).mean() - normal.cdf(x)) for x in values]
    gaps += [abs((values < x).mean() - normal.cdf(x)) for x in values]
    assert distributions.distance_to_normal(values) == pytest.approx(max(gaps), abs=1e-9)
    assert distributions.distance_to_normal(rng.exponential(50, 400)) > 2 * max(gaps)
    assert distributions.distance_to_normal(np.full(9, 4)) == 1


def test_the_channel_shown_is_the_most_normal_one_that_is_open():
    net = every_term_net()
    images = random_pictures(net, 6)
    shown = distributions.channel_of(net, images)
    candidates = []
    for layer in net.layers[:2] + net.layers[3:4]:
        for index, values in enumerate(golden.accumulators(net, images, layer.name).swapaxes(0, 1)):
            if 0.4 <= (values >= layer.thresholds[index, 0]).mean() <= 0.9:
                candidates.append((distributions.distance_to_normal(values.ravel()), layer.name, index))
    assert (shown.layer, shown.channel) == min(candidates)[1:]
    each = distributions.channel_of_each_layer(net, images)
    assert [one.layer for one in each] == ["a", "b", "d"]
    assert shown.channel in [one.channel for one in each if one.layer == shown.layer]
    assert distributions.channel_of(net, images, "d", 3).channel == 3


def test_a_constant_channel_is_refused():
    net = every_term_net()
    images = random_pictures(net, 2)
    with pytest.raises(UserError, match="all accumulators of layer a, channel 0, are"):
        distributions.channel(net, np.zeros_like(images), net.layers[0], 0)


@pytest.mark.parametrize("name", ["plain", "learned", "uniform"])
def test_master_weights_lie_in_the_bins_of_their_codes(quantized, name):
    net = quantized[name]
    bins = distributions.master_weights(net)
    assert [one.title for one in bins][:2] == ["stem, 3x3, 3 to 8", "s1b1a, 3x3, 8 to 8"] and len(bins) == 9
    for one, term in zip(bins, [term for key in net.layers if key != "head" for term in net.layers[key].terms
                                if hasattr(term, "weight")], strict=True):
        codes = term.quantizer.to_code(term.weight).numpy()
        assert term.quantizer.bits == (4 if one is bins[0] else 3)
        np.testing.assert_array_equal(one.shares, [(codes == code).mean() for code in range(2 ** term.quantizer.bits)])
        np.testing.assert_array_equal(one.levels[codes], term.quantizer.to_value(torch.as_tensor(codes)))
        near = np.abs(one.values[..., None] - one.edges).min(-1) < 1e-5               # float32 against float64
        assert near.mean() < 0.01
        np.testing.assert_array_equal((one.values[..., None] >= one.edges).sum(-1)[~near], codes[~near])
    assert [one.title for one in distributions.master_weights(net, "s2b1b")] == ["s2b1b, 3x3, 16 to 16",
                                                                                 "s2b1b, 1x1, 8 to 16"]


def test_kquantile_codes_are_equally_likely(quantized):
    largest = distributions.master_weights(quantized["plain"], "s3b1b")[0]
    np.testing.assert_allclose(largest.shares, 1 / 8, atol=0.02)
    np.testing.assert_allclose(largest.edges, [NormalDist().inv_cdf(i / 8) for i in range(1, 8)], atol=1e-9)


def test_integer_weights_are_the_shares_of_levels():
    net = every_term_net()
    bins = distributions.integer_weights(net)
    assert [one.layer for one in bins] == ["a", "b", "d", "d", "d", "e"]
    terms = [term for layer in net.layers if hasattr(layer, "terms") for term in layer.terms if hasattr(term, "codes")]
    for one, term in zip(bins, terms, strict=True):
        np.testing.assert_array_equal(one.levels[term.codes] << term.shift, term.weights())
        np.testing.assert_array_equal(one.shares, [(term.codes == code).mean() for code in range(2 ** term.w_bits)])
        assert one.values is None
    assert len(canvas.encoded(drawings.weights("random", bins), ".png")) > 10_000


def test_whole_bins_hold_as_many_integers_each():
    for low, high in ((-30.2, 99.7), (0, 5), (-1e5, 2e5)):
        edges = drawings.whole_bins(low, high, 50)
        counts = np.diff(edges)
        assert (counts == counts[0]).all() and counts[0] == int(counts[0]) and (edges % 1 == 0.5).all()
        assert edges[0] <= low and edges[-1] >= high and len(edges) <= 105


def test_logs_of_the_zoo_and_of_runs(tmp_path):
    log = results.read_log(zoo.DEFAULT)
    lines = (zoo.FOLDER / f"{zoo.DEFAULT}.csv").read_text().splitlines()[1:]
    assert [f"{epoch},{loss},{accuracy}" for epoch, loss, accuracy in
            zip(log.epochs, log.losses, log.accuracies, strict=True)] == [line.rsplit(",", 1)[0] for line in lines]
    assert log.float_accuracy == 0.875 and log.title == zoo.DEFAULT
    rows = [{"epoch": 1, "loss": 2.5, "accuracy": 0.25, "seconds": 1.0}]
    run = tmp_path / "some-run"
    run.mkdir()
    (run / "02_qat.csv").write_text("epoch,loss,accuracy,seconds\n1,2.5,0.25,1.0\n")
    (run / "02_qat.json").write_text(json.dumps({"header": {"name": "net", "stage": "quantized",
                                                            "float_accuracy": 0.5}, "log": rows}))
    table, full = results.read_log(run / "02_qat.csv"), results.read_log(run / "02_qat.json")
    assert table == results.Log(title="some-run/02_qat", epochs=[1], losses=[2.5], accuracies=[0.25])
    assert full == replace(table, title="net, quantized", float_accuracy=0.5)


def measured(dataset, name, quantizer, bits, accuracy, parent=0.9, **quant):
    net = zoo.load(zoo.SYNTHETIC)
    header = {**net.header, "dataset": dataset, "arch": name, "accuracy": accuracy, "float_accuracy": parent,
              "quant": {**net.header["quant"], "quantizer": quantizer, "w_bits": bits[0], "a_bits": bits[1], **quant}}
    return replace(net, header=header)


def test_accuracy_by_bits_groups_and_sorts():
    nets = [measured("cifar10", "vgg", "plain", (4, 4), 0.8), measured("cifar10", "vgg", "plain", (2, 2), 0.6),
            measured("cifar10", "vgg", "learned", (2, 4), 0.7, 0.91), measured("cifar10", "vgg", "plain", (3, 3), None),
            measured("cifar100", "vgg", "plain", (4, 4), 0.5, None)]
    line = results.Line(dataset="cifar10", arch="vgg", quantizer="plain", residual_bits=0,
                        points=[((2, 2), 0.6), ((4, 4), 0.8)], parents=[0.9])
    other = replace(line, quantizer="learned", points=[((2, 4), 0.7)], parents=[0.91])
    third = replace(line, dataset="cifar100", points=[((4, 4), 0.5)], parents=[])
    assert results.accuracy_by_bits(nets) == [other, line, third]
    wide = measured("cifar10", "vgg", "plain", (2, 2), 0.65, residual_bits=4)
    assert results.accuracy_by_bits([*nets, wide]) == [
        other, line, replace(line, residual_bits=4, points=[((2, 2), 0.65)]), third]
    assert card.card(wide)["residual_bits"] == 4 and card.card(nets[0])["residual_bits"] == 0
    assert b"plain, 4-bit residuals" in canvas.encoded(drawings.bits(results.accuracy_by_bits([*nets, wide])), ".svg")
    assert results.accuracy_by_bits(nets, "cifar100") == [third]
    canvas.encoded(drawings.bits(results.accuracy_by_bits(nets)), ".svg")


def test_every_number_of_a_channel_is_in_the_picture():
    net = every_term_net()
    images = random_pictures(net, 5)
    one = distributions.channel(net, images, net.layers[1], 2)
    upper, lower = drawings.accumulators([one]).axes
    thresholds, rule = upper.collections
    np.testing.assert_array_equal([segment[0][0] for segment in thresholds.get_segments()], one.thresholds)
    np.testing.assert_array_equal([segment[0][0] for segment in rule.get_segments()], one.rule)
    np.testing.assert_allclose([bar.get_height() for bar in lower.patches], 100 * one.shares)


# Files

COMMANDS = {
    "curves": ["curves", CODES, zoo.SYNTHETIC],
    "weights of a layer": ["weights", CODES, "--layer", "s2b1b"],
    "accumulators": ["accumulators", "resnet8half-w4a4-cifar10", "--data", "synthetic", "--images", "4"],
    "a channel": ["accumulators", zoo.SYNTHETIC, "--layer", "s3b1a", "--channel", "5", "--images", "4"],
    "figure1": ["figure1"],
    "bits": ["bits", "--dataset", "cifar10"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_pictures_are_whole_and_repeatable(name, tmp_path, capsys):
    import matplotlib
    settings = dict(matplotlib.rcParams)
    for suffix in ("png", "svg") if name in ("a channel", "figure1") else ("png",):
        paths = [tmp_path / f"{at}.{suffix}" for at in range(2)]
        for path in paths:
            assert command.main(["plot", *COMMANDS[name], "-o", str(path)]) == 0
            assert capsys.readouterr().out == f"{path}\n"
        first, second = map(drawn, paths)
        assert first == second and 5_000 < len(first) < 400_000
        if suffix == "png":
            assert first.startswith(b"\x89PNG\r\n\x1a\n") and first.endswith(b"IEND\xaeB`\x82")
        else:
            assert ElementTree.fromstring(first).tag.endswith("svg")
            assert b"<dc:date>" not in first
    assert dict(matplotlib.rcParams) == settings


@pytest.mark.parametrize("layer", [[], ["--layer", "s2b1b"]])
@pytest.mark.parametrize("name", ["plain", "learned", "uniform"])
def test_weights_of_a_checkpoint(quantized, name, layer, tmp_path):
    write_checkpoint(quantized[name], tmp_path / "02_qat.pt")
    assert command.main(["plot", "weights", str(tmp_path / "02_qat.pt"), *layer, "-o", str(tmp_path / "w.png")]) == 0
    assert len(drawn(tmp_path / "w.png")) > 10_000


def test_accumulators_of_all_layers(tmp_path):
    path = tmp_path / "all.svg"
    assert command.main(["plot", "accumulators", zoo.SYNTHETIC, "--all", "--images", "3", "-o", str(path)]) == 0
    assert len(drawn(path)) > 50_000


def test_an_old_picture_survives_a_failed_write(tmp_path, monkeypatch, capsys):
    path = tmp_path / "old.png"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(files.os, "replace", full)
    assert "No space left" in failure(capsys, "plot", "figure1", "-o", path)
    assert drawn(path) == b"old"


def test_bad_input(quantized, capsys, tmp_path, monkeypatch):
    out = tmp_path / "out.png"

    def refused(*arguments, output=out):
        return failure(capsys, "plot", *arguments, "-o", output)
    (tmp_path / "folder.png").mkdir()
    for output in (tmp_path / "out.pdf", tmp_path / "out"):
        assert "a picture is a .png or .svg" in refused("figure1", output=output)
    for output in (tmp_path / "nowhere" / "out.png", tmp_path / "folder.png"):
        assert "not a file in an existing folder" in refused("figure1", output=output)
    assert "neither a file nor a net of the zoo" in refused("weights", "nope")
    assert "neither a net of the zoo" in refused("curves", "nope")
    log, absent = tmp_path / "log.csv", tmp_path / "lgo.csv"
    assert refused("curves", absent) == f"error: {absent}: No such file or directory\n"
    log.touch()
    assert refused("curves", absent) == f"error: {absent}: No such file or directory; did you mean {log}?\n"
    assert "no convolution in a layer 's9'; known: stem, s1b1a" in refused("weights", CODES, "--layer", "s9")
    assert "no layer 'head' with thresholds; known: stem" in refused("accumulators", "--layer", "head")
    assert "--channel must be 0 .. 63 in layer s3b1a, not 64" in refused(
        "accumulators", zoo.SYNTHETIC, "--layer", "s3b1a", "--channel", 64, "--images", 2)
    assert "--channel needs --layer" in refused("accumulators", "--channel", 1)
    assert "--images must be at least 1, not 0" in refused("accumulators", zoo.SYNTHETIC, "--images", 0)
    assert "no cifar10 there" in refused("accumulators", "--data", tmp_path)
    store.save(every_term_net(), tmp_path / "net.npz")
    assert "takes 3 x 12 x 12" in refused("accumulators", tmp_path / "net.npz", "--data", "synthetic")
    assert "no net with a measured accuracy on imagenet" in refused("bits", "--dataset", "imagenet")
    for content in ("", "epoch,loss,accuracy\n", "epoch,loss\n1,2\n", "epoch,loss,accuracy\none,2,3\n",
                    "epoch,loss,accuracy\n1,2," + "3" * 200_000):
        (tmp_path / "log.csv").write_text(content)
        assert "a training log" in refused("curves", tmp_path / "log.csv")
    for content in ("", "[]", "{}", '{"header": {}, "log": [1]}',
                    '{"header": {"name": "a", "stage": "b"}, "log": [{"epoch": Infinity, "loss": 1, "accuracy": 1}]}'):
        (tmp_path / "log.json").write_text(content)
        assert "not a training log" in refused("curves", tmp_path / "log.json")
    (tmp_path / "log.csv").write_bytes(b"\xff\xfe")
    assert "not a training log" in refused("curves", tmp_path / "log.csv")
    write_checkpoint(Network(arch("resnet8half"), 10), tmp_path / "01_float.pt", "float")
    assert "a float net has no bins" in refused("weights", tmp_path / "01_float.pt")
    write_checkpoint(quantized["plain"], tmp_path / "02_qat.pt")
    assert "no convolution in a layer 'head'" in refused("weights", tmp_path / "02_qat.pt", "--layer", "head")
    assert not out.exists() and not list(tmp_path.glob(".*.part"))
    monkeypatch.delitem(sys.modules, "model.plots.canvas")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "this needs matplotlib: pip install -e '.[train]'" in refused("figure1")


def test_evaluating_needs_no_matplotlib():
    code = ("import sys; sys.modules['matplotlib'] = sys.modules['torch'] = None\n"
            "from model.__main__ import main\n"
            f"sys.exit(main(['eval', '{zoo.SYNTHETIC}', '--images', '2']))")
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_the_plain_net_of_the_zoo_is_cut_by_the_rule(cifar):
    """Its thresholds were made by the rule from running statistics, those of test images are close to them."""
    net = zoo.load(CODES)
    images = datasets.load("cifar10", "test", cifar).pictures[:200]
    ratios = [(one.thresholds[-1] - one.thresholds[0]) / (one.rule[-1] - one.rule[0])
              for one in distributions.channel_of_each_layer(net, images)]
    assert 0.8 < np.median(ratios) < 1.25
