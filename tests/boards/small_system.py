"""A small design in the place of a `System`: counters in both clock domains, with paths between them."""
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SmallSystem"]


class SmallSystem(wiring.Component):
    """Has a `System`'s ports. Placed and routed in seconds."""
    def __init__(self, config, **_):
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "leds": Out(8), "locked": In(1), "beat": Out(1)})

    def elaborate(self, platform):
        m = Module()
        core, host = Signal(40), Signal(30)
        m.d.sync += [core.eq(core + 1), self.beat.eq(core[22] ^ host[2])]
        m.d.host += host.eq(host + self.rx + self.locked + core[3])
        m.d.comb += [self.tx.eq(host[-1]), self.leds.eq(core[-8:])]
        return m
