"""A component with an SDRAM port in pysim, beside the chip: its commands recorded, its words collected."""
import random
from dataclasses import replace

import numpy as np
from amaranth.sim import Simulator

from accel.sdram import SdramTiming
from sim.sdram_chip import SdramChip
from tests.accel.rtl.sdram.rules import Command

__all__ = ["CLOCKS", "LONG", "QUICK", "SHORT", "Bench", "quick", "random_requests"]

CLOCKS = (125_000_000, 131_250_000)
NAMES = {0b111: "NOP", 0b011: "ACTIVATE", 0b101: "READ", 0b100: "WRITE", 0b010: "PRECHARGE", 0b001: "REFRESH",
         0b000: "MODE", 0b110: "BURST STOP"}


def quick(timing):
    """With a power-up of no more than the refreshes that follow it."""
    return replace(timing, power_up=100)


QUICK = quick(SdramTiming.of(131_250_000))
# Refreshes often, everything else as short or as long as it gets.
SHORT = SdramTiming(rcd=2, rp=2, ras=3, rc=5, rfc=4, rrd=2, wr=1, mrd=2, refresh_interval=300, power_up=100)
LONG = SdramTiming(rcd=5, rp=4, ras=9, rc=16, rfc=16, rrd=4, wr=5, mrd=3, refresh_interval=330, power_up=100)


class Bench:
    """`dut`, whose port is `port`, and a chip that is full of words of its own from `seed` on.

    commands: list of `Command`, all but NOP, by cycles of the port. words: list of (cycle, data, last) of a `ReadWord`
    port. cycle: the one that is going on.
    """
    def __init__(self, dut, port, timing, *, words=None, chip=None):
        self.dut, self.port, self.chip = dut, port, chip or SdramChip(timing)
        self.commands, self.words, self.cycle = [], [], 0
        self._word_port = words

    async def _watch(self, ctx):
        port, word = self.port, self._word_port
        samples = [port.ras_n, port.cas_n, port.we_n, port.bank, port.address, port.dq_oe]
        samples += [word.valid, word.data, word.last] if word is not None else []
        async for _, _, ras_n, cas_n, we_n, bank, address, drives, *read in ctx.tick().sample(*samples):
            name = NAMES[ras_n << 2 | cas_n << 1 | we_n]
            assert drives == (name == "WRITE")
            if name != "NOP":
                self.commands.append(Command(self.cycle, name, bank, address, bool(drives)))
            if read and read[0]:
                self.words.append((self.cycle, *read[1:]))
            self.cycle += 1

    def run(self, *benches, timeout=200_000):
        """Runs until all of `benches`, functions of the context, are over. TimeoutError after `timeout` cycles."""
        async def guard(ctx):
            for _ in range(timeout):
                await ctx.tick()
            raise TimeoutError(f"not done after {timeout} cycles")

        simulator = Simulator(self.dut)
        simulator.add_clock(1e-8)
        simulator.add_process(self.chip.process(self.port))
        simulator.add_testbench(self._watch, background=True)
        simulator.add_testbench(guard, background=True)
        for bench in benches:
            simulator.add_testbench(bench)
        simulator.run()


def random_words(seed, count):
    return [int(word) for word in np.random.default_rng(seed).integers(0, 1 << 16, count)]


def random_requests(seed, count):
    """(gap, chunk) of a read or (gap, chunk, column, data) of a write: runs of both, sequential and not, in few chunks
    so that what is written is read."""
    chance = random.Random(seed)
    chunks = [chance.randrange(1 << 15) for _ in range(3)] + [0, 1, 4, 5, 32767]
    requests = []
    while len(requests) < count:
        chunk, style = chance.choice(chunks), chance.randrange(5)
        gap = chance.choice([lambda: 0, lambda: chance.randrange(4), lambda: chance.randrange(700)])
        if style < 2:
            requests += [(gap(), (chunk + n) % (1 << 15)) for n in range(chance.randrange(1, 4))]
        else:
            for n in range(chance.randrange(1, 60)):
                if style == 4 and chance.random() < 0.3:
                    chunk = chance.choice(chunks)
                column = (7 * n if style == 2 else chance.randrange(512)) % 512
                requests.append((gap() if n % 16 == 0 else 0, chunk, column, chance.randrange(1 << 16)))
    return requests
