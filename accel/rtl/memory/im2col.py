"""im2col: a pass becomes one read of m neighbouring pixels a cycle, with zero padding and stride; sums their codes.

    cycle  0        1 PLACE     2 READ        3 INSIDE     5 WORDS      6 PIXELS    7                     7 + log2(rows)
           token    of its      bank rows,    which of     words of     words of    words outside the     sums
                    first       columns       them count   all banks    m pixels    picture and dropped
                    pixel                                                           bits zeroed -> x
"""
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, timing
from accel.config import AccelConfig
from accel.rtl.timed import Timed

__all__ = ["Im2col", "Token", "Window"]


class Token(data.Struct):
    """A pixel group on its way: first of its pass, last of its row of the output tile, last of its picture."""
    valid: 1
    first: 1
    row_end: 1
    map_end: 1


class Window(data.StructLayout):
    """What a pass reads: fields as in `isa.Source` and `isa.Pass`, base with the picture buffer added. y: row of a
    picture's first tokens."""
    def __init__(self):
        super().__init__({"base": isa.ROW_BITS, "y": signed(isa.SIDE_BITS + 2), "dx": signed(2), "stride2": 1,
                          "width": isa.SIDE_BITS, "height": isa.SIDE_BITS, "pitch": isa.PITCH_BITS,
                          "drop": isa.DROP_BITS, "apart": isa.ROW_BITS})


class Im2col(wiring.Component):
    """x = the codes of the m source pixels of a token, zero outside the picture and in their low `drop` bits;
    sums = their sums over the rows.

    Members
    -------
    token : In(Token); window : In(Window), constant from the first token of a pass to its last
    read_row : Out, read_word : In, to the activation memory
    x : Out, ArrayLayout(ArrayLayout(a_bits, m), rows), timing.IM2COL = 7 cycles after the token
    sums : Out, ArrayLayout(sum, m), timing.im2col_sums(rows) cycles after the token

    A token a cycle. The memory answers timing.ACTIVATION_READ cycles after its address.
    """

    def __init__(self, config: AccelConfig):
        self.config = config
        m = config.pixels_per_cycle
        self.sum_bits = (config.rows * config.thresholds).bit_length()
        super().__init__({
            "token": In(Token), "window": In(Window()),
            "read_row": Out(data.ArrayLayout(config.row_address_bits, config.banks)),
            "read_word": In(data.ArrayLayout(data.ArrayLayout(config.a_bits, config.rows), config.banks)),
            "x": Out(data.ArrayLayout(data.ArrayLayout(config.a_bits, m), config.rows)),
            "sums": Out(data.ArrayLayout(self.sum_bits, m))})

    def elaborate(self, platform):
        m = Module()
        config, window = self.config, self.window
        pixels, bank_bits = config.pixels_per_cycle, (config.banks - 1).bit_length()

        # Cycle 0, the token: where the token's first pixel lies. The registers hold the next token's place.
        side = signed(isa.SIDE_BITS + 2)
        next_row, next_y, next_x = Signal(isa.ROW_BITS), Signal(side), Signal(side)
        row, y, x = Signal(isa.ROW_BITS), Signal(side), Signal(side)
        this_map, next_map = Signal(isa.ROW_BITS), Signal(isa.ROW_BITS)         # where its picture's map begins
        map_behind = this_map + window.apart
        m.d.comb += [this_map.eq(Mux(self.token.first, window.base, next_map)),
                     row.eq(Mux(self.token.first, window.base, next_row)),
                     y.eq(Mux(self.token.first, window.y, next_y)),
                     x.eq(Mux(self.token.first, window.dx, next_x))]
        pitch = Mux(window.stride2, window.pitch << 1, window.pitch)
        with m.If(self.token.valid):
            m.d.sync += next_map.eq(this_map)
            with m.If(self.token.map_end):
                m.d.sync += [next_map.eq(map_behind), next_row.eq(map_behind), next_y.eq(window.y),
                             next_x.eq(window.dx)]
            with m.Elif(self.token.row_end):
                m.d.sync += [next_row.eq(row + pitch), next_y.eq(y + 1 + window.stride2), next_x.eq(window.dx)]
            with m.Else():
                m.d.sync += [next_row.eq(row), next_y.eq(y), next_x.eq(x + (pixels << window.stride2))]

        # PLACE, then READ: bank rows and pixel columns.
        row_at, x_at, y_at = (Timed(m, value, 0, name=name).at(timing.IM2COL_PLACE)
                              for name, value in (("row", row), ("x", x), ("y", y)))
        valid, stride2, height = (Timed(m, value, 0, name=name).at(timing.IM2COL_PLACE) for name, value in (
            ("valid", self.token.valid), ("stride2", window.stride2), ("height", window.height)))
        place = x_at[:bank_bits]
        for bank in range(config.banks):
            m.d.sync += self.read_row[bank].eq(row_at + (x_at >> bank_bits) + (place > bank))
        columns = [Signal(side, name=f"column_{j}") for j in range(pixels)]
        m.d.sync += [column.eq(x_at + (j << stride2)) for j, column in enumerate(columns)]
        row_inside = Signal()
        m.d.sync += row_inside.eq((y_at >= 0) & (y_at < height) & valid)
        width = Timed(m, window.width, 0, name="width").at(timing.IM2COL_READ)
        drop = Timed(m, window.drop, 0, name="drop").at(timing.IM2COL_INSIDE)
        for j, column in enumerate(columns):
            # INSIDE: does the pixel lie inside the picture? From here on its bits to keep are known.
            inside, kept = Signal(name=f"inside_{j}"), Signal(config.a_bits, name=f"kept_{j}")
            m.d.sync += [inside.eq(row_inside & (column >= 0) & (column < width)),
                         kept.eq(Cat(inside & (drop <= bit) for bit in range(config.a_bits)))]
            # WORDS, PIXELS: its word of those of all banks, then zero padding and dropped bits.
            bank = Timed(m, column[:bank_bits], timing.IM2COL_READ, name=f"bank_{j}").at(timing.IM2COL_WORDS)
            keep = Timed(m, kept, timing.IM2COL_INSIDE + 1, name=f"keep_{j}").at(timing.IM2COL_PIXELS)
            word = Signal.like(self.read_word[0], name=f"word_{j}")
            m.d.sync += word.eq(self.read_word[bank])
            for r in range(config.rows):
                m.d.sync += self.x[r][j].eq(word[r] & keep)

        for j in range(pixels):
            level = [self.x[r][j] for r in range(config.rows)]
            while len(level) > 1:
                sums = []
                for i in range(0, len(level), 2):
                    largest = sum((1 << len(value)) - 1 for value in level[i:i + 2])
                    total = Signal(range(largest + 1), name=f"sum_{j}_{len(level)}_{i}")
                    m.d.sync += total.eq(sum(level[i:i + 2]))
                    sums.append(total)
                level = sums
            m.d.comb += self.sums[j].eq(level[0])
        return m
