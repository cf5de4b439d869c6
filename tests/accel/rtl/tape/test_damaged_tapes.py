"""What goes wrong with a tape is found, no picture is answered wrong, and the core comes back: words that flip in the
SDRAM, loads that are wrong, pictures that are given up, nets that follow each other."""
import functools
import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator

from accel import timing
from accel.compiler.compile import compile_net
from accel.config import TINY_SDRAM
from accel.image import pixels
from accel.isa import LoadKind
from accel.rtl.core import Core
from accel.rtl.sdram.memory_test import MemoryTest
from accel.rtl.tape import player
from accel.sdram import SdramTiming
from model.integer.golden import forward
from sim.loading import through_back_door
from sim.sdram_chip import SdramChip, SdramViolation
from tests.accel.streams import put
from tests.nets import NetBuilder, random_pictures

CONFIG = replace(TINY_SDRAM, name="tiny-damaged", sdram_hz=25_000_000)
TIMING = replace(SdramTiming.of(CONFIG.sdram_hz), power_up=100)
RESIDENT = replace(CONFIG, weight_depth=2048, threshold_depth=1024, program_depth=1024)
TIMEOUT = 60_000


def some(first, *others):
    """The first of them by default, all in the slow tier: a load and a picture take seconds each."""
    return [first, *(pytest.param(*(other if isinstance(other, tuple) else (other,)), marks=pytest.mark.slow)
                     for other in others)]


@functools.cache
def net_of(seed, classes=6):
    build = NetBuilder(np.random.default_rng(seed), (3, 5, 6), f"net{seed}")
    first = build.layer(build.conv("image", 12))
    second = build.layer(build.conv(first, 20, stride=2))
    build.logits(build.layer(build.conv(second, 12)), classes)
    return build.net()


@functools.cache
def image_of(seed, config=CONFIG):
    return compile_net(net_of(seed), config)


def with_timing(monkeypatch, timing):
    """Controllers keep to `timing` from here on."""
    class Fixed:
        @staticmethod
        def of(clock_hz):
            return timing
    monkeypatch.setattr(player, "SdramTiming", Fixed)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    with_timing(monkeypatch, TIMING)


class CoreBench:
    """A core beside its SDRAM, in the hands of `test`, a function of the bench.

    chip: an `SdramChip`. cycle: the one that is going on. logits: of the pictures, in the order in which they came.
    """
    def __init__(self, test, *, config=CONFIG, image=None):
        self.core, self.chip = Core(config, image=image), SdramChip(TIMING)
        self.cycle, self.logits, self.ready = 0, [], True

        async def main(ctx):
            self.ctx = ctx
            await test(self)

        simulator = Simulator(self.core)
        simulator.add_clock(1e-7)
        simulator.add_process(self.chip.process(self.core.sdram))
        simulator.add_testbench(self._watch, background=True)
        simulator.add_testbench(main)
        simulator.run()

    async def _watch(self, ctx):
        core = self.core
        while True:
            ctx.set(core.logits.ready, self.ready)
            _, _, valid, logit, ready, whole, damaged = await ctx.tick().sample(
                core.logits.valid, core.logits.p.logit, core.logits.ready, core.whole, core.damaged)
            assert not (whole and damaged)
            self.cycle += 1
            assert self.cycle < 20 * TIMEOUT
            if valid and ready:
                self.logits.append(logit)

    async def until(self, done, timeout=TIMEOUT):
        """AssertionError where that takes longer than so many cycles."""
        end = self.cycle + timeout
        while not done():
            assert self.cycle < end, "the core hangs"
            await self.ctx.tick()

    async def wait(self, cycles):
        for _ in range(cycles):
            await self.ctx.tick()

    def up(self, port):
        return lambda: self.ctx.get(port)

    @property
    def damaged(self):
        return self.ctx.get(self.core.damaged)

    async def load(self, image, change=lambda kinds, words: None, then=None):
        """A load, as `change` leaves it, to its end: whole or damaged. Returns whether it is whole. Its words are put
        where the core would write them. then: what happens before its end."""
        kinds, words = image.load_words()
        change(kinds, words)
        await put(self.ctx, self.core.load, {"kind": int(kinds[0]), "data": int(words[0])})
        await self.until(lambda: not self.ctx.get(self.core.busy))          # it is taken, and the memory's words may go
        kinds, words = through_back_door(kinds, words, self.chip.row)
        for kind, word in zip(kinds[1:].tolist(), words[1:].tolist(), strict=True):
            await put(self.ctx, self.core.load, {"kind": kind, "data": word})
        if then:
            await then()
        await self.until(lambda: self.ctx.get(self.core.whole) or self.ctx.get(self.core.damaged))
        return bool(self.ctx.get(self.core.whole))

    async def send(self, picture):
        """As far as the core takes it."""
        port = self.core.pixels
        for red, green, blue in pixels(picture).reshape(-1, 3).tolist():
            self.ctx.set(port.payload, {"r": red, "g": green, "b": blue})
            self.ctx.set(port.valid, 1)
            ready = False
            while not (ready or self.damaged):
                _, _, ready = await self.ctx.tick().sample(port.ready)
            self.ctx.set(port.valid, 0)

    async def clear(self):
        self.ctx.set(self.core.clear, 1)
        await self.wait(timing.drained(CONFIG))
        self.ctx.set(self.core.clear, 0)
        self.logits.clear()

    async def classify(self, seed, number=0):
        """A picture through the net of that seed: its logits are right."""
        net, count = net_of(seed), len(self.logits)
        picture = random_pictures(net, 1, number)
        await self.send(picture)
        await self.until(lambda: len(self.logits) == count + len(net.classes))
        assert self.logits[count:] == forward(net, picture)[0].tolist()


