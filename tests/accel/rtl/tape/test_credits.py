"""Room in a ring, and what is there in it."""
import random

import pytest

from accel.rtl.tape.credits import Credits
from tests.accel.simulate import run_cycles


def run(dut, inputs, *, wanted):
    """(room, there), a string each with "1" where they are up. inputs: such a string for each input. wanted: a number
    for each cycle, the last one from then on."""
    def stimulus(ctx, cycle):
        for name, pulses in inputs.items():
            ctx.set(getattr(dut, name), pulses[cycle] == "1")
        ctx.set(dut.wanted, wanted[min(cycle, len(wanted) - 1)])
    cycles, = set(map(len, inputs.values()))
    seen = run_cycles(dut, stimulus, lambda ctx, cycle: [ctx.get(dut.room), ctx.get(dut.there)], cycles)
    return ["".join(".1"[bit] for bit in column) for column in seen.T]


def test_room_follows_in_two_cycles_and_in_three_what_is_free():
    """A reservation, a unit that is free, and another size of the next block."""
    #                                                         01234567890
    room, _ = run(Credits(capacity=2), {"reserve":           "..1.1......",
                                        "free":              ".......1..."}, wanted=[1])
    assert room ==                                           ".11111....1"
    room, _ = run(Credits(capacity=4, largest=3), {"reserve": "..1........"}, wanted=[3] * 6 + [1])
    assert room ==                                           ".111...1111"


@pytest.mark.parametrize("units, room", [(6, "."), (5, "1")])
def test_a_full_ring_has_no_room_and_one_that_lacks_a_unit_has(units, room):
    seen, _ = run(Credits(capacity=6, largest=6), {"reserve": "..1........"}, wanted=[units] * 3 + [1])
    assert seen[4:] == 7 * room


def test_what_is_there_follows_in_a_cycle_and_in_two_what_is_taken():
    #                                                         0123456789
    _, there = run(Credits(capacity=4), {"credit":           "1..11.....",
                                         "taken":            ".1...11..."}, wanted=[1])
    assert there ==                                          ".11.1111.."


def test_taken_and_credited_at_once():
    #                                                         0123456789
    _, there = run(Credits(capacity=4), {"credit":           "1111......",
                                         "taken":            "..111.1..."}, wanted=[1])
    assert there ==                                          ".1111111.."


def test_rewind_leaves_an_empty_ring():
    """Whatever else happens in its cycle."""
    #                                                         0123456789
    room, there = run(Credits(capacity=2), {"reserve":       "..11..1...",
                                            "credit":        "...11.1...",
                                            "free":          "......1...",
                                            "rewind":        "......1..."}, wanted=[1])
    assert (room, there) == (                                ".1111...11",
                                                             "....111...")


@pytest.mark.parametrize("capacity, largest", [(1, 1), (3, 1), (8, 1), (8, 8), (12, 5)])
def test_random(capacity, largest):
    """As a distributor and a reader use it: nothing is reserved without room, nothing taken that is not there."""
    chance, dut = random.Random(capacity), Credits(capacity=capacity, largest=largest)
    used, unread = [0], 0               # units, of each cycle; taken and not yet free
    freed, since_taken = 0, 2           # whether a unit was free in the cycle before; cycles since a block was taken
    reserved, there = [], []            # sizes of blocks that come, and that are there
    wanted, age = largest, 0            # age: cycles since the last reservation

    def stimulus(ctx, cycle):
        nonlocal wanted, age, unread, freed, since_taken
        ctx.set(dut.wanted, wanted)
        assert since_taken < 2 or ctx.get(dut.there) == bool(there)
        room = age >= 2 and ctx.get(dut.room)
        assert age < 2 or room == (used[-2] + wanted <= capacity)
        reserve, credit = room and chance.random() < 0.6, reserved and chance.random() < 0.4
        taken, free = since_taken >= 2 and there and chance.random() < 0.4, unread and chance.random() < 0.5
        for name, value in (("reserve", reserve), ("credit", credit), ("taken", taken), ("free", free)):
            ctx.set(getattr(dut, name), bool(value))
        used.append(used[-1] + bool(reserve) * wanted - freed)
        freed, since_taken = int(bool(free)), 1 if taken else since_taken + 1
        age, unread = age + 1, unread - freed
        if taken:
            unread += there.pop(0)
        if credit:
            there.append(reserved.pop(0))
        if reserve:
            reserved.append(wanted)
            wanted, age = chance.randrange(1, largest + 1), 0
    run_cycles(dut, stimulus, lambda ctx, cycle: 0, 2000)
    assert max(used) == capacity and used.count(capacity) > 5
