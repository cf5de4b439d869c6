"""Pictures on their way: their pixels in, their answers out, oldest first.

    control: INFER --> octets ==> pixels ==> the core ==> PictureAnswer ==> answer ==> reply ==> Replies
               |                                                              |
               +--> sequences of the pictures in flight, `oldest` first <--- last byte: it is answered

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
from .picture_answer import AnswerByte

__all__ = ["PictureQueue"]

PIXEL_BYTES = 3


class PictureQueue(wiring.Component):
    """Carries out INFER and RESET, and keeps the sequence numbers of `link.WINDOW` pictures.

    Members
    -------
    control : the orders INFER, taken when the core has the last pixel, where fewer than `link.WINDOW` pictures are
        outstanding; and RESET, taken when all of them have come to their end. No faults
    octets : In(stream of 8 bits), left : In(16): the payload, from a `PayloadReader`
    pixels : Out(stream of isa.PixelWord)
    answer : In(stream of AnswerByte), best : In(16): from a `PictureAnswer`
    reply : Out(stream of AnswerByte): the answers that are sent. While RESET is carried out they are dropped, also the
        one on offer: nobody may be in the middle of it
    oldest : Out(8): sequence number of the picture whose answer is next, two cycles after an answer's last byte
    outstanding : Out: pictures sent and not yet answered
    images : Out(16): pictures answered, modulo 2**16
    last_class : Out(7): low bits of the class of the last picture answered

    Time: 12 cycles a pixel; answers pass through within a cycle. Resources: 72 flip-flops, 90 LUT4.
    """
    def __init__(self):
        super().__init__({
            "control": In(order_signature()), "octets": In(stream.Signature(8)), "left": In(16),
            "pixels": Out(stream.Signature(isa.PixelWord)),
            "answer": In(stream.Signature(AnswerByte)), "best": In(16), "reply": Out(stream.Signature(AnswerByte)),
            "oldest": Out(8), "outstanding": Out(range(link.WINDOW + 1)), "images": Out(16), "last_class": Out(7)})

    def elaborate(self, platform):
        m = Module()
        order, answer = self.control.order, self.answer
        pixel, position, exhausted = Signal(isa.PixelWord), Signal(range(PIXEL_BYTES)), Signal()
        pixel_bits = pixel.as_value()
        sequences = Signal(data.ArrayLayout(8, link.WINDOW))
        pushed, popped, dropping = Signal(), Signal(), Signal()
        free = Signal(range(link.WINDOW))
        m.d.comb += [self.pixels.payload.eq(pixel), self.oldest.eq(sequences[0]),
                     self.reply.payload.eq(answer.payload), self.reply.valid.eq(answer.valid & ~dropping),
                     answer.ready.eq(self.reply.ready | dropping), free.eq(self.outstanding - popped)]
        # The register keeps the handshakes of a reply off the enables here.
        m.d.sync += [exhausted.eq(self.left == 0), popped.eq(answer.valid & answer.ready & answer.p.last)]

        with m.If(popped):
            m.d.sync += [self.outstanding.eq(self.outstanding - 1),
                         *(sequences[k].eq(sequences[k + 1]) for k in range(link.WINDOW - 1))]
            with m.If(~dropping):
                m.d.sync += [self.images.eq(self.images + 1), self.last_class.eq(self.best)]
        with m.If(pushed):
            m.d.sync += [self.outstanding.eq(self.outstanding + ~popped),
                         sequences[free].eq(order.p.sequence)]

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += position.eq(0)
                with m.If(order.valid):
                    with m.If(order.p.command == link.Command.RESET):
                        m.next = "DROP"
                    with m.Else():
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
            with m.State("MORE"):                           # two cycles after a byte: `left` is compared
                m.next = "PIXEL"
                with m.If(exhausted):
                    m.next = "DONE"
            with m.State("DROP"):
                m.d.comb += dropping.eq(1)
                with m.If(self.outstanding == 0):
                    m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += order.ready.eq(1)
                m.next = "IDLE"
        return m