def flip(chip, chunk, column, bit=3):
    chip.row(chunk)[column] ^= 1 << bit


def test_the_nets_are_as_the_tests_want_them():
    assert not image_of(1).resident and image_of(1, RESIDENT).resident
    assert len(image_of(1).tape) > 4


@pytest.mark.parametrize("seed", some(*range(3)))
def test_a_word_that_flips_while_the_net_is_played(seed):
    """At any time: pictures are answered right or not at all; then the core is cleared and loaded again."""
    chance, image = random.Random(seed), image_of(1)
    chunk, column, late = chance.randrange(len(image.tape)), chance.randrange(512), chance.randrange(2500)
    picture = random_pictures(net_of(1), 1, 9)
    expected = forward(net_of(1), picture)[0].tolist()

    async def test(bench):
        assert await bench.load(image)
        await bench.classify(1)
        bench.logits.clear()
        await bench.send(picture)
        await bench.wait(late)
        flip(bench.chip, chunk, column)
        while not bench.damaged:
            assert len(bench.logits) < 6 * len(expected)
            await bench.send(picture)
            await bench.until(lambda: bench.damaged or not bench.ctx.get(bench.core.busy))
        await bench.wait(3000)
        assert bench.logits == (expected * 7)[:len(bench.logits)]
        assert not bench.ctx.get(bench.core.whole)
        await bench.clear()
        await bench.wait(1000)
        assert bench.damaged and not bench.ctx.get(bench.core.busy) and not bench.logits
        assert await bench.load(image_of(2))
        assert not bench.damaged
        await bench.classify(2)
    CoreBench(test)


@pytest.mark.parametrize("logit", some(3, 0))
def test_damage_of_the_next_picture_leaves_the_logits_that_wait(logit):
    """The last logits of a picture wait, and the tape goes on to its beginning meanwhile, where a word is wrong."""
    image = image_of(1)
    picture = random_pictures(net_of(1), 1, 9)
    expected = forward(net_of(1), picture)[0].tolist()

    async def test(bench):
        assert await bench.load(image)
        await bench.send(picture)
        await bench.until(lambda: len(bench.logits) == logit and bench.ctx.get(bench.core.logits.valid)
                          or len(bench.logits) > logit)
        bench.ready = False
        await bench.wait(1)
        for chunk in range(len(image.tape)):
            flip(bench.chip, chunk, 77)
        await bench.wait(8000)
        bench.ready = True
        await bench.wait(2000)
        assert bench.logits == expected[:len(bench.logits)]
    CoreBench(test)


def test_damage_of_the_next_picture_while_this_one_has_all_its_words():
    """It is computed to its end, from the second picture buffer, and right."""
    build = NetBuilder(np.random.default_rng(1), (3, 10, 10), "short")
    build.logits(build.layer(build.conv("image", 8)), 4)
    net = build.net()
    config = replace(RESIDENT, weight_depth=512, threshold_depth=256, program_depth=32)
    image = compile_net(net, config)
    pictures = random_pictures(net, 2, 9)
    expected = forward(net, pictures).tolist()
    assert not image.resident and len(image.tape) < player.tape.SLOTS

    async def test(bench):
        assert await bench.load(image)
        await bench.send(pictures[:1])
        await bench.until(lambda: len(bench.logits) == 4)
        await bench.send(pictures[1:])
        await bench.until(bench.up(bench.core.busy))
        for chunk in range(len(image.tape)):
            flip(bench.chip, chunk, 77)
        await bench.until(lambda: bench.damaged)
        assert len(bench.logits) == 4
        await bench.until(lambda: not bench.ctx.get(bench.core.busy))
        assert bench.logits == expected[0] + expected[1]
    CoreBench(test, config=config)


@pytest.mark.parametrize("config, change", [
    *some((CONFIG, "word"), (CONFIG, "check"), (RESIDENT, "chunk's check"), (CONFIG, "missing chunk")),
    (RESIDENT, "CRC-32")])
