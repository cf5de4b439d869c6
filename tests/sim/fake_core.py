"""A stand-in with the ports of `accel.rtl.core.Core`, small enough to build in seconds.

Logit k of a picture is `bias[k] + (k + 1) * sum of all pixel bytes`; the biases, low half first, are the first words
of the tape, and its check is the sum of all its words. Every pixel pair is reported on the trace port, so a trace holds
the picture itself.
"""
from dataclasses import dataclass

import numpy as np
from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.isa import LoadKind, LoadWord, LogitWord, PixelWord, Play
from accel.rtl.sdram.controller import SdramController
from accel.rtl.sdram.port import SdramPort
from accel.sdram import CHUNKS, COLUMNS

HEIGHT, WIDTH, N_LOGITS = 4, 6, 3
LATENCY = 7             # cycles from the last pixel to the first logit, as a core would compute


class FakeCore(wiring.Component):
    """Takes one picture at a time; `stuck` swallows the pictures and never answers. sdram: `SdramTiming`: the tape is
    written to an SDRAM, read and checked after the load, and once more for each picture."""

    def __init__(self, *, stuck=False, sdram=None):
        self.stuck, self.timing = stuck, sdram
        super().__init__({
            "load": In(stream.Signature(LoadWord)),
            "pixels": In(stream.Signature(PixelWord)),
            "logits": Out(stream.Signature(LogitWord)),
            "cycles": Out(32),
            "busy": Out(1),
            "whole": Out(1),
            "damaged": Out(1),
            "trace": Out(wiring.Signature({"valid": Out(1), "group": Out(16), "data": Out(48)})),
            **({"sdram": Out(SdramPort())} if sdram else {})})

    def elaborate(self, platform):
        m = Module()
        m.submodules.biases = biases = memory.Memory(shape=32, depth=N_LOGITS, init=[])
        bias = biases.read_port(domain="comb")
        pixels_left = Signal(range(HEIGHT * WIDTH + 1), init=HEIGHT * WIDTH)
        total = Signal(32)
        wait = Signal(range(LATENCY + 1))
        index = Signal(range(N_LOGITS))
        pair = Signal(24)
        odd = Signal()
        group = Signal(16)
        playing = self._tape(m, biases, begins=self.pixels.valid & self.pixels.ready & ~self.busy)

        m.d.comb += [
            self.busy.eq(pixels_left != HEIGHT * WIDTH),
            self.pixels.ready.eq((pixels_left != 0) & self.whole & (self.busy | ~playing)),
            bias.addr.eq(index),
            self.logits.p.logit.eq(bias.data + (index + 1) * total),
            self.logits.p.last.eq(index == N_LOGITS - 1),
            self.logits.valid.eq((pixels_left == 0) & (wait == 0) & (not self.stuck) & ~playing & self.whole),
            self.trace.valid.eq(self.pixels.valid & self.pixels.ready & odd),
            self.trace.group.eq(group),
            self.trace.data.eq(Cat(pair, self.pixels.payload)),
        ]
        with m.If(self.busy & ~self.logits.valid):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        with m.If(self.pixels.valid & self.pixels.ready):
            m.d.sync += [
                total.eq(total + self.pixels.p.r + self.pixels.p.g + self.pixels.p.b),
                pixels_left.eq(pixels_left - 1),
                wait.eq(LATENCY),
                pair.eq(self.pixels.payload),
                odd.eq(~odd),
                group.eq(group + odd),
            ]
        with m.If((pixels_left == 0) & (wait != 0)):
            m.d.sync += wait.eq(wait - 1)
        with m.If(self.logits.valid & self.logits.ready):
            m.d.sync += index.eq(index + 1)
            with m.If(self.logits.p.last):
                m.d.sync += [index.eq(0), total.eq(0), group.eq(0), self.cycles.eq(0),
                             pixels_left.eq(HEIGHT * WIDTH)]
        return m

    def _tape(self, m, biases, begins):
        """The load stream, and the SDRAM where there is one. begins: a picture does. Returns whether the tape is being
        played."""
        kind, data = self.load.p.kind, self.load.p.data
        taken = self.load.valid & self.load.ready
        write = biases.write_port(granularity=16)
        word, number, total, check = Signal(16), Signal(24), Signal(32), Signal(32)     # of the tape
        valid, ended, playing = Signal(), Signal(), Signal()
        m.d.comb += [
            write.addr.eq(number >> 1), write.data.eq(Cat(word, word)),
            write.en.eq(Mux(valid & (number < 2 * N_LOGITS), Mux(number[0], 0b10, 0b01), 0))]
        with m.If(valid):
            m.d.sync += [total.eq(total + word), number.eq(number + 1)]
        with m.If(taken & (kind == LoadKind.CHECK)):
            m.d.sync += check.eq(Cat(check[16:], data))
        with m.If(ended):
            m.d.sync += [self.whole.eq(total == check), self.damaged.eq(total != check), playing.eq(0), number.eq(0),
                         total.eq(0)]
        with m.If(taken & (kind == LoadKind.BEGIN)):
            m.d.sync += [self.whole.eq(0), self.damaged.eq(0), number.eq(0), total.eq(0)]
        if not self.timing:
            m.d.comb += [self.load.ready.eq(~self.busy), word.eq(data), valid.eq(taken & (kind == LoadKind.WORD)),
                         ended.eq(taken & (kind == LoadKind.PLAY))]
            return playing

        m.submodules.controller = controller = SdramController(self.timing)
        wiring.connect(m, controller.port, wiring.flipped(self.sdram))
        place, chunk, play = Signal(24), Signal(range(CHUNKS)), Signal(Play)
        words_left, asked = Signal(25), Signal()
        m.d.comb += [
            self.load.ready.eq(Mux(kind == LoadKind.WORD, controller.writes.ready,
                                   ~self.busy & ~playing & controller.idle)),
            controller.writes.valid.eq(self.load.valid & (kind == LoadKind.WORD)),
            controller.writes.p.chunk.eq(place[9:]), controller.writes.p.column.eq(place[:9]),
            controller.writes.p.data.eq(data),
            controller.reads.valid.eq(playing & ~asked), controller.reads.payload.eq(chunk),
            valid.eq(controller.word.valid & (words_left != 0)), word.eq(controller.word.data),
            ended.eq(playing & (words_left == 0))]
        with m.If(taken & (kind == LoadKind.BEGIN)):
            m.d.sync += place.eq(data << 9)
        with m.If(taken & (kind == LoadKind.WORD)):
            m.d.sync += place.eq(place + 1)
        with m.If(taken & (kind == LoadKind.PLAY)):
            m.d.sync += play.eq(data)
        with m.If(taken & (kind == LoadKind.PLAY) | begins):
            last = Mux(self.load.valid & (kind == LoadKind.PLAY), Play(data).last, play.last)
            m.d.sync += [playing.eq(1), asked.eq(0), chunk.eq(0), words_left.eq((last + 1) * COLUMNS)]
        with m.If(valid):
            m.d.sync += words_left.eq(words_left - 1)
        with m.If(controller.reads.valid & controller.reads.ready):
            m.d.sync += [chunk.eq(chunk + 1), asked.eq(chunk == play.last)]
        return playing


