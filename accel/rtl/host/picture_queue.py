"""Pictures on their way: their pixels in, and whose answer is next.

    control: PIXELS, INFER --> octets ==> pixels ==> the core ==> PictureAnswer ==> Replies
                       |                                                              |
                       +--> sequences of the pictures in flight, `oldest` first <--- answered

A pixel is three bytes taken, each 4 cycles after the one before, since the payload's reader fetches it meanwhile:

    cycle    0       1        2      3       4 .. 7     8       9       10      11
    state    BYTE    SETTLE   MORE   BYTE    ...        BYTE    OFFER   MORE    BYTE
    octets   taken                                      taken
    pixels                                                      valid
"""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel import isa, link

from .commands import order_signature

__all__ = ["PictureQueue"]

PIXEL_BYTES = 3


class PictureQueue(wiring.Component):
    """Carries out PIXELS and INFER, and keeps the sequence numbers of `link.MAX_WINDOW` pictures.

    Members
    -------
    control : the orders PIXELS and INFER, whose payload is a part of what is `missing` or all of it, where fewer than
        `link.MAX_WINDOW` pictures are outstanding; taken when the core has the pixels. Fault: ORDER (the sequence
        number is another one than that of the picture's first part, or the offset of PIXELS is not where the picture
        goes on)
    abandon : In(1): give the order up; nothing more is offered from the next cycle on. An INFER counts as sent
    pixels_a_picture : In(16); missing : Out(16): bytes of the next picture that have not come
    octets : In(stream of 8 bits), left : In(16): the payload, from a `PayloadReader`
    pixels : Out(stream of isa.PixelWord)
    answered : In(1), for one cycle in which no INFER begins: the oldest picture is answered; whole : In(1): by its
        logits; best : In(16): the class
    clear : In(1): no picture is on its way any more, and no part of one
    oldest : Out(8): sequence number of the picture whose answer is next
    outstanding : Out: pictures sent and not yet answered
    images : Out(16): pictures answered by their logits, modulo 2**16
    last_class : Out(7): low bits of the class of the last of them

    Time: 12 cycles a pixel. Resources: 110 flip-flops, 150 LUT4, a memory of LUTs.
    """
    def __init__(self):
        super().__init__({
            "control": In(order_signature()), "octets": In(stream.Signature(8)), "left": In(16),
            "pixels": Out(stream.Signature(isa.PixelWord)), "pixels_a_picture": In(16), "missing": Out(16),
            "abandon": In(1), "answered": In(1), "whole": In(1), "best": In(16), "clear": In(1),
            "oldest": Out(8), "outstanding": Out(range(link.MAX_WINDOW + 1)), "images": Out(16), "last_class": Out(7)})

    def elaborate(self, platform):
        m = Module()
        order = self.control.order
        pixel, position, exhausted = Signal(isa.PixelWord), Signal(range(PIXEL_BYTES)), Signal()
        pixel_bits = pixel.as_value()
        m.submodules.sequences = sequences = Memory(shape=8, depth=link.MAX_WINDOW, init=[],
                                                    attrs={"ram_style": "distributed"})
        write, read = sequences.write_port(), sequences.read_port(domain="comb")
        pushed, infers, differs, high = Signal(), Signal(), Signal(), Signal()
        came, first = Signal(16), Signal(8)                 # bytes of the next picture, sequence of its first part
        m.d.comb += [self.pixels.payload.eq(pixel), self.oldest.eq(read.data),
                     write.data.eq(order.p.sequence),
                     infers.eq(order.p.command == link.Command.INFER),
                     self.missing.eq(self.pixels_a_picture + (self.pixels_a_picture << 1) - came)]
        m.d.sync += exhausted.eq(self.left == 0)

        with m.If(self.clear):
            m.d.sync += [self.outstanding.eq(0), read.addr.eq(write.addr)]
        with m.Elif(self.answered):
            m.d.sync += [self.outstanding.eq(self.outstanding - 1), read.addr.eq(read.addr + 1)]
            with m.If(self.whole):
                m.d.sync += [self.images.eq(self.images + 1), self.last_class.eq(self.best)]
        with m.Elif(pushed):
            m.d.comb += write.en.eq(1)
            m.d.sync += [self.outstanding.eq(self.outstanding + 1), write.addr.eq(write.addr + 1)]

        def next_unless_abandoned(state):
            m.next = state
            with m.If(self.abandon):
                m.d.comb += pushed.eq(infers)
                m.next = "IDLE"

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [differs.eq((came != 0) & (order.p.sequence != first)), high.eq(0),
                             self.control.fault.eq(link.Fault.NONE)]
                with m.If(order.valid):
                    with m.If(came == 0):
                        m.d.sync += first.eq(order.p.sequence)
                    next_unless_abandoned("OFFSET")
                    with m.If(infers):
                        next_unless_abandoned("JUDGE")
            with m.State("OFFSET"):
                m.d.comb += self.octets.ready.eq(1)
                next_unless_abandoned("OFFSET")
                with m.If(self.octets.valid & ~self.abandon):
                    m.d.sync += [differs.eq(differs | (self.octets.payload != came.word_select(high, 8))), high.eq(1)]
                    with m.If(high):
                        m.next = "JUDGE"
            with m.State("JUDGE"):
                next_unless_abandoned("BYTE")
                with m.If(differs):
                    m.d.sync += self.control.fault.eq(link.Fault.ORDER)
                    m.next = "REFUSED"
            with m.State("REFUSED"):
                m.d.comb += order.ready.eq(1)
                m.next = "IDLE"
            with m.State("BYTE"):
                m.d.comb += self.octets.ready.eq(1)
                next_unless_abandoned("BYTE")
                with m.If(self.octets.valid & ~self.abandon):
                    m.d.sync += [pixel_bits.eq(Cat(pixel_bits[8:], self.octets.payload)), position.eq(position + 1),
                                 came.eq(came + 1)]
                    m.next = "SETTLE"
                    with m.If(position == PIXEL_BYTES - 1):
                        m.d.sync += position.eq(0)
                        m.next = "OFFER"
            with m.State("SETTLE"):
                next_unless_abandoned("MORE")
            with m.State("OFFER"):
                m.d.comb += self.pixels.valid.eq(1)
                next_unless_abandoned("OFFER")
                with m.If(self.pixels.ready & ~self.abandon):
                    m.next = "MORE"
            with m.State("MORE"):                           # two cycles after a byte: `left` is compared
                next_unless_abandoned("BYTE")
                with m.If(exhausted & ~self.abandon):
                    m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += [order.ready.eq(1), pushed.eq(infers)]
                with m.If(infers):
                    m.d.sync += came.eq(0)
                m.next = "IDLE"

        with m.If(self.clear):
            m.d.sync += [came.eq(0), position.eq(0)]
        return m
