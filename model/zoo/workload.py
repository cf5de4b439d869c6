"""What to classify: a net, pictures, and their labels where they are known."""
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pictures

from model import zoo
from model.common.errors import UserError
from model.data import datasets
from model.data.pictures import is_picture, load_pictures
from model.data.selection import dataset_of, range_of, refuse_other_shape
from model.integer.net import IntegerNet

__all__ = ["FILES", "Workload", "choose_workload", "split_arguments"]

SYNTHETIC = "synthetic"
FILES = "files"             # the `dataset` of picture files
DEFAULT_DATASET = "cifar10"


@dataclass(frozen=True, kw_only=True, eq=False)
class Workload:
    """dataset: its name, or FILES. start: index of the first picture in it. pictures: uint8 (N, C, H, W).
    labels: int64 (N,), None where unknown, or of other classes than the net's.
    classes: names of the classes. names: of the pictures."""
    net: IntegerNet
    dataset: str
    start: int
    pictures: np.ndarray
    labels: np.ndarray | None
    classes: tuple
    names: tuple

    def class_name(self, index):
        return self.classes[index] if index < len(self.classes) else str(index)


def split_arguments(arguments):
    """[NET] [FILES...] -> (net or None, picture files): a first argument that has no picture's suffix, and is no file
    that Pillow reads, is the net. UserError for a net behind it."""
    net = arguments[0] if arguments and not _names_picture(arguments[0]) else None
    files = arguments if net is None else arguments[1:]
    for file in files:
        if file in zoo.names() or Path(file).suffix == ".npz":
            raise UserError(f"{file} is a net: one net comes first, then picture files")
    return net, files


def _names_picture(argument):
    return Path(argument).suffix.lower() in Pictures.registered_extensions() or is_picture(argument)


def choose_workload(net_name, files, *, data_dir, start, images, default_images):
    """The `Workload` that the command line asks for.

    net_name: zoo name, path or None. files: picture files; without them `images` pictures of the net's test set from
    `start` on (None: `default_images` or what there is). data_dir: folder of the data set, "synthetic", or None.
    """
    if files:
        if start is not None or images is not None or data_dir is not None:
            raise UserError("--start, --images and --data choose from a data set; picture files are all classified")
        return _of_files(zoo.load(net_name or zoo.DEFAULT), files)
    if net_name is None:
        net, dataset = _default(data_dir)
    else:
        net = zoo.load(net_name)
        dataset = dataset_of(net.name, net.header, data_dir)
    refuse_other_shape(net, dataset.pictures, f"the pictures of {dataset.name}")

    start = start or 0
    chosen = range_of(dataset, start, images)
    if images is None:
        chosen = slice(start, min(chosen.stop, start + default_images))
    own_classes = net.header.get("dataset", dataset.name) == dataset.name
    return Workload(net=net, dataset=dataset.name, start=start, pictures=dataset.pictures[chosen],
                    labels=dataset.labels[chosen] if own_classes else None,
                    classes=tuple(dataset.classes if own_classes else net.classes),
                    names=tuple(map(str, range(chosen.start, chosen.stop))))


def _of_files(net, files):
    return Workload(net=net, dataset=FILES, start=0, pictures=load_pictures(files, net.input_shape), labels=None,
                    classes=tuple(net.classes), names=tuple(Path(file).name for file in files))


def _default(data_dir):
    """The best shipped net and its data set; the procedural pictures where that cannot be had and was not asked for."""
    if data_dir == SYNTHETIC:
        return zoo.load(zoo.SYNTHETIC), datasets.load(SYNTHETIC, "test", None)
    try:
        return zoo.load(zoo.DEFAULT), datasets.load(DEFAULT_DATASET, "test", data_dir)
    except UserError as error:
        if data_dir is not None or os.environ.get("CIFAR_DIR"):
            raise
        print(f"no {DEFAULT_DATASET} ({error}): classifying the built-in procedural pictures with {zoo.SYNTHETIC}, "
              "the net trained on them", file=sys.stderr)
        return zoo.load(zoo.SYNTHETIC), datasets.load(SYNTHETIC, "test", None)
