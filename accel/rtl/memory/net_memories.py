"""The memories that hold a net: program, weights, thresholds and settings, all filled by the load stream."""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa
from accel.config import AccelConfig

from .block_memory import BlockMemory

__all__ = ["NetMemories"]


class NetMemories(wiring.Component):
    """Takes load words while no picture is classified; answers reads at any time.

    A load ends with its SETTINGS word: from its first word to that one there is no whole net, and `clear` is up.

    Parameters
    ----------
    config : AccelConfig
    image : accel.image.Image that the memories hold at configuration, or None: then there is no net before a load

    Members
    -------
    load : In(stream of isa.LoadWord), taken in cycles without `busy`, a word a cycle
    busy : In(1): a picture is being classified
    hold : Out(1): a word is on offer or on its way: start no picture
    clear : Out(1): there is no whole net: take no pixels, forget those taken
    settings : Out(isa.Settings)
    program_address, weight_address, threshold_address : In; program_data, weight_data, threshold_data : Out,
        timing.BLOCK_MEMORY = 2 cycles after their addresses

    A word can be read by an address of timing.LOAD = 2 cycles after the one in which it was taken, and settings are
    there in that cycle.

        cycle      0                1                  2                       3    4
        load       word taken
                                    in its register    in its memory
        *_address                                      of it
        *_data                                                                      the word
        hold       up               up                 down (no other word)
        clear                       up                 down after SETTINGS, up after any other

    Block memories of 64, 2 * chains * w_bits and acc_bits bits; about 120 flip-flops.
    """
    def __init__(self, config: AccelConfig, *, image=None):
        self.config, self.image = config, image
        super().__init__({
            "load": In(stream.Signature(isa.LoadWord)), "busy": In(1), "hold": Out(1), "clear": Out(1),
            "settings": Out(isa.Settings, init=isa.Settings.from_bits(image.settings if image else 0)),
            "program_address": In(range(config.program_depth)), "program_data": Out(isa.INSTRUCTION_BITS),
            "weight_address": In(range(config.weight_depth)), "weight_data": Out(config.channels * config.w_bits),
            "threshold_address": In(range(config.threshold_depth)), "threshold_data": Out(config.acc_bits)})

    def elaborate(self, platform):
        m = Module()
        config, image = self.config, self.image
        instructions, weight_words, threshold_words = (
            (image.program, image.weights, image.thresholds) if image else ((), (), ()))
        m.submodules.program = program = BlockMemory(
            width=isa.INSTRUCTION_BITS, depth=config.program_depth, init=instructions)
        m.submodules.weights = weights = BlockMemory(
            width=config.channels * config.w_bits, depth=config.weight_depth, init=weight_words)
        m.submodules.thresholds = thresholds = BlockMemory(
            width=config.acc_bits, depth=config.threshold_depth,
            init=[int(t) % (1 << config.acc_bits) for t in threshold_words])
        m.d.comb += [
            program.read_address.eq(self.program_address), self.program_data.eq(program.read_data),
            weights.read_address.eq(self.weight_address), self.weight_data.eq(weights.read_data),
            thresholds.read_address.eq(self.threshold_address), self.threshold_data.eq(thresholds.read_data)]

        word, valid, whole = Signal(isa.LoadWord), Signal(), Signal(init=image is not None)
        m.d.comb += [self.load.ready.eq(~self.busy), self.hold.eq(self.load.valid | valid),
                     self.clear.eq(~whole | valid)]
        m.d.sync += [word.eq(self.load.payload), valid.eq(self.load.valid & self.load.ready)]
        for target, memory in ((isa.Target.PROGRAM, program), (isa.Target.WEIGHTS, weights),
                               (isa.Target.THRESHOLDS, thresholds)):
            m.d.comb += [memory.write_enable.eq(valid & (word.target == target)),
                         memory.write_address.eq(word.address), memory.write_data.eq(word.data)]
        with m.If(valid):
            m.d.sync += whole.eq(word.target == isa.Target.SETTINGS)
            with m.If(word.target == isa.Target.SETTINGS):
                m.d.sync += self.settings.eq(word.data)
        return m
