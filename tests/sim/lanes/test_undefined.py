"""What hardware leaves undefined is told where it is used: what it is and when it arose. Elsewhere it is not told."""
from pathlib import Path
from types import SimpleNamespace

import pytest
from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from accel import timing
from accel.rtl.memory.block_memory import BlockMemory
from sim.compiled import CompiledEngine, Streams
from sim.inspector import Inspector
from sim.lanes.analysis import mark_vectors
from sim.lanes.build import Ports, build_simulator
from sim.lanes.netlist import UnsupportedNetlist, read_netlist
from sim.lanes.undefined import CYCLE_BITS, UNWRITTEN, follow
from tests.sim.lanes.modules import FlatModule

DEPTH = 6
INPUTS = {"pixel": 8, "write": 1, "address": 3, "data": 8, "read": 3, "mask": 1, "gate": 1, "take": 1, "choose": 1,
          "by": 3, "shift": 1, "enable": 1, "aim": 1, "carry": 1, "low": 1, "high": 1, "read_enable": 1}
GUARDED = ("plain", "kept", "late", "columns_low", "columns_high", "loaded", "comb", "own", "looked_up", "behind",
           "probed", "held", "banked")
INPUTS |= {f"want_{name}": 1 for name in GUARDED}
OUTPUTS = {"plain": 8, "kept": 8, "late": 8, "masked": 8, "gated": 8, "chosen": 2, "shifted": 3, "columns_low": 4,
           "columns_high": 4, "loaded": 8, "comb": 8, "own": 8, "looked_up": 8, "behind": 8, "probed": 8,
           "held": 8, "banked": 8}
OUTPUTS |= {f"is_{name}": 1 for name in GUARDED}
GUARDS = tuple((name, f"is_{name}") for name in GUARDED)
PORTS = Ports(pixels=("pixel",), answers=("own", "looked_up", "held"), guards=GUARDS)


class Undefined(wiring.Component):
    """Memories of DEPTH words on one write port and one read address, and users of what they give. With all inputs 0,
    nobody uses anything."""
    def __init__(self):
        super().__init__({name: In(bits) for name, bits in INPUTS.items()} |
                         {name: Out(bits) for name, bits in OUTPUTS.items()})

    def elaborate(self, platform):
        m = Module()
        m.submodules.block = block = BlockMemory(width=8, depth=DEPTH)
        m.d.comb += [block.write_enable.eq(self.write), block.write_address.eq(self.address),
                     block.write_data.eq(self.data), block.read_address.eq(self.read)]
        word = block.read_data
        m.d.comb += [getattr(self, f"is_{name}").eq(getattr(self, f"want_{name}")) for name in GUARDED]
        m.d.comb += [
            self.plain.eq(word), self.masked.eq(Mux(self.mask, word, 7)), self.gated.eq(word & self.gate.replicate(8)),
            self.chosen.eq(Mux(word[0] & self.choose, 1, 2)),
            self.shifted.eq(Cat(Const(5, 3), word).bit_select(self.by, 3) & self.shift.replicate(3))]
        late = word
        for _ in range(3):
            stage = Signal(8)
            m.d.sync += stage.eq(late)
            late = stage
        m.d.comb += self.late.eq(late)
        # A register beside the word's own, as words of neighbouring banks have it, and one of the two.
        banks = Signal(16)
        m.d.sync += banks.eq(Cat(word, self.data))
        m.d.comb += self.banked.eq(banks.word_select(self.by[0], 8))
        with m.If(self.take):
            m.d.sync += self.kept.eq(word)
        with m.If(self.pixel[0]):
            m.d.sync += self.held.eq(word)

        def make(name, shape=8, depth=DEPTH, *, init=(), granularity=None, domain="sync"):
            m.submodules[name] = made = memory.Memory(shape=shape, depth=depth, init=init)
            write, read = made.write_port(granularity=granularity), made.read_port(domain=domain)
            m.d.comb += [write.addr.eq(self.address), write.data.eq(self.data), read.addr.eq(self.read)]
            return write, read
        # Its write enable, write address and data come from the block memory.
        write, read = make("second", depth=8)
        m.d.comb += [write.en.eq(Mux(self.aim | self.carry, 1, word[0]) & self.enable),
                     write.addr.eq(Mux(self.aim, word, 0)), write.data.eq(Mux(self.carry, word, self.data)),
                     self.behind.eq(read.data)]
        write, read = make("columns_memory", granularity=4)
        m.d.comb += [write.en.eq(Cat(self.low, self.high) & self.write.replicate(2)),
                     self.columns_low.eq(read.data[:4]), self.columns_high.eq(read.data[4:])]
        write, read = make("loaded_memory", init=[1, 2])
        m.d.comb += [write.en.eq(self.write), self.loaded.eq(read.data)]
        write, read = make("comb_memory", domain="comb")
        m.d.comb += [write.en.eq(self.write), self.comb.eq(read.data)]
        write, read = make("own_memory")
        m.d.comb += [write.en.eq(self.write), write.data.eq(self.pixel), self.own.eq(read.data)]
        write, read = make("table", depth=8, domain="comb")
        m.d.comb += [write.en.eq(self.write), read.addr.eq(self.pixel), self.looked_up.eq(read.data)]
        # A read port whose enable and address the block memory may decide.
        write, read = make("probed_memory", init=[3])
        m.d.comb += [read.en.eq(Mux(self.aim, word[0], self.read_enable)),
                     read.addr.eq(Mux(self.carry, word, self.read)), self.probed.eq(read.data)]
        return m


