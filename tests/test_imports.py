"""Imports run one way, downwards: between packages, between the rooms of a package, between the files of a room.

    common -> data, nets -> integer -> zoo -> quantizers -> training -> ... -> accel -> sim -> boards
"""
import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("model", "accel", "sim", "boards")
# A room may import itself and those before it. Names of folders and of single files.
ROOMS = (
    "model.common", "model.data", "model.nets", "model.integer", "model.zoo", "model.quantizers", "model.training",
    "model.onnx", "model.plots", "model.commands", "model.__main__",
    "accel.config", "accel.clocks", "accel.isa", "accel.tape", "accel.timing", "accel.sdram", "accel.image",
    "accel.link", "accel.digest", "accel.rtl.platform", "accel.rtl.timed", "accel.rtl.stream_register",
    "accel.rtl.sdram", "accel.rtl.memory.block_memory", "accel.rtl.tape", "accel.rtl.array", "accel.rtl.memory",
    "accel.rtl.activation", "accel.rtl.control", "accel.rtl.core", "accel.rtl.host", "accel.rtl.system",
    "accel.tape_schedule", "accel.cycles", "accel.compiler", "accel.command", "accel.interp", "accel.verilog",
    "accel.__main__", "sim", "boards")


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def imported(path):
    """Absolute names of all modules, and of all names of modules, that `path` imports anywhere in it, in functions
    and through `with_extra` and `verb` too."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else ()
            module = [*base, *filter(None, [node.module])]
            yield ".".join(module)
            yield from (".".join([*module, name.name]) for name in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", None) == "with_extra":
            yield from (name.value for name in node.args[1:] if isinstance(name, ast.Constant))


def ours(module):
    """Files of this project, as modules, that a module imports; a package's `__init__` only where nothing in it is
    named."""
    names = set(imported(FILES[module])) & FILES.keys()
    return {name for name in names if name != module
            and not any(other.startswith(f"{name}.") for other in names | {module})}


def room_of(module):
    return next((room for room in ROOMS if module == room or module.startswith(f"{room}.")), None)


def test_every_file_is_in_a_room():
    assert not [module for module in FILES if "." in module and room_of(module) is None
                and not FILES[module].name == "__init__.py"]


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_a_later_one(room):
    later = ROOMS[ROOMS.index(room) + 1:]
    wrong = {f"{module} imports {name}" for module in FILES if room_of(module) == room for name in ours(module)
             if room_of(name) in later}
    assert not wrong


def test_no_imports_in_circles():
    try:
        TopologicalSorter({module: ours(module) for module in FILES}).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_torch_is_imported_where_nets_are_trained_and_drawn_alone():
    allowed = ("model.quantizers", "model.training", "model.plots")
    assert not [module for module in FILES if not module.startswith(allowed)
                and "torch" in {name.split(".")[0] for name in imported(FILES[module])}]


@pytest.mark.parametrize("module", sorted(name for name in FILES if name.startswith("model.quantizers")) + [
    f"model.training.{name}" for name in ("fused", "network", "convert", "distributed", "train")])
def test_trained_nets_know_no_integer_net(module):
    assert not [name for name in imported(FILES[module]) if name.startswith("model.integer")]


def test_model_knows_no_hardware():
    assert not [module for module in FILES if module.startswith("model")
                and "amaranth" in {name.split(".")[0] for name in imported(FILES[module])}]


def test_rtl_is_made_of_configuration_and_formats_alone():
    """What `sim.library.rtl_sources` collects is all that the RTL is made of."""
    allowed = ("accel.config", "accel.isa", "accel.link", "accel.sdram", "accel.tape", "accel.timing",
               "accel.rtl")
    names = {name for module in FILES if module.startswith("accel.rtl") for name in ours(module)}
    assert not [name for name in names if not name.startswith(allowed)]


def test_boards_take_the_engine_and_the_page_alone_from_sim():
    names = {name for module in FILES if module.startswith("boards") for name in ours(module)}
    assert {name for name in names if name.startswith("sim")} == {"sim.device", "sim.report_page", "sim.results"}


def test_simulating_needs_no_torch():
    code = ("import sys, model.zoo.workload, model.integer.golden, accel.compiler.compile, sim.__main__, sim.compiled, "
            "sim.lanes.build, sim.cxxrtl, sim.pysim\nassert 'torch' not in sys.modules")
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True)
