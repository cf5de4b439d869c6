"""Training: a stage resumes exactly, a recipe goes from pixels to an integer net, foreign checkpoints are refused."""
import csv
import json
import os
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from model import __main__ as command  # noqa: E402
from model import zoo  # noqa: E402
from model.common.errors import UserError  # noqa: E402
from model.data import datasets, synthetic  # noqa: E402
from model.integer import store  # noqa: E402
from model.nets.specs import ARCHS, arch  # noqa: E402
from model.quantizers import Phase  # noqa: E402
from model.training import fused, recipes, train  # noqa: E402
from model.training.checkpoints import PARENTS, load_checkpoint, weights_digest  # noqa: E402
from model.training.integerize import integerize  # noqa: E402
from model.training.network import Network, QuantConfig  # noqa: E402
from model.training.recipes import command_of, recipe_of, train_named, train_recipe, with_quantizer  # noqa: E402
from tests.model.same_net import assert_same  # noqa: E402

pytestmark = pytest.mark.train
SCHEDULE = train.Schedule(epochs=2, rate=0.05, quantizer_rate=0.005, batch=32, settle=1, distill=0.5)


def pictures(seed, count):
    return datasets.Dataset("synthetic", "train",
                            *synthetic.chunk(np.random.default_rng(seed), count), synthetic.CLASSES)


def run(path, config, epochs):
    """Trains a fresh net for `epochs` epochs of the schedule's two and returns its parameters."""
    torch.manual_seed(0)
    net = Network(arch("resnet8"), 10, config)
    done = replace(SCHEDULE, epochs=epochs) if epochs < 2 else SCHEDULE
    train.fit(net, pictures(1, 160), pictures(2, 32), done, path, header={}, compile_net=False)
    return net.state_dict()


@pytest.mark.parametrize("config", [None, QuantConfig()])
def test_a_resumed_stage_ends_as_an_unbroken_one(tmp_path, monkeypatch, config):
    monkeypatch.setattr(train, "one_cycle", lambda progress, warmup: 1.0)      # whatever the number of epochs
    monkeypatch.setattr(train, "set_momentum", lambda net, momentum: None)
    unbroken = run(tmp_path / "a.pt", config, epochs=2)
    run(tmp_path / "b.pt", config, epochs=1)
    resumed = run(tmp_path / "b.pt", config, epochs=2)
    for name, value in unbroken.items():
        assert torch.equal(value, resumed[name]), name
    assert len((tmp_path / "b.csv").read_text().splitlines()) == 3


def test_noise_and_stages_go_on_where_a_killed_run_was(tmp_path, monkeypatch):
    """Killed twice, after the checkpoint of each epoch and before its log: rates, stages and momentum are those of the
    whole schedule, and the log has every epoch."""
    schedule, config = replace(SCHEDULE, gradual=0.9), QuantConfig(quantizer="uniq")

    def fit(name, killed=0):
        """As a run that is killed once it has written the checkpoint of that epoch."""
        def write_log(path, log, header):
            if len(log) == killed:
                raise KeyboardInterrupt
        torch.manual_seed(0)
        net = Network(arch("resnet8"), 10, config)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) if killed else nullcontext():
            if killed:
                patch.setattr(train, "write_log", write_log)
            train.fit(net, pictures(1, 160), pictures(2, 32), schedule, tmp_path / f"{name}.pt", header={},
                      compile_net=False)
        return net.state_dict()

    whole = fit("whole")
    for epoch in range(1, schedule.epochs + 1):
        fit("killed", killed=epoch)
    resumed = fit("killed")
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    curves = [[(row["epoch"], row["loss"], row["accuracy"]) for row in csv.DictReader(path.read_text().splitlines())]
              for path in (tmp_path / "whole.csv", tmp_path / "killed.csv")]
    assert len(curves[0]) == schedule.epochs and curves[0] == curves[1]


