"""The accelerator core: memories, array, what stands behind it, and the sequencer that drives all of it.

    load -> LoadedTape, or TapePlayer <=> SDRAM
                 | words of the tape
                 v
            NetMemories -- program, thresholds -> Sequencer -- token and its pass -> Im2col, TokenControl
                 |
                 +-- weights -> LevelDecoder
                                     | digits
    pixels, of the line              v
    or the player -> PictureLoader   |
                    |          SystolicArray -- sums -> ChainEnd -- logits -> (Sequencer) -> logits
                    v                ^ x                ^      |
    +-----> ActivationMemory ----> Im2col -- S -> Correction   |
    |                                                          |
    +---------------------------- codes -----------------------+

The core is rigid: from the token on everything has a fixed latency. Cycles here are those of the timeline of
`accel.timing`: cycle 0 is the token in the token stage.
"""
from itertools import pairwise

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, timing
from accel.config import AccelConfig
from accel.rtl.activation.chain_end import ChainEnd
from accel.rtl.activation.correction import Correction
from accel.rtl.activation.token_control import TokenControl
from accel.rtl.array.level_decoder import LevelDecoder
from accel.rtl.array.systolic_array import SystolicArray
from accel.rtl.control.sequencer import Sequencer
from accel.rtl.memory.activation_memory import ActivationMemory, PictureWrite
from accel.rtl.memory.im2col import Im2col
from accel.rtl.memory.net_memories import NetMemories
from accel.rtl.memory.picture_loader import PictureLoader
from accel.rtl.sdram.port import SdramPort
from accel.rtl.tape.loaded_tape import LoadedTape
from accel.rtl.tape.player import TapePlayer

from .stream_register import StreamRegister
from .timed import Timed

__all__ = ["Core"]


