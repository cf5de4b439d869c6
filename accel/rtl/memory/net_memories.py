"""The memories that hold a net, program, weights and thresholds: rings that the tape fills."""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa
from accel.config import AccelConfig
from accel.rtl.tape.credits import Credits
from accel.rtl.tape.distributor import Distributor, RingWrite, TapeWord

from .block_memory import BlockMemory

__all__ = ["NetMemories"]


class NetMemories(wiring.Component):
    """Takes words of the tape; answers reads at any time.

    Parameters
    ----------
    config : AccelConfig
    image : accel.image.Image that the memories hold at configuration, or None

    Members
    -------
    words : In(stream of TapeWord): the tape, as far as there is room
    resident : In(1): all of the net is here; nothing of it is used up
    rewind : In(1): the memories are empty, the tape begins
    waiting : Out(1): there is no room for the next words. ended : Out(1), for one cycle: the tape's last word is taken
    settings : Out(isa.Settings)
    program_address, weight_address, threshold_address : In; program_data, weight_data, threshold_data : Out,
        timing.BLOCK_MEMORY = 2 cycles after their addresses
    {instruction, weights, thresholds}_there : Out(1): the next ones can be read, by an address of this cycle
    {instruction, weights, thresholds}_taken : In(1), for one cycle: they are counted on; see InstructionFetch. In the
        cycle after, _there is still theirs
    words_free : In(1): the weight words of a pass, threshold_read : In(1): a threshold is read for the last time

    Block memories of 64, 2 * chains * w_bits and acc_bits bits; about 380 flip-flops.
    """
    def __init__(self, config: AccelConfig, *, image=None):
        self.config, self.image = config, image
        read = ("instruction", "weights", "thresholds")
        super().__init__({
            "words": In(stream.Signature(TapeWord)), "resident": In(1), "rewind": In(1), "waiting": Out(1),
            "ended": Out(1), "settings": Out(isa.Settings),
            "program_address": In(range(config.program_depth)), "program_data": Out(isa.INSTRUCTION_BITS),
            "weight_address": In(range(config.weight_depth)), "weight_data": Out(config.channels * config.w_bits),
            "threshold_address": In(range(config.threshold_depth)), "threshold_data": Out(config.acc_bits),
            **{f"{what}_there": Out(1) for what in read}, **{f"{what}_taken": In(1) for what in read},
            "words_free": In(1), "threshold_read": In(1)})

    def elaborate(self, platform):
        m = Module()
        config, image = self.config, self.image
        instructions, weight_words, threshold_words = (
            (image.program, image.weights, image.thresholds) if image else ((), (), ()))
        m.submodules.distributor = distributor = Distributor(config, settings=image.settings if image else 0)
        # Words go far from the distributor to the blocks, credits between it and the sequencer.
        write, resident = Signal(RingWrite(config)), Signal()
        m.d.sync += [write.eq(distributor.write), resident.eq(self.resident)]
        memories = {
            "program": (isa.INSTRUCTION_BITS, config.program_depth, instructions),
            "weights": (config.channels * config.w_bits, config.weight_depth, weight_words),
            "thresholds": (config.acc_bits, config.threshold_depth,
                           [int(t) % (1 << config.acc_bits) for t in threshold_words])}
        addresses = {"program": write.program_address, "weights": write.weight_address,
                     "thresholds": write.threshold_address}
        reads = {"program": (self.program_address, self.program_data),
                 "weights": (self.weight_address, self.weight_data),
                 "thresholds": (self.threshold_address, self.threshold_data)}
        for name, (width, depth, init) in memories.items():
            m.submodules[name] = memory = BlockMemory(width=width, depth=depth, init=init)
            address, word = reads[name]
            m.d.comb += [memory.write_enable.eq(write[name]), memory.write_address.eq(addresses[name]),
                         memory.write_data.eq(write.data), memory.read_address.eq(address), word.eq(memory.read_data)]

        wiring.connect(m, wiring.flipped(self.words), distributor.words)
        m.d.comb += [distributor.rewind.eq(self.rewind), self.waiting.eq(distributor.waiting),
                     self.ended.eq(distributor.ended), self.settings.eq(distributor.settings)]
        credits = {"program": (Credits(capacity=config.program_depth), "instruction", self.instruction_taken),
                   "weights": (Credits(capacity=config.weight_depth // config.rows), "weights", self.words_free),
                   "thresholds": (Credits(capacity=config.threshold_depth, largest=config.threshold_words),
                                  "thresholds", self.threshold_read)}
        m.d.comb += credits["thresholds"][0].wanted.eq(distributor.thresholds_wanted)
        # That of weights is decided late in its cycle; the next one comes `rows` cycles later at the earliest.
        weights_reserve = Signal()
        m.d.sync += weights_reserve.eq(distributor.weights_reserve & ~self.rewind)
        reserves = {"program": distributor.program_reserve, "weights": weights_reserve,
                    "thresholds": distributor.thresholds_reserve}
        for name, (ring, what, free) in credits.items():
            m.submodules[f"{name}_credits"] = ring
            credit, freed = Signal(name=f"{name}_credit"), Signal(name=f"{name}_freed")
            m.d.sync += [credit.eq(getattr(distributor, f"{name}_credit") & ~self.rewind),
                         freed.eq(free & ~resident & ~self.rewind)]
            m.d.comb += [
                ring.rewind.eq(self.rewind), ring.reserve.eq(reserves[name]), ring.credit.eq(credit),
                ring.free.eq(freed), getattr(distributor, f"{name}_room").eq(ring.room),
                ring.taken.eq(getattr(self, f"{what}_taken") & ~resident),
                getattr(self, f"{what}_there").eq(ring.there | resident)]
            if name != "thresholds":
                m.d.comb += ring.wanted.eq(1)
        return m
