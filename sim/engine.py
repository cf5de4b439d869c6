"""One interface to every simulator of the accelerator.

    engine = open_engine("cxxrtl", image)
    for result in engine.run(images):           # uint8 (N, 3, H, W)
        result.logits, result.cycles

Engines: `cxxrtl` (the RTL, compiled), `pysim` (the RTL, interpreted by Amaranth; slow, needs no compiler) and `interp`
(the instruction set, without RTL; its cycles come from the cycle model).
"""
import time
from dataclasses import dataclass

import numpy as np

from accel.cycles import cycles
from model.errors import UserError

__all__ = ["ENGINES", "Engine", "Gaps", "Result", "open_engine", "timeout_cycles"]

ENGINES = ("cxxrtl", "pysim", "interp")


@dataclass(frozen=True, eq=False)
class Result:
    """What one picture gave.

    logits: int32 (n,). cycles: from the first token to the last, as the core counts them.
    writes: every write to the activation memory, (groups uint32 (N,), data uint64 (N, words)) for
    `accel.image.Image.tensors`; None without `trace`.
    """
    logits: np.ndarray
    cycles: int
    writes: tuple | None = None


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """Seeded back-pressure: the chance of each cycle that no new pixel is offered, and that logits are not taken."""
    pixels: float = 0.0
    logits: float = 0.0
    seed: int = 1

    def __post_init__(self):
        for name in ("pixels", "logits"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in 0 .. 1, 1 excluded, not {getattr(self, name)!r}")


NO_GAPS = Gaps()


class Engine:
    """Base of all engines. `simulated_cycles` and `seconds` add up over all runs."""

    def __init__(self):
        self.simulated_cycles = 0
        self.seconds = 0.0

    def run(self, images):
        """Yields one `Result` per picture of uint8 (N, 3, H, W), in order, as soon as it is there."""
        started = time.perf_counter()
        for result in self._run(images):
            now = time.perf_counter()
            self.seconds += now - started
            yield result
            started = time.perf_counter()       # the caller's own time does not count

    def _run(self, images):
        raise NotImplementedError

    def close(self):
        """Frees the simulator; a waveform file is complete only after it."""


def timeout_cycles(image, gaps):
    """Cycles without a result after which a core counts as hung: generous, since a healthy core is exact."""
    height, width = image.image_shape
    pixels = 2 * height * width / (1 - gaps.pixels)
    logits = image.n_logits / (1 - gaps.logits)
    return int(4 * cycles(image) + 4 * (pixels + logits)) + 10_000


def open_engine(kind, image, *, trace=False, vcd=None, gaps=NO_GAPS, library=None):
    """An `Engine` with `image` (accel.image.Image) loaded.

    trace: results carry their `writes`. vcd: path of a waveform file to write.
    library: path from `sim.cxxrtl.build`, for callers that have it already.
    """
    if kind == "interp":
        if vcd is not None:
            raise UserError("the interp engine has no signals, so no --vcd: use cxxrtl or pysim")
        from .interp import InterpreterEngine
        return InterpreterEngine(image, trace=trace)

    timeout = timeout_cycles(image, gaps)
    if kind == "cxxrtl":
        from .cxxrtl import CxxrtlEngine, build
        if library is None:
            library = build(image.config, waveforms=vcd is not None)
        return CxxrtlEngine(image, library, trace=trace, vcd=vcd, gaps=gaps, timeout=timeout)
    if kind == "pysim":
        from accel.rtl.core import Core

        from .pysim import PysimEngine
        return PysimEngine(image, lambda: Core(image.config), trace=trace, vcd=vcd, gaps=gaps, timeout=timeout)
    raise UserError(f"no engine called {kind!r}; there are {', '.join(ENGINES)}")