@pytest.fixture(scope="module")
def library():
    return build_simulator(Undefined, name="undefined", sources=Path(__file__).read_text(), ports=PORTS, watched=True,
                           one_lane=False)


class Bench:
    """`cycle(name=value ...)`: one cycle with these inputs, 0 where there is none; what it found undefined, or None.

    found: (use, origin, cycle in which the origin arose)
    """
    def __init__(self, library):
        self._inspector = Inspector(library)
        self.cycles = 0

    def cycle(self, **inputs):
        assert inputs.keys() <= INPUTS.keys()
        for name in INPUTS:
            self._inspector.set(name, inputs.get(name, 0))
        self._inspector.step()
        self.cycles += 1
        origin, use = self._inspector.get("undefined"), self._inspector.get("undefined_use")
        assert bool(origin) == bool(use)
        if not origin:
            return None
        return self._inspector.note(use), self._inspector.note(origin >> CYCLE_BITS), origin % (1 << CYCLE_BITS)

    def idle(self, cycles, **inputs):
        for _ in range(cycles):
            assert self.cycle(**inputs) is None

    def fill(self):
        """Writes every word of all memories with 0."""
        for address in range(DEPTH):
            self.idle(1, write=1, low=1, high=1, address=address, read=(address + 1) % DEPTH)
        self.idle(timing.BLOCK_MEMORY + 3)

    def collide(self, address=2, **inputs):
        """Reads the address that is written; returns the cycle. Its word is there in the next call but one."""
        self.idle(1, write=1, address=address, read=address, data=255, **inputs)
        return self.cycles - 1

    def close(self):
        self._inspector.close()


@pytest.fixture
def bench(library):
    bench = Bench(library)
    yield bench
    bench.close()


COLLISION = "a word of block.storage read in the cycle that writes it"

pytestmark = pytest.mark.cxx


def test_what_nobody_uses_is_not_told(bench):
    bench.idle(5)
    bench.fill()
    for k in range(20):             # collisions, addresses beyond the depth, and nobody who looks
        bench.idle(1, write=1, address=k % DEPTH, read=k % 8)


# A read of the address that is written

@pytest.mark.parametrize("use,told", [
    ({"want_plain": 1}, "the output plain"),
    ({"mask": 1}, "the output masked"),
    ({"gate": 1}, "the output gated"),
    ({"choose": 1}, "the output chosen"),
    ({"shift": 1, "by": 2}, "the output shifted"),
    ({"enable": 1}, "the write enable of second"),
    ({"enable": 1, "aim": 1}, "the write address of second"),
    ({"enable": 0, "aim": 1}, None),                # which counts while something is written
])
def test_a_word_read_in_the_cycle_that_writes_it(bench, use, told):
    bench.fill()
    arisen = bench.collide()
    bench.idle(1)                                   # one cycle too early
    assert bench.cycle(**use) == (told and (told, COLLISION, arisen))
    bench.idle(4, **use)                            # it was that word only


@pytest.mark.parametrize("masked", [
    {"mask": 0}, {"gate": 0}, {"choose": 0}, {"enable": 0}, {"shift": 0, "by": 4}, {"shift": 1, "by": 0}])
def test_a_word_that_does_not_come_through_is_not_told(bench, masked):
    bench.fill()
    bench.collide()
    bench.idle(1)
    assert bench.cycle(**masked) is None


@pytest.mark.parametrize("by", [1, 2, 3, 4, 7])
def test_a_window_that_shows_a_bit_of_it_is_told(bench, by):
    bench.fill()
    arisen = bench.collide()
    bench.idle(1)
    assert bench.cycle(shift=1, by=by) == ("the output shifted", COLLISION, arisen)


def test_of_words_side_by_side_in_a_register_the_one_that_is_chosen_counts(bench):
    bench.fill()
    arisen = bench.collide()
    bench.idle(2)
    assert bench.cycle(want_banked=1, by=0) == ("the output banked", COLLISION, arisen)
    bench.collide()
    bench.idle(2)
    assert bench.cycle(want_banked=1, by=1) is None


