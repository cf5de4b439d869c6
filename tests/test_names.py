"""`__all__` is true: in every module, exactly the names that others use."""
import ast
import re
from functools import cache

import pytest

from tests.test_imports import FILES, ROOT, module_of

TESTS = {module_of(path): path for path in sorted((ROOT / "tests").rglob("*.py"))}
COMMANDS = "model.commands."            # whose `run` the parser in `model.__main__` finds by name
DOCUMENTED = "\n".join(path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))))


@cache
def tree(path):
    return ast.parse(path.read_text(), str(path))


def listed(module):
    """The names in `__all__`, or None where the module has none."""
    for node in tree(FILES[module]).body:
        if isinstance(node, ast.Assign) and [getattr(t, "id", None) for t in node.targets] == ["__all__"]:
            return ast.literal_eval(node.value)
    return None


def defined(module):
    """Names that the module's own top level makes, those under `if` and `try` too; imported ones not."""
    names = set()

    def visit(body):
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names.update(name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
            elif isinstance(node, ast.If | ast.Try | ast.For | ast.With):
                visit(node.body + getattr(node, "orelse", []))
    visit(tree(FILES[module]).body)
    return names - {"__all__"}


def imports(module, path):
    """(module, name, name it has in `path`) of every `from module import name`; name None: the module itself."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None, alias.asname or alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else ()
            source = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                if f"{source}.{alias.name}" in FILES:
                    yield f"{source}.{alias.name}", None, alias.asname or alias.name
                else:
                    yield source, alias.name, alias.asname or alias.name


def loaded_by_name(node):
    """The module that a call `with_extra(extra, module)` or `import_module(module)` gives, or None."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", None)) in (
            "with_extra", "import_module", "importorskip"):
        return next((a.value for a in node.args if isinstance(a, ast.Constant) and a.value in FILES), None)
    return None


@cache
def uses(module, path):
    """(module, name) of all that `path` uses of modules of this project."""
    found, aliases = set(), {}
    for source, name, alias in imports(module, path):
        if name is None:
            aliases[alias] = source
        elif name == "*":
            found.update((source, node.id) for node in ast.walk(tree(path)) if isinstance(node, ast.Name))
        else:
            found.add((source, name))
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Assign) and loaded_by_name(node.value):
            aliases.update((t.id, loaded_by_name(node.value)) for t in node.targets if isinstance(t, ast.Name))
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute):
            source = loaded_by_name(node.value) or aliases.get(ast.unparse(node.value))
            if source in FILES:
                found.add((source, node.attr))
    return found


@cache
def used(by):
    """{module: names} that modules of the four packages ("packages") or tests ("tests") use of others."""
    names = {}
    for module, path in (FILES if by == "packages" else TESTS).items():
        for source, name in uses(module, path):
            if source != module:
                names.setdefault(source, set()).add(name)
    return names


def made(module):
    """Classes of the module that its own functions make: what others are given, they need not name."""
    classes = {node.name for node in tree(FILES[module]).body if isinstance(node, ast.ClassDef)}
    calls = {node.func.id for node in ast.walk(tree(FILES[module]))
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return classes & calls


def starts(module):
    """Whether `python -m module` runs it."""
    return "__main__" in ast.unparse(tree(FILES[module])).partition("if __name__ == ")[2]


def only_a_docstring(module):
    body = tree(FILES[module]).body
    return FILES[module].name == "__init__.py" and all(isinstance(node, ast.Expr) for node in body)


MODULES = sorted(module for module in FILES if not only_a_docstring(module))


@pytest.mark.parametrize("module", MODULES)
def test_all_is_true(module):
    names = listed(module)
    assert names is not None, "it has no __all__"
    assert len(names) == len(set(names))
    here = defined(module)
    from_packages, from_tests = (used(by).get(module, set()) for by in ("packages", "tests"))
    imported = {alias for _, _, alias in imports(module, FILES[module])}
    assert set(names) <= here | imported, "names that the module does not have"
    unlisted = {name for name in from_packages & here if name not in names}
    assert not unlisted, "names that other modules use"
    found_by_name = {"run"} if module.startswith(COMMANDS) else {"main", "parser"} if starts(module) else set()
    idle = {name for name in names if name not in from_packages | from_tests | found_by_name | made(module)
            and not re.search(rf"\b{name}\b", DOCUMENTED)}
    assert not idle, "names that nobody uses"
