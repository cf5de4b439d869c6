"""The model of the SDRAM chip: data, and that it stops at whatever a data sheet forbids."""
import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from amaranth.sim import Simulator

from accel import timing
from accel.rtl.sdram.port import SdramPort
from accel.sdram import SdramTiming
from sim.sdram_chip import SdramChip, SdramViolation

TIMING = SdramTiming(rcd=3, rp=4, ras=7, rc=12, rfc=10, rrd=2, wr=3, mrd=2, refresh_interval=100, power_up=20)
# (ras_n, cas_n, we_n)
PINS = {"NOP": (1, 1, 1), "ACT": (0, 1, 1), "READ": (1, 0, 1), "WRITE": (1, 0, 0), "PRE": (0, 1, 0), "REF": (0, 0, 1),
        "MODE": (0, 0, 0), "STOP": (1, 1, 0)}
ALL = 1 << 10
MODE = 0x30
REFRESHES = [("REF", 0, 0), 10] * 8
INITIALIZATION = [20, ("PRE", 0, ALL), 4, *REFRESHES, ("MODE", 0, MODE), 2]


def run(steps, chip=None):
    """steps: (command, bank, address[, word]), or a number: the next command comes so many cycles after the last one,
    or after the start. Returns the words that were driven, one a cycle or None, and the chip."""
    chip, driven = chip or SdramChip(TIMING), []
    for step in steps:
        if isinstance(step, int):
            driven += [chip.clock(*PINS["NOP"], 0, 0, 0, 0) for _ in range(step - (chip.cycle >= 0))]
        else:
            command, bank, address, *word = step
            drives = int(bool(word) or command == "WRITE")
            driven.append(chip.clock(*PINS[command], bank, address, word[0] if word else 0, drives))
    return driven, chip


def stopped(steps):
    with pytest.raises(SdramViolation) as caught:
        run(steps)
    return caught.value


def test_words_written_are_read_after_cas_cycles():
    chip = run([*INITIALIZATION, ("ACT", 2, 77), 3, *[("WRITE", 2, n, 1000 + n) for n in range(4)], 1])[1]
    driven, _ = run([("READ", 2, 3), ("READ", 2, 1), ("READ", 2, ALL | 2), 8], chip)
    assert driven == [None] * 3 + [1003, 1001, 1002] + [None] * 4
    assert chip.row(77 * 4 + 2)[:4].tolist() == [1000, 1001, 1002, 1003]
    driven, _ = run([("ACT", 2, 77), 3, ("READ", 2, 0), 4], chip)
    assert driven[-1] == 1000
    assert (chip.commands["READ"], chip.commands["WRITE"], chip.commands["ACTIVATE"]) == (4, 4, 2)


def test_rows_can_be_loaded_and_are_noise_before():
    chip = SdramChip(TIMING)
    assert len(set(chip.row(9).tolist())) > 400
    chip.row(9)[:] = range(512)
    driven, _ = run([*INITIALIZATION, ("ACT", 1, 2), 3, *[("READ", 1, n) for n in range(20)]], chip)
    assert driven[-17:] == list(range(17))


class Least(int):
    """A wait that is allowed; one cycle less is not."""


WAITS = {
    "power-up": [Least(20), ("PRE", 0, ALL)],
    "tRP": [*INITIALIZATION, ("ACT", 1, 5), 8, ("PRE", 1, 0), Least(4), ("ACT", 1, 5)],
    "tRP to REFRESH": [*INITIALIZATION, ("ACT", 1, 5), 8, ("PRE", 0, ALL), Least(4), ("REF", 0, 0)],
    "tRP to MODE": [*INITIALIZATION, ("ACT", 1, 5), 8, ("PRE", 0, ALL), Least(4), ("MODE", 0, MODE)],
    "tRP to the first REFRESH": [20, ("PRE", 0, ALL), Least(4), *REFRESHES],
    "tRP of a READ": [*INITIALIZATION, ("ACT", 1, 5), 8, ("READ", 1, ALL), Least(5), ("ACT", 1, 5)],
    "tRP of a WRITE": [*INITIALIZATION, ("ACT", 1, 5), 8, ("WRITE", 1, ALL), Least(7), ("ACT", 1, 5)],
    "tRFC": [*INITIALIZATION, ("REF", 0, 0), Least(10), ("ACT", 0, 0)],
    "tRFC to REFRESH": [*INITIALIZATION, ("REF", 0, 0), Least(10), ("REF", 0, 0)],
    "tRFC to MODE": [20, ("PRE", 0, ALL), 4, *REFRESHES[:-1], Least(10), ("MODE", 0, MODE)],
    "tMRD": [*INITIALIZATION[:-1], Least(2), ("ACT", 0, 0)],
    "tRCD": [*INITIALIZATION, ("ACT", 0, 0), Least(3), ("READ", 0, 0)],
    "tRCD to WRITE": [*INITIALIZATION, ("ACT", 0, 0), Least(3), ("WRITE", 0, 0)],
    "tRAS": [*INITIALIZATION, ("ACT", 0, 0), Least(7), ("PRE", 0, 0)],
    "tRAS of a READ": [*INITIALIZATION, ("ACT", 0, 0), Least(6), ("READ", 0, ALL)],
    "tRC": [*INITIALIZATION, ("ACT", 0, 0), 7, ("PRE", 0, 0), Least(5), ("ACT", 0, 1)],
    "tRRD": [*INITIALIZATION, ("ACT", 0, 0), Least(2), ("ACT", 1, 0)],
    "tWR": [*INITIALIZATION, ("ACT", 0, 0), 9, ("WRITE", 0, 0), Least(3), ("PRE", 0, 0)],
    "tWR to PRECHARGE of all": [*INITIALIZATION, ("ACT", 3, 0), 9, ("WRITE", 3, 0), Least(3), ("PRE", 0, ALL)],
}


