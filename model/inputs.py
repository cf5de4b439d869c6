"""What the commands of this package share: optional parts, the data set of a net, errors of files that are written."""
import argparse
import importlib

from . import data
from .errors import UserError

__all__ = ["positive", "training_module", "onnx_module", "part_of", "dataset_of", "refuse_other_shape"]


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


def optional_module(name, extra, *packages):
    """A module of this package that needs one of `packages`, which the extra installs."""
    try:
        return importlib.import_module(f".{name}", __package__)
    except ModuleNotFoundError as error:
        if error.name not in packages:
            raise
        raise UserError(f"this needs {error.name}: pip install -e '.[{extra}]'") from None


def training_module(name):
    return optional_module(name, "train", "torch", "matplotlib")


def onnx_module(name):
    return optional_module(name, "onnx", "onnx")


def part_of(dataset, start, images):
    """Images start .. start + images - 1 of the data set (to its end where `images` is None)."""
    total = len(dataset.images)
    if not 0 <= start < total:
        raise UserError(f"--start must be 0 .. {total - 1}, not {start}")
    images = total - start if images is None else images
    if not 1 <= images <= total - start:
        raise UserError(f"--images must be 1 .. {total - start} from --start {start}, not {images}")
    return dataset.images[start:start + images], dataset.labels[start:start + images]


def dataset_of(header, folder):
    """The test set that the net of that header is for; --data may also be the word `synthetic`."""
    name = "synthetic" if folder == "synthetic" else header.get("dataset", "cifar10")
    return data.load(name, "test", None if name == "synthetic" else folder)


def refuse_other_shape(net, dataset):
    shape = dataset.images.shape[1:]
    if shape != net.input_shape:
        raise UserError(f"{net.name} takes pictures of {net.input_shape}, {dataset.name} has {shape}")
