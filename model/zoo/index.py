"""The shipped nets by name: each an .npz, with its card (.json) and training log (.csv); float parents in `parents`."""
from pathlib import Path

from model.common.errors import UserError
from model.common.files import RUNS
from model.common.nearest import did_you_mean, similar_file
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
    name, path = str(name_or_path), Path(name_or_path)
    if name in names():
        return store.load(FOLDER / f"{name}.npz")
    if path.is_dir():
        raise UserError(f"{name}: a folder; wanted: the .npz of a net in it, or a net of the zoo")
    if not path.is_file():
        exported = RUNS / name / "03_net.npz"
        like = (f"; did you mean {exported}?" if exported.is_file() else
                did_you_mean(name, names()) or similar_file(path))
        raise UserError(f"{name}: neither a file nor a net of the zoo" + (like or f" (known: {', '.join(names())})"))
    for suffix, verb in (".pt", "export"), (".onnx", "import"):
        if path.suffix == suffix:
            raise UserError(f"{name}: no integer net yet; python -m model {verb} makes one of it")
    return store.load(path)