def test_the_word_after_the_write_is_defined(bench):
    bench.fill()
    bench.idle(1, write=1, address=2, read=3, data=5)
    bench.idle(timing.BLOCK_MEMORY, read=2)
    bench.idle(3, read=2, want_plain=1, mask=1, gate=1, choose=1)


def test_a_register_keeps_its_origin_until_it_takes_something_else(bench):
    bench.fill()
    arisen = bench.collide()
    bench.idle(1)
    bench.idle(1, take=1)
    bench.idle(7)
    for _ in range(2):
        assert bench.cycle(want_kept=1) == ("the output kept", COLLISION, arisen)
    bench.idle(1, take=1)
    bench.idle(2, want_kept=1)


def test_a_register_that_does_not_take_it_is_defined(bench):
    bench.fill()
    bench.idle(1, take=1)
    bench.collide()
    bench.idle(3)
    bench.idle(1, want_kept=1)


def test_a_register_whose_enable_is_each_lane_s_own_counts_as_having_taken_it(bench):
    """For good: which lanes took it, and which have taken something else since, is not followed."""
    bench.idle(1, want_held=1)
    bench.idle(1)
    bench.fill()
    for _ in range(2):
        assert bench.cycle(want_held=1) == ("the output held", f"a word of block.storage {UNWRITTEN}", 0)


def test_the_pipeline_carries_it_on(bench):
    bench.fill()
    arisen = bench.collide()
    for cycle in range(arisen + 1, arisen + 9):
        told = bench.cycle(want_late=1)
        assert told == (("the output late", COLLISION, arisen) if cycle == arisen + timing.BLOCK_MEMORY + 3 else None)


def test_a_memory_carries_it_on(bench):
    bench.fill()
    bench.idle(1, enable=1, aim=1)                  # word 0 of the other memory is defined
    arisen = bench.collide()
    bench.idle(1)
    bench.idle(1, enable=1, carry=1)
    bench.idle(5)
    for _ in range(2):
        assert bench.cycle(want_behind=1) == ("the output behind", COLLISION, arisen)
    bench.idle(1, enable=1, aim=1)
    bench.idle(1)
    bench.idle(1, want_behind=1)


def test_an_undefined_address_of_a_read(bench):
    bench.fill()
    arisen = bench.collide()
    bench.idle(1)
    bench.idle(1, carry=1, read_enable=1)
    assert bench.cycle(want_probed=1) == ("the output probed", COLLISION, arisen)


def test_an_undefined_enable_of_a_read(bench):
    bench.fill()
    arisen = bench.collide()
    bench.idle(1)
    bench.idle(1, aim=1)                            # the read port reads or not, nobody knows
    for _ in range(2):
        assert bench.cycle(want_probed=1) == ("the output probed", COLLISION, arisen)
    bench.idle(1, read_enable=1)
    bench.idle(2, want_probed=1)


@pytest.mark.parametrize("column,other", [("low", "high"), ("high", "low")])
def test_columns_collide_apart(bench, column, other):
    bench.fill()
    bench.idle(1, write=1, address=1, read=1, **{column: 1})
    arisen = bench.cycles - 1
    assert bench.cycle(want_columns_low=1, want_columns_high=1) == (
        f"the output columns_{column}", "a word of columns_memory read in the cycle that writes it", arisen)
    bench.idle(1, write=1, address=1, read=1, **{column: 1})
    bench.idle(1, **{f"want_columns_{other}": 1})


def test_memories_of_every_kind_collide_where_their_reads_are_clocked(bench):
    bench.fill()
    for name, cycles in (("plain", timing.BLOCK_MEMORY), ("loaded", 1), ("own", 1)):
        arisen = bench.collide(address=1)
        bench.idle(cycles - 1)
        use, origin, cycle = bench.cycle(**{f"want_{name}": 1})
        assert (use, cycle) == (f"the output {name}", arisen)
        assert origin.endswith("read in the cycle that writes it")
        bench.idle(3)


def test_a_memory_that_is_read_at_once_gives_the_old_word(bench):
    bench.fill()
    for address in range(DEPTH):
        bench.idle(1, write=1, address=address, read=address, want_comb=1)


# Addresses beyond the depth

def test_a_word_beyond_the_depth(bench):
    bench.fill()
    bench.idle(1, read=DEPTH)
    arisen = bench.cycles - 1
    bench.idle(1)
    assert bench.cycle(want_plain=1) == (
        "the output plain", f"a word of block.storage beyond its {DEPTH} words", arisen)
    bench.idle(1, read=DEPTH + 1)
    bench.idle(5)
    bench.idle(1, mask=1, gate=1, want_plain=1)


