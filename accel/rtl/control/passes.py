"""Runs passes back to back: weight words, then tokens, then a count of what is still on its way.

A pass has two stages, `rows` cycles apart. The weight stage reads the `rows` weight words; it is where a pass starts,
ends and is counted. The token stage is the weight stage's flags, `rows` cycles later: by then the weights are where
the first token meets them.

    weight stage   | pass 0            | pass 1        |             pass length = max(tokens, shortest pass)
    token stage         | pass 0            | pass 1        |

A pass of n tokens that is taken in cycle 0, and no other behind it:

    cycle                 what happens
    0                     passes: valid and ready
    1 .. rows             weight_address: its words, one a cycle (and on to the end of the pass)
    length                passes.ready again, for the next pass; its first weight address is in cycle length + 1
    1 + TABLE             table: its level table, until the next pass's
    1 + rows .. n + rows  token: valid; state and window are the pass's from the first on, until the next pass's
    n + 1 + drain         passes.ready for a tile with a barrier: its first read comes `rows` + 1 cycles later
    n + 1 + rows + drain  drained; thresholds_free, if the pass was final

Everything behind the token stage has a fixed latency, so "drained" is a counter.
"""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, timing
from accel.config import AccelConfig
from accel.rtl.memory.im2col import Token, Window
from accel.rtl.timed import Timed

__all__ = ["PassPipeline", "PassRequest", "PassState"]


class PassState(data.StructLayout):
    """Everything a running pass needs: its instruction, its source, its tile and its batch."""
    def __init__(self):
        super().__init__({"instruction": isa.Pass, "source": isa.Source, "tile": isa.Tile, "batch": isa.Batch})


class PassRequest(data.StructLayout):
    """A pass to run, and the level table of its weights."""
    def __init__(self, config):
        super().__init__({"state": PassState(), "table": config.w_bits << config.w_bits})


