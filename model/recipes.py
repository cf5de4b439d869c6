"""Recipes: how each net of the zoo is trained, from pixels to 02_qat.pt."""
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from . import data
from .convert import quantize
from .errors import UserError
from .nets import arch
from .network import Network, QuantConfig
from .train import Schedule, accuracy, fit

__all__ = ["Recipe", "RECIPES", "train_recipe", "load_checkpoint"]

CALIBRATION_IMAGES = 512


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A float stage and a quantization-aware stage that starts from it and, if it distills, is taught by it."""
    name: str
    arch: str
    dataset: str
    float_stage: Schedule
    quant_stage: Schedule
    quant: QuantConfig = QuantConfig()


FLOAT = Schedule(epochs=48, rate=0.15, weight_decay=5e-4, seed=1)
QUANTIZED = Schedule(epochs=84, rate=0.08, quantizer_rate=0.005, weight_decay=2e-4, warmup=0.05, distill=0.5, frozen=6,
                     seed=2)

RECIPES = {recipe.name: recipe for recipe in (
    Recipe(name="resnet8-w4a4-cifar10", arch="resnet8", dataset="cifar10", float_stage=FLOAT, quant_stage=QUANTIZED),
    Recipe(name="resnet8-w4a4-synthetic", arch="resnet8", dataset="synthetic",
           float_stage=replace(FLOAT, epochs=8), quant_stage=replace(QUANTIZED, epochs=8, frozen=1)),
)}


def provenance(recipe, stage, extra):
    """Header of a checkpoint: what it is, how it came about, with which tools."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
    return {"name": recipe.name, "arch": recipe.arch, "dataset": recipe.dataset, "stage": stage,
            "schedule": asdict(recipe.float_stage if stage == "float" else recipe.quant_stage),
            "commit": commit.stdout.strip(), "torch": str(torch.__version__), "python": sys.version.split()[0], **extra}


def load_checkpoint(path):
    """(Network, header) of a 01_float.pt or 02_qat.pt."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        header = state["header"]
        config = QuantConfig(**header["quant"]) if header["stage"] == "quantized" else None
        net = Network(arch(header["arch"]), len(header["classes"]), config)
        net.load_state_dict(state["net"])
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint") from None
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{path}: not a checkpoint of this program ({reason})") from None
    return net.eval(), {**header, "log": state["log"]}


def train_recipe(recipe, folder, *, data_dir=None, device="cpu", float_only=False):
    """Runs or resumes both stages; returns the quantized net's header and log."""
    folder = Path(folder)
    train = data.load(recipe.dataset, "train", data_dir)
    test = data.load(recipe.dataset, "test", data_dir)
    spec, classes = arch(recipe.arch), len(train.classes)
    extra = {"classes": list(train.classes)}

    torch.manual_seed(recipe.float_stage.seed)
    teacher = Network(spec, classes)
    fit(teacher, train, test, recipe.float_stage, folder / "01_float.pt", device=device,
        header=provenance(recipe, "float", extra))
    if float_only:
        return
    teacher.cpu()
    extra |= {"quant": asdict(recipe.quant), "float_accuracy": accuracy(teacher, test, exact=True),
              "float_schedule": asdict(recipe.float_stage)}
    torch.manual_seed(recipe.quant_stage.seed)
    net = quantize(teacher, torch.as_tensor(train.images[:CALIBRATION_IMAGES]), recipe.quant)
    fit(net, train, test, recipe.quant_stage, folder / "02_qat.pt", teacher=teacher, device=device,
        compile_net=device != "cpu", header=provenance(recipe, "quantized", extra))
