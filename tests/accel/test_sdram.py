"""The SDRAM's timing in cycles; that the controller keeps it, and the schedule, have tests of their own."""
from dataclasses import replace
from fractions import Fraction

import pytest

from accel.sdram import BANKS, CHUNKS, COLUMNS, ROWS, SdramTiming

# ns
SHEET = {"rcd": 21, "rp": 21, "ras": 49, "rc": 70, "rfc": 70, "rrd": 14, "wr": 20, "power_up": 200_000}


def test_32_megabytes():
    assert CHUNKS == BANKS * ROWS == 1 << 15
    assert 2 * COLUMNS * CHUNKS == 32 << 20


def test_at_the_clocks_of_boards():
    assert SdramTiming.of(125_000_000) == SdramTiming(
        rcd=3, rp=3, ras=7, rc=9, rfc=9, rrd=2, wr=3, mrd=2, refresh_interval=976, power_up=25_000)
    assert SdramTiming.of(Fraction(131_250_000)) == SdramTiming(
        rcd=3, rp=3, ras=7, rc=10, rfc=10, rrd=2, wr=3, mrd=2, refresh_interval=1025, power_up=26_250)


@pytest.mark.parametrize(
    "hz", [25_000_000, 99_999_999, 100_000_000, 143_000_000, Fraction(400_000_000, 3), 166_000_000])
def test_waits_are_rounded_up_and_the_refresh_interval_down(hz):
    timing, period = SdramTiming.of(hz), Fraction(10**9) / hz
    for name, ns in SHEET.items():
        cycles, shortest = getattr(timing, name), {"rcd": 2, "rp": 2, "rfc": 4}.get(name, 1)
        assert cycles * period >= ns and (cycles == shortest or (cycles - 1) * period < ns), name
    assert timing.refresh_interval * period <= 7812 < (timing.refresh_interval + 1) * period
    assert 8192 * timing.refresh_interval * period <= 64_000_000
    assert timing.mrd == 2


@pytest.mark.parametrize("name, least", [("rcd", 2), ("rp", 2), ("rfc", 4), ("mrd", 2)])
def test_what_the_controller_cannot_do_is_refused(name, least):
    timing = SdramTiming.of(125_000_000)
    assert getattr(replace(timing, **{name: least}), name) == least
    with pytest.raises(ValueError, match=f"{name} must be at least {least} cycles, not {least - 1}"):
        replace(timing, **{name: least - 1})
