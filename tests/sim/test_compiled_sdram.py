"""The SDRAM chip of compiled simulators: each rule of the data sheets to the cycle, what it remembers, what it says."""
import random
from collections import Counter
from dataclasses import replace

import pytest

from accel.sdram import SdramTiming
from accel.timing import SDRAM_READ
from sim.sdram_chip import SdramChip, SdramViolation

from .compiled_chip import NOP, CompiledChip, pins

pytestmark = pytest.mark.cxx
# All different, so that no rule hides another.
TIMING = SdramTiming(rcd=4, rp=5, ras=9, rc=17, rfc=19, rrd=3, wr=6, mrd=2, refresh_interval=500, power_up=60)
A10 = 1 << 10
PADS = 1                # cycles from the port to the chip
MODE = 0x30
ALL = pins("PRECHARGE", 0, A10)


def at(*commands):
    """Cycles of pins up to the last of (cycle, pins)."""
    shown = dict(commands)
    return [shown.get(cycle, NOP) for cycle in range(max(shown) + 1)]


def awake(timing=TIMING):
    """Cycles that initialize a chip; the next one may hold any command."""
    first = timing.power_up
    refreshes = [(first + timing.rp + timing.rfc * k, pins("REFRESH")) for k in range(8)]
    mode = refreshes[-1][0] + timing.rfc
    return at((first, ALL), *refreshes, (mode, pins("MODE", 0, MODE)), (mode + timing.mrd - 1, NOP))


def run(*commands, timing=TIMING):
    """dq_i of an initialized chip, from the cycle on in which (cycle 0) the commands begin."""
    chip, before = CompiledChip(timing), awake(timing)
    try:
        return chip.run(before + at(*commands, (commands[-1][0] + PADS, NOP)))[len(before):]
    finally:
        chip.close()


def broken(rule, cycle):
    """Pattern of what is said of a rule that was broken in that cycle of an initialized chip's port."""
    return rf"^SDRAM, cycle {len(awake()) + cycle + PADS}: {rule}: "


ROW = pins("ACTIVATE", 1, 77)
OTHER = pins("ACTIVATE", 2, 78)
READ, READ_LAST = pins("READ", 1, 5), pins("READ", 1, 5 | A10)
WRITE, WRITE_LAST = pins("WRITE", 1, 5, 9), pins("WRITE", 1, 5 | A10, 9)
CLOSE = pins("PRECHARGE", 1)
REFRESH = pins("REFRESH")
EXACT = [       # (rule, commands before, the command, the first cycle in which it may come)
    ("tRCD", [(0, ROW)], READ, 4),
    ("tRCD", [(0, ROW)], WRITE, 4),
    ("tRAS", [(0, ROW)], CLOSE, 9),
    ("tRAS", [(0, ROW)], ALL, 9),
    ("tRAS", [(0, ROW)], READ_LAST, 8),
    ("tRP", [(0, ROW), (13, CLOSE)], ROW, 18),
    ("tRP", [(0, ROW), (13, CLOSE)], REFRESH, 18),
    ("tRP", [(0, ROW), (13, CLOSE)], pins("MODE", 0, MODE), 18),
    ("tRP", [(0, ROW), (20, READ_LAST)], ROW, 26),
    ("bank state", [(0, ROW), (20, READ_LAST)], CLOSE, 26),
    ("bank state", [(0, ROW), (20, CLOSE)], ALL, 25),
    ("tRP", [(0, ROW), (20, WRITE_LAST)], ROW, 31),
    ("tRC", [(0, ROW), (9, CLOSE)], ROW, 17),
    ("tRRD", [(0, ROW)], OTHER, 3),
    ("tWR", [(0, ROW), (20, WRITE)], CLOSE, 26),
    ("tWR", [(0, ROW), (20, WRITE)], ALL, 26),
    ("tRFC", [(0, REFRESH)], REFRESH, 19),
    ("tRFC", [(0, REFRESH)], ROW, 19),
    ("tMRD", [(0, pins("MODE", 0, MODE))], ROW, 2),
    ("bus contention", [(0, ROW), (20, READ)], WRITE, 25),
]


@pytest.mark.parametrize("rule, before, command, cycle", EXACT)
def test_a_wait_is_asked_for_to_the_cycle(rule, before, command, cycle):
    run(*before, (cycle, command))
    with pytest.raises(SdramViolation, match=broken(rule, cycle - 1)):
        run(*before, (cycle - 1, command))


