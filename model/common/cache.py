"""The one folder of what is made or fetched once and kept: downloads, compiled kernels, built simulators."""
import os
from pathlib import Path

from .errors import UserError

__all__ = ["cache_folder", "made_cache_folder"]


def cache_folder(*names):
    """Path of $XDG_CACHE_HOME/uniqore (default ~/.cache/uniqore), or of a folder in it; it need not exist."""
    return (Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uniqore").joinpath(*names)


def made_cache_folder(*names):
    """As `cache_folder`, made if it is missing. UserError where it cannot be made."""
    folder = cache_folder(*names)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the cache folder {folder}: {error.strerror}") from error
    return folder