def test_a_word_beyond_the_depth_of_a_memory_read_at_once(bench):
    bench.fill()
    arisen = bench.cycles
    assert bench.cycle(want_comb=1, read=7) == (
        "the output comb", f"a word of comb_memory beyond its {DEPTH} words", arisen)
    bench.idle(1, read=7)


@pytest.mark.parametrize("address", range(8))
def test_a_write_beyond_the_depth_is_told_at_once(bench, address):
    bench.idle(3, address=address)
    found = bench.cycle(write=1, address=address)
    if address < DEPTH:
        assert found is None
    else:
        use, origin, cycle = found
        name = use.removeprefix("a write to ")
        assert (use, origin, cycle) == (f"a write to {name}", f"an address beyond the {DEPTH} words of {name}", 3)


# Words that nobody has written

@pytest.mark.parametrize("written", [0, 3, 5])
def test_a_word_that_nobody_has_written(bench, written):
    bench.idle(1, write=1, address=written, read=6)
    for read in range(DEPTH):
        bench.idle(timing.BLOCK_MEMORY, read=read)
        assert bench.cycle(mask=1, read=read) == (
            None if read == written else ("the output masked", f"a word of block.storage {UNWRITTEN}", 0))


def test_it_is_told_behind_the_pipeline(bench):
    bench.idle(timing.BLOCK_MEMORY + 3)
    assert bench.cycle(want_late=1) == ("the output late", f"a word of block.storage {UNWRITTEN}", 0)


def test_what_a_configuration_holds_is_defined(bench):
    """All of its words, also those that are 0. What pixels are written to is overwritten by every picture."""
    for name in ("loaded", "own"):
        for read in range(DEPTH):
            bench.idle(1, read=read)
            bench.idle(1, read=read, **{f"want_{name}": 1})


def test_a_small_table_that_lanes_read_apart_has_to_be_written_whole(bench):
    for address in range(DEPTH):
        bench.idle(1, write=1, address=address, read=6)
    told = bench.cycle(want_looked_up=1, read=6)
    assert told == ("the output looked_up", f"a word of table {UNWRITTEN}", 0)


# How it is told

def watched(module, **more):
    netlist = read_netlist(module.json, clocks=("clk",), joined=0)
    mark_vectors(netlist, inputs=("pixel",), outputs=("y",))
    return netlist, follow(netlist, **more)


def test_what_no_memory_reaches_costs_nothing():
    module = FlatModule()
    module.output("y", module.register(module.input("pixel", 8)))
    netlist, notes = watched(module)
    assert netlist.outputs["undefined"][0].variable is netlist.outputs["undefined_use"][0].variable is None
    assert notes == [""]


def memories(count):
    module = FlatModule()
    pixel, address, enable = module.input("pixel", 8), module.input("address", 3), module.input("enable", 1)
    for k in range(count):          # two origins each
        module.memory(f"memory{k}", 8, 8, reads=[(address, enable)], writes=[(address, address + enable * 5, enable)])
    module.output("y", pixel)
    return module


def test_origins_have_numbers_of_their_own():
    _, notes = watched(memories(511))
    assert len(notes) == len(set(notes)) == 1 + 2 * 511
    with pytest.raises(UnsupportedNetlist, match="1024 origins of undefined values, too many to tell apart"):
        watched(memories(512))


def test_the_columns_of_a_memory_share_their_notes():
    module = memories(0)
    halves = [module.input(name, 8) for name in ("first", "second")]
    [word] = module.memory("wide", 16, 8, reads=[(module.json["ports"]["address"]["bits"], ["1"])],
                           writes=[(halves[0][:3], halves[0] + halves[1], ["1"])])
    module.output("z", module.cell("$reduce_or", 1, A=word[:8]))
    netlist, notes = watched(module)
    assert len([memory for memory in netlist.memories if "origin" not in memory.name]) > 1
    assert [note for note in notes if "written" in note] == [f"a word of wide {UNWRITTEN}"]


@pytest.mark.parametrize("now,arisen", [(7, 5), (7, 7), (7, 0), (2**22 + 3, 2**22 - 1), (2**22 + 3, 2**22),
                                        (9 * 2**22 + 100, 9 * 2**22 + 9), (3 * 2**22 - 1, 2 * 2**22)])
def test_the_cycle_in_which_it_arose(now, arisen):
    """The counter of cycles is 22 bits wide."""
    engine = object.__new__(CompiledEngine)
    engine._streams = Streams(cycle=now, undefined=1 << CYCLE_BITS | arisen % (1 << CYCLE_BITS), undefined_use=2)
    engine._library = SimpleNamespace(uniqore_note=[b"", b"a word of memory", b"the output y"].__getitem__)
    assert engine._undefined() == (
        f"cycle {now}: the output y is undefined, since it depends on a word of memory, of cycle {arisen},")
