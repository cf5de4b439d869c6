"""A small design in the place of a `System`: counters in both clock domains, with paths between them."""
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.rtl.sdram.port import SdramPort

__all__ = ["SmallSystem"]


class SmallSystem(wiring.Component):
    """Has a `System`'s ports. Placed and routed in seconds. Where there is an SDRAM, its words are what comes back."""
    def __init__(self, config, **_):
        self._has_sdram = config.sdram_hz is not None
        sdram = {"sdram": Out(SdramPort())} if self._has_sdram else {}
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "leds": Out(8), "locked": In(1), "beat": Out(1),
                          **sdram})

    def elaborate(self, platform):
        m = Module()
        core, host = Signal(40), Signal(30)
        m.d.sync += [core.eq(core + 1), self.beat.eq(core[22] ^ host[2])]
        m.d.host += host.eq(host + self.rx + self.locked + core[3])
        m.d.comb += [self.tx.eq(host[-1]), self.leds.eq(core[-8:])]
        if self._has_sdram:
            port, lines = self.sdram, Signal(50)
            m.d.sync += lines.eq(lines ^ Cat(port.dq_i, core))
            m.d.sync += Cat(port.ras_n, port.cas_n, port.we_n, port.bank, port.address, port.dq_oe, port.dq_o).eq(lines)
        return m
