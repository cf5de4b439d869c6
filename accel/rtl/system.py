"""A whole board but for its pins: the core, and the UART interface with a clock of its own.

    domain `host`: the oscillator's clock        |    domain `sync`: the core's clock

    rx -> HostInterface == load words ==== ClockCrossing ============> Core
    tx <-      |    |   == pixels ======== ClockCrossing ============>  | <--> sdram
             leds   |   <= answers ======= ClockCrossing === StreamRegister
                    +-- whole, damaged, memory, run <---------------------+
                    +-- clear, cleared ----------+---------------------+
                    +-- locked, beats <----------+-------------- counter

The UART needs no fast clock and the core gets the one of its data path. The core takes up the whole chip, and the rest
is somewhere in it: every wire between the two is registered.
"""
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from accel import isa, link, timing
from accel.config import AccelConfig
from accel.rtl.host.clock_crossing import ClockCrossing
from accel.rtl.host.interface import HostInterface

from .core import Core
from .sdram.port import SdramPort
from .stream_register import StreamRegister

__all__ = ["CLEAR_CYCLES", "System"]

BEAT_CYCLES = 1 << 22           # of the core's clock, between beats
CLEAR_CYCLES = 128              # more than anything in the core or on its way to it takes to come to its end


class Answer(data.Struct):
    """A logit, and the cycles of its picture so far."""
    logit: isa.LogitWord
    cycles: 32


class System(wiring.Component):
    """Classifies pictures that come over a UART.

    Parameters
    ----------
    config : AccelConfig
    host_hz, clock_hz : Fraction, of the domains host and sync; no relation between the two is needed
    baud : of the UART
    floorplan : of the core; image : accel.image.Image of the net it starts with, or None
    timeout, patience : as of `HostInterface`, in cycles of the host's clock

    Members
    -------
    rx : In(1), asynchronous; tx : Out(1); leds : Out(8): the host's side
    locked : In(1), asynchronous: the core has its clock. Until it has one for the first time it does nothing, and the
        host's side answers all the same
    beat : Out(1), of the core: changes each BEAT_CYCLES / 2 cycles
    sdram : Out(SdramPort), where `config.sdram_hz` is not None: the core's
    """
    def __init__(self, config: AccelConfig, *, host_hz, clock_hz, baud, floorplan=None, image=None, timeout=None,
                 patience=None):
        self.config, self.floorplan, self.image = config, floorplan, image
        self.interface = HostInterface(config, clock_hz=host_hz, core_hz=clock_hz, baud=baud, timeout=timeout,
                                       patience=patience, net=image and link.net_fields(image))
        sdram = {} if config.sdram_hz is None else {"sdram": Out(SdramPort())}
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "leds": Out(8), "locked": In(1), "beat": Out(1),
                          **sdram})

    def elaborate(self, platform):
        m = Module()
        config, interface = self.config, self.interface
        m.submodules.interface = DomainRenamer("host")(interface)
        m.submodules.core = core = Core(config, floorplan=self.floorplan, image=self.image)
        m.d.comb += [interface.rx.eq(self.rx), self.tx.eq(interface.tx), self.leds.eq(interface.leds)]

        if config.sdram_hz is not None:
            wiring.connect(m, core.sdram, wiring.flipped(self.sdram))

        clear = Signal()                                    # in the core's domain
        m.submodules.clear_synchronizer = FFSynchronizer(interface.clear, clear)
        m.d.comb += core.clear.eq(clear)
        for name in ("load", "pixels"):
            source, sink = getattr(interface, name), getattr(core, name)
            m.submodules[f"{name}_crossing"] = crossing = ClockCrossing(
                source.payload.shape(), w_domain="host", r_domain="sync")
            wiring.connect(m, source, crossing.i)
            # Pixels that are still on their way while the core is cleared are dropped. Load words are not: a load goes
            # on after RESET, and a cleared core takes them.
            drop = clear if name == "pixels" else 0
            m.d.comb += [sink.payload.eq(crossing.o.payload), sink.valid.eq(crossing.o.valid & ~drop),
                         crossing.o.ready.eq(sink.ready | drop)]

        m.submodules.logits_register = logits = StreamRegister(Answer)
        m.submodules.logits_crossing = logits_crossing = ClockCrossing(Answer, w_domain="sync", r_domain="host")
        wiring.connect(m, logits.o, logits_crossing.i)
        m.d.comb += [
            # The core may start the next picture, and count anew, while its last logit is on its way.
            logits.i.p.logit.eq(core.logits.payload), logits.i.p.cycles.eq(core.cycles),
            logits.i.valid.eq(core.logits.valid), core.logits.ready.eq(logits.i.ready),
            interface.logits.payload.eq(logits_crossing.o.p.logit), interface.cycles.eq(logits_crossing.o.p.cycles),
            interface.logits.valid.eq(logits_crossing.o.valid), logits_crossing.o.ready.eq(interface.logits.ready)]

        tested, ended = Signal(), Signal()
        for name, level, there in (("whole", core.whole, interface.whole), ("damaged", core.damaged, interface.damaged),
                                   ("tested", core.memory.tested, tested), ("ended", core.run.ended, ended)):
            m.submodules[f"{name}_synchronizer"] = FFSynchronizer(level, there, o_domain="host")
        # What the test found is looked at once it is over, and then stands still; so is what is said of a run.
        m.d.comb += [interface.memory.eq(core.memory), interface.memory.tested.eq(tested),
                     interface.run.eq(core.run), interface.run.ended.eq(ended)]

        # The core is clear when all that was on its way has come to its end, and the host's side took what there was.
        assert CLEAR_CYCLES > timing.drained(config)
        left, cleared = Signal(range(CLEAR_CYCLES + 1)), Signal()
        with m.If(~clear):
            m.d.sync += left.eq(CLEAR_CYCLES)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        m.d.sync += cleared.eq(clear & (left == 0) & ~logits.o.valid & logits_crossing.empty)
        m.submodules.cleared_synchronizer = FFSynchronizer(cleared, interface.cleared, o_domain="host")

        count = Signal(range(BEAT_CYCLES))
        beat, last_beat = Signal(), Signal()
        m.d.sync += count.eq(count + 1)
        m.d.comb += self.beat.eq(count[-1])
        m.submodules.beat_synchronizer = FFSynchronizer(self.beat, beat, o_domain="host")
        m.submodules.locked_synchronizer = FFSynchronizer(self.locked, interface.locked, o_domain="host")
        m.d.host += last_beat.eq(beat)
        with m.If(beat & ~last_beat):
            m.d.host += interface.beats.eq(interface.beats + 1)
        return m
