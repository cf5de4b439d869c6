"""The RTL in Amaranth's own simulator: slow, needs no compiler, for small nets and for checking the compiled engine."""
import contextlib
import random
from collections import deque

import numpy as np
from amaranth.sim import Simulator

from accel.image import pixels
from model.common.errors import UserError

from .engine import NO_GAPS, Engine, Result
from .loading import BACK_DOOR_WORDS, damaged_at, through_back_door
from .sdram_chip import SdramChip

__all__ = ["PysimEngine"]

CLOCK_PERIOD = 1e-6         # the same time base as the compiled engine's waveforms: 1 us a cycle
DATA_WORD_BITS = 64


async def _transfer(ctx, port):
    """Waits for the edge that takes what `port` offers. (`ctx.tick().until` complains when it is dropped half-way.)"""
    ready = False
    while not ready:
        _, _, ready = await ctx.tick().sample(port.ready)


class PysimEngine(Engine):
    """Simulates the component `make_core()` with `image` loaded: one testbench per stream.

    A run must be consumed to its end before the next one.

    vcd: path of a waveform file. timeout: cycles without progress after which the core counts as hung. gaps: words of a
    net pause as pixels do. testbenches: functions of the core that give a testbench, to run beside these. sdram,
    back_door: as of `sim.compiled.CompiledEngine`.

    write_cycles: with `trace`, the core's count of cycles at each write of the latest result, int64 (N,).
    sdram: the `SdramChip`, None without one.
    """

    def __init__(self, image, make_core, *, trace=False, vcd=None, gaps=NO_GAPS, timeout, testbenches=(), sdram=None,
                 back_door=BACK_DOOR_WORDS):
        super().__init__(image.batch)
        self._gaps = gaps
        self._timeout = timeout
        self._words = deque()           # (kind, data)
        self._pixels = deque()          # (r, g, b)
        self._logits = deque()          # (logit, cycles)
        self._trace = deque() if trace else None        # (logits taken before, group, data, cycles)
        self._logits_expected = self._logits_taken = 0
        self._whole = self._damaged = False             # as the core's ports of these names
        self._back_door = back_door
        self.sdram = SdramChip(sdram) if sdram else None
        self.write_cycles = None

        self._files = contextlib.ExitStack()
        try:
            file = vcd and self._files.enter_context(open(vcd, "w"))
        except OSError as error:
            raise UserError(f"cannot write the waveform file {vcd}: {error.strerror}") from error
        self._core = make_core()
        self._simulator = Simulator(self._core)
        self._simulator.add_clock(CLOCK_PERIOD)
        if self.sdram:
            self._simulator.add_process(self.sdram.process(self._core.sdram))
        for testbench in (self._load_source, self._pixel_source, self._logit_sink, self._net_monitor,
                          *(make(self._core) for make in testbenches)):
            self._simulator.add_testbench(testbench, background=True)
        if trace:
            self._simulator.add_testbench(self._trace_monitor, background=True)
        if file:
            self._files.enter_context(self._simulator.write_vcd(file))
        self.load(image)
        self._simulate_until(lambda: not self._words and self._whole, "end of loading")

    def load(self, image):
        """Loads another net. The core has taken its first word when this returns; pictures may be given to `run` from
        then on, and their pixels are on offer while the other words follow."""
        self._n_logits, self.batch = image.n_logits, image.batch
        kinds, words = image.load_words()
        if self.sdram and self._back_door is not None and len(words) >= self._back_door:
            kinds, words = through_back_door(kinds, words, self.sdram.row)
        self._words.extend(zip(kinds.tolist(), words.tolist(), strict=True))
        count = len(self._words)
        self._simulate_until(lambda: len(self._words) < count, "first word loaded")

    async def _load_source(self, ctx):
        port, chance = self._core.load, random.Random(self._gaps.seed + 2)
        while True:
            if not self._words or chance.random() < self._gaps.pixels:
                await ctx.tick()
                continue
            kind, word = self._words[0]
            ctx.set(port.payload, {"kind": kind, "data": word})
            ctx.set(port.valid, 1)
            await _transfer(ctx, port)
            self._words.popleft()
            ctx.set(port.valid, 0)

    async def _pixel_source(self, ctx):
        port, chance = self._core.pixels, random.Random(self._gaps.seed)
        while True:
            if not self._pixels or chance.random() < self._gaps.pixels:
                await ctx.tick()
                continue
            red, green, blue = self._pixels.popleft()
            ctx.set(port.payload, {"r": red, "g": green, "b": blue})
            ctx.set(port.valid, 1)
            await _transfer(ctx, port)
            ctx.set(port.valid, 0)

    async def _logit_sink(self, ctx):
        port, chance = self._core.logits, random.Random(self._gaps.seed + 1)
        while True:
            ready = self._logits_taken < self._logits_expected and chance.random() >= self._gaps.logits
            ctx.set(port.ready, ready)
            _, _, valid, logit, cycles = await ctx.tick().sample(port.valid, port.payload.logit, self._core.cycles)
            if ready and valid:
                self._logits.append((logit, cycles))
                self._logits_taken += 1

    async def _net_monitor(self, ctx):
        async for _, _, whole, damaged in ctx.tick().sample(self._core.whole, self._core.damaged):
            self.simulated_cycles += 1
            self._whole, self._damaged = whole, damaged

    async def _trace_monitor(self, ctx):
        port = self._core.trace
        async for _, _, valid, *write in ctx.tick().sample(port.valid, port.group, port.data, self._core.cycles):
            if valid:
                self._trace.append((self._logits_taken, *write))

    def _run(self, pictures):
        batches = -(-len(pictures) // self.batch)
        carried = pictures[np.minimum(np.arange(batches * self.batch), len(pictures) - 1)]
        self._pixels.extend(map(tuple, pixels(carried).reshape(-1, 3).tolist()))
        expected = self._n_logits * self.batch
        for first in range(0, len(carried), self.batch):
            self._logits_expected += expected
            self._simulate_until(lambda: len(self._logits) == expected, f"logits of picture {first}")
            logits, cycles = np.array([self._logits.popleft() for _ in range(expected)]).T.reshape(2, self.batch, -1)
            writes, last = self._writes(), int(cycles[-1, -1])
            for number in range(min(self.batch, len(pictures) - first)):
                yield Result(logits[number].astype(np.int32), int(cycles[number, -1]), last, number, writes)

    def _writes(self):
        """The trace of the batch that has just ended."""
        if self._trace is None:
            return None
        words = -(-len(self._core.trace.data) // DATA_WORD_BITS)
        writes = []
        while self._trace and self._trace[0][0] < self._logits_expected:
            writes.append(self._trace.popleft())
        self.write_cycles = np.array([cycles for *_, cycles in writes], np.int64)
        groups = np.array([group for _, group, _, _ in writes], np.uint32)
        data = b"".join(data.to_bytes(8 * words, "little") for _, _, data, _ in writes)
        return groups, np.frombuffer(data, "<u8").reshape(len(writes), words)

    def _simulate_until(self, done, what):
        moved, left = self.simulated_cycles, len(self._words)
        while not done():
            if len(self._words) != left:
                moved, left = self.simulated_cycles, len(self._words)
            if self._damaged and not self._words:
                raise UserError(damaged_at(self.simulated_cycles))
            if self.simulated_cycles - moved > self._timeout:
                raise UserError(f"the core hangs: no {what} within {self._timeout} cycles, "
                                f"at cycle {self.simulated_cycles}")
            self._simulator.advance()

    def close(self):
        self._files.close()
