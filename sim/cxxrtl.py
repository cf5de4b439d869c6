"""The RTL as yosys' own `write_cxxrtl` compiles it: the second opinion, and waveforms."""
import shutil
from pathlib import Path

from accel.rtl.core import Core
from model.common.tools import find_compiler, find_cxxrtl

from .library import built, compile_sources, core_identity, rtl_sources, step, write_rtlil

__all__ = ["build", "build_cxxrtl"]

DRIVER = Path(__file__).with_name("cxxrtl_driver.cc")
HEADERS = [Path(__file__).with_name(name) for name in ("streams.h", "sdram_chip.h", "cxxrtl_sdram.h")]
# CXXRTL's model of a flat core is one function that keeps a compiler busy for more than ten minutes, so the small
# modules that a core has many of stay modules. `-g3`, not more: wires that CXXRTL would compute on demand come out
# wrong where they depend on such a module. They are left out.
SCRIPT = """
read_rtlil core.il
setattr -mod -set keep_hierarchy 1 core.array.pe_*_? core.chain_end*.threshold*_?
write_cxxrtl -O6 -g3 core.cc
"""
FLAGS = ("-O1",)


def build(config):
    """Path of the library that simulates the core of `config`, built unless it is cached."""
    return build_cxxrtl(lambda: Core(config), name=config.name, sources=f"{core_identity(config)}\0{rtl_sources()}")


def build_cxxrtl(make_component, *, name, sources):
    """Path of the library that simulates the component `make_component()`, which has the ports of a core; builds it
    unless it is cached. name: for people, in messages and the file name. sources: text that changes whenever the
    component does."""
    yosys, compiler = find_cxxrtl(), find_compiler()
    ingredients = [sources, *(path.read_text() for path in (DRIVER, *HEADERS)), yosys.version, SCRIPT,
                   compiler.version, *FLAGS]

    def make(folder, say):
        say("RTL")
        write_rtlil(make_component(), folder / "core.il")
        (folder / "core.ys").write_text(SCRIPT)
        say("yosys")
        step([*yosys.command, "-q", "core.ys"], folder)
        for path in (DRIVER, *HEADERS):
            shutil.copy(path, folder)
        say("C++ compiler")
        compile_sources(folder, [DRIVER.name], (*FLAGS, f"-I{yosys.include}"), compiler)
    return built(f"{name}-cxxrtl", ingredients, make)
