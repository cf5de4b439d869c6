"""The accelerator core: memories, array, accumulators, activation units, sequencer.

    pixels -> PictureLoader --+
                            v
    +-----------> ActivationMemory -> Im2col -> SystolicArray -> Accumulator -> ThresholdUnit --+
    |                                   | sums     ^ digits         ^   |            ^          |
    |                                   +-> beta * S ---------------+   +-> LogitSum |-> logits |
    |                        weights -> LevelDecoder                          thresholds        |
    +-------------------------------------------------------------------------------------------+
                          program -> Sequencer drives all of it

The core is rigid: from the token on everything has a fixed latency (cycles relative to the token stage, chain c):

    0                token, pass fields                        S + 2         correction added
    5                x at the array                            V = S + 5     new accumulators
    S = 5 + array + c    partial sums                          V + 2 * a_bits    codes (c cycles of skew taken out)
"""
from itertools import pairwise

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, timing
from accel.config import AccelConfig
from accel.rtl.activation.accumulator import Accumulator, AccumulatorControl, shift_left
from accel.rtl.activation.logit_sum import LogitSum
from accel.rtl.activation.threshold_unit import ThresholdUnit
from accel.rtl.array.level_decoder import LevelDecoder
from accel.rtl.array.multiplier import Multiplier
from accel.rtl.array.systolic_array import SystolicArray
from accel.rtl.control.sequencer import Sequencer
from accel.rtl.memory.activation_memory import ActivationMemory, CodeWrite
from accel.rtl.memory.block_memory import BlockMemory
from accel.rtl.memory.im2col import Im2col
from accel.rtl.memory.picture_loader import PictureLoader

from .delay import delay

__all__ = ["Core", "shortest_pass", "drain_cycles"]


def shortest_pass(config):
    """Cycles a pass takes at least: its weights have to get in, and its accumulators back into their memory."""
    return max(config.rows, Accumulator.reuse)


def drain_cycles(config):
    """Cycles from a token (token stage) until its codes are at the activation memory; its logits are summed before."""
    return (Im2col.latency + SystolicArray.latency(config.rows) + config.chains - 1 + Accumulator.latency
            + ThresholdUnit.latency(config.a_bits))