STATES = [      # (rule, commands)
    ("bank state", [(0, READ)]),
    ("bank state", [(0, WRITE)]),
    ("bank state", [(0, ROW), (20, READ_LAST), (40, READ)]),
    ("bank state", [(0, ROW), (20, CLOSE), (40, READ)]),
    ("bank state", [(0, ROW), (40, pins("READ", 2, 5))]),
    ("bank state", [(0, ROW), (40, ROW)]),
    ("bank state", [(0, ROW), (40, REFRESH)]),
    ("bank state", [(0, ROW), (40, pins("MODE", 0, MODE))]),
    ("data", [(0, ROW), (40, pins("WRITE", 1, 5))]),
    ("address", [(0, ROW), (40, pins("READ", 1, 512))]),
    ("address", [(0, ROW), (40, pins("READ", 1, 1 << 11))]),
    ("command", [(0, ROW), (40, pins("BURST STOP"))]),
    ("mode", [(0, pins("MODE", 0, 0x20))]),                    # CAS 2
    ("mode", [(0, pins("MODE", 0, 0x33))]),                    # bursts of eight words
    ("mode", [(0, pins("MODE", 2, MODE))]),
]


@pytest.mark.parametrize("rule, commands", STATES)
def test_a_command_that_the_state_forbids(rule, commands):
    with pytest.raises(SdramViolation, match=broken(rule, commands[-1][0])):
        run(*commands)


AWAKE = 65 + 7 * 19     # the last of eight REFRESHes
EIGHT = [(60, ALL), *((65 + 19 * k, REFRESH) for k in range(8))]
EARLY = [       # (rule, commands from power-up on; the chip sees them a cycle later)
    ("power-up", [(58, ALL)]),
    ("power-up", [(1, REFRESH)]),
    ("initialization", [(59, REFRESH)]),
    ("initialization", [(59, pins("PRECHARGE", 0)), (70, REFRESH)]),
    ("initialization", [(59, pins("MODE", 0, MODE))]),
    ("tRP", [(60, ALL), (64, REFRESH)]),
    ("tRFC", [*EIGHT[:-1], (AWAKE - 1, REFRESH)]),
    ("initialization", [*EIGHT[:-1], (AWAKE, pins("MODE", 0, MODE))]),
    ("initialization", [*EIGHT, (AWAKE + 19, ROW)]),
    ("tMRD", [*EIGHT, (AWAKE + 19, pins("MODE", 0, MODE)), (AWAKE + 20, ROW)]),
]


@pytest.mark.parametrize("rule, commands", EARLY)
def test_initialization_has_an_order(rule, commands):
    chip, last = CompiledChip(TIMING), commands[-1][0]
    with pytest.raises(SdramViolation, match=rf"^SDRAM, cycle {last + PADS}: {rule}: "):
        chip.run(at(*commands, (last + PADS, NOP)))
    chip.close()


def test_eight_refreshes_may_be_owed():
    """Until the ninth is; from the mode on, which came mrd cycles before."""
    interval = TIMING.refresh_interval
    owed = 9 * interval - TIMING.mrd

    def refuses(cycle, *commands):
        run(*commands, (cycle - PADS - 1, NOP))
        with pytest.raises(SdramViolation, match=broken("refresh", cycle - PADS) + "more than 8 refreshes are owed$"):
            run(*commands, (cycle - PADS, NOP))
    refuses(owed + PADS)
    # Each refresh pays for an interval; none can be paid ahead.
    refuses(owed + PADS + 3 * interval, *((owed - 60 + 20 * k, REFRESH) for k in range(3)))
    refuses(220 + PADS + 9 * interval, *((20 * k, REFRESH) for k in range(12)))


def test_the_first_violation_is_told():
    with pytest.raises(SdramViolation) as violation:
        run((0, ROW), (2, READ), (3, CLOSE))
    assert (violation.value.rule, violation.value.cycle) == ("tRCD", len(awake()) + 2 + PADS)
    assert str(violation.value).endswith("tRCD: READ of bank 1 after 2 cycles, not 4")


def test_a_word_comes_with_the_delay_of_the_pads():
    words = [pins("WRITE", 1, 100 + k, 0x1000 + k) for k in range(4)]
    reads = [pins("READ", 1, 100 + k) for k in (2, 0, 3)]
    dq_i = run((0, ROW), *zip(range(10, 14), words, strict=True), *zip(range(20, 23), reads, strict=True), (40, NOP))
    expected = [0x9E37 * (len(awake()) + cycle - 1) % 0x10000 for cycle in range(len(dq_i))]        # noise else
    expected[20 + SDRAM_READ:23 + SDRAM_READ] = [0x1002, 0x1000, 0x1003]
    assert dq_i == expected


def test_a_word_has_one_address():
    """Random words in random places, each written and read several times."""
    rng = random.Random(3)
    chip, known = CompiledChip(replace(TIMING, refresh_interval=10**6)), {}
    chip.run(awake())
    for _ in range(3000):
        place = bank, row, column = rng.randrange(4), rng.choice((0, 1, 4095, 8191)), rng.choice((0, 1, 511))
        word = rng.getrandbits(16)
        shown = at((0, pins("ACTIVATE", bank, row)), (10, pins("READ", bank, column)),
                   (20, pins("WRITE", bank, column, word)), (30, pins("PRECHARGE", bank)), (35, NOP))
        assert chip.run(shown)[10 + SDRAM_READ] == known.get(place, 0)
        known[place] = word
    for (bank, row, column), word in known.items():
        assert chip.sdram.memory[4 * row + bank, column] == word
    cycles = len(awake()) + 36 * 3000
    assert chip.sdram.cycle == cycles
    assert chip.sdram.commands == {"READ": 3000, "WRITE": 3000, "ACTIVATE": 3000, "PRECHARGE": 3001, "REFRESH": 8,
                                   "MODE": 1, "BURST STOP": 0, "NOP": cycles - 12_010}
    chip.close()


