"""From a component to the library that simulates it: RTLIL -> yosys -> netlist -> C++ -> compiler."""
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from accel.rtl.core import Core
from model.common.errors import UserError
from model.common.tools import find_compiler, find_cxxrtl

from ..library import CXX_FLAGS, built, compile_sources, core_identity, rtl_sources, step, write_rtlil
from .analysis import PixelsDecide, mark_vectors
from .code import generate
from .netlist import UnsupportedNetlist, read_netlist, script
from .schedule import CombinationalLoop
from .undefined import follow

__all__ = ["CORE_PORTS", "Ports", "build", "build_from", "build_simulator"]

FOLDER = Path(__file__).parent
DRIVER = FOLDER / "driver.cc"
INSPECTOR = FOLDER / "inspector.cc"
HEADERS = (FOLDER / "lanes.h", FOLDER / "simulator.h", FOLDER / "sdram_port.h", FOLDER.parent / "streams.h",
           FOLDER.parent / "sdram_chip.h")
# What the files are made by: a library is as old as the youngest of them.
GENERATOR = tuple(FOLDER / f"{name}.py" for name in
                  ("netlist", "analysis", "undefined", "schedule", "expressions", "code", "build")) + HEADERS
# Bits that stay together although they are used apart: fewer variables are faster. What reaches what is told finer
# where none do; a flag that shares a byte with data would count as data.
JOINED, APART = 8, 0
FLAGS = ("-O2", "-Wno-psabi")


@dataclass(frozen=True)
class Ports:
    """What a component's ports are to the simulator.

    pixels: inputs of which each lane has its own, and answers: outputs that these may reach. guards: output -> output,
    the first counts only while the other is up. clocks: all of them; clock_sets: those that may rise together, None for
    all at once. resets: never up.
    """
    pixels: tuple = ()
    answers: tuple = ()
    guards: tuple = ()
    clocks: tuple = ("clk",)
    clock_sets: tuple | None = None
    resets: tuple = ("rst",)


CORE_PORTS = Ports(
    pixels=("pixels__payload",), answers=("logits__payload", "trace__data"),
    guards=(("logits__payload", "logits__valid"), ("trace__data", "trace__valid"), ("trace__group", "trace__valid"),
            ("sdram__dq_o", "sdram__dq_oe")))


def build(config, *, one_lane=False, watched=False, target="native"):
    """Path of the library that simulates the core of `config`, built unless it is cached; arguments as below."""
    return build_simulator(lambda: Core(config), name=config.name, sources=f"{core_identity(config)}\0{rtl_sources()}",
                           ports=CORE_PORTS, one_lane=one_lane, watched=watched, target=target)


def build_simulator(make_component, **options):
    """Path of the library that simulates the component `make_component()`; options: see `build_from`."""
    return build_from(lambda folder: write_rtlil(make_component(), folder / "core.il"), **options)


def build_from(write_source, *, name, sources, ports, one_lane=False, watched=False, target="native", driver=DRIVER,
               yosys_script=None, flags=()):
    """Path of the library that simulates a design; builds it unless it is cached.

    write_source: function of a folder, puts there what the yosys script reads, `core.il` for the usual one. name: for
    people, in messages and the file name. sources: text that changes whenever the design does (making it to see would
    take longer than many simulations). ports: `Ports` of it. one_lane: for one picture at a time, with plain integers.
    watched: stop where a value is used that is undefined in hardware. target: the compiler's name of the processor.
    driver: C++ file that drives it. yosys_script: to `core.json`, of module `core`, where it is not the usual one.
    flags: more for the compiler. UserError for a design that cannot be simulated so.
    """
    yosys, compiler = find_cxxrtl(), find_compiler()
    yosys_script = yosys_script or script(ports.resets)
    flags = (*FLAGS, f"-march={target}", *(["-DONE_LANE"] if one_lane else []), *flags)
    # The same target names another processor on another machine: its features are part of the key.
    features = step([*compiler.command, *CXX_FLAGS, *flags, "-dM", "-E", "-x", "c++", "/dev/null"], FOLDER)
    ingredients = [sources, repr(ports), str(watched), driver.read_text(), yosys.version, yosys_script,
                   compiler.version, *flags, features, *(path.read_text() for path in (INSPECTOR, *GENERATOR))]

    def make(folder, say):
        say("RTL")
        write_source(folder)
        (folder / "core.ys").write_text(yosys_script)
        say("yosys")
        step([*yosys.command, "-q", "core.ys"], folder)
        say("netlist to C++")
        module = json.loads((folder / "core.json").read_text())["modules"]["core"]
        try:
            files = _files(module, ports, one_lane, watched)
        except (PixelsDecide, UnsupportedNetlist, CombinationalLoop) as error:
            raise UserError(f"{name} cannot be simulated in lanes: {error}") from error
        for file, text in files.items():
            (folder / file).write_text(text)
        for path in (driver, INSPECTOR, *HEADERS):
            shutil.copy(path, folder)
        compiled = [driver.name, INSPECTOR.name, *(file for file in files if file.endswith(".cc"))]
        say("C++ compiler")
        compile_sources(folder, compiled, flags, compiler)

    return built("-".join([name, *(["one"] if one_lane else []), *(["watched"] if watched else [])]), ingredients, make)


def _files(module, ports, one_lane, watched):
    """C++ files, name -> text."""
    def read(joined):
        netlist = read_netlist(module, clocks=ports.clocks, resets=ports.resets, joined=joined)
        if not one_lane:
            mark_vectors(netlist, inputs=ports.pixels, outputs=ports.answers)
        return netlist
    try:
        netlist = read(APART if watched else JOINED)
    except PixelsDecide:
        netlist = read(APART)
    notes = follow(netlist, guards=dict(ports.guards)) if watched else ()
    return generate(netlist, ports.clock_sets or [ports.clocks], notes)
