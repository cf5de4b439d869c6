"""Runs the program of a batch: reads an instruction, executes it, hands on what takes longer.

    cycle            0          1          2           3           4
    program_address  a          a          a           a + 1       a + 1
    program_data                           word of a
    state            READ_0     READ_1     TAKE        EXECUTE     READ_0

`READ_0` lasts until the instruction is there, `EXECUTE` until a `Pass` is accepted, until the logits of an `Emit` are
sent, or, for a `Picture` or an `End`, until the pipeline has drained. An `Emit` with `end` ends the program as an `End`
does, from the cycle after its last logit was taken on.
All other instructions take one cycle of it: they write registers of the next pass, which go along with every pass that
is offered. A pass is offered when its weight words are there. Of several passes in one instruction the next one is
offered `timing.NEXT_PASS` cycles after one was taken:

    cycle            0          1          2
    state            EXECUTE    NEXT       EXECUTE
    passes           taken                 the next one: its base one plane further

A program starts in the cycle after it may, and goes on in the same way where it waits for its next picture; `cycles`
stands still meanwhile:

    cycle            0          1          2                        state     0 WAIT     1 BEGIN    2 READ_0
    state            IDLE       START      READ_0                   ask, go   1
    ask, go          1                                              begin                1
    start, begin                1                                   busy      1          1          1
    busy, computing             1          1                        computing            1          1
    cycles                                 0                        cycles    c          c          c
"""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, timing
from accel.config import AccelConfig
from accel.rtl.array.level_decoder import identity_table

from .passes import PassRequest

__all__ = ["InstructionFetch"]


