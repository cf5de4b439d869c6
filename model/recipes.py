"""Recipes: how each net of the zoo is trained, from pixels to 02_qat.pt."""
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from . import data
from .convert import quantize
from .errors import UserError
from .nets import arch
from .network import Network, QuantConfig
from .train import Schedule, accuracy, fit

__all__ = ["Recipe", "RECIPES", "train_named", "train_recipe", "load_checkpoint"]

CALIBRATION_IMAGES = 512


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A float stage and a quantization-aware stage that starts from it and is taught by it.

    float_of: name of the recipe whose float net is taken, by default its own.
    """
    name: str
    arch: str
    dataset: str
    float_stage: Schedule
    quant_stage: Schedule
    quant: QuantConfig = QuantConfig()
    float_of: str | None = None


FLOAT = Schedule(epochs=48, rate=0.15, weight_decay=5e-4, seed=1)
QUANTIZED = Schedule(epochs=84, rate=0.08, quantizer_rate=0.005, weight_decay=2e-4, warmup=0.05,
                     distill=0.5, settle=1, seed=2)
CIFAR10 = Recipe(name="resnet8-w4a4-cifar10", arch="resnet8", dataset="cifar10",
                 float_stage=FLOAT, quant_stage=QUANTIZED)

RECIPES = {recipe.name: recipe for recipe in (
    CIFAR10,
    Recipe(name="resnet8-w4a4-synthetic", arch="resnet8", dataset="synthetic",
           float_stage=replace(FLOAT, epochs=8),
           quant_stage=replace(QUANTIZED, epochs=8)),
    replace(CIFAR10, name="resnet8half-w4a4-cifar10", arch="resnet8half", float_stage=replace(FLOAT, epochs=24),
            quant_stage=replace(QUANTIZED, epochs=24)),
    replace(CIFAR10, name="resnet8-w4a4-plain-cifar10", float_of=CIFAR10.name,
            quant=QuantConfig(quantizer="plain"), quant_stage=replace(QUANTIZED, epochs=20)),
)}


def provenance(recipe, stage, schedule, classes):
    """Header of a checkpoint: what it is, how it came about, with which tools."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent,
                            capture_output=True, text=True)
    return {"name": recipe.name, "arch": recipe.arch, "dataset": recipe.dataset, "stage": stage,
            "schedule": asdict(schedule), "classes": list(classes),
            "commit": commit.stdout.strip() or "unknown",
            "torch": str(torch.__version__), "numpy": np.__version__, "python": sys.version.split()[0]}


def load_checkpoint(path):
    """(Network, header) of a 01_float.pt or 02_qat.pt; the header has the training log as `log`."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        header = state["header"]
        config = QuantConfig(**header["quant"]) if header["stage"] == "quantized" else None
        net = Network(arch(header["arch"]), len(header["classes"]), config)
        net.load_state_dict(state["net"])
        return net.eval(), {**header, "log": state["log"]}
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except Exception as error:              # whatever torch and pickle make of a foreign file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: not a checkpoint of this program ({reason})") from None


def refuse_other(path, **wanted):
    """Refuses to resume a checkpoint that another recipe made."""
    if path.exists():
        header = load_checkpoint(path)[1]
        for key, value in wanted.items():
            if header.get(key) != value:
                raise UserError(f"{path}: its {key} is not the one asked for; give another --runs folder")


def train_recipe(recipe, runs, *, data_dir=None, device="cpu"):
    """Runs or resumes both stages under the folder `runs`."""
    float_path = Path(runs) / (recipe.float_of or recipe.name) / "01_float.pt"
    quant_path = Path(runs) / recipe.name / "02_qat.pt"
    refuse_other(float_path, schedule=asdict(recipe.float_stage), arch=recipe.arch, dataset=recipe.dataset)
    refuse_other(quant_path, schedule=asdict(recipe.quant_stage), quant=asdict(recipe.quant))
    train = data.load(recipe.dataset, "train", data_dir)
    test = data.load(recipe.dataset, "test", data_dir)

    torch.manual_seed(recipe.float_stage.seed)
    teacher = Network(arch(recipe.arch), len(train.classes))
    fit(teacher, train, test, recipe.float_stage, float_path, device=device,
        header=provenance(recipe, "float", recipe.float_stage, train.classes))
    teacher.cpu()
    header = provenance(recipe, "quantized", recipe.quant_stage, train.classes) | {
        "quant": asdict(recipe.quant), "float_schedule": asdict(recipe.float_stage),
        "float_accuracy": accuracy(teacher, test, exact=True)}
    torch.manual_seed(recipe.quant_stage.seed)
    net = quantize(teacher, torch.as_tensor(train.images[:CALIBRATION_IMAGES]), recipe.quant)
    # The fused kernels beat compilation on a CPU.
    fit(net, train, test, recipe.quant_stage, quant_path, teacher=teacher, device=device,
        compile_net=device != "cpu", header=header)


def train_named(name, runs, *, data_dir=None, device="cpu", threads=None, seed=None,
                float_epochs=None, epochs=None):
    """Trains the recipe of that name, with what is given instead of its own values."""
    if name not in RECIPES:
        raise UserError(f"unknown recipe {name!r}; known: {', '.join(RECIPES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA device here; leave --device out to train on the CPU")
    if threads:
        torch.set_num_threads(threads)
    recipe = RECIPES[name]
    float_stage, quant_stage = recipe.float_stage, recipe.quant_stage
    if seed is not None:
        float_stage, quant_stage = replace(float_stage, seed=seed), replace(quant_stage, seed=seed + 1)
    if float_epochs:
        float_stage = replace(float_stage, epochs=float_epochs)
    if epochs:
        quant_stage = replace(quant_stage, epochs=epochs)
    train_recipe(replace(recipe, float_stage=float_stage, quant_stage=quant_stage), runs,
                 data_dir=data_dir, device=device)
