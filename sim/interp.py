"""The instruction set without RTL: `accel.interp` behind the engine interface, its cycles from the cycle model."""
from accel.cycles import cycles
from accel.interp import Interpreter

from .engine import Engine, Result

__all__ = ["InterpreterEngine"]


class InterpreterEngine(Engine):
    """Interprets the program of `image`; `simulated_cycles` are the cycle model's."""

    def __init__(self, image, *, trace=False):
        super().__init__()
        self._interpreter = Interpreter(image)
        self._cycles = cycles(image)
        self._trace = trace

    def _run(self, pictures):
        for picture in pictures:
            logits, writes = self._interpreter.run(picture)
            self.simulated_cycles += self._cycles
            yield Result(logits, self._cycles, writes if self._trace else None)
