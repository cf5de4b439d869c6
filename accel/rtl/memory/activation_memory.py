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

__all__ = ["ActivationMemory", "CodeWrite", "PictureWrite"]


class CodeWrite(data.StructLayout):
    """Codes of m neighbouring pixels, the first at bank `half` * m of bank row `row`."""
    def __init__(self, config):
        super().__init__({
            "row": config.row_address_bits, "half": 1, "part": range(config.parts),
            "codes": data.ArrayLayout(data.ArrayLayout(config.a_bits, config.channels), config.pixels_per_cycle)})


class PictureWrite(data.StructLayout):
    """One whole word."""
    def __init__(self, config):
        super().__init__({"row": config.row_address_bits, "bank": range(config.banks),
                          "lanes": data.ArrayLayout(config.a_bits, config.rows)})


class ActivationMemory(wiring.Component):
    """Banks of block memories with a write multiplexer.

    Members
    -------
    code_valid : In(1), code_write : In(CodeWrite): always taken
    image : In(stream of PictureWrite): taken in cycles without code_valid
    read_row : In, ArrayLayout(row address, banks); read_word : Out, ArrayLayout(rows codes, banks), `latency` later

    A word written in cycle t can be read by a read_row of cycle t + `write_latency` on.
    """
    latency = BlockMemory.latency
    write_latency = 2

    def __init__(self, config: AccelConfig):
        self.config = config
        super().__init__({
            "code_valid": In(1), "code_write": In(CodeWrite(config)),
            "image": In(stream.Signature(PictureWrite(config))),
            "read_row": In(data.ArrayLayout(config.row_address_bits, config.banks)),
            "read_word": Out(data.ArrayLayout(data.ArrayLayout(config.a_bits, config.rows), config.banks))})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        part_width = config.channels * config.a_bits
        m.d.comb += self.image.ready.eq(~self.code_valid)
        for bank in range(config.banks):
            half, pixel = divmod(bank, config.pixels_per_cycle)
            row = Signal(config.row_address_bits, name=f"row_{bank}")
            m.d.sync += row.eq(Mux(self.code_valid, self.code_write.row, self.image.p.row))
            for part in range(config.parts):
                low = part * config.channels
                m.submodules[f"bank{bank}_part{part}"] = storage = BlockMemory(
                    width=part_width, depth=config.activation_depth)
                from_image = Cat(self.image.p.lanes[low + c] for c in range(config.channels))
                from_codes = self.code_write.codes[pixel].as_value()
                enable, word = Signal(name=f"enable_{bank}_{part}"), Signal(part_width, name=f"word_{bank}_{part}")
                m.d.sync += [
                    enable.eq(Mux(self.code_valid,
                                  (self.code_write.half == half) & (self.code_write.part == part),
                                  self.image.valid & (self.image.p.bank == bank))),
                    word.eq(Mux(self.code_valid, from_codes, from_image))]
                m.d.comb += [
                    storage.write_enable.eq(enable), storage.write_address.eq(row), storage.write_data.eq(word),
                    storage.read_address.eq(self.read_row[bank]),
                    Cat(self.read_word[bank][low + c] for c in range(config.channels)).eq(storage.read_data)]
        return m