@pytest.mark.parametrize("name", WAITS)
def test_waits(name):
    steps = WAITS[name]
    run(steps)
    error = stopped([step - 1 if isinstance(step, Least) else step for step in steps])
    assert error.rule == name.split()[0]
    assert f"cycle {error.cycle}: {error.rule}: " in str(error)


ROW = [*INITIALIZATION, ("ACT", 1, 5), 8]
WRONG = {
    "READ of a closed bank": ([*ROW, ("READ", 0, 0)], "bank state"),
    "WRITE of a closed bank": ([*ROW, ("WRITE", 2, 0)], "bank state"),
    "READ after its precharge": ([*ROW, ("READ", 1, ALL), ("READ", 1, 0)], "bank state"),
    "ACTIVATE of an open bank": ([*ROW, 20, ("ACT", 1, 6)], "bank state"),
    "REFRESH of an open bank": ([*ROW, ("REF", 0, 0)], "bank state"),
    "MODE of an open bank": ([*ROW, ("MODE", 0, MODE)], "bank state"),
    "PRECHARGE during one": ([*ROW, ("READ", 1, ALL), 3, ("PRE", 1, 0)], "bank state"),
    "WRITE into a word": ([*ROW, ("READ", 1, 0), 3, ("WRITE", 1, 0, 1)], "bus contention"),
    "WRITE right before a word": ([*ROW, ("READ", 1, 0), 2, ("WRITE", 1, 0, 1)], "bus contention"),
    "WRITE right after a word": ([*ROW, ("READ", 1, 0), 4, ("WRITE", 1, 0, 1)], "bus contention"),
    "column 512": ([*ROW, ("READ", 1, 512)], "address"),
    "column of a larger part": ([*ROW, ("WRITE", 1, 1 << 11, 1)], "address"),
    "burst length 2": ([*INITIALIZATION[:-2], ("MODE", 0, MODE | 1)], "mode"),
    "CAS 2": ([*INITIALIZATION[:-2], ("MODE", 0, 0x20)], "mode"),
    "extended mode": ([*INITIALIZATION[:-2], ("MODE", 2, MODE)], "mode"),
    "BURST STOP": ([*ROW, ("STOP", 0, 0)], "command"),
    "REFRESH before PRECHARGE": ([20, ("REF", 0, 0)], "initialization"),
    "PRECHARGE of one bank before REFRESH": ([20, ("PRE", 0, 0), 4, ("REF", 0, 0)], "initialization"),
    "7 REFRESH": ([20, ("PRE", 0, ALL), 4, *REFRESHES[2:], ("MODE", 0, MODE)], "initialization"),
    "ACTIVATE before MODE": ([*INITIALIZATION[:-2], ("ACT", 0, 0)], "initialization"),
    "no refresh": ([*INITIALIZATION[:-1], 901], "refresh"),
    "too few refreshes": ([*INITIALIZATION[:-1], 890, ("REF", 0, 0), 150], "refresh"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_sheet_forbids(name):
    steps, rule = WRONG[name]
    assert stopped(steps).rule == rule


def test_a_write_without_a_word():
    _, chip = run(ROW)
    with pytest.raises(SdramViolation, match="WRITE without a word"):
        chip.clock(*PINS["WRITE"], 1, 0, 0, 0)


def test_data_may_be_driven_a_cycle_after_the_word():
    run([*ROW, ("READ", 1, 0), 5, ("WRITE", 1, 0, 1)])
    run([*ROW, ("READ", 1, 0), 1, ("WRITE", 1, 0, 1)])


def test_refreshes_may_be_owed():
    run([*INITIALIZATION[:-1], 900])
    run([*INITIALIZATION[:-1], 890, *[("REF", 0, 0), 10] * 8, 700])


def test_early_refreshes_are_no_credit():
    early = [("REF", 0, 0), 10] * 20
    run([*INITIALIZATION, *early, 880])
    assert stopped([*INITIALIZATION, *early, 910]).rule == "refresh"


class Pins(wiring.Component):
    """A port that a testbench drives, and a register of what comes."""
    port: Out(SdramPort())
    word: Out(16)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.word.eq(self.port.dq_i)
        return m


def test_the_registers_of_the_pads():
    """In a simulation a READ has its word at the port `timing.SDRAM_READ` cycles later, for one cycle."""
    dut, seen = Pins(), []
    _, chip = run([*INITIALIZATION, ("ACT", 2, 5), 3])
    chip.row(5 * 4 + 2)[:] = 0x4242

    async def bench(ctx):
        for command, level in zip(("ras_n", "cas_n", "we_n"), PINS["READ"], strict=True):
            ctx.set(getattr(dut.port, command), level)
        ctx.set(dut.port.bank, 2)
        for cycle in range(12):
            seen.append(ctx.get(dut.port.dq_i))
            await ctx.tick()
            if cycle == 0:
                ctx.set(dut.port.cas_n, 1)

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_process(chip.process(dut.port))
    simulator.add_testbench(bench)
    simulator.run()
    assert [cycle for cycle, word in enumerate(seen) if word == 0x4242] == [timing.SDRAM_READ]
