"""A value some cycles later."""
from amaranth import *

__all__ = ["delay"]


def delay(m, value, cycles, *, name="delay"):
    """`value` after `cycles` registers in `m`'s sync domain (the value itself for 0). A view comes back as a view."""
    for _ in range(cycles):
        stage = Signal.like(value, name=name, reset_less=True)
        m.d.sync += stage.eq(value)
        value = stage
    return value
