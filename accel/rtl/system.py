"""A whole board but for its pins: the core behind a UART.

    rx -> UartReceiver -> FrameReceiver -> Controller =StreamRegister=> Core
    tx <- UartTransmitter <- FrameSender <-+    |     <=StreamRegister=
                                               leds

The core takes up the whole chip, and the rest is somewhere in it: every wire between the two is registered, and so are
the replies on their way to the sender.
"""
from fractions import Fraction

from amaranth import *
from amaranth.lib import wiring
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


class System(wiring.Component):
    """Classifies pictures that come over a UART.

    Parameters
    ----------
    config : AccelConfig
    clock_hz : Fraction, of the sync domain
    baud : of the UART
    floorplan : of the core; image : accel.image.Image of the net it starts with, or None
    timeout : cycles of silence after which a frame is given up; 0.1 s by default

    Members
    -------
    rx : In(1), asynchronous; tx : Out(1); leds : Out(8)
    """
    def __init__(self, config: AccelConfig, *, clock_hz, baud, host_hz=None, floorplan=None, image=None, timeout=None):
        self.config, self.floorplan, self.image = config, floorplan, image
        self.line = {"clock_hz": clock_hz, "baud": baud}
        self.timeout = timeout or int(clock_hz * SILENCE_SECONDS)
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "leds": Out(8), "locked": In(1),
                          "beat": Out(1)})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.core = core = Core(config, floorplan=self.floorplan, image=self.image)
        m.submodules.uart_rx = uart_rx = UartReceiver(**self.line)
        m.submodules.uart_tx = uart_tx = UartTransmitter(**self.line)
        m.submodules.receiver = receiver = FrameReceiver(timeout=self.timeout)
        m.submodules.sender = sender = FrameSender()
        m.submodules.controller = controller = Controller(
            config, **self.line, net=self.image and link.net_fields(self.image))
        m.submodules.buffer = buffer = BlockMemory(width=8, depth=link.MAX_PAYLOAD)
        wiring.connect(m, receiver.o, controller.request)
        wiring.connect(m, sender.o, uart_tx.i)
        m.submodules.load = load = StreamRegister(isa.LoadWord)
        m.submodules.pixels = pixels = StreamRegister(isa.PixelWord)
        m.submodules.logits = logits = StreamRegister(isa.LogitWord)
        m.submodules.header = header = StreamRegister(link.Header)
        m.submodules.payload = payload = StreamRegister(8)
        for source, register, sink in ((controller.load, load, core.load), (controller.pixels, pixels, core.pixels),
                                       (core.logits, logits, controller.logits),
                                       (controller.header, header, sender.header),
                                       (controller.payload, payload, sender.payload)):
            wiring.connect(m, source, register.i)
            wiring.connect(m, register.o, sink)
        # The core may start the next picture, and count anew, while the last logit waits in the register.
        cycles = Signal.like(core.cycles)
        with m.If(logits.i.ready):
            m.d.sync += cycles.eq(core.cycles)

        beats = Signal(23)
        m.d.sync += beats.eq(beats + 1)
        m.d.comb += self.beat.eq(beats[-1])
        framing_errors, frames = Signal(16), Signal(16)
        with m.If(uart_rx.framing_error):
            m.d.sync += framing_errors.eq(framing_errors + 1)
        with m.If(receiver.o.valid & receiver.o.ready & (receiver.o.p.fault == link.Fault.NONE)):
            m.d.sync += frames.eq(frames + 1)
        counters = controller.counters
        m.d.comb += [
            uart_rx.rx.eq(self.rx), self.tx.eq(uart_tx.tx), self.leds.eq(controller.leds),
            receiver.valid.eq(uart_rx.valid), receiver.byte.eq(uart_rx.data),
            buffer.write_enable.eq(receiver.buffer_enable), buffer.write_address.eq(receiver.buffer_address),
            buffer.write_data.eq(receiver.buffer_data), buffer.read_address.eq(controller.buffer_address),
            controller.buffer_data.eq(buffer.read_data),
            receiver.hold.eq(controller.reading), receiver.read_address.eq(controller.buffer_address),
            controller.cycles.eq(cycles), counters.frames.eq(frames), counters.framing_errors.eq(framing_errors),
            *(counters[name].eq(getattr(receiver, name))
              for name in ("header_errors", "frame_errors", "timeouts", "overruns"))]
        return m
