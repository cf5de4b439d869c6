"""CIFAR-10 and CIFAR-100 from the official archives.

They are looked for in --data, else in $CIFAR_DIR, else in a cache folder into which they are downloaded once. A folder
may hold the batches themselves, their official folder, or the official archive; python and binary version both do. The
archive itself will do, too, whatever its name.
"""
import hashlib
import io
import os
import pickle
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.common.cache import cache_folder
from model.common.errors import UserError
from model.common.nearest import similar_file

from .download import fetch

__all__ = ["VERSIONS", "read"]

SIDE = 32
PIXELS = 3 * SIDE * SIDE


@dataclass(frozen=True)
class Version:
    """One official archive: its files per split (name, number of records), the file with the class names."""
    archive: str
    md5: str
    folder: str
    splits: dict
    names: str
    label_bytes: int = 0               # binary records: so many labels before the pixels, the last is ours

    @property
    def binary(self):
        return self.label_bytes > 0


BATCHES = range(1, 6)
VERSIONS = {
    "cifar10": (
        Version("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", "cifar-10-batches-bin",
                {"train": [(f"data_batch_{i}.bin", 10_000) for i in BATCHES], "test": [("test_batch.bin", 10_000)]},
                "batches.meta.txt", label_bytes=1),
        Version("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a", "cifar-10-batches-py",
                {"train": [(f"data_batch_{i}", 10_000) for i in BATCHES], "test": [("test_batch", 10_000)]},
                "batches.meta"),
    ),
    "cifar100": (
        Version("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", "cifar-100-binary",
                {"train": [("train.bin", 50_000)], "test": [("test.bin", 10_000)]},
                "fine_label_names.txt", label_bytes=2),
        Version("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85", "cifar-100-python",
                {"train": [("train", 50_000)], "test": [("test", 10_000)]}, "meta"),
    ),
}


