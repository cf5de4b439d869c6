"""A whole board but for its pins: the core behind a UART.

    rx -> UartReceiver -> FrameReceiver -> Controller =StreamRegister=> Core
    tx <- UartTransmitter <- FrameSender <-+    |     <=StreamRegister=
                                               leds

The core takes up the whole chip, and the rest is somewhere in it: every wire between the two is registered, and so are
the replies on their way to the sender.
"""
from fractions import Fraction

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import AsyncFIFO
from amaranth.lib.wiring import In, Out

from accel import isa, link
from accel.config import AccelConfig
from accel.rtl.host.controller import Controller
from accel.rtl.host.framing import FrameReceiver, FrameSender
from accel.rtl.host.stream_register import StreamRegister
from accel.rtl.host.uart import UartReceiver, UartTransmitter
from accel.rtl.memory.block_memory import BlockMemory

from .core import Core

__all__ = ["SILENCE_SECONDS", "System"]

SILENCE_SECONDS = Fraction(1, 10)       # a frame that stops for so long is given up: no USB adapter pauses longer


BEAT_CYCLES = 1 << 22       # of the core, half a period of `beat`
CROSSING_DEPTH = 4


class Crossing(wiring.Component):
    """A stream of `shape` from one clock domain to another."""
    def __init__(self, shape, *, source, sink):
        self.domains = {"w_domain": source, "r_domain": sink}
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = AsyncFIFO(
            width=len(Value.cast(self.i.payload)), depth=CROSSING_DEPTH, **self.domains)
        m.d.comb += [fifo.w_data.eq(self.i.payload), fifo.w_en.eq(self.i.valid), self.i.ready.eq(fifo.w_rdy),
                     Value.cast(self.o.payload).eq(fifo.r_data), self.o.valid.eq(fifo.r_rdy),
                     fifo.r_en.eq(self.o.ready)]
        return m


class Answer(data.Struct):
    """A logit, and the cycles of its picture so far."""
    logit: isa.LogitWord
    cycles: 32


class System(wiring.Component):
    """Classifies pictures that come over a UART.

    Parameters
    ----------
    config : AccelConfig
    clock_hz, host_hz : Fraction, of the domains `sync`, the core's, and `host`, all the rest's
    baud : of the UART
    floorplan : of the core; image : accel.image.Image of the net it starts with, or None
    timeout : cycles of silence after which a frame is given up; 0.1 s by default

    Members
    -------
    rx : In(1), asynchronous; tx : Out(1); leds : Out(8)
    locked : In(1), asynchronous: the core's clock runs
    beat : Out(1): changes every `BEAT_CYCLES` cycles of the core
    """
    def __init__(self, config: AccelConfig, *, clock_hz, host_hz, baud, floorplan=None, image=None, timeout=None):
        self.config, self.floorplan, self.image = config, floorplan, image
        self.clock_hz, self.line = clock_hz, {"clock_hz": host_hz, "baud": baud}
        self.timeout = timeout or int(host_hz * SILENCE_SECONDS)
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "leds": Out(8), "locked": In(1, init=1),
                          "beat": Out(1)})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        host = DomainRenamer("host")
        m.submodules.core = core = Core(config, floorplan=self.floorplan, image=self.image)
        m.submodules.uart_rx = host(uart_rx := UartReceiver(**self.line))
        m.submodules.uart_tx = host(uart_tx := UartTransmitter(**self.line))
        m.submodules.receiver = host(receiver := FrameReceiver(timeout=self.timeout))
        m.submodules.sender = host(sender := FrameSender())
        m.submodules.controller = host(controller := Controller(
            config, clock_hz=self.clock_hz, baud=self.line["baud"], net=self.image and link.net_fields(self.image)))
        m.submodules.buffer = host(buffer := BlockMemory(width=8, depth=link.MAX_PAYLOAD))
        wiring.connect(m, receiver.o, controller.request)
        wiring.connect(m, sender.o, uart_tx.i)
        m.submodules.load = load = Crossing(isa.LoadWord, source="host", sink="sync")
        m.submodules.pixels = pixels = Crossing(isa.PixelWord, source="host", sink="sync")
        m.submodules.logits = logits = Crossing(Answer, source="sync", sink="host")
        m.submodules.header = host(header := StreamRegister(link.Header))
        m.submodules.payload = host(payload := StreamRegister(8))
        for source, register, sink in ((controller.load, load, core.load), (controller.pixels, pixels, core.pixels),
                                       (controller.header, header, sender.header),
                                       (controller.payload, payload, sender.payload)):
            wiring.connect(m, source, register.i)
            wiring.connect(m, register.o, sink)
        m.d.comb += [logits.i.valid.eq(core.logits.valid), core.logits.ready.eq(logits.i.ready),
                     logits.i.p.logit.eq(core.logits.payload), logits.i.p.cycles.eq(core.cycles),
                     controller.logits.valid.eq(logits.o.valid), logits.o.ready.eq(controller.logits.ready),
                     controller.logits.payload.eq(logits.o.p.logit)]
        beat = Signal(range(BEAT_CYCLES))
        m.d.sync += beat.eq(beat + 1)
        with m.If(beat == 0):
            m.d.sync += self.beat.eq(~self.beat & self.locked)

        framing_errors, frames = Signal(16), Signal(16)
        with m.If(uart_rx.framing_error):
            m.d.host += framing_errors.eq(framing_errors + 1)
        with m.If(receiver.o.valid & receiver.o.ready & (receiver.o.p.fault == link.Fault.NONE)):
            m.d.host += frames.eq(frames + 1)
        counters = controller.counters
        m.d.comb += [
            uart_rx.rx.eq(self.rx), self.tx.eq(uart_tx.tx), self.leds.eq(controller.leds),
            receiver.valid.eq(uart_rx.valid), receiver.byte.eq(uart_rx.data),
            buffer.write_enable.eq(receiver.buffer_enable), buffer.write_address.eq(receiver.buffer_address),
            buffer.write_data.eq(receiver.buffer_data), buffer.read_address.eq(controller.buffer_address),
            controller.buffer_data.eq(buffer.read_data),
            receiver.hold.eq(controller.reading), receiver.read_address.eq(controller.buffer_address),
            controller.cycles.eq(logits.o.p.cycles),
            counters.frames.eq(frames), counters.framing_errors.eq(framing_errors),
            *(counters[name].eq(getattr(receiver, name))
              for name in ("header_errors", "frame_errors", "timeouts", "overruns"))]
        return m
