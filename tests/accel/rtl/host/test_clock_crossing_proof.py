# amaranth: UnusedElaboratable=no
"""A proof of the clock crossing, for clocks of any relation: nothing is lost, nothing comes twice, order is kept, and
nothing stays behind.

What is proved is `ClockCrossing` as it is shipped, 16 words deep. Its payload has 2 bits here: nothing in it depends on
a payload, so what holds for those bits holds for the bits of a wider one. Time is a row of instants; in each of them
either clock rises, both do, or none. `Wires` is what one clock sees of the other's pointer. Domains have no reset.

The proof is by induction from an instant to the next. What is to be proved is said of the ports in `Contract`, and its
invariants are what else is true within in every instant. Not in the model: a flip-flop undecided for longer than a
period, and wires of one pointer that differ by more than a period of its clock.
"""
from itertools import pairwise

import pytest
from amaranth import *
from amaranth.hdl import Assert

from accel.rtl.host.clock_crossing import ClockCrossing
from tests.accel.rtl.proof import holds

pytestmark = pytest.mark.synth

BITS = 2


def gray(value):
    return value ^ value >> 1


def binary(code):
    return Cat(code[k:].xor() for k in range(len(code)))


class Wires:
    """A pointer on its way into the domain `into`, where a synchronizer of two stages takes it up.

    Every bit arrives by itself at any instant after its change, in time for the next edge of the clock it comes from.
    So a stage that samples while bits change takes each of them old or new, as an undecided flip-flop does once it has
    settled.
    """
    def __init__(self, width, *, into, source):
        self.source, names = source, ("launched", "arrived", "first", "second")
        self.launched, self.arrived, self.first, self.second = (Signal(width, name=f"{into}_{name}") for name in names)
        self.arrive = Signal(width, name=f"{into}_arrive")


class Instants:
    """What the harness is elaborated for: its synchronizers are `Wires`.

    plain: pointers cross as the numbers they are, not in Gray code.
    """
    def __init__(self, depth, *, plain=False):
        self.plain, width = plain, depth.bit_length()
        self.ticks = {"write": Signal(name="write_tick"), "read": Signal(name="read_tick")}
        self.wires = {"read": Wires(width, into="read", source="write"),
                      "write": Wires(width, into="write", source="read")}
        self.starting = [Signal(init=1, name=f"starting{k}") for k in range(2)]

    @property
    def inputs(self):
        return [*self.ticks.values(), *(wires.arrive for wires in self.wires.values())]

    def get_ff_sync(self, synchronizer):
        m = Module()
        domain = synchronizer._o_domain
        wires = self.wires[domain]
        sent, got = (binary, gray) if self.plain else (Value.cast, Value.cast)
        now = wires.arrive | self.ticks[wires.source].replicate(len(wires.arrive))
        m.d.sync += wires.arrived.eq(wires.arrived & ~now | wires.launched & now)
        m.d[domain] += [wires.first.eq(wires.arrived), wires.second.eq(wires.first)]
        m.d.comb += [wires.launched.eq(sent(synchronizer.i)), synchronizer.o.eq(got(wires.second))]
        return m

    def get_async_ff_sync(self, synchronizer):
        """Of a reset that no domain has."""
        m = Module()
        first, second = self.starting
        m.d[synchronizer._o_domain] += [first.eq(synchronizer.i), second.eq(first)]
        m.d.comb += synchronizer.o.eq(second)
        return m


