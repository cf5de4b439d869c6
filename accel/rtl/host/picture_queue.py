"""Pictures on their way: their pixels in, and whose answer is next.

    control: INFER --> octets ==> pixels ==> the core ==> PictureAnswer ==> Replies
               |                                                              |
               +--> sequences of the pictures in flight, `oldest` first <--- answered

A pixel is three bytes taken and two cycles, in which the payload's reader fetches the next one:

    cycle    0 .. 8    9       10      11     12
    state    PIXEL     OFFER   MORE    PIXEL
    octets   3 taken                          the next
    pixels             valid
"""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, link

from .commands import order_signature

__all__ = ["PictureQueue"]

PIXEL_BYTES = 3


class PictureQueue(wiring.Component):
    """Carries out INFER, and keeps the sequence numbers of `link.WINDOW` pictures.

    Members
    -------
    control : the order INFER, taken when the core has the last pixel, where fewer than `link.WINDOW` pictures are
        outstanding. No faults. abandon : In(1): give the order up, in a cycle in which a pixel is not taken
    octets : In(stream of 8 bits), left : In(16): the payload, from a `PayloadReader`
    pixels : Out(stream of isa.PixelWord)
    answered : In(1), for one cycle in which no INFER begins: the oldest picture is answered; whole : In(1): by its
        logits; best : In(16): the class
    clear : In(1): no picture is on its way any more
    oldest : Out(8): sequence number of the picture whose answer is next
    outstanding : Out: pictures sent and not yet answered
    images : Out(16): pictures answered by their logits, modulo 2**16
    last_class : Out(7): low bits of the class of the last of them

    Time: 12 cycles a pixel. Resources: 71 flip-flops, 60 LUT4.
    """
    def __init__(self):
        super().__init__({
            "control": In(order_signature()), "octets": In(stream.Signature(8)), "left": In(16),
            "pixels": Out(stream.Signature(isa.PixelWord)),
            "abandon": In(1), "answered": In(1), "whole": In(1), "best": In(16), "clear": In(1),
            "oldest": Out(8), "outstanding": Out(range(link.WINDOW + 1)), "images": Out(16), "last_class": Out(7)})

    def elaborate(self, platform):
        m = Module()
        order = self.control.order
        pixel, position, exhausted = Signal(isa.PixelWord), Signal(range(PIXEL_BYTES)), Signal()
        pixel_bits = pixel.as_value()
        sequences = Signal(data.ArrayLayout(8, link.WINDOW))
        pushed = Signal()
        m.d.comb += [self.pixels.payload.eq(pixel), self.oldest.eq(sequences[0])]
        m.d.sync += exhausted.eq(self.left == 0)

        with m.If(self.clear):
            m.d.sync += self.outstanding.eq(0)
        with m.Elif(self.answered):
            m.d.sync += [self.outstanding.eq(self.outstanding - 1),
                         *(sequences[k].eq(sequences[k + 1]) for k in range(link.WINDOW - 1))]
            with m.If(self.whole):
                m.d.sync += [self.images.eq(self.images + 1), self.last_class.eq(self.best)]
        with m.Elif(pushed):
            m.d.sync += [self.outstanding.eq(self.outstanding + 1),
                         sequences[self.outstanding[:(link.WINDOW - 1).bit_length()]].eq(order.p.sequence)]

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += position.eq(0)
                with m.If(order.valid):
                    m.d.comb += pushed.eq(1)
                    m.next = "PIXEL"
            with m.State("PIXEL"):
                m.d.comb += self.octets.ready.eq(1)
                with m.If(self.octets.valid):
                    m.d.sync += [pixel_bits.eq(Cat(pixel_bits[8:], self.octets.payload)), position.eq(position + 1)]
                    with m.If(position == PIXEL_BYTES - 1):
                        m.d.sync += position.eq(0)
                        m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.pixels.valid.eq(1)
                with m.If(self.pixels.ready):
                    m.next = "MORE"
                with m.Elif(self.abandon):
                    m.next = "IDLE"
            with m.State("MORE"):                           # two cycles after a byte: `left` is compared
                m.next = "PIXEL"
                with m.If(exhausted):
                    m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += order.ready.eq(1)
                m.next = "IDLE"
        return m
