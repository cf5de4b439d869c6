"""A stand-in with the ports of `accel.rtl.core.Core`, whose tape says what it computes, and when it finds it damaged.

Words of a tape, by address: 0 number of logits, 1 pixels of a picture, 2 cycles that a picture takes / 16, 3 number of
the picture (from 1) in which the tape is found damaged, 4: 1 where it answers pictures all the same, 8 .. the biases.

Logit k of a picture is bias[k] + (k + 1) * (sum over its pixels i of (i + 1) * (r + 2 * g + 3 * b)), modulo 2**32. The
memory is found to be wrong where the seed of its test has its highest bit set: as many times as the low bits say.
"""
import binascii
import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from accel import isa
from accel.config import TINY
from accel.rtl.sdram.port import SdramPort
from accel.rtl.system import System
from accel.sdram import SdramTiming
from sim.board import DRIVER, HOST_HZ, PORTS
from sim.lanes.build import build_simulator
from sim.library import rtl_sources

__all__ = ["CHIP", "CONFIG", "TEST_CYCLES", "WRONG_ADDRESS", "TapeCore", "TapeImage", "build_tape_board"]

CONFIG = replace(TINY, name="tape core", activation_depth=16384, sdram_hz=100_000_000)
# Of a chip that nobody uses: it needs no refresh.
CHIP = replace(SdramTiming.of(CONFIG.sdram_hz), refresh_interval=1 << 60)
WORDS = 16                  # of a tape that it looks at
TEST_CYCLES = 100_000       # longer than a host takes to get connected
WRONG_ADDRESS = 0x123456    # word address of the first one


class TapeCore(wiring.Component):
    """Takes one picture at a time, the next one when that is answered."""
    def __init__(self, config, *, floorplan=None, image=None):
        super().__init__({
            "load": In(stream.Signature(isa.LoadWord)), "pixels": In(stream.Signature(isa.PixelWord)),
            "logits": Out(stream.Signature(isa.LogitWord)), "cycles": Out(32), "clear": In(1), "whole": Out(1),
            "damaged": Out(1), "memory": Out(isa.MemoryReport), "run": Out(isa.RunReport),
            "sdram": Out(SdramPort())})

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=16).create()
        words, at, expected = Signal(data.ArrayLayout(16, WORDS)), Signal(24), Signal(32)
        testing, tests = Signal(), Signal(range(TEST_CYCLES + 1))
        kind, word, taken = self.load.p.kind, self.load.p.data, self.load.valid & self.load.ready
        m.d.comb += [crc.data.eq(word), crc.start.eq(taken & (kind == isa.LoadKind.BEGIN)),
                     crc.valid.eq(taken & (kind == isa.LoadKind.WORD)), self.load.ready.eq(~testing)]
        pixel, left, waited, k, pictures = Signal(16), Signal(16), Signal(20), Signal(16), Signal(16)
        total = Signal(32)
        with m.If(taken):
            with m.Switch(kind):
                with m.Case(isa.LoadKind.BEGIN):
                    m.d.sync += [at.eq(0), self.whole.eq(0), self.damaged.eq(0), pictures.eq(0)]
                with m.Case(isa.LoadKind.WORD):
                    m.d.sync += at.eq(at + 1)
                    with m.If(at < WORDS):
                        m.d.sync += words[at[:4]].eq(word)
                with m.Case(isa.LoadKind.CHECK):
                    m.d.sync += expected.eq(Cat(expected[16:], word))
                with m.Case(isa.LoadKind.PLAY):
                    right = (crc.crc == expected) & (at == (word[:15] + 1) << 9)
                    m.d.sync += [self.whole.eq(right), self.damaged.eq(~right)]
                with m.Case(isa.LoadKind.TEST):
                    m.d.sync += [testing.eq(1), tests.eq(0), self.memory.tested.eq(0), self.whole.eq(0),
                                 self.memory.errors.eq(Mux(word[15], word[:15], 0)),
                                 self.memory.address.eq(WRONG_ADDRESS)]
        with m.If(testing):
            m.d.sync += tests.eq(tests + 1)
            with m.If(tests == TEST_CYCLES):
                m.d.sync += [testing.eq(0), self.memory.tested.eq(1)]

        def unless_cleared():
            with m.If(self.clear):
                m.next = "FORGET"

        with m.FSM():
            with m.State("TAKE"):
                m.d.comb += self.pixels.ready.eq(self.whole)
                m.d.sync += [waited.eq(0), k.eq(0)]
                with m.If(self.pixels.valid & self.pixels.ready):
                    value = self.pixels.p.r + 2 * self.pixels.p.g + 3 * self.pixels.p.b
                    m.d.sync += [total.eq(Mux(pixel == 0, 0, total) + (pixel + 1) * value), pixel.eq(pixel + 1)]
                    with m.If(pixel == words[1] - 1):
                        m.d.sync += [pixel.eq(0), pictures.eq(pictures + 1)]
                        m.next = "COMPUTE"
                unless_cleared()
            with m.State("COMPUTE"):
                m.d.sync += waited.eq(waited + 1)
                with m.If(waited[4:] == words[2]):
                    m.next = "ANSWER"
                    with m.If(pictures == words[3]):
                        m.d.sync += [self.whole.eq(0), self.damaged.eq(1), left.eq(0)]
                        m.next = "DAMAGED"
                unless_cleared()
            with m.State("DAMAGED"):
                m.d.sync += left.eq(left + 1)
                with m.If(words[4][0] & left[8]):
                    m.next = "ANSWER"
                unless_cleared()
            with m.State("ANSWER"):
                m.d.comb += [self.logits.valid.eq(1), self.logits.p.last.eq(k == words[0] - 1),
                             self.logits.p.logit.eq(words[(k + 8)[:4]] + (k + 1) * total)]
                with m.If(self.logits.ready):
                    m.d.sync += k.eq(k + 1)
                    with m.If(self.logits.p.last):
                        m.next = "TAKE"
                    unless_cleared()
            with m.State("FORGET"):
                m.d.sync += pixel.eq(0)
                with m.If(~self.clear):
                    m.next = "TAKE"
        m.d.comb += self.cycles.eq(words[2] << 4)
        return m


