# amaranth: UnusedElaboratable=no
"""A proof of the clock crossing, for clocks of any relation: nothing is lost, nothing comes twice, order is kept, and
nothing stays behind.

What is proved is `ClockCrossing` as it is shipped. Its payload has 2 bits here: nothing in it depends on a payload, so
what holds for those bits holds for the bits of a wider one. Time is a row of instants; in each of them either clock
rises, both do, or none. Domains have no reset.

`ToggleWire` is what one clock sees of the other's toggle, `WordWires` what the reader sees of the word. The one thing
that is assumed of wires is `slack`: in how many read edges after the arrival of `sent` a bit of the word may still be
in transit. A crossing needs 2; one that keeps to what its docstring needs has 1, and is among those.

The proof is by induction from an instant to the next. What is to be proved is said of the ports in `Contract`, and its
invariants are what else is true within in every instant. Not in the model: a flip-flop that is undecided for longer
than a period. That nothing else crosses is seen in the netlist (`test_clock_crossing`).
"""
from itertools import pairwise

import pytest
from amaranth import *
from amaranth.hdl import Assert, ShapeCastable, ValueCastable

from accel.rtl.host.clock_crossing import ClockCrossing
from tests.accel.rtl.proof import holds

pytestmark = pytest.mark.synth

BITS = 2
SLACK = 2


class ToggleWire:
    """A toggle on its way into the domain `into`, where a synchronizer of two stages takes it up.

    A change arrives at any instant after it was made, however late. So a stage that samples while the wire changes
    takes it old or new, as an undecided flip-flop does once it has settled.
    """
    def __init__(self, *, into):
        names = ("launched", "arrived", "first", "second", "arrive")
        self.launched, self.arrived, self.first, self.second, self.arrive = (
            Signal(name=f"{into}_{name}") for name in names)

    @property
    def there(self):
        return self.arrived == self.launched


class WordWires(ShapeCastable):
    """Shape of a payload, which puts the wires of `word` between that register and whatever it is assigned to.

    Every bit arrives by itself, at any instant after its change until `due`.
    """
    def __init__(self):
        self.arrive, self.arrived, self.due = Signal(BITS), Signal(BITS), Signal()
        self.register = None

    def as_shape(self):
        return unsigned(BITS)

    def const(self, init):
        return Const(init or 0, BITS)

    def from_bits(self, raw):
        return raw

    def __call__(self, value):
        if value.name == "word":
            self.register = value
        return Payload(self, value)

    @property
    def seen(self):
        now = self.arrive | self.due.replicate(BITS)
        return self.arrived & ~now | self.register & now


class Payload(ValueCastable):
    def __init__(self, wires, value):
        self.wires, self.value = wires, value

    def shape(self):
        return self.wires

    def as_value(self):
        return self.value

    def eq(self, other):
        return self.value.eq(self.wires.seen if other.value is self.wires.register else other.value)


class Instants:
    """What the harness is elaborated for: its synchronizers are `ToggleWire`s."""
    def __init__(self):
        self.ticks = {"write": Signal(name="write_tick"), "read": Signal(name="read_tick")}
        self.toggles = {domain: ToggleWire(into=domain) for domain in ("read", "write")}

    def get_ff_sync(self, synchronizer):
        m = Module()
        domain = synchronizer._o_domain
        wire = self.toggles[domain]
        with m.If(wire.arrive):
            m.d.sync += wire.arrived.eq(wire.launched)
        m.d[domain] += [wire.first.eq(wire.arrived), wire.second.eq(wire.first)]
        m.d.comb += [wire.launched.eq(synchronizer.i), synchronizer.o.eq(wire.second)]
        return m