class Core(wiring.Component):
    """Classifies pictures with the net in its memories.

    Parameters
    ----------
    config : AccelConfig
    floorplan : function (row, chain) -> BEL of the array's multipliers, or None
    image : accel.image.Image that the memories hold at configuration, or None

    Members
    -------
    load : In(stream of isa.LoadWord): fills the memories; taken only while no picture is being classified. A load ends
        with its SETTINGS word; from its first word to that one no pixel is taken, and pictures that wait are dropped
    pixels : In(stream of isa.PixelWord): raster order; the next picture may come while one is being classified
    logits : Out(stream of isa.LogitWord)
    busy : Out(1); cycles : Out(32): cycles of the picture whose last logit is on offer
    trace : every activation write, for simulators (`accel.image.Image.tensors` decodes it); costs nothing where it is
        not connected. data = codes of m pixels, group = word address // m * parts + part

    Throughput: `config.macs_per_cycle` in every cycle of a pass of full tiles. `accel.cycles` gives the exact cycle
    count.
    """
    def __init__(self, config: AccelConfig, *, floorplan=None, image=None):
        self.config, self.floorplan, self.image = config, floorplan, image
        codes = config.pixels_per_cycle * config.channels * config.a_bits
        super().__init__({
            "load": In(stream.Signature(isa.LoadWord)), "pixels": In(stream.Signature(isa.PixelWord)),
            "logits": Out(stream.Signature(isa.LogitWord)), "busy": Out(1), "cycles": Out(32),
            "trace": Out(wiring.Signature({"valid": Out(1), "group": Out(16), "data": Out(codes)}))})

    def elaborate(self, platform):
        m = Module()
        config = self.config

        m.submodules.sequencer = sequencer = Sequencer(config)
        m.submodules.loader = loader = PictureLoader(config)
        m.submodules.activations = activations = ActivationMemory(config)
        m.submodules.im2col = im2col = Im2col(config)
        m.submodules.array = array = SystolicArray(
            rows=config.rows, chains=config.chains, bits=config.a_bits, pixels=config.pixels_per_cycle,
            floorplan=self.floorplan, lut_elements=config.lut_elements)
        wiring.connect(m, wiring.flipped(self.pixels), loader.pixels)
        wiring.connect(m, loader.o, activations.image)
        wiring.connect(m, sequencer.logits, wiring.flipped(self.logits))
        m.d.comb += [
            self.busy.eq(sequencer.busy), self.cycles.eq(sequencer.cycles),
            sequencer.picture_full.eq(loader.full), sequencer.picture_buffer.eq(loader.buffer),
            loader.release.eq(sequencer.release),
            im2col.token.eq(sequencer.token), im2col.window.eq(sequencer.window),
            activations.read_row.eq(im2col.read_row), im2col.read_word.eq(activations.read_word),
            array.x.eq(im2col.x), array.swap.eq(delay(m, sequencer.token.first, Im2col.latency, name="swap"))]

        self._memories(m, sequencer, loader, array)
        control, code_write, code_valid = self._token_control(m, sequencer)
        to_sums = Im2col.latency + SystolicArray.latency(config.rows)
        control = delay(m, control, to_sums, name="control")
        correction = self._correction(m, sequencer, im2col, to_sums + Accumulator.correction_lag)
        codes = self._chains(m, sequencer, array, control, correction)

        to_codes = drain_cycles(config)
        write = delay(m, code_write, to_codes, name="code_write")
        m.d.comb += [
            activations.code_valid.eq(delay(m, code_valid, to_codes, name="code_valid")),
            activations.code_write.eq(write), activations.code_write.codes.eq(codes),
            self.trace.valid.eq(activations.code_valid), self.trace.data.eq(codes),
            self.trace.group.eq((write.row * 2 + write.half) * config.parts + write.part)]
        return m

    def _memories(self, m, sequencer, loader, array):
        """Program, weights, thresholds and settings, filled by the load stream."""
        config = self.config
        image = self.image
        instructions, weight_words, threshold_words, settings_number = (
            (image.program, image.weights, image.thresholds, image.settings) if image else ((), (), (), 0))
        m.submodules.program = program = BlockMemory(
            width=isa.INSTRUCTION_BITS, depth=config.program_depth, init=instructions)
        m.submodules.weights = weights = BlockMemory(
            width=config.channels * config.w_bits, depth=config.weight_depth, init=weight_words)
        m.submodules.thresholds = thresholds = BlockMemory(
            width=config.acc_bits, depth=config.threshold_depth,
            init=[int(t) % (1 << config.acc_bits) for t in threshold_words])
        m.submodules.decoder = decoder = LevelDecoder(bits=config.w_bits, lanes=config.channels)

        # A load ends with the settings: until then no picture is taken in, and none is started.
        word, valid, loaded = Signal(isa.LoadWord), Signal(), Signal(init=image is not None)
        stored_settings = Signal(isa.Settings, init=isa.Settings.from_bits(settings_number))
        settings = valid & (word.target == isa.Target.SETTINGS)
        m.d.comb += [self.load.ready.eq(~sequencer.busy), sequencer.hold.eq(self.load.valid | valid),
                     loader.clear.eq(~loaded | valid)]
        m.d.sync += [word.eq(self.load.payload), valid.eq(self.load.valid & self.load.ready)]
        for target, store in ((isa.Target.PROGRAM, program), (isa.Target.WEIGHTS, weights),
                              (isa.Target.THRESHOLDS, thresholds)):
            m.d.comb += [store.write_enable.eq(valid & (word.target == target)),
                         store.write_address.eq(word.address), store.write_data.eq(word.data)]
        with m.If(valid):
            m.d.sync += loaded.eq(settings)
        with m.If(settings):
            m.d.sync += stored_settings.eq(word.data)
        m.d.comb += [
            loader.settings.eq(stored_settings), program.read_address.eq(sequencer.program_address),
            sequencer.program_data.eq(program.read_data),
            thresholds.read_address.eq(sequencer.threshold_address),
            sequencer.threshold_data.eq(thresholds.read_data),
            weights.read_address.eq(sequencer.weight_address), decoder.table.eq(sequencer.table),
            # The memory's blocks lie all over the chip: their words get a cycle to come to the decoder.
            decoder.codes.eq(delay(m, weights.read_data, timing.TABLE - weights.latency, name="codes"))]
        # The last weight word of a pass is read rows - 1 cycles after its first, which is rows cycles before the first
        # token; the array wants it one cycle before that token.
        spare = 1 + Im2col.latency - 1 - timing.TABLE - decoder.latency
        m.d.comb += array.w.eq(delay(m, decoder.digits, spare, name="digits"))

    def _token_control(self, m, sequencer):
        """Accumulator control and code address of the token in the token stage."""
        config, token, state = self.config, sequencer.token, sequencer.state
        instruction, tile = state.instruction, state.tile
        next_index = Signal(range(config.accumulator_depth))
        next_group, group = Signal(isa.SIDE_BITS), Signal(isa.SIDE_BITS)
        next_line, line = Signal(isa.ROW_BITS), Signal(isa.ROW_BITS)
        control, code_write = Signal(AccumulatorControl(config)), Signal(CodeWrite(config))
        m.d.comb += [group.eq(Mux(token.first, 0, next_group)), line.eq(Mux(token.first, tile.base, next_line))]
        with m.If(token.valid):
            m.d.sync += [next_index.eq(control.index + 1), next_group.eq(group + 1), next_line.eq(line)]
            with m.If(token.row_end):
                m.d.sync += [next_group.eq(0), next_line.eq(line + tile.pitch)]
        m.d.comb += [
            control.valid.eq(token.valid), control.first.eq(token.first),
            control.index.eq(Mux(token.first, 0, next_index)), control.clear.eq(instruction.clear),
            control.final.eq(instruction.final), control.maximum.eq(instruction.maximum),
            control.logits.eq(instruction.logits), control.shift.eq(instruction.shift),
            control.inside.eq(Cat(group * config.pixels_per_cycle + j < tile.width
                                  for j in range(config.pixels_per_cycle))),
            code_write.row.eq(line + (group >> 1)), code_write.half.eq(group[0]), code_write.part.eq(tile.part)]
        return control, code_write, token.valid & instruction.final & ~instruction.logits

    def _correction(self, m, sequencer, im2col, at):
        """beta * S << beta_shift for each pixel, `at` cycles after the token.

        The multiplier is unsigned: (beta + offset) * S - offset * S with offset = 2**(BETA_BITS - 1).
        """
        instruction = sequencer.state.instruction
        multiply = Multiplier.latency + 1
        spare = at - im2col.sum_latency - multiply - 2
        beta = delay(m, instruction.beta, im2col.sum_latency + spare, name="beta")
        shift = delay(m, instruction.beta_shift, im2col.sum_latency + spare + multiply, name="beta_shift")
        correction = Signal(data.ArrayLayout(self.config.acc_bits, self.config.pixels_per_cycle))
        for j in range(self.config.pixels_per_cycle):
            total = delay(m, im2col.sums[j], spare, name=f"total_{j}")
            m.submodules[f"correction{j}"] = multiplier = Multiplier(a_width=isa.BETA_BITS, b_width=len(total))
            product = Signal(signed(isa.BETA_BITS + len(total)), name=f"product_{j}")
            offset = delay(m, total, Multiplier.latency, name=f"offset_{j}") << isa.BETA_BITS - 1
            m.d.comb += [multiplier.a.eq(beta ^ 1 << isa.BETA_BITS - 1), multiplier.b.eq(total)]
            m.d.sync += product.eq(multiplier.p - offset)
            m.d.comb += correction[j].eq(shift_left(m, product, shift, self.config.acc_bits, name=f"correction_{j}"))
        return correction

    def _chains(self, m, sequencer, array, control, correction):
        """Accumulators, activation units and logits of every chain, each one cycle later than the chain before."""
        config = self.config
        pixels = config.pixels_per_cycle
        codes = Signal(data.ArrayLayout(data.ArrayLayout(config.a_bits, config.channels), pixels))
        write = sequencer.threshold_write
        # The shift goes from chain to chain too: chain c takes the logit of chain c + 1 before that one moves on. What
        # another pass adds to the logits comes as many cycles later to each chain, so it stays behind the shift.
        shift = delay(m, sequencer.logit_shift, 1, name="logit_shift")
        sums = []
        for c in range(config.chains):
            m.submodules[f"accumulator{c}"] = accumulator = Accumulator(config, sum_shape=array.sum_shape)
            m.submodules[f"logits{c}"] = logits = LogitSum(config)
            sums.append(logits)
            m.d.comb += [
                accumulator.sums.eq(array.sums[c]), accumulator.control.eq(control),
                accumulator.correction.eq(correction), logits.values.eq(accumulator.values),
                logits.control.eq(accumulator.value_control), logits.shift.eq(shift)]
            control = delay(m, control, 1, name=f"control_{c}")
            correction = delay(m, correction, 1, name=f"correction_{c}")
            write = delay(m, write, 1, name=f"threshold_write_{c}")
            shift = delay(m, shift, 1, name=f"logit_shift_{c}")
            for i in range(2):
                channel = 2 * c + i
                for j in range(pixels):
                    m.submodules[f"threshold{channel}_{j}"] = unit = ThresholdUnit(
                        a_bits=config.a_bits, acc_bits=config.acc_bits, channel=channel, channels=config.channels)
                    m.d.comb += [
                        unit.value.eq(accumulator.values[i * pixels + j]), unit.write.eq(write),
                        codes[j][channel].eq(delay(m, unit.code, config.chains - 1 - c, name=f"code_{channel}_{j}"))]
        m.d.comb += sequencer.logit.eq(sums[0].logit)
        for lower, upper in pairwise(sums):
            m.d.comb += lower.shift_in.eq(upper.logit)
        return codes
