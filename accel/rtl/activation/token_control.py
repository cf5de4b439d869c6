"""What becomes of a token behind the array: its place in the accumulators and in the output tensor."""
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel import isa
from accel.config import AccelConfig
from accel.rtl.memory.activation_memory import CodePlace
from accel.rtl.memory.im2col import Token

from .accumulator import AccumulatorControl

__all__ = ["TokenControl"]


class TokenControl(wiring.Component):
    """Follows the tokens of a pass over its tile, picture after picture, row after row, group after group.

    Members
    -------
    token : In(Token); instruction : In(isa.Pass), tile : In(isa.Tile), apart : In: of isa.Batch, all constant from a
        pass's first token on
    control : Out(AccumulatorControl): for the accumulators, in the cycle of the token
    code_valid : Out(1), code_place : Out(CodePlace): for the activation memory, in the cycle of the token

    Latency 0, one token a cycle. A counter of accumulators, one of groups, one of bank rows; an adder and a comparison
    for each of m pixels.

        token           first             row_end   first of its row                   first
        index           0       1  ...    groups-1  groups  ...                        0
        bank row        base                        base + pitch  (+ a row for each two groups)

    The next picture of a batch begins `apart` bank rows behind the first row of the one before; `index` goes on.
    """
    def __init__(self, config: AccelConfig):
        self.config = config
        super().__init__({
            "token": In(Token), "instruction": In(isa.Pass), "tile": In(isa.Tile),
            "apart": In(isa.ROW_BITS),
            "control": Out(AccumulatorControl(config)), "code_valid": Out(1), "code_place": Out(CodePlace(config))})

    def elaborate(self, platform):
        m = Module()
        pixels, token, tile, instruction = self.config.pixels_per_cycle, self.token, self.tile, self.instruction
        control, place = self.control, self.code_place
        next_index, index = Signal.like(control.index), Signal.like(control.index)
        next_group, group = Signal(isa.SIDE_BITS), Signal(isa.SIDE_BITS)
        next_line, line = Signal(isa.ROW_BITS), Signal(isa.ROW_BITS)            # bank row of the row's first group
        next_map, this_map = Signal(isa.ROW_BITS), Signal(isa.ROW_BITS)         # bank row of the picture's first group
        map_behind = this_map + self.apart
        m.d.comb += [this_map.eq(Mux(token.first, tile.base, next_map)),
                     index.eq(Mux(token.first, 0, next_index)), group.eq(Mux(token.first, 0, next_group)),
                     line.eq(Mux(token.first, tile.base, next_line))]
        with m.If(token.valid):
            m.d.sync += [next_index.eq(index + 1), next_group.eq(group + 1), next_line.eq(line),
                         next_map.eq(this_map)]
            with m.If(token.row_end):
                m.d.sync += [next_group.eq(0), next_line.eq(line + tile.pitch)]
            with m.If(token.map_end):
                m.d.sync += [next_map.eq(map_behind), next_line.eq(map_behind)]
        m.d.comb += [
            control.valid.eq(token.valid), control.first.eq(token.first), control.index.eq(index),
            control.clear.eq(instruction.clear), control.final.eq(instruction.final),
            control.maximum.eq(instruction.maximum), control.logits.eq(instruction.logits),
            control.shift.eq(instruction.shift),
            control.inside.eq(Cat(group * pixels + j < tile.width for j in range(pixels))),
            self.code_valid.eq(token.valid & instruction.final & ~instruction.logits),
            place.row.eq(line + (group >> 1)), place.half.eq(group[0]), place.part.eq(tile.part)]
        return m
