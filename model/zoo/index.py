"""The shipped nets by name: each an .npz, with its card (.json) and training log (.csv); float parents in `parents`."""
from pathlib import Path

from model.common.errors import UserError
from model.integer import store

__all__ = ["DEFAULT", "FOLDER", "SYNTHETIC", "load", "names"]

DEFAULT = "resnet8-w4a4-cifar10"
SYNTHETIC = "resnet8-w4a4-synthetic"
FOLDER = Path(__file__).parent


def names():
    """Names of the shipped nets, the default first."""
    return sorted((path.stem for path in FOLDER.glob("*.npz")), key=lambda name: (name != DEFAULT, name))


def load(name_or_path):
    """The `IntegerNet` of that zoo name or file. UserError where there is none, or what is there is no net."""
    if str(name_or_path) in names():
        return store.load(FOLDER / f"{name_or_path}.npz")
    if not Path(name_or_path).is_file():
        raise UserError(f"{name_or_path}: neither a file nor a net of the zoo (known: {', '.join(names()) or 'none'})")
    return store.load(name_or_path)
