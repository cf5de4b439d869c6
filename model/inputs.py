"""What command lines share: numbers that must be positive, and modules that need an extra."""
import argparse
import importlib

from .errors import UserError

__all__ = ["positive", "training_module", "onnx_module"]


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