class Contract(Elaboratable):
    """Whatever both sides do at whatever edges of their clocks.

    Words: one that is put in is picked at any time (`pick`), and counted down by those that come out. When its turn is
    there it comes out and nothing else does; so the n-th word that comes out is the n-th that was put in, for every n.
    Nothing comes out of an empty crossing, and none of more than depth + 1 words is accepted.

    Progress: once its pointer has arrived, a word is on offer after three read edges, and room after two write edges.
    The crossing says `empty` only when the queue is, and four write edges after it is that.
    """
    def __init__(self, dut, instants, *, invariants):
        self.dut, self.instants, self.invariants = dut, instants, invariants
        self.domain = ClockDomain("sync", reset_less=True)
        self.pick, self.picked, self.word = Signal(), Signal(), Signal(BITS)
        self.level, self.ahead = (Signal(range(dut.depth + 3), name=name) for name in ("level", "ahead"))
        self.offers, self.room = Signal(3), Signal(3)       # edges since anything has happened
        # Registers within, connected by the script.
        self.produced, self.consumed, self.left, self.stored = (
            Signal(dut.depth.bit_length(), name=name) for name in ("produced", "consumed", "left", "stored"))
        self.taken, self.read = Signal(name="taken"), Signal(BITS, name="read")
        self.words = [Signal(BITS, name=f"word{k}") for k in range(dut.depth)]

    @property
    def ports(self):
        inner = [self.produced, self.consumed, self.left, self.stored, self.taken, self.read, *self.words]
        return [self.domain.clk, *self.instants.inputs, self.pick, self.dut.i.valid, self.dut.i.payload,
                self.dut.o.ready, *(inner if self.invariants else [])]

    @property
    def script(self):
        """For yosys: what the ports of the registers within are connected to."""
        if not self.invariants:
            return ""
        lines = ["cd top"]
        for name, place in (("produced", "queue.produce_w_bin"), ("consumed", "queue.consume_r_bin"),
                            ("left", "queue.consume_w_bin"), ("stored", "queue.w_level"), ("taken", "taken"),
                            ("read", "queue.r_data"),
                            *((f"word{k}", f"queue.storage[{k}]") for k in range(len(self.words)))):
            lines += [f"rename dut.{place} of_{name}", f"delete -input w:{name}",
                      f"connect -nounset -set {name} of_{name}"]
        return "\n".join([*lines, "cd .."])

    def elaborate(self, platform):
        m = Module()
        dut, level, ahead, depth = self.dut, self.level, self.ahead, self.dut.depth
        ticks, into_read, into_write = (self.instants.ticks, *self.instants.wires.values())
        m.domains.sync = self.domain
        m.submodules.dut = DomainRenamer({"write": "sync", "read": "sync"})(EnableInserter(ticks)(dut))
        put, got = Signal(), Signal()
        m.d.comb += [put.eq(ticks["write"] & dut.i.valid & dut.i.ready),
                     got.eq(ticks["read"] & dut.o.valid & dut.o.ready)]

        m.d.sync += level.eq(level + put - got)
        m.d.comb += [Assert(level <= depth + 1), Assert(~dut.o.valid | (level != 0))]
        with m.If(self.picked & got):
            m.d.sync += [ahead.eq(ahead - 1), self.picked.eq(ahead != 0)]
        with m.If(~self.picked & self.pick & put):
            m.d.sync += [ahead.eq(level - got), self.picked.eq(1), self.word.eq(dut.i.payload)]
        m.d.comb += Assert(~(self.picked & (ahead == 0) & dut.o.valid) | (dut.o.payload == self.word))

        for edges, wires, clock, last in ((self.offers, into_read, "read", 3), (self.room, into_write, "write", 4)):
            with m.If(put | got | (wires.arrived != wires.launched)):
                m.d.sync += edges.eq(0)
            with m.Elif(ticks[clock] & (edges != last)):
                m.d.sync += edges.eq(edges + 1)
        m.d.comb += [Assert((self.offers != 3) | dut.o.valid | (level == 0)),
                     Assert((self.room < 2) | dut.i.ready | (level >= depth)),
                     Assert(~dut.empty | (level == dut.o.valid)),
                     Assert((self.room != 4) | (into_write.arrived != into_write.launched) | dut.empty
                            | (level != dut.o.valid))]
        if self.invariants:
            self._add_invariants(m, into_read, into_write)
        return m

    def _add_invariants(self, m, into_read, into_write):
        dut, depth, produced, consumed = self.dut, self.dut.depth, self.produced, self.consumed
        words, starting = Array(self.words), self.instants.starting

        def between(low, high):
            """Words from one position to another."""
            return (high - low)[:len(produced)]

        def each(condition, *facts):
            m.d.comb += [Assert(~condition | fact) for fact in facts]

        always = Const(1)
        # Pointers, in the order in which they follow each other, and what of them is on the wires.
        each(always, into_read.launched == gray(produced), into_write.launched == gray(consumed))
        for wires, pointer in ((into_read, produced), (into_write, consumed)):
            each(always, between(binary(wires.arrived), pointer) <= 1)
        seen = [consumed, *map(binary, (into_read.second, into_read.first, into_read.arrived)), produced]
        gone = [produced, consumed, *map(binary, (into_write.arrived, into_write.first, into_write.second)), self.left]
        each(always, *(between(consumed, a) <= between(consumed, b) for a, b in pairwise(seen)),
             *(between(a, produced) <= between(b, produced) for a, b in pairwise(gone)),
             between(gone[-1], produced) <= depth)
        each(always, between(self.left, produced - self.taken) <= self.stored, self.stored <= depth)
        # The first two read edges.
        each(starting[0], starting[1], into_read.first == 0)
        each(starting[1], into_read.second == 0, consumed == 0)
        # Words: in the queue, and before it in the register.
        each(always, self.level == between(consumed, produced) + dut.o.valid)
        each(self.picked, self.ahead < self.level)
        each(self.picked & (~dut.o.valid | (self.ahead != 0)),
             words[(consumed + self.ahead - dut.o.valid)[:len(consumed) - 1]] == self.word)
        each(into_read.second != into_write.launched, self.read == words[consumed[:-1]])
        # Progress.
        each(self.offers >= 1, into_read.first == into_read.launched, into_read.arrived == into_read.launched,
             ~starting[0])
        each(self.offers >= 2, into_read.second == into_read.launched, ~starting[1])
        each(self.room >= 1, into_write.first == into_write.arrived,
             (into_write.arrived == into_write.launched) | dut.o.valid)
        each(self.room >= 1, ~self.taken)
        each(self.room >= 2, into_write.second == into_write.arrived)
        each(self.room >= 3, gray(self.left) == into_write.arrived)
        each(self.room >= 4, self.stored == between(self.left, produced))


