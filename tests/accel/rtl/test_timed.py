# amaranth: UnusedElaboratable=no
"""A value at its cycle and at later ones: what comes back, when, and how many registers that takes."""
import numpy as np
import pytest
from amaranth import *
from amaranth.hdl import Fragment
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.rtl.timed import Timed
from tests.accel.simulate import run_cycles

PAIR = data.StructLayout({"number": signed(5), "flag": 1})


class Later(wiring.Component):
    """o[n] = i, in cycle first + n of a timeline on which i is in cycle `first`."""
    def __init__(self, *, first, count):
        self.first, self.count = first, count
        super().__init__({"i": In(8), "o": Out(8).array(count)})

    def elaborate(self, platform):
        m = Module()
        value = Timed(m, self.i, self.first, name="value")
        m.d.comb += [self.o[n].eq(value.at(self.first + n)) for n in range(self.count)]
        return m


@pytest.mark.parametrize("first", [-3, 0, 7])
def test_the_value_comes_as_many_cycles_later_as_asked_for(first):
    dut = Later(first=first, count=4)
    values = np.random.default_rng(1).integers(0, 256, 50)
    seen = run_cycles(dut, lambda ctx, cycle: ctx.set(dut.i, int(values[cycle])),
                      lambda ctx, cycle: [ctx.get(o) for o in dut.o], len(values))
    for n in range(4):
        np.testing.assert_array_equal(seen[n:, n], values[:len(values) - n])
        assert not seen[:n, n].any()


def registers(m):
    """Bits that the sync domain of `m` drives."""
    fragment = Fragment.get(m, None)
    return sum(len(signal) for statement in fragment.statements.get("sync", ()) for signal in statement._lhs_signals())


@pytest.mark.parametrize("asked", [[5], [1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 5, 5], [0, 5, 0]])
def test_registers_are_shared(asked):
    m = Module()
    value = Timed(m, Signal(8), 0, name="value")
    for cycle in asked:
        value.at(cycle)
    assert registers(m) == 5 * 8
    assert value.at(3) is value.at(3)


@pytest.mark.parametrize("cycle", [-4, 0, 9])
def test_in_its_own_cycle_it_is_itself(cycle):
    m, value = Module(), Signal(8)
    timed = Timed(m, value, cycle, name="value")
    assert timed.at(cycle) is value and timed.cycle == cycle
    assert registers(m) == 0


@pytest.mark.parametrize("made, asked", [(0, -1), (5, 4), (-2, -17)])
def test_the_past_is_refused_by_name(made, asked):
    m = Module()
    value = Timed(m, Signal(), made, name="token_first")
    with pytest.raises(ValueError, match=f"token_first is a value of cycle {made}, it cannot be had in cycle {asked}$"):
        value.at(asked)
    assert registers(m) == 0


def test_a_view_comes_back_as_a_view_and_a_sign_stays():
    m = Module()
    later = Timed(m, Signal(PAIR), 0, name="pair").at(2)
    assert isinstance(later, data.View) and data.Layout.cast(later.shape()) == PAIR
    assert later.number.shape() == signed(5)
    assert Timed(m, Signal(signed(3)), 0, name="number").at(1).shape() == signed(3)


def test_expressions_are_values_too():
    m, a, b = Module(), Signal(4), Signal(4)
    assert Timed(m, a + b, 0, name="sum").at(1).shape() == unsigned(5)
    assert len(Timed(m, Cat(a, b), 0, name="both").at(1)) == 8


def test_registers_carry_the_name():
    assert Timed(Module(), Signal(), 0, name="swap").at(2).name == "swap_2"
