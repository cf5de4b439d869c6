"""Activation memory: one word of `rows` codes a pixel, banked by x so that neighbouring pixels come out together.

    pixel (y, x) of a tensor at bank row R:   bank x % banks,  bank row R + y * pitch + x // banks       banks = 2 m

m neighbours at distance 1 (stride 1) or 2 (stride 2) always lie in different banks. Codes arrive from the threshold
units m pixels at a time, 2 * chains channels wide (a `part` of the word); pictures arrive a whole word at a time and
give way.
"""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.config import AccelConfig

from .block_memory import BlockMemory

__all__ = ["ActivationMemory", "CodePlace", "PictureWrite"]


class CodePlace(data.StructLayout):
    """Where the codes of m neighbouring pixels belong: the first at bank `half` * m of bank row `row`, in channels
    `part` * 2 * chains on."""
    def __init__(self, config):
        super().__init__({"row": config.row_address_bits, "half": 1, "part": range(config.parts)})


class PictureWrite(data.StructLayout):
    """One whole word."""
    def __init__(self, config):
        super().__init__({"row": config.row_address_bits, "bank": range(config.banks),
                          "lanes": data.ArrayLayout(config.a_bits, config.rows)})


class ActivationMemory(wiring.Component):
    """Banks of block memories with a write multiplexer.

    Members
    -------
    code_valid : In(1), code_place : In(CodePlace), codes : In, ArrayLayout(ArrayLayout(a_bits, 2 * chains), m): always
        taken
    picture : In(stream of PictureWrite): taken in cycles without code_valid
    read_row : In, ArrayLayout(row address, banks); read_word : Out, ArrayLayout(rows codes, banks)

    Latency from read_row to read_word: timing.ACTIVATION_READ = 3, since the blocks lie all over the chip and their
    words get a cycle to come together. A word written in cycle t can be read by a read_row of cycle
    t + timing.ACTIVATION_WRITE = t + 2 on.

        cycle       0           1                   2           3           4           5
        codes       X
                                in front of its     in the
                                memory              memory
        read_row                                    of X
        read_word                                                                       X

    banks * parts block memories, banks * (row address + two words) flip-flops.
    """

    def __init__(self, config: AccelConfig):
        self.config = config
        super().__init__({
            "code_valid": In(1), "code_place": In(CodePlace(config)),
            "codes": In(data.ArrayLayout(data.ArrayLayout(config.a_bits, config.channels), config.pixels_per_cycle)),
            "picture": In(stream.Signature(PictureWrite(config))),
            "read_row": In(data.ArrayLayout(config.row_address_bits, config.banks)),
            "read_word": Out(data.ArrayLayout(data.ArrayLayout(config.a_bits, config.rows), config.banks))})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        part_width = config.channels * config.a_bits
        m.d.comb += self.picture.ready.eq(~self.code_valid)
        for bank in range(config.banks):
            half, pixel = divmod(bank, config.pixels_per_cycle)
            row = Signal(config.row_address_bits, name=f"row_{bank}")
            m.d.sync += row.eq(Mux(self.code_valid, self.code_place.row, self.picture.p.row))
            for part in range(config.parts):
                low = part * config.channels
                m.submodules[f"bank{bank}_part{part}"] = storage = BlockMemory(
                    width=part_width, depth=config.activation_depth)
                from_picture = Cat(self.picture.p.lanes[low + c] for c in range(config.channels))
                from_codes = self.codes[pixel].as_value()
                enable, word = Signal(name=f"enable_{bank}_{part}"), Signal(part_width, name=f"word_{bank}_{part}")
                m.d.sync += [
                    enable.eq(Mux(self.code_valid,
                                  (self.code_place.half == half) & (self.code_place.part == part),
                                  self.picture.valid & (self.picture.p.bank == bank))),
                    word.eq(Mux(self.code_valid, from_codes, from_picture))]
                m.d.comb += [
                    storage.write_enable.eq(enable), storage.write_address.eq(row), storage.write_data.eq(word),
                    storage.read_address.eq(self.read_row[bank])]
                m.d.sync += Cat(self.read_word[bank][low + c] for c in range(config.channels)).eq(storage.read_data)
        return m