def test_words_change_by_themselves():
    """Before the command of that cycle, and for good."""
    chip = CompiledChip(TIMING)
    start = len(awake())
    chip.sdram.memory[4 * 77 + 1, 5] = 0x00F0
    chip.sdram.flip((start + 30 + PADS, 4 * 77 + 1, 5, 0x8000), (start + 20 + PADS, 4 * 77 + 1, 5, 0x0001))
    dq_i = chip.run(awake() + at((0, ROW), *((cycle, READ) for cycle in range(15, 35)), (60, NOP)))[start + SDRAM_READ:]
    assert dq_i[15:35] == 5 * [0x00F0] + 10 * [0x00F1] + 5 * [0x80F1]
    chip.sdram.flip((start + 70, 4 * 77 + 1, 5, 0x80F1))
    assert chip.run(at((10, READ), (20, NOP)))[10 + SDRAM_READ] == 0
    chip.close()


def test_a_chip_needs_its_timing():
    with pytest.raises(ValueError, match="the design has an SDRAM, so its timing is needed"):
        CompiledChip(None)


def python_chip(shown):
    """(dq_i of each cycle, the violation or None) of the chip in Python, with the registers of the pads."""
    chip, pads, dq_i, visible = SdramChip(TIMING), NOP, [], 0
    for levels in shown:
        dq_i.append(visible)
        try:
            word = chip.clock(*pads)
        except SdramViolation as violation:
            return dq_i, violation
        visible = chip.cycle * 0x9E37 % 0x10000 if word is None else word
        pads = levels
    return dq_i, None


def random_commands(rng):
    """Cycles of pins after those of `awake` that keep most rules most of the time, and one of them not, sooner or
    later."""
    shown, rows, due, forgetful = [], {}, 0, rng.random() < 0.1
    slow, haste = rng.choice((6, 12, 20)), rng.choice((0, 0.01, 0.1))
    wait = {"ACTIVATE": TIMING.rcd, "READ": 1, "WRITE": 1, "PRECHARGE": TIMING.rp, "REFRESH": TIMING.rfc,
            "MODE": TIMING.mrd, "BURST STOP": 1}
    for _ in range(300):
        bank, a10 = rng.randrange(4), A10 * (rng.random() < 0.1)
        due += not forgetful
        if rng.random() < 0.003:
            command, bank, address = rng.choice([*wait]), bank, rng.choice((0, MODE, 600))
        elif due > 20 and rows:
            command, address = "PRECHARGE", A10
        elif due > 20:
            command, address, due = "REFRESH", 0, 0
        elif bank not in rows:
            command, address = "ACTIVATE", rng.randrange(2)
        elif rng.random() < 0.2:
            command, address = "PRECHARGE", a10
        else:
            command, address = rng.choice(("READ", "WRITE")), rng.randrange(3) | a10
        shown.append(pins(command, bank, address, rng.getrandbits(16) if command == "WRITE" else None))
        if command == "ACTIVATE":
            rows[bank] = address
        elif address & A10 and command == "PRECHARGE":
            rows.clear()
        elif command == "PRECHARGE" or address & A10:
            rows.pop(bank, None)
        pause = rng.randrange(wait[command] + 3) if rng.random() < haste else wait[command] + slow
        shown += [NOP] * (pause - 1)
    return shown


def test_two_models_of_the_chip_agree():
    """Random commands, at the edge of what is allowed: the same words until the same rule is broken in the same cycle.
    """
    rules = Counter()
    for seed in range(400):
        shown, chip = awake() + random_commands(random.Random(seed)), CompiledChip(TIMING)
        for chunk in (4 * row + bank for row in (0, 1, MODE, 600) for bank in range(4)):
            chip.sdram.memory[chunk] = SdramChip(TIMING).row(chunk)         # the same noise
        expected, violation = python_chip(shown)
        try:
            assert chip.run(shown) == expected
            assert violation is None
        except SdramViolation as found:
            assert (found.cycle, found.rule) == (violation.cycle, violation.rule), seed
        rules[violation and violation.rule] += 1
        chip.close()
    assert {rule for rule, count in rules.items() if count > 5} >= {
        None, "tRP", "tRRD", "tRCD", "tRFC", "tRAS", "tWR", "bank state", "bus contention", "refresh", "command"}, rules
