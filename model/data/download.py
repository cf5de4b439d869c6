"""Official CIFAR archives, downloaded once into the user's cache folder and checked."""
import hashlib
import os
import sys
import tempfile
import urllib.request
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

from model.common.errors import UserError

__all__ = ["fetch"]

URL = "https://www.cs.toronto.edu/~kriz/"
TIMEOUT = 30             # seconds without an answer
CHUNK = 1 << 16


def fetch(name, md5, folder, progress=True):
    """Downloads URL + name to folder/name; nothing stays behind unless the checksum is right. UserError where it is
    wrong, where the network fails, or where the folder does not take the file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            part = Path(work) / name
            with open(part, "wb") as file, _connected(name) as answer:
                digest = copy(answer, file, name, progress)
            if digest != md5:
                raise UserError(f"{URL}{name}: wrong checksum {digest}, not {md5}; nothing was kept")
            os.replace(part, folder / name)
    except OSError as error:
        raise UserError(f"cannot keep {name} in the cache folder {folder} ({error.strerror or error}): name another "
                        "with XDG_CACHE_HOME, or give a folder of the data with --data or CIFAR_DIR") from None


def _connected(name):
    """The server's answer, open."""
    with _network_errors(name):
        return urllib.request.urlopen(URL + name, timeout=TIMEOUT)


@contextmanager
def _network_errors(name):
    """UserError for those of the network. They are OSErrors, as those of the folder are, so only what talks to the
    server is inside."""
    try:
        yield
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise UserError(f"{URL}{name}: download failed ({reason}); "
                        "give a folder with --data or CIFAR_DIR") from None


def copy(answer, file, name, progress):
    """Copies with a progress bar and returns the MD5, hex."""
    digest = hashlib.md5(usedforsecurity=False)
    total = int(answer.headers.get("Content-Length") or 0) or None
    with tqdm(total=total, unit="B", unit_scale=True, desc=name, file=sys.stderr, disable=not progress) as bar:
        while True:
            with _network_errors(name):
                chunk = answer.read(CHUNK)
            if not chunk:
                break
            file.write(chunk)
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()
