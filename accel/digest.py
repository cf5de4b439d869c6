"""What RTL a figure is of: a digest over the code of a component and of all that it is made of.

Measurements and baselines carry it beside the digest of their configuration, so that whoever changes the RTL sees which
of them are of another one. Comments, docstrings, blank lines and the version of Python change nothing.
"""
import ast
import hashlib
import io
import tokenize
from functools import cache
from pathlib import Path

__all__ = ["CORE", "SYSTEM", "code_of", "rtl_digest", "rtl_modules"]

CORE = "accel.rtl.core"             # of figures of the core alone
SYSTEM = "accel.rtl.system"         # of those of a board
ROOT = Path(__file__).parents[1]
CONFIG = "accel.config"             # configurations have a digest of their own
MARKS = {tokenize.NEWLINE: ";", tokenize.INDENT: "{", tokenize.DEDENT: "}"}
NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER)
# Python 3.12 and later cut an f-string into tokens.
F_STRING_ENDS = {getattr(tokenize, "FSTRING_START", None): 1, getattr(tokenize, "FSTRING_END", None): -1}


def rtl_modules(top=CORE, root=ROOT):
    """Paths, by name, of module `top` and of every module of `accel` that it imports, directly or not."""
    found, waiting = {}, [top]
    while waiting:
        name = waiting.pop()
        path = root.joinpath(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name not in found and path.is_file():
            found[name] = path
            waiting += [name.rpartition(".")[0] or name, *_imported(name, path)]
    return dict(sorted(found.items()))


def _imported(module, path):
    """Names that `path` imports from `accel`, of modules and of what is in them."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    names = []
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else []
            base = [*base, *filter(None, [node.module])]
            names += [".".join(base), *(".".join([*base, alias.name]) for alias in node.names)]
    return [name for name in names if name.split(".")[0] == "accel"]


@cache
def code_of(source):
    """The code in Python text `source`, a token a line."""
    lines = source.splitlines(keepends=True)
    docstrings = _docstrings(source)
    codes, depth, start = [], 0, None
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in NO_CODE or any(first <= token.start <= last for first, last in docstrings):
            continue
        end = F_STRING_ENDS.get(token.type, 0)
        if end == 1 and depth == 0:
            start = token.start
        depth += end
        if end == -1 and depth == 0:
            codes.append(_between(lines, start, token.end))
        elif depth == 0:
            codes.append(MARKS.get(token.type, token.string))
    return "\n".join(codes)


def _docstrings(source):
    """(first, last) position of each docstring, the end of its line included."""
    places = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if ast.get_docstring(node, clean=False) is not None:
                docstring = node.body[0]
                places.append(((docstring.lineno, docstring.col_offset), (docstring.end_lineno, float("inf"))))
    return places


def _between(lines, start, end):
    (first, left), (last, right) = start, end
    if first == last:
        return lines[first - 1][left:right]
    return "".join([lines[first - 1][left:], *lines[first:last - 1], lines[last - 1][:right]])


def rtl_digest(top=CORE, root=ROOT):
    """SHA-256, 64 hexadecimal digits, of the code of `rtl_modules(top)`, `accel.config` left out."""
    digest = hashlib.sha256()
    for name, path in rtl_modules(top, root).items():
        if name != CONFIG:
            digest.update(f"{name}\n{code_of(path.read_text())}\0".encode())
    return digest.hexdigest()
