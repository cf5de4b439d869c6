"""The interface that every simulator of the accelerator, and a real board, is behind; `engines` opens one.

    for result in engine.run(pictures):         # uint8 (N, C, H, W)
        result.logits, result.cycles
"""
import time
from dataclasses import dataclass

import numpy as np

__all__ = ["NO_GAPS", "Engine", "Gaps", "Result"]


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
    """Base of all engines. `simulated_cycles` and `seconds` add up over all runs, and are up to date with each result.

    lanes: how many pictures the engine simulates at once. Their results come in one burst, since none is there before
    the others. An engine that carries more than one picture sets it.
    """
    lanes = 1

    def burst(self, count):
        """How many of `count` pictures come in one burst, the last one excepted: as few bursts as the lanes allow, and
        all alike."""
        return max(1, -(-count // max(1, -(-count // self.lanes))))

    def __init__(self):
        self.simulated_cycles = 0
        self.seconds = 0.0

    def run(self, pictures):
        """Yields one `Result` per picture of uint8 (N, C, H, W), in order, as soon as it is there: in bursts of
        `lanes`, the last one of what is left."""
        started = time.perf_counter()
        for result in self._run(pictures):
            now = time.perf_counter()
            self.seconds += now - started
            yield result
            started = time.perf_counter()       # the caller's own time does not count

    def _run(self, pictures):
        raise NotImplementedError

    def close(self):
        """Frees the simulator; a waveform file is complete only after it."""
