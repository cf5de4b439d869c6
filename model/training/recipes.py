"""Recipes: how a net is trained, from pixels to 02_qat.pt. A net's name says which:

    ARCH-wBaB[rB][-QUANTIZER][-median][-seedN]-DATASET      resnet8-w4a4-cifar10, resnet20-w3a3-uniq-cifar100

The quantizer is `learned` where none is named; `w2a2r4` has residuals of 4 bits, convolutions off them see the upper 2.
Every net of an architecture and data set starts from one float parent, RUNS/ARCH-DATASET/01_float.pt, or that of the
zoo where one of the same schedule ships, and is taught by it.
"""
import re
import shlex
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from model import zoo
from model.common.errors import UserError
from model.common.files import refuse_unwritable
from model.common.nearest import did_you_mean
from model.data import datasets
from model.integer import store
from model.integer.net import IntegerNet
from model.nets.specs import ARCHS, LayerSpec, arch
from model.quantizers import GRIDDED, WEIGHTS

from .checkpoints import PARENTS, load_checkpoint, provenance, refuse_other, refuse_unfinished, weights_digest
from .convert import quantize
from .deintegerize import deintegerize, refuse_untrainable
from .distributed import device_of, process_group, rank
from .network import Network, QuantConfig
from .train import Schedule, accuracy, fit

__all__ = ["CALIBRATION_PICTURES", "GRADUAL", "QUANTIZED", "STAGES", "Recipe", "recipe_of", "with_quantizer",
           "command_of", "train_named", "train_recipe"]

CALIBRATION_PICTURES = 512
FIRST_BITS = 4                          # of the first weights, at least: no slower on a core of 4-bit digits


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A float stage and a quantization-aware stage that starts from it. teacher: name of the float net that the latter
    is taught by, as `parent`; empty: the parent. start: the quantized net whose weights the latter starts from, and
    whose float stage is taken for this one's, a name or the .npz of an integer net; empty: the parent."""
    name: str
    arch: str
    dataset: str
    float_stage: Schedule
    quant_stage: Schedule
    quant: QuantConfig = QuantConfig()
    teacher: str = ""
    start: str = ""

    @property
    def parent(self):
        """Name of the float net."""
        return f"{self.arch}-{self.dataset}"


FLOAT = Schedule(epochs=48, rate=0.15, weight_decay=5e-4, seed=1)
QUANTIZED = Schedule(epochs=84, rate=0.08, quantizer_rate=0.02, weight_decay=2e-4, warmup=0.05,
                     distill=0.5, settle=1, seed=2)
# (float stage, quantized stage) by architecture. Short float stages have the strong decay and the smoothed labels of
# arXiv 2404.00498; ResNet-18's is too short for it to teach.
STAGES = {
    "resnet8": (FLOAT, QUANTIZED),
    "resnet8half": (replace(FLOAT, epochs=24), replace(QUANTIZED, epochs=24)),
    "resnet20": (replace(FLOAT, epochs=96), replace(QUANTIZED, epochs=60)),
    "resnet18": (replace(FLOAT, epochs=10, rate=0.1, weight_decay=1e-3, warmup=0.2, smoothing=0.1),
                 replace(QUANTIZED, epochs=18, rate=0.06, weight_decay=5e-4, smoothing=0.1, distill=0.0)),
    "vgg": (replace(FLOAT, epochs=20, rate=0.125, weight_decay=1e-3, warmup=0.2, smoothing=0.1),
            replace(QUANTIZED, epochs=12, rate=0.04)),
}
SYNTHETIC_EPOCHS = 8
MEDIAN_BITS = 4                         # the 63 levels of 6 bits tell the medians of 16 bins apart, not those of 64
GRADUAL = 0.6                           # of the `uniq` quantizer's training; the rest of it rounds in every layer
NAME = re.compile(r"(?P<arch>[a-z0-9]+)-(?P<bits>w(?P<w>[1-8])a(?P<a>[1-8])(r(?P<r>[1-8]))?)"
                  r"(-(?P<quantizer>[a-z]+?))??(?P<median>-median)?"
                  r"(-seed(?P<seed>[1-9][0-9]{0,8}))?-(?P<dataset>[a-z0-9]+)")


