"""The LED that shows a picture being classified, and that the core's clock lives."""
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["BeatLight"]

BEATS = 16                  # edges of `beat` from flash to flash: about half a second
FLASHES_A_SECOND = 25       # that would fill a second: how short one is


class BeatLight(wiring.Component):
    """Lit while busy; while idle, a flash of 40 ms at every 16th edge of the core's beat. No beat, no light: a flash
    that has begun ends by the host's clock.

    Parameters
    ----------
    clock_hz : Fraction, of the sync domain

    Members
    -------
    busy : In(1)
    beat : In(1), asynchronous; toggles some 30 times a second
    led : Out(1)

    Latency: busy to led none; 3 cycles from an edge of `beat` to the flash. Resources: some 25 flip-flops.
    """
    def __init__(self, *, clock_hz):
        self.flash = int(clock_hz / FLASHES_A_SECOND)       # cycles
        super().__init__({"busy": In(1), "beat": In(1), "led": Out(1)})

    def elaborate(self, platform):
        m = Module()
        beat, before = Signal(), Signal()
        m.submodules.synchronizer = FFSynchronizer(self.beat, beat)
        edges, left = Signal(range(BEATS)), Signal(range(self.flash + 1))
        m.d.sync += before.eq(beat)
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.If(beat != before):
            m.d.sync += edges.eq(edges + 1)
            with m.If(edges == BEATS - 1):
                m.d.sync += left.eq(self.flash)
        m.d.comb += self.led.eq(self.busy | (left != 0))
        return m
