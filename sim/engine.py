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

    logits: int32 (n,). cycles: from its program's start to its last logit, as the core counts them: its latency.
    program_cycles: to the last logit of its batch. number: its place in the batch.
    writes: every write to the activation memory in its program, (groups uint32 (N,), data uint64 (N, words)) for
    `accel.image.Image.tensors`; None without `trace`.
    """
    logits: np.ndarray
    cycles: int
    program_cycles: int
    number: int = 0
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

    lanes: how many programs the engine simulates at once, a batch of pictures each. Their results come in one burst,
    since none is there before the others. An engine that carries more than one sets it. batch: pictures of a program.
    """
    lanes = 1

    def used_lanes(self, count):
        """How many lanes carry `count` pictures: as few bursts as the lanes allow, and all alike."""
        batches = max(1, -(-count // self.batch))
        return -(-batches // -(-batches // self.lanes))

    def burst(self, count):
        """How many of `count` pictures come in one burst, the last one excepted."""
        return self.used_lanes(count) * self.batch

    def __init__(self, batch=1):
        self.batch = batch
        self.simulated_cycles = 0
        self.seconds = 0.0

    def run(self, pictures):
        """Yields one `Result` per picture of uint8 (N, C, H, W), in order, as soon as it is there: in bursts, the last
        one of what is left. An incomplete batch is filled up with pictures that nobody looks at."""
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