def recipe_of(name):
    """The recipe of a net's name (see above)."""
    found = NAME.fullmatch(name)
    if not found:
        raise UserError(f"{name!r} is not the name of a net: ARCH-wBaB[rB][-QUANTIZER][-median][-seedN]-DATASET, "
                        "such as resnet8-w4a4-cifar10 or resnet20-w3a3-uniq-cifar100" + did_you_mean(name, zoo.names()))
    quantizer, dataset = found["quantizer"] or QuantConfig.quantizer, found["dataset"]
    for kind, value, known in (("architecture", found["arch"], ARCHS), ("quantizer", quantizer, WEIGHTS),
                               ("data set", dataset, datasets.DATASETS)):
        if value not in known:
            raise UserError(f"{name}: unknown {kind} {value!r}; known: {', '.join(known)}"
                            + did_you_mean(value, known))
    if found["median"] and quantizer not in GRIDDED:
        raise UserError(f"{name}: the median grid is for {' and '.join(GRIDDED)}")
    if found["median"] and int(found["w"]) > MEDIAN_BITS:
        raise UserError(f"{name}: the median grid has no levels for weights of more than {MEDIAN_BITS} bits")
    if found["r"] and found["r"] <= found["a"]:
        raise UserError(f"{name}: residuals of {found['r']} bits are not wider than activations of {found['a']}")
    if found["r"] and not arch(found["arch"]).residuals():
        raise UserError(f"{name}: {found['arch']} has no residuals")
    if found["r"] and quantizer == "uniq":          # what a convolution sees of a code that is not rounded yet
        raise UserError(f"{name}: residuals of their own bits are not for uniq, whose layers round one after another")
    float_stage, quant_stage = STAGES[found["arch"]]
    if dataset == "synthetic":
        float_stage, quant_stage = (replace(stage, epochs=SYNTHETIC_EPOCHS) for stage in (float_stage, quant_stage))
    if quantizer == "uniq":
        quant_stage = replace(quant_stage, gradual=GRADUAL)
    if found["seed"]:
        quant_stage = replace(quant_stage, seed=int(found["seed"]))
    return Recipe(name=name, arch=found["arch"], dataset=dataset, float_stage=float_stage, quant_stage=quant_stage,
                  quant=QuantConfig(quantizer=quantizer, w_bits=int(found["w"]), a_bits=int(found["a"]),
                                    first_bits=max(FIRST_BITS, int(found["w"])), residual_bits=int(found["r"] or 0),
                                    grid="median" if found["median"] else "index"))


def with_quantizer(name, quantizer):
    """The name of the same net with another quantizer."""
    found = NAME.fullmatch(name)
    if quantizer and quantizer not in WEIGHTS:
        raise UserError(f"unknown quantizer {quantizer!r}; known: {', '.join(WEIGHTS)}"
                        + did_you_mean(quantizer, WEIGHTS))
    if not found or not quantizer:
        return name
    start = found.end("bits")
    end = found.end("quantizer") if found["quantizer"] else start
    return f"{name[:start]}-{quantizer}{name[end:]}"


def command_of(header):
    """The command that trained the net of that header; if it started from a checkpoint of another quantized net, that
    one's first."""
    name, float_schedule, schedule = header["name"], header["float_schedule"], header["schedule"]
    recipe = recipe_of(name)
    options = (*([] if "start" in header else [("--float-epochs", float_schedule, recipe.float_stage, "epochs")]),
               ("--epochs", schedule, recipe.quant_stage, "epochs"),
               ("--rate", schedule, recipe.quant_stage, "rate"),
               ("--cutout", schedule, recipe.quant_stage, "cutout"),
               ("--distill", schedule, recipe.quant_stage, "distill"))
    given = [f"{option} {used[field]:g}" for option, used, default, field in options
             if used[field] != getattr(default, field)]
    teacher = header.get("teacher", recipe.parent)          # older nets say nothing of teacher, device, processes
    if teacher != recipe.parent:
        given.append(f"--teacher {teacher}")
    if "start" in header:
        given.append(f"--start {shlex.quote(header['start'])}")
    if schedule.get("freeze"):
        given.append("--freeze")
    device = header.get("device", "cpu").partition(":")[0]
    if device != "cpu":
        given.append(f"--device {device}")
    processes, nodes = header.get("processes", 1), header.get("nodes", 1)
    several = f"--nnodes {nodes} " if nodes > 1 else ""
    launcher = "python" if processes == 1 else f"torchrun {several}--nproc-per-node {processes // nodes}"
    command = " ".join([f"{launcher} -m model train", name, *given])
    return f"{header['start_command']} && {command}" if "start_command" in header else command