def test_a_checkpoint_without_its_optimizer_cannot_go_on(tmp_path):
    run(tmp_path / "a.pt", None, epochs=2)
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    del state["optimizer"]
    torch.save(state, tmp_path / "a.pt")
    run(tmp_path / "a.pt", None, epochs=2)                          # it is done: a shipped parent, copied there
    state["log"].pop()
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(UserError, match="no state of the optimizer"):
        run(tmp_path / "a.pt", None, epochs=2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")         # torch.compile imports what torch deprecates
@pytest.mark.slow
@pytest.mark.parametrize("config", [None, QuantConfig()], ids=["float", "learned"])
def test_a_compiled_step_is_the_eager_one(config, monkeypatch):
    """But for the rounding of bfloat16. What trains float nets, and on a GPU, which has no fused kernels, all that have
    no stages."""
    monkeypatch.setattr(fused, "available", lambda x: False)
    if isinstance(train.compiled(torch.nn.Identity()), torch.nn.Identity):
        pytest.skip("torch.compile needs a C++ compiler and Python's headers")
    losses, updates = [], []
    for compile_net in (False, True):
        torch.manual_seed(0)
        net = Network(arch("resnet8half"), 10, config)
        before = torch.cat([p.detach().flatten() for p in net.parameters()])
        trainer = train.Trainer(net, pictures(1, 64), SCHEDULE, compile_net=compile_net)
        net.train()
        losses.append([trainer.step(torch.arange(32), torch.Generator().manual_seed(0), 0.5).item() for _ in range(2)])
        updates.append(torch.cat([p.detach().flatten() for p in net.parameters()]) - before)
    assert losses[1] == pytest.approx(losses[0], rel=0.01) and losses[0][1] < losses[0][0]
    assert torch.nn.functional.cosine_similarity(*updates, dim=0) > 0.99


def test_the_loss_mixes_labels_and_teacher():
    torch.manual_seed(0)
    logits, soft, labels = torch.randn(8, 10), torch.randn(8, 10), torch.arange(8)
    hard = torch.nn.functional.cross_entropy(logits, labels)
    assert train.loss_of(logits, labels, None, SCHEDULE) == hard
    torch.testing.assert_close(train.loss_of(logits, labels, logits, SCHEDULE), hard / 2)       # no divergence
    t = SCHEDULE.temperature
    p, q = torch.softmax(soft / t, 1), torch.softmax(logits / t, 1)
    divergence = (p * (p / q).log()).sum(1).mean() * t * t
    torch.testing.assert_close(train.loss_of(logits, labels, soft, SCHEDULE), hard / 2 + divergence / 2)


def test_smoothed_labels_give_every_class_a_share():
    torch.manual_seed(0)
    logits, labels = torch.randn(8, 10), torch.arange(8)
    target = 0.9 * torch.nn.functional.one_hot(labels, 10) + 0.1 / 10
    expected = -(target * torch.log_softmax(logits, 1)).sum(1).mean()
    torch.testing.assert_close(train.loss_of(logits, labels, None, replace(SCHEDULE, smoothing=0.1)), expected)


def test_one_cycle_rises_then_falls_to_zero():
    rates = [train.one_cycle(step / 100, 0.15) for step in range(101)]
    assert max(rates) == pytest.approx(1) and rates.index(max(rates)) == 15
    assert rates[0] < 0.1 and rates[-1] == pytest.approx(0)


def test_crops_are_windows_of_the_padded_picture():
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)
    batch = train.Crops(images).batch(torch.arange(20), torch.Generator().manual_seed(0)).numpy()
    padded = np.pad(images, ((0, 0), (0, 0), (4, 4), (4, 4)))
    for crop, whole in zip(batch, padded, strict=True):
        assert any((np.array_equal(crop, window) or np.array_equal(crop[..., ::-1], window))
                   for dy in range(9) for dx in range(9) for window in [whole[:, dy:dy + 32, dx:dx + 32]])


def test_half_of_the_pictures_are_flipped():
    images = np.zeros((400, 3, 32, 32), np.uint8)
    images[..., :16] = 255
    batch = train.Crops(images, pad=0).batch(torch.arange(400), torch.Generator().manual_seed(0))
    assert 150 < (batch[:, 0, 0, 0] == 0).sum() < 250


def test_quantizers_and_norms_are_not_decayed():
    groups = train.parameter_groups(Network(arch("resnet8"), 10, QuantConfig()), SCHEDULE)
    decayed = [p for group in groups if group["weight_decay"] for p in group["params"]]
    assert len(decayed) == 10 and all(p.dim() > 1 for p in decayed)


