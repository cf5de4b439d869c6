"""Pictures into the activation memory: digits of the pixels, with three horizontal taps of all colours side by side.

The first convolution sees 3 colours only; so that its rows are not idle, a word holds what three of its taps read:

    lane 3 * tap + colour = digit of pixel (y, x + tap - 1)     (tap 0 .. 2; zeros outside the picture)

An 8-bit pixel is ceil(8 / a_bits) digits; each has a plane of its own, height * pitch bank rows apart. Arrays of
fewer than 9 rows hold one tap a word. With two buffers, the second from bank row `settings.second` on, the next picture
may arrive while one is being classified; where that is 0 there is one buffer alone, and the next picture waits.
"""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa
from accel.config import AccelConfig
from accel.rtl.stream_register import StreamRegister

from .activation_memory import PictureWrite

__all__ = ["PictureLoader"]


class PictureLoader(wiring.Component):
    """Takes pixels in raster order, writes words.

    Members
    -------
    pixels : In(stream of isa.PixelWord); o : Out(stream of PictureWrite)
    settings : In(isa.Settings)
    full : Out(1): the current buffer holds a whole picture; buffer : Out(1): the current buffer, 0 where there is one
    release : In(1): the current buffer may be written again, the other one, if there is one, becomes current
    clear : In(1): forget everything, take no pixels (a net is being loaded); settings change only while it is up

    Pixels come far: one waits in a register, the first of the next picture too while there is no buffer for it.
    Throughput: a pixel each a_digits + 2 cycles, less where code writes go first.
    """
    def __init__(self, config: AccelConfig):
        self.config = config
        super().__init__({
            "pixels": In(stream.Signature(isa.PixelWord)), "o": Out(stream.Signature(PictureWrite(config))),
            "settings": In(isa.Settings), "full": Out(1), "buffer": Out(1), "release": In(1), "clear": In(1)})

    def elaborate(self, platform):
        m = Module()
        config, settings = self.config, self.settings
        digits, taps = config.a_digits, config.picture_taps
        bank_bits = (config.banks - 1).bit_length()
        m.submodules.pixel = pixel = StreamRegister(isa.PixelWord)
        m.d.comb += [pixel.i.payload.eq(self.pixels.payload), pixel.i.valid.eq(self.pixels.valid),
                     self.pixels.ready.eq(pixel.i.ready & ~self.clear)]

        full = Signal(2)
        writing = Signal()                                       # buffer the pixels go to
        two_buffers = Signal()
        m.d.sync += two_buffers.eq(settings.second != 0)
        m.d.comb += self.full.eq(full.bit_select(self.buffer, 1))
        with m.If(self.release):
            m.d.sync += [full.bit_select(self.buffer, 1).eq(0), self.buffer.eq(~self.buffer & two_buffers)]

        # A word of three taps is complete when the pixel to the right of it is known: one column later.
        lag = taps // 2
        window = Signal(data.ArrayLayout(isa.PixelWord, taps))   # the last `taps` pixels, newest last
        column, row = Signal(isa.SIDE_BITS), Signal(isa.ROW_BITS)
        line = Signal(isa.SIDE_BITS)
        digit = Signal(range(digits))
        first_row, plane_row = Signal(isa.ROW_BITS), Signal(isa.ROW_BITS)
        word_column = Signal(isa.SIDE_BITS)
        # What a state depends on is compared before it, and added up before it is written.
        beyond, room = Signal(), Signal()                        # the zero right of the line
        last_word, last_line = Signal(), Signal()
        m.d.sync += [
            word_column.eq(column - lag), first_row.eq(row + Mux(writing, settings.second, 0)),
            beyond.eq((column == settings.width) & (settings.width != 0)),
            room.eq((column != settings.width) & ~full.bit_select(writing, 1)),
            last_word.eq(word_column == settings.width - 1), last_line.eq(line == settings.height - 1)]

        with m.FSM():
            with m.State("COMPARE"):
                m.next = "PIXEL"
            with m.State("PIXEL"):
                m.d.comb += pixel.o.ready.eq(room)
                m.d.sync += [digit.eq(0), plane_row.eq(first_row + (word_column >> bank_bits))]
                with m.If(room & pixel.o.valid | beyond):
                    m.d.sync += [window[t].eq(window[t + 1]) for t in range(taps - 1)]
                    m.d.sync += window[taps - 1].eq(Mux(beyond, 0, pixel.o.payload))
                    with m.If(column < lag):
                        m.d.sync += column.eq(column + 1)
                        m.next = "COMPARE"
                    with m.Else():
                        m.next = "WRITE"
            with m.State("WRITE"):
                codes = [Cat(window[t][colour]) for t in range(taps) for colour in "rgb"]
                padded = [Cat(c, C(0, digits * config.a_bits - 8)) for c in codes]
                m.d.comb += [self.o.valid.eq(1), self.o.p.bank.eq(word_column), self.o.p.row.eq(plane_row)]
                m.d.comb += [self.o.p.lanes[lane].eq(value.word_select(digit, config.a_bits))
                             for lane, value in enumerate(padded)]
                with m.If(self.o.ready):
                    m.d.sync += [digit.eq(digit + 1), plane_row.eq(plane_row + settings.plane)]
                    with m.If(digit == digits - 1):
                        m.next = "COMPARE"
                        m.d.sync += column.eq(column + 1)
                        with m.If(last_word):
                            m.next = "LINE"
            with m.State("LINE"):
                m.d.sync += [column.eq(0), window.eq(0), line.eq(line + 1), row.eq(row + settings.pitch)]
                m.next = "COMPARE"
                with m.If(last_line):
                    m.d.sync += [line.eq(0), row.eq(0), full.bit_select(writing, 1).eq(1),
                                 writing.eq(~writing & two_buffers)]
        return ResetInserter(self.clear)(m)
