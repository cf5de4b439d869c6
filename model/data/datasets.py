"""Data sets by name as uint8 arrays: `cifar10`, `cifar100`, and `synthetic` from our own code."""
from dataclasses import dataclass

import numpy as np

from model.common.errors import UserError
from model.common.nearest import did_you_mean

from . import cifar, synthetic

__all__ = ["DATASETS", "Dataset", "load"]

DATASETS = (*cifar.VERSIONS, "synthetic")


@dataclass(frozen=True)
class Dataset:
    """pictures: uint8 (N, 3, 32, 32); labels: int64 (N,); classes: their names."""
    name: str
    split: str
    pictures: np.ndarray
    labels: np.ndarray
    classes: tuple


def load(dataset, split, data=None, progress=True):
    """The Dataset; split: "train" or "test". data: where to look for CIFAR (see `cifar`), None where the user does not
    say. UserError where there is no such data set, or `data` is the empty string."""
    if data == "":
        raise UserError("--data: an empty name, as an unset variable of a shell gives: name a folder, or leave --data "
                        "out")
    if dataset not in DATASETS:
        raise UserError(f"unknown data set {dataset!r}; known: {', '.join(DATASETS)}"
                        + did_you_mean(dataset, DATASETS))
    if dataset == "synthetic":
        return Dataset(dataset, split, *synthetic.make(split), synthetic.CLASSES)
    return Dataset(dataset, split, *cifar.read(dataset, split, data, progress))
