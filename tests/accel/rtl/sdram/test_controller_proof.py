# amaranth: UnusedElaboratable=no
"""No command of the controller is sooner than the chip allows, in runs of any length, with any requests: a proof."""
from dataclasses import replace

import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from accel.rtl.sdram.controller import SdramController
from accel.sdram import COLUMNS, SdramTiming
from tests.accel.rtl.proof import holds

FAST = SdramTiming.of(131_250_000)
MANY = 31                           # cycles: more than any wait
DEPTH = 14                          # cycles: more than any wait of FAST takes


class Contract(Elaboratable):
    """The rules of `timing`, for what `controller` decides, in one bank that is any of the four."""
    def __init__(self, controller, timing):
        self.controller, self.timing = controller, timing
        self.any_bank = Signal(2)

    def elaborate(self, platform):
        m = Module()
        dut, cycles = self.controller, self.timing
        m.submodules.controller = inner = dut.elaborate(platform)
        inside = {signal.name: signal for signal in inner._driving}
        activate, read, write, precharge, refresh, mode, last_read = (inside[name] for name in (
            "activate", "read", "write", "precharge", "refresh", "mode", "last_read"))
        power_up, closed, opened, reading, writing, leaving, line = (inside[name] for name in (
            "power_up", "closed", "opened", "reading", "writing", "leaving", "line"))
        held, is_write, same, chunk, column, bank, last, near, slot, open_next = (inside[name] for name in (
            "held", "is_write", "same", "chunk", "column", "bank", "last", "near", "slot", "open_next"))
        opening = Cat(*(signal for name, signal in inside.items() if name.startswith("rcd_")), opened)

        # The bank, for ever the same
        watched, first = Signal(2), Signal(init=1)
        m.d.sync += [first.eq(0), watched.eq(self.any_bank)]
        m.d.comb += Assume(first | (watched == self.any_bank))
        b = self.any_bank
        chunk_here, bank_here = chunk[:2] == b, bank == b

        def since(pulse, *, short=0):
            """Cycles since the last pulse, less `short`; many at the start."""
            count = Signal(range(MANY + 1), init=MANY)
            m.d.sync += count.eq(Mux(pulse, 1 - short, Mux(count == MANY, MANY, count + 1)))
            return count
        since_activate, since_read, since_refresh = since(activate), since(read), since(refresh)
        since_mode, since_activate_here = since(mode), since(activate & chunk_here)
        since_write_here = since(write & chunk_here)
        # A READ precharges its row from the cycle after it on.
        since_precharge, since_last_read_here = since(precharge), since(last_read & bank_here, short=1)
        open_here = Signal()
        with m.If(precharge | last_read & bank_here):
            m.d.sync += open_here.eq(0)
        with m.If(activate & chunk_here):
            m.d.sync += open_here.eq(1)

        precharged = (since_precharge >= cycles.rp) & (since_last_read_here >= cycles.rp)

        def must(condition, then):
            m.d.comb += Assert(~Value.cast(condition).bool() | Value.cast(then).bool())

        # Rules
        must(read & bank_here, open_here & (since_activate_here >= cycles.rcd))
        must(write & chunk_here, open_here & (since_activate_here >= cycles.rcd))
        must(activate & chunk_here, ~open_here & precharged & (since_activate_here >= cycles.rc))
        must(activate, since_activate >= cycles.rrd)
        must(precharge & open_here, (since_activate_here >= cycles.ras) & (since_write_here >= cycles.wr))
        must(last_read & bank_here, since_activate_here + 1 >= cycles.ras)
        must(refresh | mode, ~open_here & precharged)
        must(activate | precharge | refresh | mode | read | write,
             (since_refresh >= cycles.rfc) & (since_mode >= cycles.mrd))
        must(write, since_read >= 5)
        m.d.comb += Assert(activate + read + write + precharge + refresh + mode <= 1)

        # What holds besides, and makes them hold in the next cycle
        tokens = [power_up, precharge, *line, closed, *opening, writing, *leaving]
        must(~reading, sum(tokens) == 1)
        must(reading, ~Cat(power_up, precharge, closed, writing, leaving).any())
        must(reading & line.any(), (column < cycles.rp) & (line == C(1 << cycles.rp - 1, len(line)) >> column))
        must(reading, sum([open_next, *opening]) <= 1)
        must(opening.any(), held & dut.ready)
        must(open_next, held & dut.ready & slot & (chunk[:2] != bank))
        must(reading & opening.any(), (column >= COLUMNS - cycles.rcd) & ~is_write & (chunk[:2] != bank))
        must(reading & held, ~is_write)
        must(reading, dut.ready)
        must(~dut.ready, ~held)
        must(near | slot | last, reading)
        must(near, column == COLUMNS - cycles.rcd)
        must(slot, column == COLUMNS - cycles.rcd + 1)
        must(reading, last == (column == COLUMNS - 1))
        must(writing, dut.ready)
        must(writing & (~held | same), chunk[:2] == bank)
        must(held & same, is_write)
        must(leaving.any(), (dut.ready) & (open_here == bank_here))
        must(closed | power_up & ~first, ~open_here)
        must(closed, precharged & (since_refresh >= cycles.rfc) & (since_mode >= cycles.mrd)
             & (since_activate_here >= cycles.rc) & (since_activate >= cycles.rrd) & (since_read >= cycles.rp + 1))
        must(writing, (open_here == bank_here) & (~bank_here | (since_activate_here >= cycles.rcd)) & (since_read >= 5))
        age_of_row = Mux(column < MANY - cycles.rcd, column + cycles.rcd, MANY)
        must(reading & bank_here, open_here & (since_activate_here >= age_of_row))
        must(reading & ~opening.any(), since_activate >= age_of_row)
        must(reading | writing, (since_refresh >= cycles.rfc) & (since_mode >= cycles.mrd))
        must(reading & ~bank_here, open_here == (chunk_here & opening.any()))
        return m


def proved(timing, folder):
    """Whether the controller for FAST keeps the rules of `timing`."""
    dut = SdramController(FAST)
    contract = Contract(dut, timing)
    inputs = [dut.reads.valid, dut.reads.payload, dut.writes.valid, dut.writes.payload.as_value(), dut.restart,
              dut.port.dq_i, contract.any_bank]
    return holds(contract, inputs, folder, depth=DEPTH)


@pytest.mark.synth
def test_no_command_is_too_soon(tmp_path):
    assert proved(FAST, tmp_path)


@pytest.mark.synth
@pytest.mark.parametrize("field, cycles", [
    ("rcd", 4), ("rp", 4), ("ras", 8), ("rc", 11), ("rfc", 11), ("wr", 6), ("mrd", 3)])
def test_a_rule_that_the_controller_does_not_keep_is_not_proved(field, cycles, tmp_path):
    """A cycle more than it takes."""
    with pytest.raises(AssertionError):
        proved(replace(FAST, **{field: cycles}), tmp_path)