class PassPipeline(wiring.Component):
    """Weight stage, token stage, drain counters.

    Parameters
    ----------
    config : AccelConfig

    Members
    -------
    passes : In(stream of PassRequest): ready in the last cycle of the pass before, if the thresholds of a final pass
        are there and what a barrier waits for is written
    rewind : In(1), in a cycle in which no pass is taken: the next pass reads weight word 0
    ended : In(1), for one cycle after its last pass: the program is done
    words_free : Out(1), for one cycle: `rows` weight words will not be read again
    second : In: bank row of the second picture buffer
    clear : In(1): the pass that runs ends, none is taken
    picture_buffer : In(1): buffer of the picture, constant from its first pass to its last
    thresholds_busy : In(1): thresholds are still to be read; final passes wait
    weight_address : Out: a pass reads the words behind those of the pass before, or the same again with `repeat`
    table : Out(w_bits << w_bits)
    token : Out(Token); window : Out(Window); state : Out(PassState): the token stage
    drained : Out(1): no pass runs, all codes are at the activation memory and all logits are summed
    thresholds_free : Out(1): nothing in flight needs the thresholds any more; up to date from the second cycle of a
        pass on

    Latency: 1 cycle from the handshake to the first weight address, 1 + `rows` to the first token. Throughput: a token
    a cycle, a pass at most every `timing.shortest_pass` cycles. Resources: 950 flip-flops in 16x16x2 (state and
    table of three passes, the window, three weight addresses, the token's flags `rows` times, counters); no memory.
    """
    def __init__(self, config: AccelConfig):
        self.config = config
        super().__init__({
            "passes": In(stream.Signature(PassRequest(config))), "rewind": In(1), "clear": In(1),
            "ended": In(1), "words_free": Out(1), "second": In(isa.ROW_BITS), "picture_buffer": In(1),
            "thresholds_busy": In(1),
            "weight_address": Out(range(config.weight_depth)), "table": Out(config.w_bits << config.w_bits),
            "token": Out(Token), "window": Out(Window()), "state": Out(PassState()),
            "drained": Out(1), "thresholds_free": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        config, request = self.config, self.passes.p
        following, tile, batch = request.state.instruction, request.state.tile, request.state.batch
        accept, running, ending, readable = Signal(), Signal(), Signal(), Signal(init=1)
        m.d.comb += [
            self.passes.ready.eq((~running | ending) & ~(following.final & self.thresholds_busy)
                                 & (~tile.barrier | readable)),
            accept.eq(self.passes.valid & self.passes.ready)]

        # Weight stage: where the pass is. `accept` is short of time: ends are flags registered one cycle ahead of the
        # counters, and what the first cycle of a pass does not need is taken a cycle later.
        accepted, offered, current = Signal(), Signal.like(request), Signal.like(request)
        token, first, final = Signal(Token), Signal(), Signal()
        row_groups, map_lines = Signal(isa.SIDE_BITS), Signal(isa.SIDE_BITS)
        shortest = timing.shortest_pass(config)
        steps, groups, lines = Signal(range(shortest)), Signal(isa.SIDE_BITS), Signal(isa.SIDE_BITS)
        maps = Signal(isa.MORE_BITS)                        # pictures behind this one
        # last_line: of its picture; final_line: of the last picture.
        long_enough, row_end, last_line, final_line, tokens_left = (
            Signal(), Signal(), Signal(), Signal(), Signal())
        m.d.comb += [token.valid.eq(running & tokens_left), token.first.eq(first), token.row_end.eq(row_end),
                     token.map_end.eq(row_end & last_line),
                     ending.eq(long_enough & (row_end & final_line | ~tokens_left))]
        with m.If(running):
            m.d.sync += [first.eq(0), self.weight_address.eq(self.weight_address + 1),
                         groups.eq(groups - 1), row_end.eq(groups == 1)]
            with m.If(~long_enough):
                m.d.sync += [steps.eq(steps - 1), long_enough.eq(steps == 1)]
            with m.If(row_end):
                m.d.sync += [groups.eq(row_groups - 1), row_end.eq(row_groups == 1), lines.eq(lines - 1),
                             last_line.eq(lines == 1), final_line.eq((lines == 1) & (maps == 0))]
                with m.If(last_line):
                    m.d.sync += [lines.eq(map_lines - 1), last_line.eq(map_lines == 1), maps.eq(maps - 1),
                                 final_line.eq((map_lines == 1) & (maps == 1))]
            with m.If(row_end & final_line):
                m.d.sync += tokens_left.eq(0)
            with m.If(ending):
                m.d.sync += running.eq(0)
        with m.If(accept):
            m.d.sync += [running.eq(1), first.eq(1), tokens_left.eq(1), final.eq(following.final),
                         steps.eq(shortest - 1), long_enough.eq(0),
                         groups.eq(tile.groups - 1), row_end.eq(tile.groups == 1), row_groups.eq(tile.groups),
                         lines.eq(tile.height - 1), last_line.eq(tile.height == 1), map_lines.eq(tile.height),
                         maps.eq(batch.more), final_line.eq((tile.height == 1) & (batch.more == 0))]
        with m.If(self.clear):
            m.d.sync += running.eq(0)
        m.d.sync += [accepted.eq(accept), offered.eq(request)]
        with m.If(accepted):
            m.d.sync += current.eq(offered)

        # The words of a pass, if it is repeated, and the words behind them.
        words, next_words = Signal.like(self.weight_address), Signal.like(self.weight_address)
        with m.If(accept):
            m.d.sync += self.weight_address.eq(Mux(following.repeat, words, next_words))
        fresh, held = Signal(), Signal()            # held: the words may be read again, by a repeated pass
        m.d.comb += [fresh.eq(accepted & ~offered.state.instruction.repeat),
                     self.words_free.eq((fresh | self.ended) & held)]
        with m.If(self.ended | self.clear | self.rewind):
            m.d.sync += held.eq(0)
        with m.If(fresh):
            m.d.sync += [held.eq(1), words.eq(next_words), next_words.eq(next_words + config.rows)]
            if config.weight_depth & (config.weight_depth - 1):
                with m.If(next_words == config.weight_depth - config.rows):
                    m.d.sync += next_words.eq(0)
        with m.If(self.rewind):
            m.d.sync += next_words.eq(0)

        # Token stage, cycle 0. What belongs to the pass is there with its first token.
        tokens = Timed(m, token, -config.rows, name="token")
        with m.If(tokens.at(timing.TABLE - config.rows - 1).first):
            m.d.sync += self.table.eq(current.table)
        m.d.comb += self.token.eq(tokens.at(0))
        instruction, source, top = current.state.instruction, current.state.source, current.state.tile.top
        with m.If(tokens.at(-1).first):
            m.d.sync += [
                self.state.eq(current.state), self.window.dx.eq(instruction.dx),
                self.window.y.eq(instruction.dy + Mux(source.stride2, top << 1, top)),
                self.window.base.eq(instruction.base + Mux(source.picture & self.picture_buffer, self.second, 0)),
                self.window.stride2.eq(source.stride2), self.window.width.eq(source.width),
                self.window.height.eq(source.height), self.window.pitch.eq(source.pitch),
                self.window.drop.eq(instruction.drop), self.window.apart.eq(source.apart)]

        # Cycles until the last token's codes are written. The first read of a pass comes `rows` + 1 cycles after it
        # was taken, more than a write of the activation memory takes: that many may be left.
        assert config.rows + 1 >= timing.ACTIVATION_WRITE
        full = config.rows + timing.drain(config)
        to_drain, final_to_drain = Signal(range(full + 1)), Signal(range(full + 1))
        # Flags too, registered one cycle ahead. `readable` is wrong in the first cycle of a pass; none is taken in it.
        all_written = Signal(init=1)
        m.d.sync += readable.eq((to_drain <= config.rows + 1) & ~token.valid)
        m.d.comb += self.drained.eq(~running & all_written)
        for counter, ended, reload in ((to_drain, all_written, token.valid),
                                       (final_to_drain, self.thresholds_free, token.valid & final)):
            m.d.sync += ended.eq((counter <= 1) & ~reload)
            with m.If(reload):
                m.d.sync += counter.eq(full)
            with m.Elif(counter != 0):
                m.d.sync += counter.eq(counter - 1)
        return m
