"""A value that knows its cycle."""
from amaranth import *

__all__ = ["Timed"]


class Timed:
    """`value`, as it is in cycle `cycle` of whatever timeline its user counts in; `at` gives it in later ones.

    m: the module whose sync domain the registers go to; call `at` outside of its conditions. name: of the registers,
    and for the error. Registers are made once, however often a cycle is asked for.

        token = Timed(m, sequencer.token.first, 0, name="token_first")
        array.swap.eq(token.at(timing.IM2COL))
    """
    def __init__(self, m, value, cycle, *, name):
        self._m, self._name, self.cycle = m, name, cycle
        self._stages = [value]

    def at(self, cycle):
        """The value in that cycle; a view comes back as a view. ValueError for a cycle before its own."""
        if cycle < self.cycle:
            raise ValueError(f"{self._name} is a value of cycle {self.cycle}, it cannot be had in cycle {cycle}")
        while len(self._stages) <= cycle - self.cycle:
            stage = Signal.like(self._stages[-1], name=f"{self._name}_{len(self._stages)}", reset_less=True)
            self._m.d.sync += stage.eq(self._stages[-1])
            self._stages.append(stage)
        return self._stages[cycle - self.cycle]
