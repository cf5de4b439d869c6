"""The driver of the simulated board: two clocks that know nothing of each other, and a board that does not mind."""
import random
import shutil
from dataclasses import replace
from fractions import Fraction
from math import floor
from pathlib import Path

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from accel import link
from accel.compiler.compile import compile_net
from accel.config import TINY
from accel.cycles import cycles
from accel.digest import SYSTEM
from accel.link import Command
from accel.rtl.sdram.controller import SdramController
from accel.rtl.sdram.port import SdramPort
from accel.rtl.system import System
from accel.sdram import SdramTiming
from model.common.errors import UserError
from model.common.tools import find_compiler, find_cxxrtl
from model.integer import golden
from sim.board import CYCLES_PER_BIT, DRIVER, HOST_HZ, PORTS, BoardSimulator, build_board
from sim.lanes.build import build_simulator
from sim.library import built, compile_sources, rtl_sources, step, write_rtlil
from sim.sdram_chip import SdramViolation
from tests.nets import random_net, random_pictures

from .info import info_fields

RATIOS = (Fraction(1), Fraction(4), Fraction(21, 4), Fraction(1, 3), Fraction(1009, 252), Fraction(97, 101))
PHASES = Fraction(0), Fraction(1, 8), Fraction(5, 7)
SILENCE = 1000
CLOCK_HZ = Fraction(100_000_000)


class Counters(wiring.Component):
    """In the place of a `System`. leds: what the core's clock has counted at the host's edge before, what the host's
    has counted, and whether `locked` was up then; 15, 16 and 1 bits."""
    def __init__(self):
        super().__init__({"rx": In(1), "locked": In(1), "tx": Out(1, init=1), "leds": Out(32)})

    def elaborate(self, platform):
        m = Module()
        core, seen, host, locked = Signal(15), Signal(15), Signal(16), Signal()
        m.d.sync += core.eq(core + 1)
        m.d.host += [host.eq(host + 1), seen.eq(core), locked.eq(self.locked), self.tx.eq(self.rx)]
        m.d.comb += self.leds.eq(Cat(seen, host, locked))
        return m


def counters(**clocks):
    return BoardSimulator(build_simulator(Counters, name="two-counters", sources=Path(__file__).read_text(),
                                          ports=PORTS, one_lane=True, driver=DRIVER), **clocks)


@pytest.mark.cxx
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("phase", PHASES)
def test_the_core_s_clock_rises_in_its_own_time(ratio, phase):
    """The host sees what rose before it, not what rises with it."""
    board = counters(core_ratio=ratio, core_phase=phase)
    # As outputs are those before the edge, the last host's edge that is seen is the one before.
    for cycle in range(1, 300):
        board.exchange(b"", 1)
        passed = phase + (cycle - 1) * ratio
        before = floor(passed) - (passed == floor(passed)) if cycle > 1 else 0
        assert board.line.leds == (1 << 31 if cycle > 1 else 0) | cycle - 1 << 15 | max(before, 0), cycle
    board.close()


@pytest.mark.cxx
def test_a_clock_that_is_not_locked_stands_still():
    board = counters(core_ratio=3)
    board.exchange(b"", 11)
    board.line.locked = 0
    board.exchange(b"", 100)
    stopped = board.line.leds
    assert (stopped & 0x7FFF, stopped >> 15 & 0xFFFF, stopped >> 31) == (33, 110, 0)
    board.line.locked = 1
    board.exchange(b"", 11)
    assert (board.line.leds & 0x7FFF, board.line.leds >> 15 & 0xFFFF) == (33 + 29, 121)
    board.close()


@pytest.mark.parametrize("clocks", [{"core_ratio": 0}, {"core_ratio": -1}, {"core_ratio": float("nan")},
                                    {"core_ratio": float("inf")}, {"core_ratio": 1001}, {"core_phase": 1.5}])
@pytest.mark.cxx
def test_clocks_that_cannot_be_simulated_are_refused(clocks):
    with pytest.raises(UserError, match="no core is simulated with .* ratios are 0.001 .. 1000, phases 0 .. 1$"):
        counters(**clocks)


@pytest.fixture(scope="module")
def small():
    """(net, image, two pictures, their logits) of few cycles."""
    nets = [random_net(seed, TINY) for seed in range(12)]
    net = min(nets, key=lambda net: cycles(compile_net(net, TINY)))
    pictures = random_pictures(net, 2)
    return net, compile_net(net, TINY), pictures, golden.forward(net, pictures)


