"""The Verilog of the core, compiled by Verilator: a simulator to compare with, where it is installed."""
import os
import shutil
from pathlib import Path

from accel.verilog import core_verilog
from model.common.errors import UserError
from model.common.tools import Tool, find_compiler, find_tool, stated_version

from .compiled import CompiledEngine
from .library import built, compile_sources, core_identity, rtl_sources, step
from .sdram import sdram_timing

__all__ = ["build", "find_verilator", "open_verilator"]

DRIVER = Path(__file__).with_name("verilator_driver.cc")
HEADERS = [Path(__file__).with_name(name) for name in ("streams.h", "sdram_chip.h")]
# Lint is of no use in what a program wrote.
OPTIONS = ("--cc", "-O3", "--threads", "1", "--no-timing", "-Wno-fatal", "-Wno-lint", "-Wno-style",
           "--top-module", "core", "--prefix", "Vcore", "--Mdir", ".")
FLAGS = ("-O2", "-pthread", "-faligned-new", "-w")
RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
# Of what runs once, as Verilator's own makefile has it: else it takes most of the compiler's time.
ONCE, UNOPTIMIZED = "*__Slow.cpp", '#pragma GCC optimize ("O0")\n'


def find_verilator():
    """The `Tool`: $VERILATOR, else the one on PATH; None where there is neither. UserError for a $VERILATOR that does
    not run."""
    chosen = os.environ.get("VERILATOR")
    path = shutil.which(chosen or "verilator")
    version = path and stated_version(path)
    if not version and chosen:
        raise UserError(f"$VERILATOR is {chosen!r}, which is not a Verilator that runs")
    return Tool((path,), version) if version else None


def build(config):
    """Path of the library that simulates the core of `config`, built unless it is cached. UserError where there is no
    Verilator."""
    verilator, compiler = find_verilator(), find_compiler()
    if verilator is None:
        raise UserError("no Verilator: install it, or set VERILATOR to its path")
    ingredients = [core_identity(config), rtl_sources(), *(path.read_text() for path in (DRIVER, *HEADERS)),
                   stated_version(find_tool("yosys")), verilator.version, compiler.version, UNOPTIMIZED,
                   *OPTIONS, *FLAGS]

    def make(folder, say):
        say("RTL, yosys")
        (folder / "core.v").write_text(core_verilog(config))
        for file in (DRIVER, *HEADERS):
            shutil.copy(file, folder)
        say("Verilator")
        step([*verilator.command, *OPTIONS, "core.v"], folder)
        for path in folder.glob(ONCE):
            path.write_text(UNOPTIMIZED + path.read_text())
        include = Path(step([*verilator.command, "--getenv", "VERILATOR_ROOT"], folder).strip()) / "include"
        sources = [DRIVER.name, *sorted(path.name for path in folder.glob("*.cpp")),
                   *(str(include / name) for name in RUNTIME)]
        say("C++ compiler")
        compile_sources(folder, sources, (*FLAGS, "-I.", f"-I{include}", f"-I{include}/vltstd"), compiler)
    return built(f"verilator-{config.name}", ingredients, make)


def open_verilator(image, *, timeout, **options):
    """An `Engine` with `image` loaded. timeout, options: of `sim.compiled.CompiledEngine`."""
    return CompiledEngine(image, build(image.config), timeout=timeout, sdram=sdram_timing(image.config), **options)
