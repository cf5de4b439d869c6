"""Two clocks that rise in any order, and together: a queue between them, against pysim register by register."""
import random
from pathlib import Path

import pytest
from amaranth import *
from amaranth.lib import fifo, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from model.common.errors import UserError
from sim.inspector import Inspector
from sim.lanes.build import Ports, build_simulator
from tests.sim.test_registers import register_signals

pytestmark = pytest.mark.cxx
CLOCK_SETS = ("clk",), ("b_clk",), ("clk", "b_clk")
PORTS = Ports(pixels=("w_data",), answers=("r_data",), clocks=("clk", "b_clk"), clock_sets=CLOCK_SETS,
              resets=("rst", "b_rst"))
IN = {"w_data": 9, "w_en": 1, "r_en": 1}
OUT = {"w_rdy": 1, "w_level": 3, "r_data": 9, "r_rdy": 1, "r_level": 3, "r_rst": 1, "taken": 8}


class TwoClocks(wiring.Component):
    """A queue of four words from the domain `sync` to the domain `b`, which counts what it takes.

    domains: ClockDomains of these names; without, the clocks and resets are ports.
    """
    def __init__(self, domains=()):
        self.domains = domains
        super().__init__({name: In(bits) for name, bits in IN.items()} |
                         {name: Out(bits) for name, bits in OUT.items()})

    def elaborate(self, platform):
        m = Module()
        m.domains += self.domains
        m.submodules.queue = queue = fifo.AsyncFIFO(width=9, depth=4, w_domain="sync", r_domain="b")
        m.d.comb += [getattr(queue, name).eq(getattr(self, name)) for name in IN]
        m.d.comb += [getattr(self, name).eq(getattr(queue, name)) for name in OUT if name != "taken"]
        with m.If(self.r_en & self.r_rdy):
            m.d.b += self.taken.eq(self.taken + 1)
        return m


def library(**more):
    return build_simulator(TwoClocks, name="two-clocks", sources=Path(__file__).read_text(), **{"ports": PORTS} | more)


def edges(rng, count):
    """Clock sets: one clock alone for a while, both in turn, both together."""
    chosen = []
    while len(chosen) < count:
        weights = rng.choice(((1, 0, 0), (0, 1, 0), (1, 1, 0), (1, 1, 1), (0, 0, 1), (5, 1, 1), (1, 5, 1)))
        chosen += rng.choices(range(3), weights, k=rng.randint(1, 30))
    return chosen[:count]


@pytest.mark.parametrize("one_lane", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_every_register_is_what_it_is_in_pysim(one_lane, seed):
    rng, lane = random.Random(seed), 0 if one_lane else 5
    lanes = Inspector(library(one_lane=one_lane))
    domains = [ClockDomain("sync"), ClockDomain("b")]
    component = TwoClocks(domains)
    simulator = Simulator(component)
    signals = register_signals(component, simulator._design, lanes.widths)
    registers = [name for name in signals if name not in IN | OUT]
    assert len(registers) >= 10, registers
    clocks = Cat(domain.clk for domain in domains)
    levels = set()

    async def bench(ctx):
        for rising in edges(rng, 600):
            values = {name: rng.getrandbits(bits) for name, bits in IN.items()}
            for name, value in values.items():
                ctx.set(getattr(component, name), value)
                lanes.set(name, value, lane)
            before = {name: ctx.get(getattr(component, name)) for name in OUT}
            lanes.step(rising)
            assert {name: lanes.get(name, lane) for name in OUT} == before
            ctx.set(clocks, sum(1 << PORTS.clocks.index(name) for name in CLOCK_SETS[rising]))
            for name in registers:
                assert lanes.get(name, lane) == ctx.get(signals[name]), name
            ctx.set(clocks, 0)
            levels.add(before["r_level"])
    simulator.add_testbench(bench)
    simulator.run()
    lanes.close()
    assert levels == set(range(5)), "a queue that never was full, or never empty"


def test_nothing_is_lost_or_given_twice_and_the_order_is_kept():
    rng, lanes = random.Random(9), Inspector(library())
    written, taken = [[] for _ in range(lanes.lanes)], [[] for _ in range(lanes.lanes)]
    for rising in edges(rng, 1500):
        offered = [rng.getrandbits(9) for _ in range(lanes.lanes)]
        w_en, r_en = rng.getrandbits(1), rng.getrandbits(1)
        for lane, word in enumerate(offered):
            lanes.set("w_data", word, lane)
        lanes.set("w_en", w_en)
        lanes.set("r_en", r_en)
        lanes.step(rising)
        for lane, word in enumerate(offered):
            if "clk" in CLOCK_SETS[rising] and w_en and lanes.get("w_rdy"):
                written[lane].append(word)
            if "b_clk" in CLOCK_SETS[rising] and r_en and lanes.get("r_rdy"):
                taken[lane].append(lanes.get("r_data", lane))
    lanes.close()
    assert len(taken[0]) > 200
    for lane_written, lane_taken in zip(written, taken, strict=True):
        assert lane_taken == lane_written[:len(lane_taken)] and len(lane_written) - len(lane_taken) <= 4
    assert written[0] != written[1]


def test_a_reset_that_may_come_is_refused():
    """It would be asynchronous: the queue's reading side is reset by the writing side."""
    with pytest.raises(UserError, match="two-clocks cannot be simulated in lanes: .* has an asynchronous reset$"):
        library(ports=Ports(clocks=PORTS.clocks, clock_sets=CLOCK_SETS, resets=("b_rst",)))