class Overrun(ClockCrossing):
    """Takes words when there is no room."""
    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.i.ready.eq(1)
        return m


class Stuck(ClockCrossing):
    """Takes no second word."""
    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.o.valid):
            m.d.comb += self.i.ready.eq(0)
        return m


class Doubling(ClockCrossing):
    """Offers a word again when nothing comes after it."""
    def elaborate(self, platform):
        m = super().elaborate(platform)
        again = Signal()
        m.d[self._r_domain] += again.eq(self.o.valid)
        with m.If(again):
            m.d.comb += self.o.valid.eq(1)
        return m


class Hasty(ClockCrossing):
    """Calls the queue empty while a word that it has just taken is not yet counted."""
    def elaborate(self, platform):
        m = super().elaborate(platform)
        counted = Signal()
        m.d[self._w_domain] += counted.eq(self.empty)
        with m.If(counted):
            m.d.comb += self.empty.eq(1)
        return m


def test_the_shipped_crossing(tmp_path):
    dut = ClockCrossing(BITS)
    instants = Instants(dut.depth)
    contract = Contract(dut, instants, invariants=True)
    assert holds(contract, contract.ports, tmp_path, platform=instants, script=contract.script)


@pytest.mark.parametrize("kind, plain", [(Overrun, False), (Stuck, False), (Doubling, False), (Hasty, False),
                                         (ClockCrossing, True)])
def test_faults_are_found(kind, plain, tmp_path):
    """The last one: pointers that cross as plain numbers, which a simulation of two clocks does not find."""
    dut = kind(BITS, depth=4)
    instants = Instants(dut.depth, plain=plain)
    contract = Contract(dut, instants, invariants=False)
    assert not holds(contract, contract.ports, tmp_path, platform=instants, refute=20)
