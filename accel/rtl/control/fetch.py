"""Runs the program of a picture: reads an instruction, executes it, hands on what takes longer.

    cycle            0          1          2           3           4
    program_address  a          a          a           a + 1       a + 1
    program_data                           word of a
    state            READ_0     READ_1     TAKE        EXECUTE     READ_0

`EXECUTE` lasts until a `Pass` is accepted, until the logits of an `Emit` are sent, or, for an `End`, until the pipeline
has drained. An `Emit` with `last` ends the program as an `End` does, from the cycle after its last logit was taken on.
All other instructions take one cycle of it: they write registers of the next pass, which go along with every pass that
is offered.
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
    picture_full : In(1): a picture waits; hold : In(1): it must not start
    start : Out(1), for one cycle: the program of a picture begins; release : Out(1), for one cycle: it has ended, the
        picture is not needed any more
    passes : Out(stream of PassRequest): the next pass. A barrier goes along with the first pass of its tile alone
    read_thresholds : Out(1), for one cycle: a tile wants the next `config.threshold_words` thresholds; comes only when
        `thresholds_busy` : In(1) of the request before is over, in every program that has a final pass for such a tile
    drained : In(1): no pass runs, everything that passes write is written
    emits : Out(stream of isa.Emit): logits to send, offered when everything before is done; taken with the last logit
    logit_offered : In(1): a logit waits to be taken
    busy : Out(1): from the cycle after `start` to `release`
    cycles : Out(32): from `start` to the last logit on offer; stands still while a logit is on offer

    Latency: `timing.FETCH` cycles from an address to the execution of its instruction. Throughput: an instruction in
    `timing.INSTRUCTION` cycles. Resources: 234 flip-flops in 16x16x2 (instruction, source, tile, table, cycle
    counter); no memory.
    """
    def __init__(self, config: AccelConfig):
        self.config = config
        super().__init__({
            "program_address": Out(range(config.program_depth)), "program_data": In(isa.INSTRUCTION_BITS),
            "picture_full": In(1), "hold": In(1), "start": Out(1), "release": Out(1),
            "passes": Out(stream.Signature(PassRequest(config))),
            "read_thresholds": Out(1), "thresholds_busy": In(1), "drained": In(1),
            "emits": Out(stream.Signature(isa.Emit)), "logit_offered": In(1),
            "busy": Out(1), "cycles": Out(32)})

    def elaborate(self, platform):
        m = Module()
        instruction = Signal(isa.INSTRUCTION_BITS, reset_less=True)

        def seen_as(layout, word):
            return layout(word[:Shape.cast(layout).width])
        fields = {op: seen_as(layout, instruction) for op, layout in isa.LAYOUTS.items()}
        source, tile = Signal(isa.Source, reset_less=True), Signal(isa.Tile, reset_less=True)
        table = Signal.like(self.passes.p.table, reset_less=True)
        state = self.passes.p.state
        m.d.comb += [state.instruction.eq(fields[isa.Op.PASS]), state.source.eq(source), state.tile.eq(tile),
                     self.passes.p.table.eq(table), self.emits.p.eq(fields[isa.Op.EMIT])]
        with m.If(self.busy & ~self.logit_offered):
            m.d.sync += self.cycles.eq(self.cycles + 1)

        def end():
            with m.If(self.drained):
                m.d.comb += self.release.eq(1)
                m.next = "IDLE"

        m.d.comb += self.busy.eq(1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(0)
                with m.If(self.picture_full & ~self.hold):
                    m.d.comb += self.start.eq(1)
                    m.d.sync += [self.program_address.eq(0), self.cycles.eq(0),
                                 table.eq(identity_table(self.config.w_bits))]
                    m.next = "READ_0"
            for n in range(timing.BLOCK_MEMORY):
                with m.State(f"READ_{n}"):
                    m.next = f"READ_{n + 1}" if n + 1 < timing.BLOCK_MEMORY else "TAKE"
            with m.State("TAKE"):
                # Whether it is a pass is known a cycle ahead: what a pass waits for is short of time.
                m.d.sync += [instruction.eq(self.program_data), self.program_address.eq(self.program_address + 1),
                             self.passes.valid.eq(seen_as(isa.End, self.program_data).op == isa.Op.PASS)]
                m.next = "EXECUTE"
            with m.State("EXECUTE"):
                with m.Switch(fields[isa.Op.END].op):
                    with m.Case(isa.Op.SOURCE):
                        m.d.sync += source.eq(fields[isa.Op.SOURCE])
                        m.next = "READ_0"
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
                        with m.If(self.passes.ready):
                            m.d.sync += [tile.barrier.eq(0), self.passes.valid.eq(0)]
                            m.next = "READ_0"
                    with m.Case(isa.Op.EMIT):
                        m.d.comb += self.emits.valid.eq(self.drained & ~self.thresholds_busy)
                        with m.If(self.emits.valid & self.emits.ready):
                            m.next = "READ_0"
                            with m.If(self.emits.p.last):
                                m.next = "END"
                    with m.Default():
                        end()
            with m.State("END"):
                end()
        return m
