"""UART, 8 data bits, no parity, one stop bit; the bit clock is a fractional divider of the system clock.

    line   ----+       +-------+---- ...            phase runs 0 .. 1 over each bit; the receiver starts it at the
               | start | bit 0 |                    falling edge and takes the majority of all samples between
               +-------+       +---- ...            1/4 and 3/4 of a bit (5/8 of the stop bit)
    phase      0 ....1 0 ....1 0
"""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["UartReceiver", "UartTransmitter", "phase_step"]

PHASE_BITS = 20
TOLERANCE = 0.005           # of the 2 % that a receiver forgives; the rest is for the other end's clock
BITS = 10                   # start, 8 data, stop


def phase_step(clock_hz, baud):
    """Phase a bit clock moves on each cycle, in units of 2**-PHASE_BITS. ValueError below 8 cycles a bit, and where the
    rounding changes the rate by more than TOLERANCE."""
    if not 0 < 8 * baud <= clock_hz:
        raise ValueError(f"{baud:g} baud: a clock of {clock_hz / 1e6:g} MHz makes at most an eighth of it, "
                         f"{clock_hz // 8:.0f}")
    exact = (1 << PHASE_BITS) * baud / clock_hz
    if abs(round(exact) - exact) > TOLERANCE * exact:
        raise ValueError(f"{baud:g} baud: a clock of {clock_hz / 1e6:g} MHz makes no rate within {TOLERANCE:.1%} of it")
    return round(exact)


class UartReceiver(wiring.Component):
    """Bytes from a line.

    Parameters
    ----------
    clock_hz, baud : at least 8 cycles a bit

    Members
    -------
    rx : In(1), asynchronous
    valid : Out(1), data : Out(8): a byte, for one cycle, in the middle of its stop bit
    framing_error : Out(1): instead of `valid` where the stop bit is low

    A start bit that is not low for most of its middle half starts nothing. Majority sampling forgives a glitch of an
    eighth of a bit in every start and data bit; 2 % of difference between the two clocks is within reach
    (tests/accel/rtl/host/test_uart.py).
    """
    def __init__(self, *, clock_hz, baud):
        self.step = phase_step(clock_hz, baud)
        self.samples = int(clock_hz / baud) + 2
        super().__init__({"rx": In(1, init=1), "valid": Out(1), "data": Out(8), "framing_error": Out(1)})

    def elaborate(self, platform):
        m = Module()
        rx = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, rx, init=1)
        phase, at = Signal(PHASE_BITS), Signal(range(BITS))
        following = Signal(PHASE_BITS + 1)
        eighth, was_middle = Signal(3), Signal()
        balance = Signal(signed(self.samples.bit_length() + 1))         # high samples less low ones
        middle, decided, bit, busy, stop = Signal(), Signal(), Signal(), Signal(), Signal()
        # Low until the line has been high, so that a line that is low at power-on, or a break, is no start bit.
        idle_seen = Signal()
        m.d.comb += [following.eq(phase + self.step), eighth.eq(phase[-3:]),
                     # The stop bit is judged early: where the sender is faster, its next start bit comes early.
                     middle.eq((eighth >= 2) & (eighth < Mux(stop, 5, 6))), bit.eq(balance > 0),
                     decided.eq(was_middle & ~middle)]
        m.d.sync += [self.valid.eq(0), self.framing_error.eq(0), was_middle.eq(middle & busy)]
        with m.If(busy):
            m.d.sync += phase.eq(following)
            with m.If(following[-1]):
                m.d.sync += [at.eq(at + 1), stop.eq(at == BITS - 2)]
            with m.If(middle):
                m.d.sync += balance.eq(balance + Mux(rx, 1, -1))
            with m.If(decided):
                m.d.sync += balance.eq(0)
                with m.If(at == 0):
                    m.d.sync += busy.eq(~bit)
                with m.Elif(stop):
                    m.d.sync += [busy.eq(0), idle_seen.eq(bit), self.valid.eq(bit), self.framing_error.eq(~bit)]
                with m.Else():
                    m.d.sync += self.data.eq(Cat(self.data[1:], bit))
        with m.Else():
            m.d.sync += [phase.eq(self.step), at.eq(0), stop.eq(0), balance.eq(0)]        # a cycle has passed
            with m.If(rx):
                m.d.sync += idle_seen.eq(1)
            with m.Elif(idle_seen):
                m.d.sync += busy.eq(1)
        return m


class UartTransmitter(wiring.Component):
    """Bytes to a line.

    Members
    -------
    i : In(stream of 8 bits); tx : Out(1), high when idle

    A byte each 10 bit times.
    """
    def __init__(self, *, clock_hz, baud):
        self.step = phase_step(clock_hz, baud)
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        phase, left, bits = Signal(PHASE_BITS), Signal(range(BITS + 1)), Signal(BITS, init=-1)
        following = Signal(PHASE_BITS + 1)
        m.d.comb += [following.eq(phase + self.step), self.tx.eq(bits[0]), self.i.ready.eq(left == 0)]
        with m.If(self.i.ready):
            with m.If(self.i.valid):
                m.d.sync += [bits.eq(Cat(0, self.i.payload, 1)), left.eq(BITS), phase.eq(0)]
        with m.Else():
            m.d.sync += phase.eq(following)
            with m.If(following[-1]):
                m.d.sync += [bits.eq(Cat(bits[1:], 1)), left.eq(left - 1)]
        return m
