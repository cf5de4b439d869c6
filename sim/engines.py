"""Opens an engine by name.

    engine = open_engine("lanes", image)

Engines: `lanes` (the RTL, compiled, many pictures in one run), `cxxrtl` (the RTL as yosys compiles it: the second
opinion, and waveforms), `pysim` (the RTL, interpreted by Amaranth; slow, needs no compiler) and `interp` (the
instruction set, without RTL; its cycles come from the cycle model).
"""
from accel.cycles import cycles
from model.common.errors import UserError

from .engine import NO_GAPS
from .sdram import sdram_timing

__all__ = ["ENGINES", "library_of", "open_engine", "timeout_cycles"]

ENGINES = ("lanes", "cxxrtl", "pysim", "interp")


def timeout_cycles(image, gaps):
    """Cycles without a word taken or a result given after which a core counts as hung: generous, since a healthy core
    is exact."""
    height, width = image.picture_shape
    pixels = 2 * image.batch * height * width / (1 - gaps.pixels)
    logits = image.batch * image.n_logits / (1 - gaps.logits)
    timeout = int(4 * cycles(image) + 4 * (pixels + logits)) + 10_000
    sdram = sdram_timing(image.config)
    if sdram:           # it wakes up first, and a tape in it is read before it counts as whole
        timeout += 2 * sdram.power_up + 4 * image.tape.size
    return timeout


def library_of(kind, config):
    """Path of the library of the engine "lanes" or "cxxrtl" for the core of `config`, built unless it is cached."""
    if kind == "lanes":
        from .lanes.build import build
    else:
        from .cxxrtl import build
    return build(config)


def open_engine(kind, image, *, trace=False, vcd=None, gaps=NO_GAPS, library=None):
    """An `Engine` with `image` (accel.image.Image) loaded.

    trace: results carry their `writes`. vcd: path of a waveform file to write.
    library: path from `library_of`, for callers that have it already.
    """
    if kind == "interp":
        if vcd is not None:
            raise UserError("the interp engine has no signals, so no --vcd: use cxxrtl or pysim")
        from .interp import InterpreterEngine
        return InterpreterEngine(image, trace=trace)

    timeout = timeout_cycles(image, gaps)
    sdram = sdram_timing(image.config)
    if kind in ("lanes", "cxxrtl"):
        from .compiled import CompiledEngine
        if kind == "lanes" and vcd is not None:
            raise UserError("the lanes engine writes no waveforms: use cxxrtl or pysim")
        if library is None:
            library = library_of(kind, image.config)
        return CompiledEngine(image, library, trace=trace, vcd=vcd, gaps=gaps, timeout=timeout, sdram=sdram)
    if kind == "pysim":
        from accel.rtl.core import Core

        from .pysim import PysimEngine
        return PysimEngine(image, lambda: Core(image.config), trace=trace, vcd=vcd, gaps=gaps, timeout=timeout,
                           sdram=sdram)
    raise UserError(f"no engine called {kind!r}; there are {', '.join(ENGINES)}")
