"""Libraries of modules written by hand, for `sim.inspector`."""
import json

from model.common.tools import find_compiler
from sim.lanes import build
from sim.lanes.analysis import mark_vectors
from sim.lanes.code import generate
from sim.lanes.netlist import read_netlist
from sim.library import built, compile_sources

__all__ = ["library_of"]


def library_of(module, *, name, ports, one_lane=False, target="native"):
    """Path of the library that simulates the JSON value `module`, without yosys; arguments as of `build_simulator`."""
    compiler = find_compiler()
    flags = (*build.FLAGS, f"-march={target}", *(["-DONE_LANE"] if one_lane else []))
    netlist = read_netlist(module, clocks=ports.clocks, resets=ports.resets)
    if not one_lane:
        mark_vectors(netlist, inputs=ports.pixels, outputs=ports.answers)
    files = generate(netlist, ports.clock_sets or [ports.clocks])
    files |= {path.name: path.read_text() for path in (build.INSPECTOR, *build.HEADERS)}

    def make(folder, say):
        for file, text in files.items():
            (folder / file).write_text(text)
        compile_sources(folder, [file for file in files if file.endswith(".cc")], flags, compiler)

    return built(name, [json.dumps(files), *flags, *compiler.command, compiler.version], make)