@dataclass(frozen=True, eq=False)
class FakeImage:
    """What the engines use of an `accel.image.Image`. biases: int32 (N_LOGITS,). tape: uint16 (chunks, 512), of which
    the first `loaded` words are loaded, or all. batch: pictures of a program, as far as an engine knows."""
    biases: np.ndarray
    chunks: int = 1
    loaded: int | None = None
    batch: int = 1
    n_logits: int = N_LOGITS
    picture_shape: tuple = (HEIGHT, WIDTH)

    @property
    def tape(self):
        words = np.random.default_rng(self.chunks).integers(0, 1 << 16, COLUMNS * self.chunks, dtype=np.uint16)
        words[:2 * N_LOGITS] = self.biases.astype("<i4").view("<u2")
        return words.reshape(self.chunks, COLUMNS)

    def load_words(self):
        words = self.tape.reshape(-1)[:self.loaded]
        check = int(words.sum(dtype=np.uint32))
        kinds = [LoadKind.BEGIN, *[LoadKind.WORD] * len(words), LoadKind.CHECK, LoadKind.CHECK, LoadKind.PLAY]
        return (np.array([kind.value for kind in kinds], np.uint8),
                np.concatenate([[0], words, [check & 0xFFFF, check >> 16, self.chunks - 1]]).astype(np.uint16))

    def logits(self, pictures):
        """Expected logits, int32 (N, N_LOGITS), of pictures uint8 (N, 3, HEIGHT, WIDTH)."""
        totals = pictures.astype(np.int64).sum(axis=(1, 2, 3))
        return (self.biases + totals[:, None] * np.arange(1, self.n_logits + 1)).astype(np.int32)
