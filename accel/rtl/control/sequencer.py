"""Runs the program of each batch of pictures: four machines, each waiting for the others by name.

                                     rewind                            program
                     +-----------------+----------------+                 |
                     v                 v                v                 v
    thresholds <-> ThresholdReader   PassPipeline <--- InstructionFetch --+-- picture_full, hold
                     |    ^ ^  | busy    ^ |  passes      ^     | emits
                     |    | |  +---------+ |              |     v
                     |    | +-- free ------+-- drained ---+   LogitSender <- logit
                     |    +------------ next_word --------------+     |
                     v                              |                 v
              threshold_write        weight_address, token         logits

While a pass runs, the instructions up to the next `Pass` are executed, and that pass is offered; it is taken in the
last cycle of the pass before, and passes follow each other without a gap:

    weight stage   | pass 0            | pass 1        |
    token stage         | pass 0            | pass 1        |
    fetch          p1 . tile p2 ........... p3
    thresholds            wait ............... read .. |             free: the last final pass has drained
"""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa
from accel.config import AccelConfig
from accel.rtl.activation.threshold_unit import ThresholdWrite
from accel.rtl.memory.im2col import Token, Window

from .fetch import InstructionFetch
from .logits import LogitSender
from .passes import PassPipeline, PassState
from .thresholds import ThresholdReader

__all__ = ["Sequencer"]


class Sequencer(wiring.Component):
    """InstructionFetch, PassPipeline, ThresholdReader and LogitSender, connected.

    Parameters
    ----------
    config : AccelConfig

    Members
    -------
    program_address, program_data; threshold_address, threshold_data : memory read ports of latency
        `timing.BLOCK_MEMORY`
    weight_address : Out, one word a cycle, row rows - 1 first; table : Out, `timing.TABLE` cycles after its pass's
        first weight address
    token, window, state : Out, the token stage
    threshold_write : Out(ThresholdWrite)
    picture_full, picture_buffer : In(1), release : Out(1), single : In(1): picture buffers, see InstructionFetch; the
        buffer is looked at when its picture is begun
    ended : Out(1), for one cycle: the program is
    second : In: bank row of the second picture buffer
    hold : In(1): do not start; ask : Out(1), go : In(1), and what is there and taken: see InstructionFetch
    rewind : In(1): all addresses back to 0
    words_free, threshold_read : Out(1), for one cycle: `rows` weight words, a threshold word will not be read again
    clear : In(1): no program, pass or logit goes on; tokens on their way come to their end by themselves
    logit : In(signed(32)): lowest logit; logit_shift : Out(1): next one
    logits : Out(stream of isa.LogitWord)
    busy, computing : Out(1): see InstructionFetch
    cycles : Out(32): from the start of the program to the last logit on offer; stands still while a logit is on offer

    Latency and throughput: those of the four; `accel.cycles` is the exact model of all of it. Resources: those of the
    four, about 1,380 flip-flops in 16x16x2; no memory.
    """
    def __init__(self, config: AccelConfig):
        self.config = config
        super().__init__({
            "program_address": Out(range(config.program_depth)), "program_data": In(isa.INSTRUCTION_BITS),
            "threshold_address": Out(range(config.threshold_depth)), "threshold_data": In(config.acc_bits),
            "weight_address": Out(range(config.weight_depth)), "table": Out(config.w_bits << config.w_bits),
            "token": Out(Token), "window": Out(Window()), "state": Out(PassState()),
            "threshold_write": Out(ThresholdWrite(
                a_bits=config.a_bits, acc_bits=config.acc_bits, channels=config.channels)),
            "picture_full": In(1), "picture_buffer": In(1), "release": Out(1), "single": In(1), "ended": Out(1),
            "second": In(isa.ROW_BITS),
            "hold": In(1), "ask": Out(1), "go": In(1), "rewind": In(1), "clear": In(1),
            **{f"{what}_there": In(1) for what in ("instruction", "weights", "thresholds")},
            **{f"{what}_taken": Out(1) for what in ("instruction", "weights", "thresholds")},
            "words_free": Out(1), "threshold_read": Out(1),
            "logit": In(signed(32)), "logit_shift": Out(1),
            "logits": Out(stream.Signature(isa.LogitWord)), "busy": Out(1), "computing": Out(1), "cycles": Out(32)})

    def elaborate(self, platform):
        m = Module()
        fetch, logits = InstructionFetch(self.config), LogitSender(self.config)
        m.submodules.fetch = ResetInserter(self.clear)(fetch)
        m.submodules.passes = passes = PassPipeline(self.config)
        m.submodules.thresholds = thresholds = ThresholdReader(self.config)
        m.submodules.logits = ResetInserter(self.clear)(logits)
        buffer = Signal()
        wiring.connect(m, fetch.passes, passes.passes)
        wiring.connect(m, fetch.emits, logits.emits)
        wiring.connect(m, logits.logits, wiring.flipped(self.logits))
        m.d.comb += [
            # Between the machines.
            passes.clear.eq(self.clear), thresholds.clear.eq(self.clear),
            *(unit.rewind.eq(self.rewind) for unit in (fetch, passes, thresholds)), passes.ended.eq(fetch.ended),
            thresholds.request.eq(fetch.read_thresholds), thresholds.free.eq(passes.thresholds_free),
            fetch.thresholds_busy.eq(thresholds.busy), passes.thresholds_busy.eq(thresholds.busy),
            fetch.drained.eq(passes.drained), thresholds.next_word.eq(logits.next_word),
            fetch.logit_offered.eq(logits.logits.valid),
            # Memories.
            self.program_address.eq(fetch.program_address), fetch.program_data.eq(self.program_data),
            self.threshold_address.eq(thresholds.address), thresholds.data.eq(self.threshold_data),
            logits.word.eq(self.threshold_data), self.weight_address.eq(passes.weight_address),
            # Array, threshold units and logits.
            self.table.eq(passes.table), self.token.eq(passes.token), self.window.eq(passes.window),
            self.state.eq(passes.state), self.threshold_write.eq(thresholds.write),
            logits.logit.eq(self.logit), self.logit_shift.eq(logits.shift),
            # What the memories hold.
            fetch.instruction_there.eq(self.instruction_there), fetch.weights_there.eq(self.weights_there),
            fetch.thresholds_there.eq(self.thresholds_there), thresholds.there.eq(self.thresholds_there),
            self.instruction_taken.eq(fetch.instruction_taken), self.weights_taken.eq(fetch.weights_taken),
            self.thresholds_taken.eq(fetch.thresholds_taken | thresholds.taken),
            self.words_free.eq(passes.words_free), self.threshold_read.eq(thresholds.word_taken),
            # Pictures.
            self.ask.eq(fetch.ask), fetch.go.eq(self.go), passes.second.eq(self.second),
            fetch.picture_full.eq(self.picture_full), fetch.hold.eq(self.hold), self.release.eq(fetch.release),
            fetch.single.eq(self.single), self.ended.eq(fetch.ended),
            passes.picture_buffer.eq(buffer),
            self.busy.eq(fetch.busy), self.computing.eq(fetch.computing), self.cycles.eq(fetch.cycles)]
        # A net that is found damaged has the loader forget its pictures, while one of them may still run.
        with m.If(fetch.begin):
            m.d.sync += buffer.eq(self.picture_buffer)
        return m