class InstructionFetch(wiring.Component):
    """Program counter, instruction decoder, registers of the next pass, cycle counter.

    Parameters
    ----------
    config : AccelConfig

    Members
    -------
    program_address : Out, program_data : In, to a memory of latency `timing.BLOCK_MEMORY`
    picture_full : In(1): a picture waits; hold : In(1): no program must start
    single : In(1): the program's end gives the picture buffer back
    ask : Out(1): a picture would be begun; go : In(1): it may, and is in the next cycle
    instruction_there, weights_there, thresholds_there : In(1): the next instruction, the weight words of the next pass
        and the next thresholds are in the memories; instruction_taken, weights_taken, thresholds_taken : Out(1), for
        one cycle each: they count for the one at hand (thresholds: of an `Emit`), and what is there is not looked at in
        the cycle after
    begin : Out(1), for one cycle: a picture is; release : Out(1), for one cycle: it is not needed any more
    ended : Out(1), for one cycle: the program has ended
    passes : Out(stream of PassRequest): the next pass. A barrier goes along with the first pass of its tile alone
    read_thresholds : Out(1), for one cycle: a tile wants the next `config.threshold_words` thresholds; comes only when
        `thresholds_busy` : In(1) of the request before is over, in every program that has a final pass for such a tile
    drained : In(1): no pass runs, everything that passes write is written
    emits : Out(stream of isa.Emit): logits to send, offered when everything before is done; taken with the last logit
    logit_offered : In(1): a logit waits to be taken
    rewind : In(1): back to address 0
    busy : Out(1): from the program's first `begin` to `ended`; computing : Out(1): busy, but not where the next
        picture is waited for
    cycles : Out(32): from the program's start to the last logit on offer; stands still while a logit is on offer, or
        the next picture is waited for

    Latency: `timing.FETCH` cycles from an address to the execution of its instruction. Throughput: an instruction in
    1 + `timing.FETCH` cycles. Resources: 310 flip-flops in 16x16x2 (instruction, source, tile, batch, table, cycle
    counter); no memory.
    """
    def __init__(self, config: AccelConfig):
        self.config = config
        super().__init__({
            "program_address": Out(range(config.program_depth)), "program_data": In(isa.INSTRUCTION_BITS),
            "picture_full": In(1), "hold": In(1), "single": In(1), "ask": Out(1), "go": In(1),
            **{f"{what}_there": In(1) for what in ("instruction", "weights", "thresholds")},
            **{f"{what}_taken": Out(1) for what in ("instruction", "weights", "thresholds")},
            "begin": Out(1), "release": Out(1), "ended": Out(1),
            "passes": Out(stream.Signature(PassRequest(config))),
            "read_thresholds": Out(1), "thresholds_busy": In(1), "drained": In(1),
            "emits": Out(stream.Signature(isa.Emit)), "logit_offered": In(1),
            "rewind": In(1), "busy": Out(1), "computing": Out(1), "cycles": Out(32)})

    def elaborate(self, platform):
        m = Module()
        instruction = Signal(isa.INSTRUCTION_BITS, reset_less=True)

        def seen_as(layout, word):
            return layout(word[:Shape.cast(layout).width])
        fields = {op: seen_as(layout, instruction) for op, layout in isa.LAYOUTS.items()}
        source, tile = Signal(isa.Source, reset_less=True), Signal(isa.Tile, reset_less=True)
        batch = Signal(isa.Batch, reset_less=True)
        table = Signal.like(self.passes.p.table, reset_less=True)
        state, request = self.passes.p.state, instruction[:Shape.cast(isa.Pass).width]
        # The pass at hand: whether it is the last of its instruction, and what that one says of the last.
        last_pass, final, logits = Signal(), Signal(), Signal()
        m.d.comb += [state.instruction.eq(fields[isa.Op.PASS]), state.source.eq(source), state.tile.eq(tile),
                     state.batch.eq(batch), state.instruction.final.eq(final), state.instruction.logits.eq(logits),
                     self.passes.p.table.eq(table), self.emits.p.eq(fields[isa.Op.EMIT])]
        waiting, thresholds_taken = Signal(), Signal()
        m.d.sync += self.thresholds_taken.eq(thresholds_taken)      # far, and looked at much later
        with m.If(self.busy & ~self.logit_offered & ~waiting):
            m.d.sync += self.cycles.eq(self.cycles + 1)

        def at_hand(one, last):
            m.d.sync += [last_pass.eq(last), final.eq(one.final & last), logits.eq(one.logits & last)]

        def offer(one):
            """The pass at hand, as soon as its words are there."""
            with m.If(one.repeat | self.weights_there):
                m.d.sync += self.passes.valid.eq(1)
                m.d.comb += self.weights_taken.eq(~one.repeat)

        def end():
            with m.If(self.drained):
                m.d.comb += [self.ended.eq(1), self.release.eq(self.single)]
                m.next = "IDLE"

        m.d.comb += [self.busy.eq(1), self.computing.eq(1)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.busy.eq(0), self.computing.eq(0), self.ask.eq(self.picture_full & ~self.hold)]
                with m.If(self.ask & self.go):
                    m.next = "START"
            with m.State("START"):
                m.d.comb += self.begin.eq(1)
                m.d.sync += [self.cycles.eq(0), table.eq(identity_table(self.config.w_bits)), batch.more.eq(0)]
                m.next = "READ_0"
            with m.State("WAIT"):
                m.d.comb += [waiting.eq(1), self.computing.eq(0), self.ask.eq(self.picture_full)]
                with m.If(self.ask & self.go):
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.comb += [waiting.eq(1), self.begin.eq(1)]
                m.next = "READ_0"
            for n in range(timing.BLOCK_MEMORY):
                with m.State(f"READ_{n}"):
                    following = f"READ_{n + 1}" if n + 1 < timing.BLOCK_MEMORY else "TAKE"
                    if n:
                        m.next = following
                    else:
                        with m.If(self.instruction_there):
                            m.next = following
            with m.State("TAKE"):
                # Whether it is a pass is known a cycle ahead: what a pass waits for is short of time.
                m.d.comb += self.instruction_taken.eq(1)
                m.d.sync += [instruction.eq(self.program_data), self.program_address.eq(self.program_address + 1)]
                coming = seen_as(isa.Pass, self.program_data)
                at_hand(coming, coming.more == 0)
                with m.If(coming.op == isa.Op.PASS):
                    offer(coming)
                m.next = "EXECUTE"
            with m.State("NEXT"):
                one = fields[isa.Op.PASS]
                following = isa.Pass(request)
                m.d.sync += [following.base.eq(one.base + source.plane), following.more.eq(one.more - 1),
                             following.clear.eq(0)]
                at_hand(one, one.more == 1)
                offer(one)
                m.next = "EXECUTE"
            with m.State("EXECUTE"):
                with m.Switch(fields[isa.Op.END].op):
                    with m.Case(isa.Op.SOURCE):
                        m.d.sync += source.eq(fields[isa.Op.SOURCE])
                        m.next = "READ_0"
                    with m.Case(isa.Op.BATCH):
                        m.d.sync += batch.eq(fields[isa.Op.BATCH])
                        m.next = "READ_0"
                    with m.Case(isa.Op.PICTURE):
                        with m.If(self.drained):
                            m.d.comb += self.release.eq(fields[isa.Op.PICTURE].release)
                            m.next = "READ_0"
                            with m.If(fields[isa.Op.PICTURE].wait):
                                m.next = "WAIT"
                    with m.Case(isa.Op.TILE):
                        m.d.sync += tile.eq(fields[isa.Op.TILE])
                        m.d.comb += self.read_thresholds.eq(fields[isa.Op.TILE].thresholds)
                        m.next = "READ_0"
                    with m.Case(isa.Op.LEVELS):
                        levels = fields[isa.Op.LEVELS]
                        for half in range(-(-len(table) // isa.HALF_BITS)):
                            with m.If(levels.half == half):
                                entries = table[isa.HALF_BITS * half:isa.HALF_BITS * (half + 1)]
                                m.d.sync += entries.eq(levels.table)
                        m.next = "READ_0"
                    with m.Case(isa.Op.PASS):
                        with m.If(~self.passes.valid):
                            offer(fields[isa.Op.PASS])
                        with m.Elif(self.passes.ready):
                            m.d.sync += [tile.barrier.eq(0), self.passes.valid.eq(0)]
                            m.next = "NEXT"
                            with m.If(last_pass):
                                m.next = "READ_0"
                    with m.Case(isa.Op.EMIT):
                        m.d.comb += self.emits.valid.eq(
                            self.drained & ~self.thresholds_busy & self.thresholds_there)
                        with m.If(self.emits.valid & self.emits.ready):
                            m.d.comb += thresholds_taken.eq(1)
                            m.next = "READ_0"
                            with m.If(self.emits.p.end):
                                m.next = "END"
                    with m.Default():
                        end()
            with m.State("END"):
                end()
        with m.If(self.rewind):
            m.d.sync += self.program_address.eq(0)
        return m