class Contract(Elaboratable):
    """Whatever both sides do at whatever edges of their clocks.

    Words: one that is put in is picked at any time (`pick`), and counted down by those that come out. When its turn is
    there it comes out and nothing else does; so the n-th word that comes out is the n-th that was put in, for every n.
    Nothing comes out of an empty crossing, none of more than two words is accepted, and an offer stands until it is
    taken.

    Progress: once `sent` has arrived and the word before is gone, a word is on offer after three read edges; once
    `taken` has arrived, there is room and the crossing is `empty` after two write edges. It is `empty` only when no
    word but the one on offer is left.
    """
    def __init__(self, kind, *, slack=SLACK, invariants):
        self.instants, self.word_wires, self.slack, self.invariants = Instants(), WordWires(), slack, invariants
        self.dut = kind(self.word_wires)
        self.domain = ClockDomain("sync", reset_less=True)
        self.pick = Signal()

    @property
    def ports(self):
        dut, instants = self.dut, self.instants
        return [self.domain.clk, *instants.ticks.values(), *(wire.arrive for wire in instants.toggles.values()),
                self.word_wires.arrive, self.pick, dut.i.valid, dut.i.payload.value, dut.o.ready]

    def elaborate(self, platform):
        m = Module()
        dut, instants, word_wires = self.dut, self.instants, self.word_wires
        ticks, forth, back = instants.ticks, instants.toggles["read"], instants.toggles["write"]
        m.domains.sync = self.domain
        m.submodules.dut = DomainRenamer({"write": "sync", "read": "sync"})(
            EnableInserter(ticks)(dut.elaborate(instants)))
        put, got = Signal(), Signal()
        m.d.comb += [put.eq(ticks["write"] & dut.i.valid & dut.i.ready),
                     got.eq(ticks["read"] & dut.o.valid & dut.o.ready)]

        # What is assumed of the wires.
        edges = Signal(range(self.slack + 1))               # of the reader, since `sent` has arrived
        with m.If(~forth.there):
            m.d.sync += edges.eq(0)
        with m.Elif(ticks["read"] & (edges < self.slack)):
            m.d.sync += edges.eq(edges + 1)
        m.d.comb += word_wires.due.eq(forth.there & (edges >= self.slack))
        m.d.sync += word_wires.arrived.eq(word_wires.seen)

        # Words.
        level, ahead, picked, word, offered = Signal(2), Signal(2), Signal(), Signal(BITS), Signal()
        m.d.sync += [level.eq(level + put - got), offered.eq(dut.o.valid & ~got)]
        with m.If(picked & got):
            m.d.sync += [ahead.eq(ahead - 1), picked.eq(ahead != 0)]
        with m.If(~picked & self.pick & put):
            m.d.sync += [ahead.eq(level - got), picked.eq(1), word.eq(dut.i.payload)]
        m.d.comb += [Assert(level <= 2), Assert(~dut.o.valid | (level != 0)), Assert(~offered | dut.o.valid),
                     Assert(~(picked & (ahead == 0) & dut.o.valid) | (dut.o.payload.value == word))]

        # Progress.
        offers, room = Signal(range(4)), Signal(range(3))   # edges since there has been something to do
        for count, wire, clock, last, again in ((offers, forth, "read", 3, got), (room, back, "write", 2, 0)):
            with m.If(~wire.there | again):
                m.d.sync += count.eq(0)
            with m.Elif(ticks[clock] & (count < last)):
                m.d.sync += count.eq(count + 1)
        left = level == dut.o.valid                         # all words have left the writer
        m.d.comb += [Assert((offers < 3) | ~forth.there | dut.o.valid | (level == 0)),
                     Assert(~dut.empty | left),
                     Assert((room < 2) | ~back.there | ~left | (dut.empty & dut.i.ready))]

        if self.invariants:
            # Toggles, in the order in which they follow each other.
            sent, taken, room_seen = forth.launched, back.launched, back.second
            ring = [sent, forth.arrived, forth.first, forth.second, taken, back.arrived, back.first, room_seen]
            facts = [(behind == room_seen) | (before != room_seen) for before, behind in pairwise(ring)]
            # Words: in the register, and on offer.
            held = sent != taken
            facts += [level == held + dut.o.valid, ~picked | (ahead < level),
                      ~(picked & (ahead == dut.o.valid)) | (word_wires.register == word)]
            # Read edges since `sent` has arrived.
            facts += [~(held & (forth.first == sent)) | (edges >= 1), ~(held & (forth.second == sent)) | (edges >= 2)]
            # Progress.
            for count, wire in ((offers, forth), (room, back)):
                facts += [(count < 1) | ~wire.there | (wire.first == wire.launched),
                          (count < 2) | ~wire.there | (wire.second == wire.launched)]
            m.d.comb += [Assert(fact) for fact in facts]
        return m


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
        with m.If(again & ~self.o.valid):
            m.d[self._r_domain] += self.o.valid.eq(1)
        return m


class Early(ClockCrossing):
    """Lets a word go once it has been announced, before it is captured."""
    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.submodules.back.i = m.submodules.forth.o
        return m


class Hasty(ClockCrossing):
    """Calls itself empty on the cycle after it has taken a word."""
    def elaborate(self, platform):
        m = super().elaborate(platform)
        counted = Signal()
        m.d[self._w_domain] += counted.eq(self.i.ready)
        m.d.comb += [self.i.ready.eq(m.submodules.forth.i == m.submodules.back.o),
                     self.empty.eq(self.i.ready | counted)]
        return m


def test_the_shipped_crossing(tmp_path):
    contract = Contract(ClockCrossing, invariants=True)
    assert holds(contract, contract.ports, tmp_path, platform=contract.instants)


@pytest.mark.parametrize("kind, slack", [(Overrun, SLACK), (Stuck, SLACK), (Doubling, SLACK), (Early, SLACK),
                                         (Hasty, SLACK), (ClockCrossing, SLACK + 1)])
def test_faults_are_found(kind, slack, tmp_path):
    """The last one: bits of the word that are in transit when it is captured, which a simulation does not find."""
    contract = Contract(kind, slack=slack, invariants=False)
    assert not holds(contract, contract.ports, tmp_path, platform=contract.instants, refute=20)
