"""python -m model: shapes of --json, one clear line and exit code 2 on bad input."""
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from model import __main__ as command
from model import zoo
from model.commands import evaluate
from model.common.errors import UserError
from model.common.progress import Progress
from model.data import datasets
from model.integer import golden, store
from tests.nets import every_term_net

MEASUREMENTS = Path(__file__).parents[2] / "docs" / "measurements"
CARD = ("name", "dataset", "arch", "quantizer", "w_bits", "a_bits", "first_last", "params", "macs", "bytes", "accuracy",
        "images", "float_accuracy", "seed", "command")


def failure(capsys, *arguments):
    assert command.main(list(map(str, arguments))) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and captured.err.count("\n") == 1
    return captured.err


def test_eval_json(capsys):
    assert command.main(["eval", zoo.SYNTHETIC, "--images", "50", "--start", "7", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result) == ["net", "dataset", "engine", "images", "correct", "accuracy"]
    assert result["net"] == zoo.SYNTHETIC and result["dataset"] == "synthetic" and result["images"] == 50
    assert result["accuracy"] == result["correct"] / 50 >= 0.95


def recorded(monkeypatch, module):
    """(total, [what was done, ...]) of every Progress of that module from now on."""
    found = []

    class Recorded(Progress):
        def __init__(self, total, **options):
            super().__init__(total, **options)
            found.append((total, []))

        def advance(self, count):
            super().advance(count)
            found[-1][1].append(count)
    monkeypatch.setattr(module, "Progress", Recorded)
    return found


@pytest.mark.parametrize("arguments, steps", [
    ((zoo.SYNTHETIC,), [100, 100, 30]), ((zoo.SYNTHETIC, "--engine", "torch"), [100, 100, 30]),
    ((zoo.FOLDER / "parents" / "resnet8-cifar10.pt",), [230])])
def test_eval_has_progress(arguments, steps, cifar, monkeypatch, capsys):
    if len(arguments) > 1 or arguments[0] != zoo.SYNTHETIC:
        pytest.importorskip("torch")
    found = recorded(monkeypatch, evaluate)
    data = [] if arguments[0] == zoo.SYNTHETIC else ["--data", str(cifar)]
    assert command.main(["eval", *map(str, arguments), "--images", "230", "--json", *data]) == 0
    assert found == [(230, steps)]
    assert json.loads(capsys.readouterr().out)["images"] == 230


def test_right_of_counts_every_picture_once():
    net = zoo.load(zoo.SYNTHETIC)
    dataset = datasets.load("synthetic", "test")
    pictures, labels = dataset.pictures[:205], dataset.labels[:205].copy()
    labels[[3, 150, 204]] = 9 - labels[[3, 150, 204]]
    predictions = golden.forward(net, pictures).argmax(1)
    assert evaluate.right_of(net, pictures, labels) == int((predictions == labels).sum())
    assert evaluate.right_of(net, pictures, predictions) == 205


@pytest.mark.train
def test_eval_engines_agree(capsys):
    pytest.importorskip("torch")
    results = []
    for engine in ("torch", "integer"):
        assert command.main(["eval", zoo.SYNTHETIC, "--images", "30", "--engine", engine]) == 0
        results.append(capsys.readouterr().out.replace(engine, ""))
    assert results[0] == results[1]


def test_card(capsys, tmp_path):
    assert command.main(["card", "--json"]) == 0
    cards = json.loads(capsys.readouterr().out)
    assert [card["name"] for card in cards] == zoo.names()
    for card in cards:
        assert set(CARD) <= set(card)
        assert json.loads((zoo.FOLDER / f"{card['name']}.json").read_text()) == card
        assert (zoo.FOLDER / f"{card['name']}.csv").is_file()
    assert command.main(["card", zoo.DEFAULT, "-o", str(tmp_path / "card.json")]) == 0
    assert json.loads((tmp_path / "card.json").read_text()) == cards[0]
    assert command.main(["card"]) == 0


def test_the_default_net_reaches_what_it_must(capsys):
    command.main(["card", zoo.DEFAULT, "--json"])
    card = json.loads(capsys.readouterr().out)
    assert card["images"] == 10_000 and card["accuracy"] >= 0.86


def where(dataset, cifar):
    """Options that say where the data set is; the test is skipped where that is nowhere."""
    if dataset == "synthetic":
        return []
    try:
        datasets.load(dataset, "test", cifar)
    except UserError as missing:
        pytest.skip(str(missing))
    return ["--data", str(cifar)]


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted([*zoo.FOLDER.glob("*.json"), *MEASUREMENTS.glob("*/*.json")]),
                         ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_net_is_as_accurate_as_its_card_says(path, cifar, capsys):
    """Of the zoo, and of the tables in docs/experiments.md."""
    card = json.loads(path.read_text())
    if card["macs"] > 500e6:
        pytest.skip(f"minutes: python -m model eval {path.stem}")
    assert command.main(["eval", str(path.with_suffix(".npz")), "--json", *where(card["dataset"], cifar)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["images"], result["accuracy"]) == (card["images"], card["accuracy"])


def test_a_card_that_cannot_be_written_is_refused_before_the_net_is_read(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "load", pytest.fail)
    for path in tmp_path / "nowhere" / "card.json", tmp_path:
        assert failure(capsys, "card", zoo.DEFAULT, "-o", path) == f"error: {path}: not a file in an existing folder\n"
    monkeypatch.setattr(os, "access", lambda folder, mode: False)               # root may write to every folder
    path = tmp_path / "card.json"
    assert failure(capsys, "card", "-o", path) == f"error: {path}: no permission to write to that folder\n"
    assert not list(tmp_path.iterdir())


def test_bad_input(capsys, tmp_path):
    assert "nope" in failure(capsys, "eval", "nope")
    assert "--images 2001: from picture 0 on" in failure(capsys, "eval", zoo.SYNTHETIC, "--images", 2001)
    assert "--images must be at least 1, not 0" in failure(
        capsys, "eval", zoo.SYNTHETIC, "--images", 0, "--start", 1999)
    assert "--start must be at least 0, not -1" in failure(capsys, "eval", zoo.SYNTHETIC, "--start", -1)
    assert "--start 2000: the test set of synthetic has pictures 0 to 1999" in failure(
        capsys, "eval", zoo.SYNTHETIC, "--start", 2000)
    assert "--engine torch" in failure(capsys, "eval", zoo.SYNTHETIC, "--device", "cuda")
    assert "no cifar10 there" in failure(capsys, "eval", zoo.DEFAULT, "--data", tmp_path)
    store.save(replace(every_term_net(), header={}), tmp_path / "net.npz")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot write .*folder: Is a directory"):
        store.save(every_term_net(), tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "net.npz"]
    assert "no record of its training" in failure(capsys, "card", tmp_path / "net.npz")
    assert "does not say which data set" in failure(capsys, "eval", tmp_path / "net.npz")
    assert "is a net for cifar10: on synthetic it has no accuracy" in failure(
        capsys, "eval", zoo.DEFAULT, "--data", "synthetic")
    assert "takes 3 x 12 x 12" in failure(capsys, "eval", tmp_path / "net.npz", "--data", "synthetic")


@pytest.mark.train
def test_bad_input_to_training_commands(capsys, tmp_path):
    torch = pytest.importorskip("torch")
    assert "is not the name of a net" in failure(capsys, "train", "resnet9")
    assert failure(capsys, "train", "resnet8-w4a4-cifar").endswith("did you mean cifar10?\n")
    assert failure(capsys, "train", "resnet8-w4a4-lerned-cifar10").endswith("did you mean learned?\n")
    assert failure(capsys, "train", "resnet88-w4a4-cifar10").endswith("did you mean resnet8?\n")
    assert failure(capsys, "train", "--quantizer", "uniforms").endswith("did you mean uniform?\n")
    assert failure(capsys, "train", "resnet8-w4-cifar10").endswith("did you mean resnet8-w4a4-cifar10?\n")
    assert failure(capsys, "train", "--teacher", "resnet20-cifa10").endswith(
        "did you mean resnet20-cifar10?\n")
    assert failure(capsys, "bench", "resnet9").endswith("did you mean resnet8?\n")
    picture = ("-o", tmp_path / "x.png")
    for kind in "weights", "accumulators":
        assert failure(capsys, "plot", kind, zoo.DEFAULT, "--layer", "steam", *picture).endswith("did you mean stem?\n")
    assert failure(capsys, "plot", "curves", "resnet8-w4a4", *picture).endswith("did you mean resnet8-w4a4-cifar10?\n")
    assert failure(capsys, "plot", "bits", "--dataset", "cifar-10", *picture).endswith("did you mean cifar10?\n")
    (tmp_path / "file").touch()
    assert "Not a directory" in failure(capsys, "train", zoo.SYNTHETIC, "--runs", tmp_path / "file")
    assert "--data needs --dataset" in failure(capsys, "bench", "--data", tmp_path)
    assert "is an .npz" in failure(capsys, "export", tmp_path / "02_qat.pt", "-o", tmp_path / "net.json")
    assert "unknown quantizer 'seed3'" in failure(capsys, "train", "--quantizer", "seed3")
    for arguments in ("train",), ("bench", "--dataset", "synthetic"), ("eval", zoo.SYNTHETIC, "--engine", "torch"):
        if not torch.cuda.is_available():
            assert "no CUDA device here" in failure(capsys, *arguments, "--device", "cuda")
    assert "--rate must be above 0 and at most 1, not 0" in failure(capsys, "train", "--rate", 0)
    assert "--distill must be 0 .. 1" in failure(capsys, "train", "--distill", 2)
    assert "of no use" in failure(capsys, "train", "--distill", 0, "--teacher", "vgg-cifar10")
    assert "learns without a teacher" in failure(capsys, "train", "resnet18-w4a4-cifar10", "--teacher", "vgg-cifar10")
    assert "'x' is not the name of a net" in failure(capsys, "train", zoo.SYNTHETIC, "--start", "x")
    assert "--float-epochs is of no use with --start" in failure(
        capsys, "train", zoo.SYNTHETIC, "--start", zoo.DEFAULT, "--float-epochs", 2)
    assert "cannot start from itself" in failure(capsys, "train", zoo.SYNTHETIC, "--start", zoo.SYNTHETIC)
    assert "No such file" in failure(capsys, "export", tmp_path / "02_qat.pt")
    assert f"no {tmp_path / zoo.DEFAULT / '02_qat.pt'}: python -m model train" in failure(
        capsys, "export", "--runs", tmp_path)
    failure(capsys, "train", "--runs", tmp_path / "runs", "--data", tmp_path)
    assert not (tmp_path / "runs").exists()
    nowhere = tmp_path / "nowhere" / "net.npz"
    assert "not a file in an existing folder" in failure(capsys, "export", tmp_path / "02_qat.pt", "-o", nowhere)
    assert "--json is not" in failure(capsys, "bench", "--profile", "--json")


def test_interrupt_is_130(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt
    monkeypatch.setattr(store, "load", interrupted)
    assert command.main(["eval"]) == 130
