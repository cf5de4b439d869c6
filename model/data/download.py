"""Official CIFAR archives, downloaded once into the user's cache folder and checked."""
import hashlib
import os
import sys
import tempfile
import urllib.request
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

from model.common.errors import UserError

__all__ = ["fetch"]

URL = "https://www.cs.toronto.edu/~kriz/"
TIMEOUT = 30             # seconds without an answer
CHUNK = 1 << 16


def fetch(name, md5, folder, progress=True):
    """Downloads URL + name to folder/name; nothing stays behind unless the checksum is right."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            part = Path(work) / name
            with urllib.request.urlopen(URL + name, timeout=TIMEOUT) as answer, open(part, "wb") as file:
                digest = copy(answer, file, name, progress)
            if digest != md5:
                raise UserError(f"{URL}{name}: wrong checksum {digest}, not {md5}; nothing was kept")
            os.replace(part, folder / name)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise UserError(f"{URL}{name}: download failed ({reason}); "
                        "give a folder with --data or CIFAR_DIR") from None


def copy(answer, file, name, progress):
    """Copies with a progress bar and returns the MD5, hex."""
    digest = hashlib.md5(usedforsecurity=False)
    total = int(answer.headers.get("Content-Length") or 0) or None
    with tqdm(total=total, unit="B", unit_scale=True, desc=name, file=sys.stderr, disable=not progress) as bar:
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()
