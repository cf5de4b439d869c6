"""Files that are written whole or not at all, and what is read of those that were not."""
import os
import shutil
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import UserError

__all__ = ["RUNS", "refuse_cut_off", "refuse_full_disk", "refuse_unwritable", "replacing", "write_text"]

ZIP = b"PK\x03\x04"             # the first bytes of a zip archive
RUNS = Path("runs")             # folder of trainings, one folder each
FULL = 1_000_000                # bytes; a disk that has less is full


def refuse_unwritable(path):
    """Refuses, before anything is computed, a path at which no file can be."""
    path = Path(path)
    if not path.parent.is_dir() or path.is_dir():
        raise UserError(f"{path}: not a file in an existing folder")
    if _is_special(path):
        if not os.access(path, os.W_OK):
            raise UserError(f"{path}: no permission to write to it")
    elif not os.access(path.resolve().parent, os.W_OK):
        raise UserError(f"{path}: no permission to write to that folder")


def _is_special(path):
    """Whether it is a device, a pipe or the like: what is written to it cannot be taken back, and it is to stay."""
    return path.exists() and not path.is_file() and not path.is_dir()


def refuse_cut_off(path):
    """Refuses an empty file, and a zip archive, which an .npz and a .pt are, that ends before its end. OSError where
    the file cannot be read."""
    with open(path, "rb") as file:
        begin, size = file.read(len(ZIP)), os.fstat(file.fileno()).st_size
    if not size:
        raise UserError(f"{path}: an empty file")
    if ZIP.startswith(begin) and not zipfile.is_zipfile(path):
        raise UserError(f"{path}: cut off after {size:,} bytes, its end is missing: copy or make it again")


def refuse_full_disk(folder):
    """UserError where the disk of `folder` is full: asked after a program failed that wrote there, since few programs
    say it themselves."""
    if shutil.disk_usage(folder).free < FULL:
        raise UserError(f"{folder}: the disk is full")


@contextmanager
def replacing(path):
    """A binary file that becomes `path` once all is written, and leaves nothing otherwise. Several processes may write
    the same path. A device or a pipe is written to as it is. UserError where it cannot be written."""
    path = Path(path)
    if _is_special(path):
        try:
            with open(path, "wb") as file:
                yield file
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from error
        return
    target = path.resolve()                 # a link stays one
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, target)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_text(path, content):
    """Writes the string `content` to `path`, all or nothing."""
    with replacing(path) as file:
        file.write(content.encode())
