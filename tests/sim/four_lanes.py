"""A stand-in for an engine that simulates several pictures at once."""
from sim import parallel
from sim.interp import InterpreterEngine

__all__ = ["open_four_lanes"]


class FourLanes(InterpreterEngine):
    """Gives four results at once, and simulates 10 cycles more than one of them says: a picture's share is no whole
    number. `runs`: how many pictures each run had."""
    lanes = 4

    def __init__(self, image, **options):
        super().__init__(image, **options)
        self.runs = []

    def _run(self, pictures):
        self.runs.append(len(pictures))
        for first in range(0, len(pictures), self.lanes):
            simulated = self.simulated_cycles
            burst = list(super()._run(pictures[first:first + self.lanes]))
            self.simulated_cycles = simulated + burst[0].cycles + 10
            yield from burst


def open_four_lanes(monkeypatch):
    """Makes this process open no engine but these; the list of those that it opens."""
    opened = []

    def open_engine(kind, image, **options):
        opened.append(FourLanes(image, **options))
        return opened[-1]

    monkeypatch.setattr(parallel, "open_engine", open_engine)
    return opened
