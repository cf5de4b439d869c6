"""A stand-in with the ports of `accel.rtl.core.Core`, small enough to build in seconds.

Logit k of a picture is `bias[k] + (k + 1) * sum of all pixel bytes`; the words loaded as PROGRAM are the biases.
Every pixel pair is reported on the trace port, so a trace holds the picture itself.
"""
from dataclasses import dataclass

import numpy as np
from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.isa import LoadWord, LogitWord, PixelWord, Target

HEIGHT, WIDTH, N_LOGITS = 4, 6, 3
LATENCY = 7             # cycles from the last pixel to the first logit, as a core would compute


class FakeCore(wiring.Component):
    """Takes one picture at a time; `stuck` swallows the pictures and never answers."""

    def __init__(self, *, stuck=False):
        self.stuck = stuck
        super().__init__({
            "load": In(stream.Signature(LoadWord)),
            "pixels": In(stream.Signature(PixelWord)),
            "logits": Out(stream.Signature(LogitWord)),
            "cycles": Out(32),
            "busy": Out(1),
            "trace": Out(wiring.Signature({"valid": Out(1), "group": Out(16), "data": Out(48)})),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.biases = biases = memory.Memory(shape=signed(32), depth=N_LOGITS, init=[])
        write = biases.write_port()
        bias = biases.read_port(domain="comb")
        pixels_left = Signal(range(HEIGHT * WIDTH + 1), init=HEIGHT * WIDTH)
        total = Signal(32)
        wait = Signal(range(LATENCY + 1))
        index = Signal(range(N_LOGITS))
        pair = Signal(24)
        odd = Signal()
        group = Signal(16)

        m.d.comb += [
            write.addr.eq(self.load.p.address),
            write.data.eq(self.load.p.data),
            write.en.eq(self.load.valid & self.load.ready & (self.load.p.target == Target.PROGRAM)),
            self.load.ready.eq(~self.busy),
            self.busy.eq(pixels_left != HEIGHT * WIDTH),
            self.pixels.ready.eq(pixels_left != 0),
            bias.addr.eq(index),
            self.logits.p.logit.eq(bias.data + (index + 1) * total),
            self.logits.p.last.eq(index == N_LOGITS - 1),
            self.logits.valid.eq((pixels_left == 0) & (wait == 0) & (not self.stuck)),
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


@dataclass(frozen=True)
class FakeImage:
    """What the engines use of an `accel.image.Image`. biases: int32 (N_LOGITS,)."""
    biases: np.ndarray
    n_logits: int = N_LOGITS
    picture_shape: tuple = (HEIGHT, WIDTH)

    def load_words(self):
        n = len(self.biases)
        return (np.zeros(n, np.uint8), np.arange(n, dtype=np.uint32),
                self.biases.astype(np.int64).view(np.uint64))

    def logits(self, pictures):
        """Expected logits, int32 (N, N_LOGITS), of pictures uint8 (N, 3, HEIGHT, WIDTH)."""
        totals = pictures.astype(np.int64).sum(axis=(1, 2, 3))
        return (self.biases + totals[:, None] * np.arange(1, self.n_logits + 1)).astype(np.int32)
