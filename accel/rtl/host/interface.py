"""The device's end of the UART: frames in, commands carried out, frames out.

    rx -> UartReceiver -> FrameReceiver =========> Controller ===> load, pixels
                                |                   ^  |  ^ <==== logits, cycles
                                +--> payload buffer +  |
    tx <- UartTransmitter <---- FrameSender <==========+--> leds
"""
from fractions import Fraction

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, link
from accel.config import AccelConfig
from accel.rtl.memory.block_memory import BlockMemory

from .controller import Controller
from .framing import FrameReceiver, FrameSender
from .uart import UartReceiver, UartTransmitter

__all__ = ["SILENCE_SECONDS", "HostInterface"]

SILENCE_SECONDS = Fraction(1, 10)       # a frame that stops for so long is given up: no USB adapter pauses longer


class HostInterface(wiring.Component):
    """All that speaks the UART protocol (docs/uart.md).

    Parameters
    ----------
    config : AccelConfig
    clock_hz : Fraction, of its own clock; core_hz : Fraction, of the core's, for INFO; baud : of the UART
    net : dict of `NetState` fields of the net that the core holds at configuration, or None
    timeout : cycles of silence after which a frame is given up; 0.1 s by default
    patience : cycles after which a core that does not answer is given up; as many by default

    Members
    -------
    rx : In(1), asynchronous; tx : Out(1); leds : Out(8): as the Controller's
    load, pixels : Out; logits, cycles : In: the core's streams
    whole, damaged, memory, run : In: the core's. Of `memory` errors and address stand still once it is `tested`, and
        `run` once its `ended` has changed
    clear : Out(1), cleared : In(1): see Controller
    locked : In(1): the core has its clock; beats : In(8): counts up as long as it lives; both for STATUS
    """
    def __init__(self, config: AccelConfig, *, clock_hz, core_hz, baud, net=None, timeout=None, patience=None):
        self.config, self.core_hz, self.net = config, core_hz, net
        self.line = {"clock_hz": clock_hz, "baud": baud}
        self.timeout = timeout or int(clock_hz * SILENCE_SECONDS)
        self.patience = patience or self.timeout
        super().__init__({
            "rx": In(1, init=1), "tx": Out(1, init=1), "leds": Out(8),
            "load": Out(stream.Signature(isa.LoadWord)), "pixels": Out(stream.Signature(isa.PixelWord)),
            "logits": In(stream.Signature(isa.LogitWord)), "cycles": In(32),
            "whole": In(1), "damaged": In(1), "memory": In(isa.MemoryReport),
            "run": In(isa.RunReport),
            "clear": Out(1), "cleared": In(1), "locked": In(1), "beats": In(8)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.uart_rx = uart_rx = UartReceiver(**self.line)
        m.submodules.uart_tx = uart_tx = UartTransmitter(**self.line)
        m.submodules.receiver = receiver = FrameReceiver(timeout=self.timeout)
        m.submodules.sender = sender = FrameSender()
        m.submodules.controller = controller = Controller(
            self.config, clock_hz=self.core_hz, baud=self.line["baud"], patience=self.patience, net=self.net)
        m.submodules.buffer = buffer = BlockMemory(width=8, depth=link.MAX_PAYLOAD)
        for source, sink in ((receiver.o, controller.request), (sender.o, uart_tx.i),
                             (controller.header, sender.header), (controller.payload, sender.payload),
                             (controller.load, wiring.flipped(self.load)),
                             (controller.pixels, wiring.flipped(self.pixels)),
                             (wiring.flipped(self.logits), controller.logits)):
            wiring.connect(m, source, sink)

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
            controller.cycles.eq(self.cycles), controller.whole.eq(self.whole), controller.damaged.eq(self.damaged),
            controller.memory.eq(self.memory), controller.run.eq(self.run),
            self.clear.eq(controller.clear), controller.cleared.eq(self.cleared),
            counters.frames.eq(frames), counters.framing_errors.eq(framing_errors),
            counters.locked.eq(self.locked), counters.beats.eq(self.beats),
            *(counters[name].eq(getattr(receiver, name))
              for name in ("header_errors", "frame_errors", "timeouts", "overruns"))]
        return m
