"""Modules whose packages an extra of this project installs."""
import importlib

from .errors import UserError

__all__ = ["with_extra"]

PACKAGES = {"train": ("torch", "matplotlib"), "onnx": ("onnx",), "fpga": ("amaranth_boards", "psutil")}


def with_extra(extra, module):
    """The module of that name, which needs packages of that extra. UserError where they are not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES[extra]:
            raise
        raise UserError(f"this needs {error.name}: pip install -e '.[{extra}]'") from None