@dataclass(frozen=True, kw_only=True)
class TapeImage:
    """What a host uses of an `accel.image.Image`. picture_shape: (H, W). latency: of a picture, in 16 cycles."""
    seed: int
    chunks: int = 2
    picture_shape: tuple = (4, 6)
    n_logits: int = 3
    latency: int = 1
    damaged_in: int = 0
    answers_all_the_same: bool = False
    resident: bool = False
    batch: int = 1
    config: object = field(default=CONFIG, repr=False)

    @property
    def net_name(self):
        return f"tape {self.seed}"

    @property
    def net_digest(self):
        return hashlib.sha256(repr(self).encode()).hexdigest()

    @property
    def biases(self):
        return np.random.default_rng(self.seed).integers(0, 1 << 16, self.n_logits)

    @property
    def tape(self):
        words = np.random.default_rng(self.seed + 1).integers(0, 1 << 16, 512 * self.chunks).astype(np.uint16)
        height, width = self.picture_shape
        words[:5] = self.n_logits, height * width, self.latency, self.damaged_in, self.answers_all_the_same
        words[8:8 + self.n_logits] = self.biases
        return words.reshape(-1, 512)

    @property
    def check(self):
        return binascii.crc32(self.tape.astype("<u2").tobytes())

    def logits(self, pictures):
        """int32 (N, n_logits) of pictures uint8 (N, 3, H, W)."""
        pixels = pictures.astype(np.int64).reshape(len(pictures), 3, -1)
        values = np.tensordot([1, 2, 3], pixels, axes=(0, 1))
        totals = values @ np.arange(1, values.shape[1] + 1)
        return (self.biases + totals[:, None] * np.arange(1, self.n_logits + 1)).astype(np.uint32).view(np.int32)


def build_tape_board(monkeypatch, *, timeout, patience=None):
    """Path of the library that simulates a board with a `TapeCore`; see `sim.board.build_board`."""
    monkeypatch.setattr("accel.rtl.system.Core", TapeCore)
    with open(__file__) as file:
        sources = "\0".join([file.read(), str(timeout), str(patience), rtl_sources("accel.rtl.system")])
    return build_simulator(lambda: System(CONFIG, clock_hz=HOST_HZ * 4, host_hz=HOST_HZ, baud=HOST_HZ / 8,
                                          timeout=timeout, patience=patience),
                           name="board-tape-core", sources=sources, ports=PORTS, one_lane=True, driver=DRIVER)
