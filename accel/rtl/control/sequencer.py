"""Runs the program: fetches instructions ahead, starts passes back to back, loads thresholds, sends logits.

A pass has two stages, `rows` cycles apart. The weight stage reads the `rows` weight words; it is where a pass
starts, ends and is counted. The token stage is the weight stage's flags, `rows` cycles later: by then the weights
are where the first token meets them.

    weight stage   | pass 0            | pass 1        |             pass length = max(tokens, shortest pass)
    token stage         | pass 0            | pass 1        |
    fetch          p1 . tile p2 ........... p3

While a pass runs, the instructions up to the next `Pass` are executed into the `next` registers; the weight stage
copies them when it starts. Everything behind the token stage has a fixed latency, so "drained" is a counter.
"""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, timing
from accel.config import AccelConfig
from accel.rtl.activation.threshold_unit import ThresholdWrite
from accel.rtl.array.level_decoder import identity_table
from accel.rtl.memory.im2col import Token, Window
from accel.rtl.timed import Timed

__all__ = ["Sequencer"]


class PassState(data.StructLayout):
    """Everything a running pass needs: its instruction, its source and its tile."""
    def __init__(self):
        super().__init__({"instruction": isa.Pass, "source": isa.Source, "tile": isa.Tile})


class Sequencer(wiring.Component):
    """Program counter, pass pipeline, threshold loader, logit sender.

    Parameters
    ----------
    config : AccelConfig

    Members
    -------
    program_address, program_data; threshold_address, threshold_data : memory read ports (latency 2)
    weight_address : Out, one word a cycle, row rows - 1 first; table : Out, timing.TABLE cycles after its pass's
        first weight address
    token, window, state : Out, the token stage
    threshold_write : Out(ThresholdWrite)
    picture_full, picture_buffer : In(1), release : Out(1): picture buffers
    hold : In(1): do not start (memories are being loaded)
    logit : In(signed(32)): lowest logit; logit_shift : Out(1): next one
    logits : Out(stream of isa.LogitWord)
    busy : Out(1)
    cycles : Out(32): from the start of the program to the last logit on offer; stands still while a logit is on offer

    Timing: an instruction takes 4 cycles; a `Pass` waits for the one before. `accel.cycles` is the exact model.
    """
    def __init__(self, config: AccelConfig):
        self.config, self.shortest_pass, self.drain_cycles = config, timing.shortest_pass(config), timing.drain(config)
        self.write_layout = ThresholdWrite(
            a_bits=config.a_bits, acc_bits=config.acc_bits, channels=config.channels)
        super().__init__({
            "program_address": Out(range(config.program_depth)), "program_data": In(isa.INSTRUCTION_BITS),
            "threshold_address": Out(range(config.threshold_depth)), "threshold_data": In(config.acc_bits),
            "weight_address": Out(range(config.weight_depth)), "table": Out(config.w_bits << config.w_bits),
            "token": Out(Token), "window": Out(Window()), "state": Out(PassState()),
            "threshold_write": Out(self.write_layout),
            "picture_full": In(1), "picture_buffer": In(1), "release": Out(1), "hold": In(1),
            "logit": In(signed(32)), "logit_shift": Out(1),
            "logits": Out(stream.Signature(isa.LogitWord)), "busy": Out(1), "cycles": Out(32)})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        accept, start, weight_ready = Signal(), Signal(), Signal()
        instruction = Signal(isa.INSTRUCTION_BITS)
        view = {op: layout(instruction[:Shape.cast(layout).width]) for op, layout in isa.LAYOUTS.items()}
        decoded = view[isa.Op.PASS]
        source, tile, table = Signal(isa.Source), Signal(isa.Tile), Signal(len(self.table))   # of the next pass
        drained, drained_for_reads, last_drained = Signal(), Signal(), Signal()
        load_request, load_busy, next_logit_word = Signal(), Signal(), Signal()

        token_valid, token_is_last = self._weight_stage(m, accept, start, weight_ready, decoded, source, tile, table)
        self._drain_counters(m, token_valid, token_is_last, drained, drained_for_reads, last_drained)
        self._thresholds(m, start, load_request, load_busy, last_drained, next_logit_word)

        # Fetch and execute.
        count, bias = Signal(isa.SIDE_BITS), Signal(32)
        counting = Signal()
        with m.If(counting):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        m.d.comb += self.busy.eq(1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(0)
                with m.If(self.picture_full & ~self.hold):
                    m.d.comb += start.eq(1)
                    m.d.sync += [self.program_address.eq(0), self.cycles.eq(0),
                                 table.eq(identity_table(config.w_bits))]
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += counting.eq(1)
                m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += counting.eq(1)
                m.next = "TAKE"
            with m.State("TAKE"):
                m.d.comb += counting.eq(1)
                m.d.sync += [instruction.eq(self.program_data), self.program_address.eq(self.program_address + 1)]
                m.next = "EXECUTE"
            with m.State("EXECUTE"):
                m.d.comb += counting.eq(1)
                with m.Switch(decoded.op):
                    with m.Case(isa.Op.SOURCE):
                        m.d.sync += source.eq(view[isa.Op.SOURCE])
                        m.next = "FETCH"
                    with m.Case(isa.Op.TILE):
                        m.d.sync += tile.eq(view[isa.Op.TILE])
                        m.d.comb += load_request.eq(view[isa.Op.TILE].thresholds)
                        m.next = "FETCH"
                    with m.Case(isa.Op.LEVELS):
                        for half in range(-(-len(table) // isa.HALF_BITS)):
                            with m.If(view[isa.Op.LEVELS].half == half):
                                entries = table[isa.HALF_BITS * half:isa.HALF_BITS * (half + 1)]
                                m.d.sync += entries.eq(view[isa.Op.LEVELS].table)
                        m.next = "FETCH"
                    with m.Case(isa.Op.PASS):
                        m.d.comb += accept.eq(weight_ready & ~(decoded.final & load_busy)
                                              & (~tile.barrier | drained_for_reads))
                        with m.If(accept):
                            m.d.sync += tile.barrier.eq(0)
                            m.next = "FETCH"
                    with m.Case(isa.Op.EMIT):
                        m.d.sync += count.eq(view[isa.Op.EMIT].count)
                        with m.If(drained & weight_ready & ~load_busy):
                            m.next = "BIAS"
                    with m.Default():
                        with m.If(drained & weight_ready):
                            m.d.comb += self.release.eq(1)
                            m.next = "IDLE"
            # A logit: two threshold words are read (the address moves on with next_logit_word), then the sum is
            # offered.
            with m.State("BIAS"):
                m.d.comb += [counting.eq(1), next_logit_word.eq(1)]
                m.next = "BIAS_HIGH"
            with m.State("BIAS_HIGH"):
                m.d.comb += [counting.eq(1), next_logit_word.eq(1)]
                m.next = "LOW"
            with m.State("LOW"):
                m.d.comb += counting.eq(1)
                m.d.sync += bias[:16].eq(self.threshold_data)
                m.next = "HIGH"
            with m.State("HIGH"):
                m.d.comb += counting.eq(1)
                m.d.sync += bias[16:].eq(self.threshold_data)
                m.next = "SUM"
            with m.State("SUM"):
                m.d.comb += counting.eq(1)
                m.d.sync += [self.logits.p.logit.eq(self.logit + bias), count.eq(count - 1),
                             self.logits.p.last.eq((count == 1) & view[isa.Op.EMIT].last)]
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [self.logits.valid.eq(1), self.logit_shift.eq(self.logits.ready)]
                with m.If(self.logits.ready):
                    m.next = "BIAS"
                    with m.If(count == 0):
                        m.next = "FETCH"
        return m

    def _weight_stage(self, m, accept, start, ready, following, source, tile, table):
        """The weight stage (see above) and, `rows` cycles later, the token stage."""
        config = self.config
        current, busy = Signal(PassState()), Signal()
        token, first, final = Signal(Token), Signal(), Signal()
        # Ends are flags registered one cycle ahead of the counters: `accept` enables some 250 flip-flops and is
        # short of time.
        steps, groups, lines = (Signal(range(self.shortest_pass)), Signal(isa.SIDE_BITS), Signal(isa.SIDE_BITS))
        long_enough, row_end, last_line, tokens_left = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            token.valid.eq(busy & tokens_left), token.first.eq(first), token.row_end.eq(row_end),
            final.eq(long_enough & (row_end & last_line | ~tokens_left)), ready.eq(~busy | final)]
        with m.If(busy):
            m.d.sync += [first.eq(0), self.weight_address.eq(self.weight_address + 1),
                         groups.eq(groups - 1), row_end.eq(groups == 1)]
            with m.If(~long_enough):
                m.d.sync += [steps.eq(steps - 1), long_enough.eq(steps == 1)]
            with m.If(row_end):
                m.d.sync += [groups.eq(current.tile.groups - 1), row_end.eq(current.tile.groups == 1),
                             lines.eq(lines - 1), last_line.eq(lines == 1)]
            with m.If(row_end & last_line):
                m.d.sync += tokens_left.eq(0)
            with m.If(final):
                m.d.sync += busy.eq(0)
        tile_start, following_tile = Signal.like(self.weight_address), Signal.like(self.weight_address)
        with m.If(accept):
            m.d.sync += [current.instruction.eq(following), current.source.eq(source), current.tile.eq(tile),
                         busy.eq(1), first.eq(1), tokens_left.eq(1),
                         steps.eq(self.shortest_pass - 1), long_enough.eq(0),
                         groups.eq(tile.groups - 1), row_end.eq(tile.groups == 1),
                         lines.eq(tile.height - 1), last_line.eq(tile.height == 1)]
            with m.If(following.repeat):
                m.d.sync += self.weight_address.eq(tile_start)
            with m.Else():
                m.d.sync += [self.weight_address.eq(following_tile), tile_start.eq(following_tile),
                             following_tile.eq(following_tile + config.rows)]
        with m.If(start):
            m.d.sync += following_tile.eq(0)

        pass_table = Signal.like(table)
        with m.If(accept):
            m.d.sync += pass_table.eq(table)
        timed = Timed(m, token, -config.rows, name="token")
        load_table, load_state = timed.at(timing.TABLE - 1 - config.rows).first, timed.at(-1).first
        with m.If(load_table):
            m.d.sync += self.table.eq(pass_table)

        m.d.comb += self.token.eq(timed.at(0))
        with m.If(load_state):
            m.d.sync += [
                self.state.eq(current), self.window.dy.eq(current.instruction.dy),
                self.window.dx.eq(current.instruction.dx),
                self.window.base.eq(current.instruction.base + Mux(current.source.picture & self.picture_buffer,
                                                            config.picture_rows, 0)),
                self.window.stride2.eq(current.source.stride2), self.window.width.eq(current.source.width),
                self.window.height.eq(current.source.height), self.window.pitch.eq(current.source.pitch),
                self.window.drop.eq(current.instruction.drop)]
        return token.valid, current.instruction.final

    def _drain_counters(self, m, valid, is_last, drained, drained_for_reads, last_drained):
        """A token's codes are at the activation memory `drain_cycles` after it left the token stage.

        Reads of the next pass come `rows` + 1 cycles after its start, more than the memory's write takes.
        """
        assert self.config.rows + 1 >= timing.ACTIVATION_WRITE
        rows, full = self.config.rows, self.config.rows + self.drain_cycles
        in_flight, last_in_flight = Signal(range(full + 1)), Signal(range(full + 1))
        few_in_flight = Signal(init=1)                           # in_flight <= rows, registered
        m.d.sync += few_in_flight.eq((in_flight <= rows + 1) & ~valid)
        m.d.comb += [drained.eq(in_flight == 0), drained_for_reads.eq(few_in_flight & ~valid),
                     last_drained.eq(last_in_flight == 0)]
        for counter, reload in ((in_flight, valid), (last_in_flight, valid & is_last)):
            with m.If(reload):
                m.d.sync += counter.eq(full)
            with m.Elif(counter != 0):
                m.d.sync += counter.eq(counter - 1)

    def _thresholds(self, m, start, request, busy, last_drained, next_logit_word):
        """Reads the thresholds of the next tile once no token of the tile before needs its own any more."""
        config = self.config
        pending, running = Signal(), Signal()
        channel, node = Signal(range(config.channels)), Signal(config.a_bits, init=1)
        m.d.comb += busy.eq(pending | running)
        with m.If(request):
            m.d.sync += pending.eq(1)
        with m.Elif(pending & ~running & last_drained):
            m.d.sync += [pending.eq(0), running.eq(1), channel.eq(0)]
        last_node = node == config.thresholds
        with m.If(running):
            m.d.sync += [node.eq(node + 1 + last_node), channel.eq(channel + last_node)]       # node 0 does not exist
            with m.If(last_node & (channel == config.channels - 1)):
                m.d.sync += running.eq(0)
        with m.If(start):
            m.d.sync += self.threshold_address.eq(0)
        with m.Elif(running | next_logit_word):
            m.d.sync += self.threshold_address.eq(self.threshold_address + 1)
        for name, value in (("valid", running), ("channel", channel), ("node", node)):
            later = Timed(m, value, 0, name=f"write_{name}").at(timing.BLOCK_MEMORY)
            m.d.comb += self.threshold_write[name].eq(later)
        m.d.comb += self.threshold_write.value.eq(self.threshold_data)