class Core(wiring.Component):
    """Classifies pictures with the net in its memories.

    Parameters
    ----------
    config : AccelConfig
    floorplan : function (row, chain) -> BEL of the array's multipliers, or None
    image : accel.image.Image that the memories hold at configuration, a resident one, or None

    Members
    -------
    load : In(stream of isa.LoadWord): the tape of a net. While a picture is being classified none is taken, or, with an
        SDRAM, one, which then waits. From the end of that picture until it is `whole` no pixel is taken, and pictures
        that wait are dropped
    whole : Out(1): there is a net. damaged : Out(1): there was to be one, but its words are wrong: those of the load,
        or, later, those of the SDRAM; then the picture that runs may not come to its end, until `clear`
    memory : Out(isa.MemoryReport): the last test of the SDRAM
    run : Out(isa.RunReport): the run of pictures in the SDRAM that goes on, or was last; 0 without one
    sdram : Out(SdramPort()), where config.sdram_hz is given
    pixels : In(stream of isa.PixelWord): raster order; the next picture may come while one is being classified. In a
        run none is taken
    logits : Out(stream of isa.LogitWord)
    busy : Out(1); cycles : Out(32): cycles of the picture whose last logit is on offer
    clear : In(1): forget every picture, take no pixels, from the next cycle but one on; the net stays. Up for at least
        timing.drained(config) cycles, that is until all that is on its way through the array has come to its end
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
            "logits": Out(stream.Signature(isa.LogitWord)), "busy": Out(1), "cycles": Out(32), "clear": In(1),
            "whole": Out(1), "damaged": Out(1), "memory": Out(isa.MemoryReport),
            "run": Out(isa.RunReport), **({} if config.sdram_hz is None else {"sdram": Out(SdramPort())}),
            "trace": Out(wiring.Signature({"valid": Out(1), "group": Out(16), "data": Out(codes)}))})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.sequencer = sequencer = Sequencer(config)
        m.submodules.memories = memories = NetMemories(config, image=self.image)
        m.submodules.loader = loader = PictureLoader(config)
        m.submodules.activations = activations = ActivationMemory(config)
        m.submodules.im2col = im2col = Im2col(config)
        m.submodules.array = array = SystolicArray(
            rows=config.rows, chains=config.chains, bits=config.a_bits, pixels=config.pixels_per_cycle,
            floorplan=self.floorplan, lut_elements=config.lut_elements)

        # The edges of the core, and what does not follow the token.
        clear = Signal()                        # comes far
        tape = self._tape(m, sequencer, memories, clear)
        m.d.sync += [clear.eq(self.clear), loader.clear.eq(tape.clear | self.clear)]
        self._pixels(m, tape, loader)
        # The loader's words go to every bank. The last word of a picture may wait behind codes of the picture before,
        # but not for long enough to be read too early: no codes are written at the start of a program.
        m.submodules.picture_word = picture_word = StreamRegister(PictureWrite(config))
        wiring.connect(m, loader.o, picture_word.i)
        wiring.connect(m, picture_word.o, activations.picture)
        wiring.connect(m, sequencer.logits, wiring.flipped(self.logits))
        m.d.comb += [
            self.busy.eq(sequencer.busy), self.cycles.eq(sequencer.cycles),
            sequencer.hold.eq(tape.hold), sequencer.clear.eq(clear),
            loader.settings.eq(memories.settings), sequencer.second.eq(memories.settings.second),
            sequencer.single.eq(memories.settings.single),
            sequencer.picture_full.eq(loader.full), sequencer.picture_buffer.eq(loader.buffer),
            loader.release.eq(sequencer.release),
            memories.program_address.eq(sequencer.program_address), sequencer.program_data.eq(memories.program_data),
            memories.threshold_address.eq(sequencer.threshold_address),
            sequencer.threshold_data.eq(memories.threshold_data),
            memories.weight_address.eq(sequencer.weight_address)]

        self._weights(m, sequencer, memories, array)
        # Token to activations.
        swap = Timed(m, sequencer.token.first, 0, name="swap")
        m.d.comb += [
            im2col.token.eq(sequencer.token), im2col.window.eq(sequencer.window),
            activations.read_row.eq(im2col.read_row), im2col.read_word.eq(activations.read_word),
            array.x.eq(im2col.x), array.swap.eq(swap.at(timing.IM2COL))]
        # Token to codes.
        m.submodules.token_control = token_control = TokenControl(config)
        m.d.comb += [token_control.token.eq(sequencer.token), token_control.tile.eq(sequencer.state.tile),
                     token_control.apart.eq(sequencer.state.batch.apart),
                     token_control.instruction.eq(sequencer.state.instruction)]
        correction = self._correction(m, sequencer, im2col)
        codes = self._chain_ends(m, sequencer, array, Timed(m, token_control.control, 0, name="control"), correction)
        written = timing.drain(config)
        place = Timed(m, token_control.code_place, 0, name="code_place").at(written)
        valid = Timed(m, token_control.code_valid, 0, name="code_valid").at(written)
        m.d.comb += [
            activations.code_valid.eq(valid), activations.code_place.eq(place), activations.codes.eq(codes),
            self.trace.valid.eq(valid), self.trace.data.eq(codes),
            self.trace.group.eq((place.row * 2 + place.half) * config.parts + place.part)]
        return m

    def _tape(self, m, sequencer, memories, clear):
        """What fills the memories, and what it, they and the sequencer say to each other."""
        whole = self.image is not None
        if self.config.sdram_hz is None:
            m.submodules.tape = tape = LoadedTape(whole=whole)
        else:
            m.submodules.tape = tape = TapePlayer(self.config, whole=whole)
            wiring.connect(m, tape.sdram, wiring.flipped(self.sdram))
            m.d.comb += [tape.ended.eq(memories.ended), tape.ask.eq(sequencer.ask), tape.forget.eq(clear),
                         tape.computing.eq(sequencer.computing), self.memory.eq(tape.memory)]
        # Both go far, and are early: a tape's first word comes later than in the next cycle, the first address of a
        # picture, of a resident net the same again, three cycles after the end of the picture before.
        empty, rewind = Signal(), Signal()
        m.d.sync += [empty.eq(tape.rewind),
                     rewind.eq(empty | clear | sequencer.ended & tape.resident)]
        wiring.connect(m, wiring.flipped(self.load), tape.load)
        wiring.connect(m, tape.words, memories.words)
        m.d.comb += [
            tape.busy.eq(sequencer.busy), tape.waiting.eq(memories.waiting), memories.rewind.eq(empty),
            memories.resident.eq(tape.resident), sequencer.go.eq(tape.go), sequencer.rewind.eq(rewind),
            self.whole.eq(tape.whole), self.damaged.eq(tape.damaged),
            memories.words_free.eq(sequencer.words_free), memories.threshold_read.eq(sequencer.threshold_read)]
        for what in ("instruction", "weights", "thresholds"):
            m.d.comb += [getattr(sequencer, f"{what}_there").eq(getattr(memories, f"{what}_there")),
                         getattr(memories, f"{what}_taken").eq(getattr(sequencer, f"{what}_taken"))]
        return tape

    def _pixels(self, m, tape, loader):
        """Those of the line, or, in a run, of pictures in the SDRAM."""
        if self.config.sdram_hz is None:
            wiring.connect(m, wiring.flipped(self.pixels), loader.pixels)
            return
        m.submodules.stored = stored = StreamRegister(isa.PixelWord)        # on its way through the chip
        running = Signal()
        wiring.connect(m, tape.pixels, stored.i)
        m.d.sync += [running.eq(tape.running),
                     tape.answered.eq(self.logits.valid & self.logits.ready & self.logits.p.last)]
        m.d.comb += [
            self.run.eq(tape.run), loader.pixels.payload.eq(Mux(running, stored.o.payload, self.pixels.payload)),
            loader.pixels.valid.eq(Mux(running, stored.o.valid, self.pixels.valid)),
            self.pixels.ready.eq(loader.pixels.ready & ~running),
            stored.o.ready.eq(loader.pixels.ready | ~running)]              # what a run leaves behind is dropped

    def _weights(self, m, sequencer, memories, array):
        """Weight words, digits: of row 0 in the cycles named here, of row r r cycles earlier."""
        config = self.config
        m.submodules.decoder = decoder = LevelDecoder(bits=config.w_bits, lanes=config.channels)
        # The memory's blocks lie all over the chip: their words get a cycle to come to the decoder.
        codes = Timed(m, memories.weight_data, timing.WEIGHT_ADDRESS + timing.BLOCK_MEMORY, name="weight_codes")
        digits = Timed(m, decoder.digits, timing.WEIGHT_CODES + timing.LEVEL_DECODER, name="weight_digits")
        m.d.comb += [decoder.table.eq(sequencer.table), decoder.codes.eq(codes.at(timing.WEIGHT_CODES)),
                     array.w.eq(digits.at(timing.ARRAY_WEIGHTS))]

    def _correction(self, m, sequencer, im2col):
        """`Timed` correction of a token, in time for chain 0. What waits is S, since it is the narrowest."""
        config, instruction = self.config, sequencer.state.instruction
        m.submodules.correction = correction = Correction(config, sum_bits=im2col.sum_bits)
        aligned = timing.sums_at(config) + timing.ACCUMULATOR_ALIGNED
        begin = aligned - timing.CORRECTION
        sums = Timed(m, im2col.sums, timing.im2col_sums(config.rows), name="activation_sums")
        beta = Timed(m, instruction.beta, 0, name="beta")
        beta_shift = Timed(m, instruction.beta_shift, 0, name="beta_shift")
        m.d.comb += [correction.sums.eq(sums.at(begin)), correction.beta.eq(beta.at(begin)),
                     correction.beta_shift.eq(beta_shift.at(begin))]
        return Timed(m, correction.correction, aligned, name="correction")

    def _chain_ends(self, m, sequencer, array, control, correction):
        """Codes of all chains in the cycle of the last one's; each works as many cycles later as its number says."""
        config = self.config
        # It goes to all threshold units: a cycle more for the way, long before the first value comes.
        threshold_write = Timed(m, sequencer.threshold_write, -1, name="threshold_write")
        # The shift goes from chain to chain too: chain c takes the logit of chain c + 1 before that one moves on. What
        # another pass adds to the logits comes as many cycles later to each chain, so it stays behind the shift.
        shift = Timed(m, sequencer.logit_shift, 0, name="logit_shift")
        codes = Signal.like(self.trace.data)
        ends = []
        for chain in range(config.chains):
            m.submodules[f"chain_end{chain}"] = end = ChainEnd(config, chain=chain, sum_shape=array.sum_shape)
            ends.append(end)
            sums_at, late = timing.sums_at(config, chain), chain * timing.ELEMENT_HOP
            m.d.comb += [
                end.sums.eq(array.sums[chain]), end.control.eq(control.at(sums_at)),
                end.correction.eq(correction.at(sums_at + timing.ACCUMULATOR_ALIGNED)),
                end.threshold_write.eq(threshold_write.at(late)), end.shift.eq(shift.at(timing.LOGIT_SHIFT + late))]
        m.d.comb += sequencer.logit.eq(ends[0].logit)
        for lower, upper in pairwise(ends):
            m.d.comb += lower.shift_in.eq(upper.logit)
        by_chain = [Timed(m, end.codes, timing.codes_at(config, chain), name=f"codes_{chain}").at(timing.drain(config))
                    for chain, end in enumerate(ends)]
        m.d.comb += codes.eq(Cat(by_chain[chain][j] for j in range(config.pixels_per_cycle)
                                 for chain in range(config.chains)))
        return codes