def header_of(recipe, name, stage, schedule, classes):
    """What a checkpoint is."""
    return {"name": name, "arch": recipe.arch, "dataset": recipe.dataset, "stage": stage,
            "schedule": asdict(schedule), "classes": list(classes)}


def float_parent(recipe, path, train, test, device, origin):
    """The trained float net; `path` is its checkpoint, from which training goes on. A shipped one of the same schedule
    is taken instead where there is no checkpoint."""
    shipped = PARENTS / f"{recipe.parent}.pt"
    if not path.exists() and shipped.exists():
        net, header = load_checkpoint(shipped)
        epochs = header["schedule"]["epochs"]
        if header["schedule"] == asdict(recipe.float_stage):
            return net
        if header["schedule"] == asdict(replace(recipe.float_stage, epochs=epochs)) and rank() == 0:
            print(f"a float net of {recipe.float_stage.epochs} epochs first; --float-epochs {epochs} takes the "
                  "shipped one", file=sys.stderr)
    refuse_other(path, schedule=asdict(recipe.float_stage), arch=recipe.arch, dataset=recipe.dataset)
    torch.manual_seed(recipe.float_stage.seed)
    net = Network(arch(recipe.arch), len(train.classes))
    fit(net, train, test, recipe.float_stage, path, device=device,
        header=header_of(recipe, recipe.parent, "float", recipe.float_stage, train.classes) | origin)
    return net.cpu()


def teacher_of(recipe, runs):
    """The float net that the recipe names as its teacher."""
    name = recipe.teacher
    path = next((path for path in (Path(runs) / name / "01_float.pt", PARENTS / f"{name}.pt") if path.exists()), None)
    if path is None:
        known = {found.parent.name for found in Path(runs).glob("*/01_float.pt")} | {
            found.stem for found in PARENTS.glob("*.pt")}
        raise UserError(f"no float net {name!r} to be taught by, neither in {runs} nor in the zoo; "
                        "wanted: ARCH-DATASET of one that has been trained" + did_you_mean(name, known))
    net, header = load_checkpoint(path)
    if header["dataset"] != recipe.dataset or header["stage"] != "float":
        raise UserError(f"{path}: not a float net for {recipe.dataset}")
    refuse_unfinished(path, header)
    return net


def start_of(recipe, runs):
    """(net, header, what the new header says of it) of the quantized net that the recipe names as its start: the
    Network of its checkpoint, or an IntegerNet."""
    if recipe.start.endswith(".npz"):
        path, net = recipe.start, zoo.load(recipe.start)
        try:                                        # a schedule of before may lack later fields
            header = net.header | {"float_schedule": asdict(Schedule(**net.header["float_schedule"]))}
        except (KeyError, TypeError):
            raise UserError(f"{path}: no record of its training in it, without which it is no start") from None
        started = {"start_digest": store.digest(net)}
    else:
        path = Path(runs) / recipe.start / "02_qat.pt"
        if not path.exists():
            known = {found.parent.name for found in Path(runs).glob("*/02_qat.pt")}
            raise UserError(f"no {path} to start from; first: python -m model train {recipe.start}"
                            + did_you_mean(recipe.start, known))
        net, header = load_checkpoint(path)
        started = {"start_digest": weights_digest(net), "start_command": command_of(header)}
    if [header.get(key) for key in ("stage", "arch", "dataset")] != ["quantized", recipe.arch, recipe.dataset]:
        raise UserError(f"{path}: not a quantized {recipe.arch} for {recipe.dataset}")
    if isinstance(net, Network):
        refuse_unfinished(path, header)
    else:
        refuse_untrainable(net)
    return net, header, {"start": recipe.start, **started}