@pytest.mark.parametrize("name", ARCHS)
@pytest.mark.parametrize("config", [None, QuantConfig(quantizer="uniq", w_bits=3, a_bits=2),
                                    QuantConfig(w_bits=2, a_bits=2, residual_bits=4)])
def test_every_architecture_trains_a_step(name, config):
    net = Network(arch(name), 10, config)
    before = {key: parameter.clone() for key, parameter in net.named_parameters()}
    trainer = train.Trainer(net, pictures(1, 4), replace(SCHEDULE, batch=4), compile_net=False)
    trainer.step(torch.arange(4), torch.Generator().manual_seed(0), 0.5)
    for key, parameter in net.named_parameters():
        assert parameter.isfinite().all(), key
        assert parameter.dim() == 1 or not torch.equal(parameter, before[key]), key


def test_recipe_runs_both_stages_exports_and_refuses_another_schedule(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(datasets, "load", lambda name, split, folder: pictures(1 if split == "train" else 2, 96))
    monkeypatch.setattr(torch, "compile", lambda net: net)
    stage = replace(SCHEDULE, epochs=1)
    recipe = replace(recipe_of("resnet8-w2a2-synthetic"), float_stage=stage, quant_stage=stage)
    folder = tmp_path / recipe.name
    train_recipe(recipe, tmp_path)
    net, header = load_checkpoint(folder / "02_qat.pt")
    assert net.config == recipe.quant and header["schedule"] == asdict(stage) and len(header["log"]) == 1
    state = torch.load(folder / "02_qat.pt", weights_only=True)
    del state["header"]["quant"]["residual_bits"]                   # as one that was begun before there were such
    torch.save(state, folder / "02_qat.pt")
    train_recipe(recipe, tmp_path)
    assert 0 <= header["float_accuracy"] <= 1
    assert command.main(["export", str(folder / "02_qat.pt")]) == 0
    exported = zoo.load(folder / "03_net.npz")
    card = json.loads((folder / "03_net.json").read_text())
    options = "--float-epochs 1 --epochs 1 --rate 0.05"
    assert card["command"].startswith(f"python -m model train resnet8-w2a2-synthetic {options} && ")
    assert exported.header["images"] == card["images"] == 96 and card["accuracy"] == exported.header["accuracy"]
    assert card["device"] == "cpu" and card["seconds"] == round(header["log"][0]["seconds"])
    assert (folder / "03_net.csv").read_text().startswith("epoch,loss,accuracy,seconds\n1,")
    assert command.main(["export", str(tmp_path / "resnet8-synthetic" / "01_float.pt")]) == 2
    assert "a float net" in capsys.readouterr().err
    state = torch.load(folder / "02_qat.pt", weights_only=True)
    state["log"] = []
    torch.save(state, tmp_path / "begun.pt")
    assert command.main(["export", str(tmp_path / "begun.pt")]) == 2
    assert "its training is not finished: 0 of 1 epochs" in capsys.readouterr().err
    assert command.main(["eval", str(tmp_path / "resnet8-synthetic" / "01_float.pt"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "net": "resnet8-synthetic", "dataset": "synthetic", "engine": "float32", "images": 96,
        "correct": round(96 * header["float_accuracy"]), "accuracy": header["float_accuracy"]}
    assert header["processes"] == header["nodes"] == 1 and header["device"] == "cpu"
    parent = tmp_path / "resnet8-synthetic" / "01_float.pt"
    assert command.main(["eval", str(parent), "--engine", "torch"]) == 2
    assert "--engine is for integer nets" in capsys.readouterr().err
    state = torch.load(parent, weights_only=True)
    state["net"]["layers.head.linear.bias"] += 1
    torch.save(state, parent)
    with pytest.raises(UserError, match="its parent is [0-9a-f]{20}, not [0-9a-f]{20} as asked for"):
        train_recipe(recipe, tmp_path)
    for other in ({"quant_stage": replace(stage, epochs=2)}, {"float_stage": replace(stage, epochs=2)}):
        with pytest.raises(UserError, match=r"schedule, epochs, is 1, not 2 as asked for"):
            train_recipe(replace(recipe, **other), tmp_path)


def test_a_shipped_parent_of_another_schedule_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(recipes, "fit", lambda net, *_, **__: None)
    recipe = recipe_of("resnet8-w4a4-cifar10")
    recipe = replace(recipe, float_stage=replace(recipe.float_stage, epochs=2))
    recipes.float_parent(recipe, tmp_path / "01_float.pt", pictures(1, 4), pictures(2, 4), "cpu", {})
    assert capsys.readouterr().err == "a float net of 2 epochs first; --float-epochs 48 takes the shipped one\n"
    recipe = replace(recipe, float_stage=replace(recipe.float_stage, rate=0.01))
    recipes.float_parent(recipe, tmp_path / "01_float.pt", pictures(1, 4), pictures(2, 4), "cpu", {})
    assert capsys.readouterr().err == ""                # no number of epochs would take it


def test_another_float_net_can_teach(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda name, split, folder: pictures(1 if split == "train" else 2, 96))
    monkeypatch.setattr(torch, "compile", lambda net: net)
    stage = replace(SCHEDULE, epochs=1)
    recipe = replace(recipe_of("resnet8-w2a2-synthetic"), float_stage=stage, quant_stage=stage)
    train_recipe(recipe, tmp_path)
    alone = load_checkpoint(tmp_path / recipe.name / "02_qat.pt")[0].state_dict()
    taught = replace(recipe, teacher="resnet8-half")
    with pytest.raises(UserError, match="no float net 'resnet8-half' to be taught by"):
        train_recipe(taught, tmp_path / "other")
    with pytest.raises(UserError, match="its teacher is resnet8-synthetic, not resnet8-half as asked for"):
        train_recipe(taught, tmp_path)
    (tmp_path / recipe.name / "02_qat.pt").unlink()
    (tmp_path / "resnet8-half").mkdir()
    header = {"arch": "resnet8half", "dataset": "synthetic", "stage": "float", "classes": ["x"] * 10,
              "schedule": {"epochs": 1, "rate": 0.1}}
    net, path = Network(arch("resnet8half"), 10).state_dict(), tmp_path / "resnet8-half" / "01_float.pt"
    for wrong, message in (({"dataset": "cifar10"}, "not a float net for synthetic"),
                           ({"schedule": {"epochs": 2, "rate": 0.1}}, "its training is not finished")):
        torch.save({"header": header | wrong, "net": net, "log": [{}]}, path)
        with pytest.raises(UserError, match=message):
            train_recipe(taught, tmp_path)
    torch.save({"header": header, "net": net, "log": [{}]}, path)
    train_recipe(taught, tmp_path)
    other, trained = load_checkpoint(tmp_path / recipe.name / "02_qat.pt")
    assert trained["teacher"] == "resnet8-half"
    assert any(not torch.equal(value, alone[name]) for name, value in other.state_dict().items())


def test_another_quantized_net_can_be_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda name, split, folder: pictures(1 if split == "train" else 2, 96))
    monkeypatch.setattr(torch, "compile", lambda net: net)
    stage = replace(SCHEDULE, epochs=1)
    recipe, first = (replace(recipe_of(f"resnet8-{bits}-synthetic"), float_stage=stage, quant_stage=stage)
                     for bits in ("w2a2r4", "w3a3"))
    first = replace(first, float_stage=replace(stage, cutout=4))      # which the net that starts from it takes
    path, started = tmp_path / recipe.name / "02_qat.pt", replace(recipe, start=first.name)
    with pytest.raises(UserError, match="to start from; first: python -m model train resnet8-w3a3-synthetic"):
        train_recipe(started, tmp_path)
    assert not list(tmp_path.iterdir())
    train_recipe(first, tmp_path)
    train_recipe(replace(recipe, float_stage=first.float_stage), tmp_path)
    with pytest.raises(UserError, match="its start is None, not resnet8-w3a3-synth.* as asked for"):
        train_recipe(started, tmp_path)
    alone = load_checkpoint(path)[0].state_dict()
    path.unlink()
    train_recipe(started, tmp_path)
    net, header = load_checkpoint(path)
    assert header["start"] == first.name
    assert header["float_schedule"]["cutout"] == 4 and header["schedule"]["cutout"] == 0
    assert "--float-epochs" not in command_of(header).split(" && ")[1]
    assert header["start_digest"] == weights_digest(load_checkpoint(tmp_path / first.name / "02_qat.pt")[0])
    assert command_of(header).split(" && ")[1].startswith("python -m model train resnet8-w2a2r4-synthetic ")
    assert command_of(header).split(" && ")[1].endswith(" --start resnet8-w3a3-synthetic")
    assert command_of(header).startswith("python -m model train resnet8-w3a3-synthetic ")
    assert any(not torch.equal(value, alone[name]) for name, value in net.state_dict().items())
    train_recipe(started, tmp_path)                                             # done: nothing to do, nothing refused
    with pytest.raises(UserError, match="its start is resnet8-w3a3-synth.*, not None as asked for"):
        train_recipe(replace(recipe, float_stage=first.float_stage), tmp_path)

    state = torch.load(tmp_path / first.name / "02_qat.pt", weights_only=True)
    for change, message in (({"dataset": "cifar10"}, "not a quantized resnet8 for synthetic"),
                            ({"schedule": asdict(replace(stage, epochs=2))}, "its training is not finished"),
                            ({}, "its start_digest is [0-9a-f]{20}, not [0-9a-f]{20} as asked for")):
        state["net"]["layers.head.linear.bias"] += 1
        torch.save(state | {"header": state["header"] | change}, tmp_path / first.name / "02_qat.pt")
        with pytest.raises(UserError, match=message):
            train_recipe(started, tmp_path)


def test_an_integer_net_can_be_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda name, split, folder: pictures(1 if split == "train" else 2, 96))
    monkeypatch.setattr(torch, "compile", lambda net: net)
    stage = replace(SCHEDULE, epochs=1, distill=0.0)
    first = replace(recipe_of("resnet8-w3a3-synthetic"), float_stage=replace(stage, cutout=4), quant_stage=stage)
    train_recipe(first, tmp_path / "first")
    checkpoint = tmp_path / "first" / first.name / "02_qat.pt"
    assert command.main(["export", str(checkpoint)]) == 0
    start = str(checkpoint.with_name("03_net.npz"))
    original = zoo.load(start)

    started, path = replace(first, start=start), tmp_path / first.name / "02_qat.pt"
    before = []
    with monkeypatch.context() as patch:
        patch.setattr(recipes, "fit", lambda net, *_, **__: before.append(integerize(net, "x", original.classes)))
        train_recipe(started, tmp_path)
    assert_same(original, before[0])
    train_recipe(started, tmp_path)
    assert not (tmp_path / first.parent).exists()                   # the float net has nothing to do
    net, header = load_checkpoint(path)
    assert (header["start"], header["start_digest"]) == (start, store.digest(original))
    for key in "parent", "float_accuracy", "float_schedule":
        assert header[key] == original.header[key]
    assert header["float_schedule"]["cutout"] == 4
    assert command_of(header) == (f"python -m model train {first.name} --epochs 1 --rate 0.05 --distill 0 "
                                  f"--start {start}")
    log = header["log"]
    train_recipe(started, tmp_path)                                 # done: nothing to do, nothing refused
    assert load_checkpoint(path)[1]["log"] == log
    taught = replace(started, quant_stage=replace(stage, distill=0.5))
    train_recipe(taught, tmp_path / "taught")
    assert (tmp_path / "taught" / first.parent / "01_float.pt").exists()        # the teacher
    (tmp_path / "taught" / first.parent).rename(tmp_path / "taught" / "another")
    (tmp_path / "taught" / first.name / "02_qat.pt").unlink()
    train_recipe(replace(taught, teacher="another"), tmp_path / "taught")
    assert not (tmp_path / "taught" / first.parent).exists()                    # another one taught

    for change, message in (({"dataset": "cifar10"}, "03_net.npz: not a quantized resnet8 for synthetic"),
                            ({"arch": "vgg"}, "03_net.npz: not a quantized resnet8 for synthetic"),
                            ({"float_schedule": {"epochs": 1}}, "03_net.npz: no record of its training in it"),
                            ({"quant": original.header["quant"] | {"w_bits": 2}},
                             "its layers are not those of its record")):
        store.save(replace(original, header=original.header | change), start)
        with pytest.raises(UserError, match=message):
            train_recipe(started, tmp_path / "refused")
        assert not (tmp_path / "refused").exists()
    other = replace(original.layers[-1], bias=original.layers[-1].bias + 1)
    store.save(replace(original, layers=(*original.layers[:-1], other)), start)
    with pytest.raises(UserError, match="its start_digest is [0-9a-f]{20}, not [0-9a-f]{20} as asked for"):
        train_recipe(started, tmp_path)


def test_a_start_that_is_none_ends_in_one_line(tmp_path, capsys):
    for start, message in (("resnet8-w4a4-uniq-cifar10", "no {}/resnet8-w4a4-uniq-cifar10/02_qat.pt to start from"),
                           (f"{zoo.FOLDER}/resnet8-w4a4-uniq-cifar10.npz", "of the quantizer learned alone"),
                           (f"{zoo.FOLDER}/resnet8-w3a3-cifar10.npz", "not a quantized resnet20 for cifar10"),
                           (f"{tmp_path}/none.npz", "none.npz: neither a file nor a net of the zoo")):
        name = "resnet20-w4a4-cifar10" if "w3a3" in start else "resnet8-w4a4-cifar10"
        assert command.main(["train", name, "--start", start, "--runs", str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert message.format(tmp_path) in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_what_is_given_replaces_the_recipes_values(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(recipes, "train_recipe", lambda recipe, *_, **__: given.append(recipe))
    recipe = recipe_of("resnet8-w2a2-cifar10")
    train_named(recipe.name, tmp_path, float_epochs=3, epochs=5, rate=0.02, cutout=8, distill=0.25)
    assert given == [replace(
        recipe, float_stage=replace(recipe.float_stage, epochs=3, cutout=8),
        quant_stage=replace(recipe.quant_stage, epochs=5, cutout=8, distill=0.25, rate=0.02, quantizer_rate=0.005))]
    assert recipe.quant_stage.quantizer_rate / recipe.quant_stage.rate == 0.005 / 0.02
    train_named(recipe.name, tmp_path, start="resnet8-w3a3-cifar10", cutout=8)     # the float stage: see `train_recipe`
    assert given[1].start == "resnet8-w3a3-cifar10" and given[1].quant_stage == replace(recipe.quant_stage, cutout=8)


def test_bad_checkpoints_and_names(tmp_path):
    path = tmp_path / "x.pt"
    with pytest.raises(UserError, match="x.pt: No such file or directory$"):
        load_checkpoint(path)
    (tmp_path / "02_qat.pt").touch()
    with pytest.raises(UserError) as error:
        load_checkpoint(tmp_path / "02_qta.pt")
    assert str(error.value) == (f"{tmp_path / '02_qta.pt'}: No such file or directory; did you mean "
                                f"{tmp_path / '02_qat.pt'}?")
    def refusal(content):
        path.write_bytes(content)
        with pytest.raises(UserError) as error:
            load_checkpoint(path)
        return str(error.value).removeprefix(f"{path}: ")
    assert refusal(b"") == "an empty file"
    foreign = ("not a checkpoint of this program, or a damaged one; "
               "python -m model train writes 01_float.pt and 02_qat.pt")
    assert refusal(b"nonsense") == foreign
    torch.save({"other": 1}, path)
    assert refusal(path.read_bytes()) == foreign
    content = (PARENTS / "resnet8-cifar10.pt").read_bytes()
    assert refusal(content[:100_000]) == "cut off after 100,000 bytes, its end is missing: copy or make it again"


def test_a_checkpoint_cut_off_is_said_where_training_would_use_it(tmp_path):
    name, content = "resnet8-w4a4-synthetic", (PARENTS / "resnet8-cifar10.pt").read_bytes()[:1000]
    for path, arguments in ((tmp_path / name / "02_qat.pt", {}),
                            (tmp_path / "resnet8-synthetic" / "01_float.pt", {}),
                            (tmp_path / "vgg-synthetic" / "01_float.pt", {"teacher": "vgg-synthetic"}),
                            (tmp_path / "resnet8-w3a3-synthetic" / "02_qat.pt", {"start": "resnet8-w3a3-synthetic"}),
                            (tmp_path / "net.npz", {"start": str(tmp_path / "net.npz")})):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        with pytest.raises(UserError) as error:
            train_named(name, tmp_path, **arguments)
        path.unlink()
        assert str(error.value) == f"{path}: cut off after 1,000 bytes, its end is missing: copy or make it again"


def test_names_tell_the_recipe():
    recipe = recipe_of("resnet20-w3a2-uniq-median-seed7-cifar100")
    assert (recipe.arch, recipe.dataset, recipe.parent) == ("resnet20", "cifar100", "resnet20-cifar100")
    assert recipe.quant == QuantConfig(quantizer="uniq", w_bits=3, a_bits=2, grid="median")
    assert recipe.quant_stage.seed == 7 and recipe.quant_stage.gradual > 0
    recipe = recipe_of("resnet20-w2a2r4-seed7-cifar10")
    assert recipe.quant == QuantConfig(w_bits=2, a_bits=2, residual_bits=4) and recipe.quant.drop == 2
    assert recipe.parent == "resnet20-cifar10"
    assert with_quantizer("resnet20-w2a2r4-seed7-cifar10", "uniform") == "resnet20-w2a2r4-uniform-seed7-cifar10"
    default = recipe_of("resnet8-w4a4-cifar10")
    assert default.quant == QuantConfig() and default.quant_stage.gradual == 0
    assert with_quantizer("resnet8-w4a4-cifar10", "uniform") == "resnet8-w4a4-uniform-cifar10"
    header = {"name": default.name, "float_schedule": asdict(default.float_stage),
              "schedule": asdict(default.quant_stage)}
    assert command_of(header) == "python -m model train resnet8-w4a4-cifar10"
    changed = {"epochs": 8, "rate": 0.04, "cutout": 8, "distill": 0.0}
    assert (command_of(header | {"schedule": header["schedule"] | changed})
            == "python -m model train resnet8-w4a4-cifar10 --epochs 8 --rate 0.04 --cutout 8 --distill 0")
    assert (command_of(header | {"device": "cuda:0", "processes": 4, "teacher": "vgg-cifar10"})
            == "torchrun --nproc-per-node 4 -m model train resnet8-w4a4-cifar10 --teacher vgg-cifar10 --device cuda")
    assert (command_of(header | {"device": "cuda:0", "processes": 8, "nodes": 2})
            == "torchrun --nnodes 2 --nproc-per-node 4 -m model train resnet8-w4a4-cifar10 --device cuda")
    assert (command_of(header | {"name": "resnet8-w4a4-uniq-cifar10",
                                 "schedule": header["schedule"] | {"freeze": True}})
            == "python -m model train resnet8-w4a4-uniq-cifar10 --freeze")
    assert with_quantizer("resnet8-w4a4-uniq-seed3-cifar10", "plain") == "resnet8-w4a4-plain-seed3-cifar10"


@pytest.mark.parametrize("name, message", [
    ("x", "is not the name of a net"), ("resnet9-w4a4-cifar10", "unknown architecture 'resnet9'"),
    ("resnet8-w4a4-best-cifar10", "unknown quantizer 'best'"), ("resnet8-w4a4-mnist", "unknown data set 'mnist'"),
    ("resnet8-w4a4-learned-median-cifar10", "median grid is for uniq and plain"),
    ("resnet8-w5a4-uniq-median-cifar10", "no levels for weights of more than 4 bits"),
    ("resnet8-w4a4r4-cifar10", "residuals of 4 bits are not wider than activations of 4"),
    ("resnet8-w2a2r4-uniq-cifar10", "residuals of their own bits are not for uniq"),
    ("vgg-w2a2r4-cifar10", "vgg has no residuals"), ("resnet8-w9a4-cifar10", "is not the name")])
def test_bad_names(tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        train_named(name, tmp_path)


def test_float_nets_that_ship_are_those_of_the_recipes():
    paths = sorted(PARENTS.glob("*.pt"))
    assert paths
    for path in paths:
        net, header = load_checkpoint(path)
        assert path.stem == f"{header['arch']}-{header['dataset']}" == header["name"]
        stage = recipe_of(f"{header['arch']}-w4a4-{header['dataset']}").float_stage
        assert header["schedule"] == asdict(replace(stage, epochs=len(header["log"])))      # --float-epochs may differ


def test_freezing_gives_every_layer_and_the_head_a_cycle(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "train_recipe", lambda recipe, *_, **__: given.append(recipe.quant_stage))
    given = []
    train_named("resnet8-w4a4-uniq-synthetic", tmp_path, freeze=True, epochs=16)
    schedule, = given
    assert schedule.freeze and schedule.cycles == 8 and schedule.epochs == 16
    net = Network(arch("resnet8"), 10, QuantConfig(quantizer="uniq"))
    for cycle in range(8):
        net.set_stage((cycle + 0.5) / 8 / schedule.gradual)
        phases = [layer.activation.phase for layer in net.layers.values() if hasattr(layer, "terms")]
        assert phases.count(Phase.ROUNDED) == cycle and phases.count(Phase.NOISY) == (cycle < 7)
    with pytest.raises(UserError, match="--freeze is for the uniq quantizer"):
        train_named("resnet8-w4a4-plain-synthetic", tmp_path, freeze=True)


@pytest.mark.parametrize("name", ARCHS)
def test_every_architecture_has_a_recipe(name):
    assert recipe_of(f"{name}-w2a2-cifar100").arch == name


def test_gradual_training_turns_one_layer_after_another():
    net = Network(arch("resnet8"), 10, QuantConfig(quantizer="uniq"))
    phases = []
    for progress in (0, 0.5, 1, 1.6):
        net.set_stage(progress)
        phases.append([layer.activation.phase.name[0] for layer in net.layers.values() if hasattr(layer, "terms")])
        assert all(term.quantizer.phase is layer.activation.phase for layer in net.layers.values()
                   for term in getattr(layer, "terms", ()) if hasattr(term, "quantizer"))
    assert ["".join(phase) for phase in phases] == ["NSSSSSS", "RRRNSSS", "RRRRRRR", "RRRRRRR"]


def test_frozen_layers_learn_no_more_once_they_round_and_rates_rise_again():
    schedule = replace(SCHEDULE, gradual=1.0, freeze=True, cycles=2, weight_decay=0.1)
    torch.manual_seed(0)
    net = Network(arch("resnet8"), 10, QuantConfig(quantizer="uniq"))
    trainer = train.Trainer(net, pictures(1, 160), schedule, compile_net=False)
    order = torch.arange(160)
    changed, rates = [], []
    for progress in (0.0, 0.49, 0.5, 0.95):
        before = {name: value.clone() for name, value in net.named_parameters()}
        trainer.step(order[:32], torch.Generator().manual_seed(0), progress)
        names = {name.split(".")[1] for name, value in net.named_parameters() if not torch.equal(value, before[name])}
        changed.append(names)
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates[0] == rates[2] == 0.05 * schedule.rate and rates[1] < 0.01 * schedule.rate
    everything = {layer.name for layer in arch("resnet8").layers}
    assert changed[0] == everything
    assert changed[1] == changed[2] == everything - {"stem", "s1b1a", "s1b1b"}
    assert changed[3] == {"s3b1b", "head"}


@pytest.mark.parametrize("side", [1, 7, 8])
def test_cutout_blackens_a_square_that_may_leave_the_picture(side):
    images = np.full((400, 3, 32, 32), 255, np.uint8)
    crops = train.Crops(images, pad=0, cutout=side).batch(torch.arange(400), torch.Generator().manual_seed(0))
    black = (crops == 0)
    assert (black == black[:, :1]).all()                                # all colours alike
    rows, columns = black[:, 0].any(2).sum(1), black[:, 0].any(1).sum(1)
    assert (black[:, 0].sum((1, 2)) == rows * columns).all()            # a rectangle
    assert rows.max() == columns.max() == side and rows.min() == columns.min() == (side + 1) // 2


def test_a_folder_without_permission_is_refused_before_the_float_stage(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(datasets, "load", lambda name, split, folder: pictures(1, 4))
    monkeypatch.setattr(os, "access", lambda folder, mode: Path(folder) != tmp_path / zoo.SYNTHETIC)
    monkeypatch.setattr(recipes, "float_parent", pytest.fail)
    assert command.main(["train", zoo.SYNTHETIC, "--runs", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path / zoo.SYNTHETIC / '02_qat.pt'}: no permission to write to that folder\n")
