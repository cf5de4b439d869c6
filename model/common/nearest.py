"""A name that is not there, and the one that was probably meant."""
from difflib import get_close_matches
from pathlib import Path

__all__ = ["did_you_mean", "similar_file"]


def did_you_mean(name, known):
    """"; did you mean X?", the end of a message, X being the one of the strings `known` that is most like `name`,
    whatever the case of letters; "" where none is like it."""
    found = _nearest(name, known)
    return "" if found is None else f"; did you mean {found}?"


def similar_file(path):
    """The same of a path that could not be read: X is in its folder, and has a name like it. "" where something is at
    that path, which is then not at fault for its name."""
    path = Path(path)
    try:
        names = [other.name for other in path.parent.iterdir()]
    except OSError:                         # no such folder
        return ""
    found = None if path.name in names else _nearest(path.name, names)
    return "" if found is None else f"; did you mean {path.with_name(found)}?"


def _nearest(name, known):
    folded = {other.casefold(): other for other in known}
    return next((folded[found] for found in get_close_matches(name.casefold(), folded, 1)), None)
