"""Imports run one way: model -> accel -> sim -> boards, in model float net -> QAT net -> integer net, and torch stays
where training is."""
import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("model", "accel", "sim", "boards")          # a package may import itself and those before it


def imported(path):
    """Absolute names of all modules that `path` imports anywhere in it."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else ()
            module = [*base, *filter(None, [node.module])]
            yield ".".join(module)
            yield from (".".join([*module, name.name]) for name in node.names)


def files(package):
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_import_runs_backwards(package):
    later = PACKAGES[PACKAGES.index(package) + 1:]
    wrong = {f"{path.relative_to(ROOT)} imports {name}" for path in files(package) for name in imported(path)
             if name.split(".")[0] in later}
    assert not wrong


@pytest.mark.parametrize("package", ["accel", "sim", "boards"])
def test_torch_is_imported_in_model_alone(package):
    assert not [path for path in files(package) if "torch" in {name.split(".")[0] for name in imported(path)}]


@pytest.mark.parametrize("name", ["nets", "quant", "quantizers", "fused", "network", "convert", "distributed", "train"])
def test_trained_nets_know_no_integer_net(name):
    path = ROOT / "model" / name
    names = {name for file in (files(f"model/{name}") if path.is_dir() else [path.with_suffix(".py")])
             for name in imported(file)}
    assert not [name for name in names if name.startswith(("model.integer", "model.store", "model.torch_integer"))]


def test_model_knows_no_hardware():
    assert not [path for path in files("model") if "amaranth" in {name.split(".")[0] for name in imported(path)}]


def test_rtl_is_made_of_configuration_and_formats_alone():
    """What `sim.library.rtl_sources` collects is all that the RTL is made of."""
    allowed = ("accel.config", "accel.isa", "accel.link", "accel.rtl")
    names = {name for path in files("accel/rtl") for name in imported(path) if name.split(".")[0] in PACKAGES}
    assert not [name for name in names if name != "accel" and not name.startswith(allowed)]


def test_simulating_needs_no_torch():
    code = ("import sys, model.store, model.data, model.integer, accel.compile, sim.__main__, sim.cxxrtl, sim.pysim\n"
            "assert 'torch' not in sys.modules")
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True)