def test_a_load_that_is_wrong(config, change):
    """Of a word, of either check; then the same net is loaded as it is."""
    def damage(kinds, words):
        last = len(words) - 1
        if change == "missing chunk":
            words[last] -= 1
        else:
            words[{"word": 600, "check": last - 2, "chunk's check": 512, "CRC-32": last - 1}[change]] ^= 0x100

    async def test(bench):
        assert not await bench.load(image_of(1, config), damage)
        bench.ctx.set(bench.core.pixels.valid, 1)
        for _ in range(50):
            await bench.wait(1)
            assert not bench.ctx.get(bench.core.pixels.ready)
        bench.ctx.set(bench.core.pixels.valid, 0)
        assert await bench.load(image_of(1, config))
        await bench.classify(1)
    CoreBench(test, config=config)


@pytest.mark.parametrize("config", [CONFIG, RESIDENT], ids=["played", "resident"])
def test_a_word_that_flips_in_the_sdram_before_the_tape_is_checked(config):
    async def test(bench):
        async def damage():
            flip(bench.chip, len(image_of(1, config).tape) - 1, 500, 15)
        assert not await bench.load(image_of(1, config), then=damage)
        assert bench.damaged
    CoreBench(test, config=config)


@pytest.mark.parametrize("late", some(700, 0, 40, 1900))
def test_a_picture_that_is_given_up(late):
    """In the middle of it: the tape begins again, and the next pictures are right; also while one is taken in."""
    async def test(bench):
        assert await bench.load(image_of(1))
        for number in range(2):
            await bench.send(random_pictures(net_of(1), 1, 3))
            await bench.wait(late + 7 * number)
            await bench.clear()
            await bench.classify(1, number)
    CoreBench(test)


@pytest.mark.parametrize("config, late", some((RESIDENT, 4000), (CONFIG, 1000), (RESIDENT, 30)))
def test_a_clear_in_a_load_leaves_it_alone(config, late):
    """While the tape is checked, and while the memories are filled."""
    async def test(bench):
        async def clear():
            await bench.wait(late)
            assert not bench.ctx.get(bench.core.whole)
            await bench.clear()
        assert await bench.load(image_of(1, config), then=clear)
        await bench.classify(1)
    CoreBench(test, config=config)


def test_net_after_net():
    """Played, resident, played: each as it is by itself; a load waits for the picture that runs."""
    async def test(bench):
        for seed in (1, 2, 3):
            assert await bench.load(image_of(seed))
            await bench.classify(seed)
            await bench.classify(seed, 1)
        await bench.send(random_pictures(net_of(3), 1, 4))
        await bench.until(bench.up(bench.core.busy))
        assert await bench.load(image_of(1))
        assert bench.logits[-6:] == forward(net_of(3), random_pictures(net_of(3), 1, 4))[0].tolist()
        await bench.classify(1)
    CoreBench(test)


def test_a_picture_is_taken_in_by_the_size_of_the_net_that_is_whole():
    """Its pixels are on offer from the end of the load on; the net before had pictures of another size."""
    build = NetBuilder(np.random.default_rng(4), (3, 7, 4), "other size")
    build.logits(build.layer(build.conv("image", 12)), 6)
    net = build.net()
    picture = random_pictures(net, 1)

    async def test(bench):
        assert await bench.load(image_of(1))
        await bench.classify(1)
        bench.logits.clear()
        assert await bench.load(compile_net(net, CONFIG))
        await bench.send(picture)
        await bench.until(lambda: len(bench.logits) == 6)
        assert bench.logits == forward(net, picture)[0].tolist()
    CoreBench(test)


def test_a_test_of_the_memory_then_a_load(monkeypatch):
    """The net is lost; the report is that of the memory."""
    monkeypatch.setattr(player, "MemoryTest", functools.partial(MemoryTest, chunks=3))

    async def test(bench):
        assert await bench.load(image_of(1))
        await bench.classify(1)
        memory = bench.core.memory
        for seed in (5, 1000):
            await put(bench.ctx, bench.core.load, {"kind": LoadKind.TEST, "data": seed})
            await bench.wait(3)
            assert not bench.ctx.get(bench.core.whole) and not bench.ctx.get(memory.tested)
            await bench.until(bench.up(memory.tested))
            assert bench.ctx.get(memory.errors) == 0
        assert not bench.ctx.get(bench.core.whole) and not bench.damaged
        assert await bench.load(image_of(2))
        assert bench.ctx.get(memory.tested)
        await bench.classify(2)
    CoreBench(test)


def test_a_memory_that_is_not_refreshed_is_noticed(monkeypatch):
    """By the model of the chip: while a net is played, as at rest."""
    with_timing(monkeypatch, replace(TIMING, refresh_interval=12 * TIMING.refresh_interval))

    async def test(bench):
        await bench.load(image_of(1))
        while True:
            await bench.classify(1)
    with pytest.raises(SdramViolation, match="refresh"):
        CoreBench(test)