class CifarUnpickler(pickle.Unpickler):
    """Builds numpy arrays and plain containers, nothing else."""
    RECONSTRUCT = np.empty(0).__reduce__()[0]
    ALLOWED = {("numpy.core.multiarray", "_reconstruct"): RECONSTRUCT,
               ("numpy._core.multiarray", "_reconstruct"): RECONSTRUCT,
               ("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype,
               ("_codecs", "encode"): lambda string, encoding: string.encode(encoding)}

    def find_class(self, module, name):
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self.ALLOWED[module, name]


class Folder:
    """The files of a version in a plain folder."""
    def __init__(self, path):
        self.path = path

    def read(self, name):
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise UserError(f"{self.path / name}: {error.strerror}") from None

    def where(self, name):
        return self.path / name

    def verify(self):
        """Unpacked files have no checksum."""


class Archive:
    """The files of a version inside its tar.gz."""
    def __init__(self, path, version):
        self.path, self.folder, self.md5 = path, version.folder, version.md5

    def read(self, name):
        try:
            with tarfile.open(self.path) as tar:
                return tar.extractfile(f"{self.folder}/{name}").read()
        except (OSError, EOFError, KeyError, tarfile.TarError):
            raise UserError(f"{self.where(name)}: missing or damaged") from None

    def where(self, name):
        return f"{self.path}:{name}"

    def verify(self):
        """Refuses an archive that is not the official one, byte for byte."""
        digest = md5(self.path)
        if digest != self.md5:
            raise UserError(f"{self.path}: not the official archive, or damaged: its MD5 is {digest}, not {self.md5}")


def md5(path):
    """Of a file, hex."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def find(dataset, folder):
    """(Version, Folder or Archive) of the data set in `folder`, or None."""
    for version in VERSIONS[dataset]:
        for path in folder / version.folder, folder:
            if (path / version.names).is_file() and (path / version.splits["test"][0][0]).is_file():
                return version, Folder(path)
        if (folder / version.archive).is_file():
            return version, Archive(folder / version.archive, version)
    return None


def locate(dataset, data, progress):
    """As `find`, in --data, $CIFAR_DIR or the cache, into which it is downloaded if need be."""
    if data is not None:
        return locate_chosen(dataset, Path(data), f"--data {data}")
    if variable := os.environ.get("CIFAR_DIR"):             # an empty one counts as unset
        return locate_chosen(dataset, Path(variable), f"CIFAR_DIR={variable}")
    if not find(dataset, cache_folder()):
        version = VERSIONS[dataset][0]
        fetch(version.archive, version.md5, cache_folder(), progress)
    return find(dataset, cache_folder())


def locate_chosen(dataset, path, option):
    """(Version, Folder or Archive) of what the user names, a folder or the archive itself; option: as it was named."""
    look = archive_at if path.is_file() else find
    found = look(dataset, path)
    if found:
        return found
    others = [name for name in VERSIONS if name != dataset and look(name, path)]
    reason = ("no such file or folder" if not path.exists() else f"that is {others[0]}, not {dataset}" if others else
              f"no archive of {dataset}" if path.is_file() else f"no {dataset} there")
    raise UserError(f"{option}: {reason}; wanted: the official archive, or a folder with it or what is in it: "
                    + ", ".join(f"{version.archive} ({version.folder}/)" for version in VERSIONS[dataset])
                    + similar_file(path))


def archive_at(dataset, path):
    """(Version, Archive) of a file that has the name or the content of an official archive, else None."""
    versions = VERSIONS[dataset]
    known = next((version for version in versions if version.archive == path.name), None)
    if known is None:
        digest = md5(path)
        known = next((version for version in versions if version.md5 == digest), None)
    return known and (known, Archive(path, known))


def unpickle(content, where):
    try:
        value = CifarUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:
        raise UserError(f"{where}: not an official CIFAR pickle ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{where}: not an official CIFAR pickle (no dictionary)")
    return value


def read_batch(version, files, name, count):
    """(pixels uint8 (count, PIXELS), labels int64 (count,)) of one file."""
    content, where = files.read(name), files.where(name)
    if version.binary:
        record = version.label_bytes + PIXELS
        if len(content) != count * record:
            raise UserError(f"{where}: {len(content)} bytes, not {count * record}")
        records = np.frombuffer(content, np.uint8).reshape(count, record)
        return records[:, version.label_bytes:], records[:, version.label_bytes - 1].astype(np.int64)
    batch = unpickle(content, where)
    pixels = batch.get(b"data")
    labels = batch.get(b"fine_labels", batch.get(b"labels"))
    if getattr(pixels, "shape", None) != (count, PIXELS) or pixels.dtype != np.uint8:
        raise UserError(f"{where}: no {count} pictures of 32x32 RGB bytes in it")
    if not isinstance(labels, list) or len(labels) != count:
        raise UserError(f"{where}: no {count} labels in it")
    return pixels, np.array(labels, np.int64)


def read_names(version, files):
    """The class names."""
    content = files.read(version.names)
    if version.binary:
        return tuple(content.decode("utf-8", "replace").split())
    meta = unpickle(content, files.where(version.names))
    names = meta.get(b"fine_label_names", meta.get(b"label_names"))
    if not isinstance(names, list):
        raise UserError(f"{files.where(version.names)}: no class names in it")
    return tuple(name.decode() for name in names)


def read(dataset, split, data=None, progress=True):
    """(pictures uint8 (N, 3, 32, 32), labels int64 (N,), class names) of "cifar10" or "cifar100"; split: "train" or
    "test". data: where to look (see the top of this file). UserError where they cannot be had, or are damaged."""
    version, files = locate(dataset, data, progress)
    files.verify()
    pixels, labels = zip(*(read_batch(version, files, *batch) for batch in version.splits[split]), strict=True)
    pixels, labels, classes = np.concatenate(pixels), np.concatenate(labels), read_names(version, files)
    if not 0 <= labels.min() <= labels.max() < len(classes):
        raise UserError(f"{files.where('')}: labels {labels.min()} .. {labels.max()} for {len(classes)} classes")
    return pixels.reshape(-1, 3, SIDE, SIDE), labels, classes
