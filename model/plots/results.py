"""What training reached, as numbers to draw: logs by epoch, accuracies by bits."""
import csv
import json
from dataclasses import dataclass
from pathlib import Path

from model import zoo
from model.common.errors import UserError
from model.common.nearest import did_you_mean, similar_file
from model.zoo import card

__all__ = ["Log", "read_log", "Line", "accuracy_by_bits"]

COLUMNS = {"epoch": int, "loss": float, "accuracy": float}


@dataclass(frozen=True, kw_only=True)
class Log:
    """One training stage: lists of epochs, losses and accuracies (0 .. 1); the float parent's accuracy or None."""
    title: str
    epochs: list
    losses: list
    accuracies: list
    float_accuracy: float | None = None


def read_log(name_or_path):
    """The Log of a net of the zoo, or of a .csv or .json that training wrote."""
    path, title, float_accuracy = Path(name_or_path), None, None
    if str(name_or_path) in zoo.names():
        path = zoo.FOLDER / f"{name_or_path}.csv"
        title, float_accuracy = str(name_or_path), zoo.load(name_or_path).header.get("float_accuracy")
    elif path.suffix not in (".csv", ".json"):
        raise UserError(f"{path}: neither a net of the zoo (known: {', '.join(zoo.names())}) nor a .csv or .json"
                        + (did_you_mean(str(path), zoo.names()) or similar_file(path)))
    try:
        log = path.read_text()
        if path.suffix == ".json":
            content = json.loads(log)
            header, rows = content["header"], content["log"]
            title, float_accuracy = f"{header['name']}, {header['stage']}", header.get("float_accuracy")
        else:
            rows = list(csv.DictReader(log.splitlines()))
            title = title or "/".join((path.absolute().parent.name, path.stem))
        epochs, losses, accuracies = ([kind(row[column]) for row in rows] for column, kind in COLUMNS.items())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}{similar_file(path)}") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, csv.Error):
        raise UserError(f"{path}: not a training log; its columns must be {', '.join(COLUMNS)}") from None
    if not epochs:
        raise UserError(f"{path}: a training log without an epoch")
    return Log(title=title, epochs=epochs, losses=losses, accuracies=accuracies, float_accuracy=float_accuracy)


@dataclass(frozen=True, kw_only=True)
class Line:
    """Nets of one architecture, quantizer and data set, ascending in bits; residual_bits: of nets whose residuals have
    their own, else 0.

    points: [((w_bits, a_bits), accuracy)]; parents: the accuracies (0 .. 1) of their float nets, ascending.
    """
    dataset: str
    arch: str
    quantizer: str
    residual_bits: int
    points: list
    parents: list


def accuracy_by_bits(nets, dataset=None):
    """Lines of these nets' cards (those measured, of one data set or all), ordered by data set and architecture."""
    groups, cards = {}, list(map(card.card, nets))
    for entry in cards:
        if entry["accuracy"] is not None and dataset in (None, entry["dataset"]):
            key = tuple(entry[name] for name in ("dataset", "arch", "quantizer", "residual_bits"))
            groups.setdefault(key, []).append(entry)
    if not groups:
        raise UserError(f"no net with a measured accuracy{f' on {dataset}' if dataset else ''}"
                        + did_you_mean(dataset or "", {entry["dataset"] for entry in cards}))
    return [Line(dataset=dataset, arch=arch, quantizer=quantizer, residual_bits=residual_bits,
                 points=sorted(((entry["w_bits"], entry["a_bits"]), entry["accuracy"]) for entry in entries),
                 parents=sorted({entry["float_accuracy"] for entry in entries} - {None}))
            for (dataset, arch, quantizer, residual_bits), entries in sorted(groups.items())]