def requests(pictures):
    return b"".join(link.frame(Command.INFER, k, picture.transpose(1, 2, 0).tobytes())
                    for k, picture in enumerate(pictures))


def answers(image, logits):
    return b"".join(link.frame(Command.INFER | link.REPLY, k, b"".join([
        row.astype("<i4").tobytes(), int(row.argmax()).to_bytes(2, "little"), cycles(image).to_bytes(4, "little")]))
        for k, row in enumerate(logits))


def until_at_rest(board, octets):
    """What the board says to `octets`."""
    said = board.exchange(octets, 1)
    while not board.at_rest:
        said += board.exchange(b"", 500)
    return said


@pytest.mark.cxx
def test_answers_are_the_same_at_every_ratio_and_phase(small):
    _, image, pictures, logits = small
    library = build_board(TINY, image=image, timeout=SILENCE)
    rng = random.Random(5)
    for ratio in (*RATIOS, *(2 ** rng.uniform(-3, 4) for _ in range(8))):
        board = BoardSimulator(library, timeout=SILENCE, core_ratio=ratio, core_phase=rng.random())
        assert until_at_rest(board, requests(pictures)) == answers(image, logits), ratio
        board.close()


@pytest.mark.cxx
def test_a_board_whose_clock_is_not_locked_answers(small):
    """INFO; it takes pictures once it is."""
    _, image, pictures, logits = small
    board = BoardSimulator(build_board(TINY, image=image, timeout=SILENCE), timeout=SILENCE)
    board.line.locked = 0
    said = board.exchange(link.frame(Command.INFO, 1), 20_000)
    assert said == link.frame(Command.INFO | link.REPLY, 1, link.as_bytes(
        link.Info, info_fields(TINY, image, clock_hz=CLOCK_HZ, baud=HOST_HZ / CYCLES_PER_BIT)))
    board.line.locked = 1
    assert until_at_rest(board, requests(pictures)) == answers(image, logits)
    board.close()


def cxxrtl_board(make_system, sources):
    """Library of the board in CXXRTL, with the same driver."""
    yosys, compiler = find_cxxrtl(), find_compiler()
    headers = [*sorted(Path(__file__).with_name("cxxrtl_board").glob("*.h")),
               *(DRIVER.with_name(name) for name in ("sdram_chip.h", "cxxrtl_sdram.h"))]
    # Modules stay where a flat board would keep a compiler busy for minutes.
    script = ("read_rtlil core.il\nsetattr -mod -set keep_hierarchy 1 core.core.array.pe_*_? "
              "core.core.chain_end*.threshold*_?\nwrite_cxxrtl -O6 -g0 core.cc\n")

    def make(folder, say):
        write_rtlil(make_system(), folder / "core.il")
        (folder / "core.ys").write_text(script)
        step([*yosys.command, "-q", "core.ys"], folder)
        for path in (DRIVER, *headers):
            shutil.copy(path, folder)
        compile_sources(folder, [DRIVER.name], ("-O1", f"-I{yosys.include}"), compiler)
    return built("board-cxxrtl", [sources, *(path.read_text() for path in (DRIVER, *headers)), yosys.version, script,
                                  compiler.version], make)


@pytest.mark.slow
@pytest.mark.cxx
def test_a_board_in_cxxrtl(small):
    """The second opinion of the compiled simulator: its two clocks at unrelated periods, either of them the faster."""
    _, image, pictures, logits = small
    library = cxxrtl_board(lambda: System(TINY, clock_hz=CLOCK_HZ, host_hz=HOST_HZ, baud=HOST_HZ / CYCLES_PER_BIT,
                                          image=image, timeout=SILENCE),
                           f"{TINY.digest()}{image.net_digest}{rtl_sources(SYSTEM)}")
    for ratio, phase in ((5.23, 0.3), (0.71, 0.9)):
        board = BoardSimulator(library, timeout=SILENCE, core_ratio=ratio, core_phase=phase)
        assert until_at_rest(board, requests(pictures)) == answers(image, logits), ratio
        board.close()