def train_recipe(recipe, runs, *, data_dir=None, device="cpu"):
    """Runs or resumes both stages under the folder `runs`."""
    start, started = None, {}
    if recipe.start:
        start, start_header, started = start_of(recipe, runs)
        recipe = replace(recipe, float_stage=Schedule(**start_header["float_schedule"]))
    float_path = Path(runs) / recipe.parent / "01_float.pt"
    quant_path = Path(runs) / recipe.name / "02_qat.pt"
    origin = provenance(device)                 # before hours in which the files may change
    refuse_other(quant_path, arch=recipe.arch, dataset=recipe.dataset, quant=asdict(recipe.quant),
                 teacher=recipe.teacher or recipe.parent, schedule=asdict(recipe.quant_stage),
                 float_schedule=asdict(recipe.float_stage),
                 **({} if isinstance(start, IntegerNet) else {"start": recipe.start or None}),      # its path may vary
                 start_digest=started.get("start_digest"))
    train = datasets.load(recipe.dataset, "train", data_dir)
    test = datasets.load(recipe.dataset, "test", data_dir)
    teacher = teacher_of(recipe, runs) if recipe.teacher else None          # refused before hours of a float stage
    alone = start and (recipe.teacher or not recipe.quant_stage.distill)    # the parent neither starts nor teaches
    for path in (quant_path,) if alone else (float_path, quant_path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{path.parent}: {error.strerror}") from None
    refuse_unwritable(quant_path)               # before hours of a float stage
    if alone:
        digest, float_accuracy = start_header.get("parent"), start_header.get("float_accuracy")
    else:
        parent = float_parent(recipe, float_path, train, test, device, origin)
        teacher = teacher or parent
        digest, float_accuracy = weights_digest(parent), accuracy(parent.to(device), test, device, exact=True)
    refuse_other(quant_path, parent=digest)
    header = header_of(recipe, recipe.name, "quantized", recipe.quant_stage, train.classes) | origin | started | {
        "quant": asdict(recipe.quant), "float_schedule": asdict(recipe.float_stage), "parent": digest,
        "teacher": recipe.teacher or recipe.parent, "float_accuracy": float_accuracy}
    torch.manual_seed(recipe.quant_stage.seed)
    pictures, labels = (torch.as_tensor(t[:CALIBRATION_PICTURES]) for t in (train.pictures, train.labels))
    if isinstance(start, IntegerNet):
        start = deintegerize(start, pictures, labels)
    net = quantize(start or parent.cpu(), pictures, recipe.quant)
    # On a CPU the fused kernels beat compilation; a net that changes layer by layer would be compiled for each.
    fit(net, train, test, recipe.quant_stage, quant_path, teacher=teacher, device=device,
        compile_net=device != "cpu" and not recipe.quant_stage.gradual, header=header)


def train_named(name, runs, *, data_dir=None, device="cpu", threads=None, float_epochs=None, epochs=None,
                rate=None, cutout=None, distill=None, teacher="", start="", freeze=False):
    """Trains the net of that name, with what is given instead of its recipe's own values."""
    if rate is not None and not 0 < rate <= 1:
        raise UserError(f"--rate must be above 0 and at most 1, not {rate:g}")
    if distill is not None and not 0 <= distill <= 1:
        raise UserError(f"--distill must be 0 .. 1, not {distill:g}")
    if start and not start.endswith(".npz"):
        recipe_of(start)                                        # refuses what is no name
    if start == name:
        raise UserError(f"{name} cannot start from itself")
    if start and float_epochs:
        raise UserError(f"--float-epochs is of no use with --start: the float stage is that of {start}")
    if threads:
        torch.set_num_threads(threads)
    recipe = recipe_of(name)
    rates = {"rate": rate, "quantizer_rate": rate * recipe.quant_stage.quantizer_rate / recipe.quant_stage.rate
             } if rate else {}
    changes = {"float_stage": {"epochs": float_epochs, "cutout": cutout},
               "quant_stage": {"epochs": epochs, "cutout": cutout, "distill": distill, **rates}}
    stages = {stage: replace(getattr(recipe, stage), **{k: v for k, v in values.items() if v is not None})
              for stage, values in changes.items()}
    if teacher and not stages["quant_stage"].distill:
        raise UserError("--teacher is of no use with --distill 0" if distill == 0 else
                        f"{recipe.arch} learns without a teacher; with --teacher goes --distill, 0.5 for example")
    if freeze:
        if not recipe.quant_stage.gradual:
            raise UserError("--freeze is for the uniq quantizer, the one that quantizes layer after layer")
        count = sum(isinstance(layer, LayerSpec) for layer in arch(recipe.arch).layers)
        stages["quant_stage"] = replace(stages["quant_stage"], freeze=True, gradual=count / (count + 1),
                                        cycles=count + 1)
    device = device_of(device)
    with process_group(device):
        train_recipe(replace(recipe, teacher=teacher, start=start, **stages), runs, data_dir=data_dir, device=device)
