"""The instruction set without RTL: `accel.interp` behind the engine interface, its cycles from the cycle model."""
import numpy as np

from accel.cycles import schedule
from accel.interp import Interpreter

from .engine import Engine, Result

__all__ = ["InterpreterEngine"]


class InterpreterEngine(Engine):
    """Interprets the program of `image`; `simulated_cycles` are the cycle model's."""

    def __init__(self, image, *, trace=False):
        super().__init__(image.batch)
        self._interpreter = Interpreter(image)
        self._answers = schedule(image).answers
        self._trace = trace

    def _run(self, pictures):
        for first in range(0, len(pictures), self.batch):
            chosen = np.minimum(np.arange(first, first + self.batch), len(pictures) - 1)
            logits, writes = self._interpreter.run(pictures[chosen])
            self.simulated_cycles += self._answers[-1]
            for number in range(min(self.batch, len(pictures) - first)):
                yield Result(logits[number], self._answers[number], self._answers[-1], number,
                             writes if self._trace else None)
