"""Deals the words of the tape out to the rings of program, weights and thresholds.

The tape says itself what is what (`accel.tape`): an instruction, then its operands. Operands come in blocks: the weight
words of a pass, the thresholds of an instruction. A block gets its room before its first word, and counts when its last
word is in the memory.

    cycle    0 .. 3        4         5         6          7 .. 6 + n           7 + n      8 + n    9 + n ..
    words    instruction                                  n words of a block                       instruction
    state    INSTRUCTION   DECODE    SETTLE    RESERVE    OPERANDS             ROOM       ROOM     INSTRUCTION
    write                            instruction          items                last item
    credit                           1                                         1
"""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, tape
from accel.config import AccelConfig

__all__ = ["Distributor", "RingWrite", "TapeWord"]


class TapeWord(data.Struct):
    """A word of the tape without its checks; last of the tape."""
    word: 16
    last: 1


class RingWrite(data.StructLayout):
    """A word for one of the rings, `data` in its lowest bits; those of the others are not valid."""
    def __init__(self, config):
        super().__init__({
            "program": 1, "weights": 1, "thresholds": 1, "data": isa.INSTRUCTION_BITS,
            "weight_address": range(config.weight_depth), "threshold_address": range(config.threshold_depth),
            "program_address": range(config.program_depth)})