@pytest.mark.slow
def test_a_board_in_amaranth_s_own_simulator(small):
    """Its two clocks at unrelated periods."""
    _, image, pictures, logits = small
    core_period = 40e-9 / 1.137
    system = System(TINY, clock_hz=CLOCK_HZ, host_hz=HOST_HZ, baud=HOST_HZ / 8, image=image,
                    timeout=SILENCE)
    simulator = Simulator(system)
    simulator.add_clock(40e-9, domain="host")
    simulator.add_clock(core_period, phase=core_period / 7)
    expected, said = answers(image, logits), bytearray()

    async def adapter(ctx):
        for octet in requests(pictures):
            for bit in (0, *(octet >> k & 1 for k in range(8)), 1):
                ctx.set(system.rx, bit)
                await ctx.tick("host").repeat(8)

    async def listener(ctx):
        while len(said) < len(expected):
            await ctx.negedge(system.tx)
            await ctx.tick("host").repeat(4)
            octet = 0
            for k in range(8):
                await ctx.tick("host").repeat(8)
                octet |= ctx.get(system.tx) << k
            said.append(octet)
            await ctx.tick("host").repeat(8)
    simulator.add_testbench(adapter)
    simulator.add_testbench(listener)
    simulator.run()
    assert said == expected


class Keeper(wiring.Component):
    """In the place of a `System` with an SDRAM: writes a word to each of two chunks, then reads both again and again.
    leds: words of the second chunk that were its word, and whether any word of the first one's was not."""
    def __init__(self, timing):
        self.timing = timing
        super().__init__({"rx": In(1), "locked": In(1), "tx": Out(1, init=1), "leds": Out(32),
                          "sdram": Out(SdramPort())})

    def elaborate(self, platform):
        m = Module()
        m.submodules.controller = controller = SdramController(self.timing)
        wiring.connect(m, controller.port, wiring.flipped(self.sdram))
        word, chunk, written = Signal(16), Signal(), Signal(range(1025))
        seen, wrong = Signal(31), Signal()
        m.d.comb += [
            controller.writes.valid.eq(written != 1024), controller.writes.p.chunk.eq(1000 + written[9]),
            controller.writes.p.column.eq(written[:9]), controller.writes.p.data.eq(written * 0x35),
            controller.reads.valid.eq(written == 1024), controller.reads.payload.eq(1000 + chunk),
            self.leds.eq(Cat(seen, wrong))]
        m.d.host += self.tx.eq(self.rx)
        with m.If(controller.writes.valid & controller.writes.ready):
            m.d.sync += written.eq(written + 1)
        with m.If(controller.reads.valid & controller.reads.ready):
            m.d.sync += chunk.eq(~chunk)
        with m.If(controller.word.valid):
            m.d.sync += [seen.eq(seen + 1), word.eq(word + 1),
                         wrong.eq(wrong | (controller.word.data != (word[:10] * 0x35)[:16]))]
        return m


def keeper(timing, **options):
    sources = f"{Path(__file__).read_text()}{timing}{rtl_sources('accel.rtl.sdram.controller')}"
    return BoardSimulator(build_simulator(lambda: Keeper(timing), name="keeper", sources=sources, ports=PORTS,
                                          one_lane=True, driver=DRIVER), **options)


TIMING = replace(SdramTiming.of(100_000_000), power_up=500)


@pytest.mark.cxx
def test_a_board_has_its_sdram():
    """On the core's clock, which is another one than the host's."""
    board = keeper(TIMING, core_ratio=Fraction(37, 10), sdram=TIMING)
    board.exchange(b"", 10_000)
    cycles = board.sdram.cycle
    assert cycles == 37_000
    assert not board.line.leds >> 31 and board.line.leds > 0.8 * (cycles - 8 * TIMING.refresh_interval)
    assert board.sdram.row(1001).tolist() == [0x35 * (512 + k) % 0x10000 for k in range(512)]
    board.sdram.flip((cycles + 100, 1001, 3, 1))
    board.exchange(b"", 1000)
    assert board.line.leds >> 31
    board.close()


@pytest.mark.cxx
def test_a_board_that_breaks_a_rule_of_its_sdram_is_stopped():
    board = keeper(replace(TIMING, rcd=2), sdram=TIMING)
    with pytest.raises(SdramViolation, match=r"^SDRAM, cycle \d+: tRCD: "):
        for _ in range(100):
            board.exchange(b"", 1000)
    board.close()