class Distributor(wiring.Component):
    """One word of the tape a cycle, as long as there is room.

    Parameters
    ----------
    config : AccelConfig
    settings : of the picture at configuration, a number

    Members
    -------
    words : In(stream of TapeWord)
    write : Out(RingWrite)
    {program, weights, thresholds}_reserve : Out(1), _room : In(1), _credit : Out(1): see Credits; a unit is an
        instruction, a pass's weight words, a threshold. _room is looked at two cycles after all that changes it here
    thresholds_wanted : Out: thresholds of the next block
    settings : Out(isa.Settings): the picture of the tape
    waiting : Out(1): there is no room, and no word is taken
    ended : Out(1), for one cycle: the last word of the tape is taken
    rewind : In(1): everything from the beginning

    Throughput: a word a cycle within a block and from one block of a pass to the next; 3 cycles between an instruction
    and the word behind it, 2 between operands and the instruction behind them. Resources: 189 flip-flops in
    16x16x2.
    """
    def __init__(self, config: AccelConfig, *, settings=0):
        self.config, self.at_configuration = config, settings
        rings = ("program", "weights", "thresholds")
        super().__init__({
            "words": In(stream.Signature(TapeWord)), "write": Out(RingWrite(config)),
            **{f"{ring}_reserve": Out(1) for ring in rings}, **{f"{ring}_room": In(1) for ring in rings},
            **{f"{ring}_credit": Out(1) for ring in rings},
            "thresholds_wanted": Out(range(config.threshold_words + 1)),
            "settings": Out(isa.Settings),
            "waiting": Out(1), "ended": Out(1), "rewind": In(1)})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        item_words = {"program": tape.words_of(isa.INSTRUCTION_BITS),
                      "weights": tape.words_of(config.channels * config.w_bits),
                      "thresholds": tape.words_of(config.acc_bits)}
        # Words come in at the top: an item of n words is in the top n when its last one is there.
        item = Signal(isa.INSTRUCTION_BITS)
        word, position = self.words.p.word, Signal(range(max(item_words.values())))
        left = Signal(range(max(config.threshold_words, config.rows, 2 << isa.SIDE_BITS) + 1))  # items of the block
        passes = Signal(isa.MORE_BITS)
        to_weights, to_thresholds, short, final_item = Signal(), Signal(), Signal(), Signal()
        settled = Signal()                                  # the reservation of the last instruction is counted
        over, at_end = Signal(), Signal()       # the last instruction; the last word taken is the last of the tape
        picture = Signal(isa.Settings, init=isa.Settings.from_bits(self.at_configuration), reset_less=True)
        taken = self.words.valid & self.words.ready
        m.d.comb += [self.ended.eq(taken & self.words.p.last), self.settings.eq(picture)]
        with m.If(taken):
            m.d.sync += [item.eq(Cat(item[16:], word)), position.eq(position + 1), at_end.eq(self.words.p.last)]

        # The item is written from its register, a cycle after its last word; addresses step behind it.
        write, ring = self.write, {"program": Signal(), "weights": Signal(), "thresholds": Signal()}
        depths = {"program": config.program_depth, "weights": config.weight_depth, "thresholds": config.threshold_depth}
        addresses = {"program": write.program_address, "weights": write.weight_address,
                     "thresholds": write.threshold_address}
        credit = {name: Signal(name=f"{name}_whole") for name in ring}
        m.d.comb += [write.program.eq(ring["program"]), write.weights.eq(ring["weights"]),
                     write.thresholds.eq(ring["thresholds"])]
        for name, enable in ring.items():
            m.d.comb += getattr(self, f"{name}_credit").eq(credit[name])
            m.d.sync += [enable.eq(0), credit[name].eq(0)]
            with m.If(enable):
                m.d.sync += addresses[name].eq(Mux(addresses[name] == depths[name] - 1, 0, addresses[name] + 1))
        low = {name: isa.INSTRUCTION_BITS - 16 * count for name, count in item_words.items()}
        threshold = Mux(short, item[-tape.SHORT_BITS:].as_signed(), item[low["thresholds"]:].as_signed())
        m.d.comb += write.data.eq(Mux(ring["weights"], item[low["weights"]:],
                                      Mux(ring["thresholds"], threshold, item)))

        instruction = {layout: layout(item[:Shape.cast(layout).width]) for layout in isa.LAYOUTS.values()}
        op = instruction[isa.End].op
        m.d.sync += settled.eq(0)
        with m.FSM():
            with m.State("ROOM"):
                m.d.sync += [position.eq(0), settled.eq(1)]
                m.d.comb += self.waiting.eq(settled & ~self.program_room)
                with m.If(settled & self.program_room):
                    m.next = "INSTRUCTION"
            with m.State("INSTRUCTION"):
                m.d.comb += self.words.ready.eq(1)
                with m.If(taken & (position == item_words["program"] - 1)):
                    m.next = "DECODE"
            with m.State("DECODE"):
                m.d.sync += [position.eq(0), to_weights.eq(0), to_thresholds.eq(0), over.eq(0), passes.eq(0),
                             settled.eq(0)]
                m.next = "ROOM"
                with m.If(op == isa.Op.SETTINGS):
                    m.d.sync += picture.eq(instruction[isa.Settings])
                with m.Else():
                    m.d.sync += [ring["program"].eq(1), credit["program"].eq(1)]
                    m.d.comb += self.program_reserve.eq(1)
                with m.Switch(op):
                    with m.Case(isa.Op.PASS):
                        m.d.sync += [passes.eq(instruction[isa.Pass].more), left.eq(config.rows - 1)]
                        with m.If(~instruction[isa.Pass].repeat):
                            m.d.sync += to_weights.eq(1)
                            m.next = "SETTLE"
                    with m.Case(isa.Op.TILE):
                        m.d.sync += [short.eq(instruction[isa.Tile].short),
                                     self.thresholds_wanted.eq(config.threshold_words),
                                     left.eq(config.threshold_words - 1)]
                        with m.If(instruction[isa.Tile].thresholds):
                            m.d.sync += to_thresholds.eq(1)
                            m.next = "SETTLE"
                    with m.Case(isa.Op.EMIT):
                        count = instruction[isa.Emit].count
                        m.d.sync += [short.eq(1), self.thresholds_wanted.eq(count << 1), left.eq((count << 1) - 1),
                                     to_thresholds.eq(1), over.eq(instruction[isa.Emit].end)]
                        m.next = "SETTLE"
                    with m.Case(isa.Op.END):
                        with m.If(~at_end):
                            m.next = "SKIP"
            with m.State("SETTLE"):
                m.next = "RESERVE"
            with m.State("RESERVE"):
                with m.If(to_weights & self.weights_room):
                    m.d.comb += self.weights_reserve.eq(1)
                    m.next = "OPERANDS"
                with m.Elif(to_thresholds & self.thresholds_room):
                    m.d.comb += self.thresholds_reserve.eq(1)
                    m.next = "OPERANDS"
                with m.Else():
                    m.d.comb += self.waiting.eq(1)
            with m.State("OPERANDS"):
                m.d.comb += [self.words.ready.eq(1),
                             final_item.eq(position == Mux(to_weights, item_words["weights"] - 1,
                                                           Mux(short, 0, item_words["thresholds"] - 1)))]
                with m.If(taken & final_item):
                    m.d.sync += [position.eq(0), left.eq(left - 1), ring["weights"].eq(to_weights),
                                 ring["thresholds"].eq(to_thresholds)]
                    with m.If(left == 0):
                        m.d.sync += [credit["weights"].eq(to_weights), credit["thresholds"].eq(to_thresholds),
                                     left.eq(config.rows - 1), passes.eq(passes - 1), settled.eq(0)]
                        with m.If(passes == 0):
                            m.next = "ROOM"
                            with m.If(over & ~self.words.p.last):
                                m.next = "SKIP"
                        with m.Elif(self.weights_room):
                            m.d.comb += self.weights_reserve.eq(1)
                        with m.Else():
                            m.next = "RESERVE"
            with m.State("SKIP"):
                m.d.comb += self.words.ready.eq(1)
                with m.If(self.ended):
                    m.next = "ROOM"
        return ResetInserter(self.rewind)(m)
