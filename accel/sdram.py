"""The SDRAM beside the core: its shape, its timing in cycles of the core's clock.

Figures hold for every part in use: IS42S16160G-7, MT48LC16M16A2-6A, M12L2561616A, AS4C32M16SB-7 (its upper half of
columns is left alone). The memory is `CHUNKS` chunks of `COLUMNS` words of 16 bits; a chunk is a row of a bank:

    bank = chunk % BANKS        row = chunk // BANKS        column = word of the chunk
"""
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["BANKS", "CAS", "CHUNKS", "COLUMNS", "MAX_POSTPONED", "REFRESH_BATCH", "ROWS", "SdramTiming"]

ROWS = 8192
BANKS = 4
COLUMNS = 512
CHUNKS = ROWS * BANKS
CAS = 3                                             # cycles of a READ to its word, in the mode register
MAX_POSTPONED = 8                                   # refreshes that may be owed at any time
REFRESH_BATCH = 4                                   # refreshes that the controller lets add up

# ns, the slowest of all parts
_NANOSECONDS = {"rcd": 21, "rp": 21, "ras": 49, "rc": 70, "rfc": 70, "rrd": 14, "wr": 20}
_REFRESH_NANOSECONDS = 7_812
_POWER_UP_NANOSECONDS = 200_000
# Cycles that the controller takes between two commands anyway.
_SHORTEST = {"rcd": 2, "rp": 2, "rfc": 4, "mrd": 2}


@dataclass(frozen=True, kw_only=True)
class SdramTiming:
    """Cycles of a clock from one command to another.

    rcd: ACTIVATE to READ or WRITE of its row. rp: precharge to ACTIVATE or REFRESH. ras: ACTIVATE to precharge.
    rc: ACTIVATE to ACTIVATE of the same bank. rfc: REFRESH to the next command. rrd: ACTIVATE to ACTIVATE of another
    bank. wr: WRITE to precharge. mrd: MODE to the next command. refresh_interval: a REFRESH is owed so often.
    power_up: no command for so long. ValueError for an rcd, rp or mrd below 2, an rfc below 4.
    """
    rcd: int
    rp: int
    ras: int
    rc: int
    rfc: int
    rrd: int
    wr: int
    mrd: int = 2
    refresh_interval: int
    power_up: int

    def __post_init__(self):
        for name, shortest in _SHORTEST.items():
            if getattr(self, name) < shortest:
                raise ValueError(f"{name} must be at least {shortest} cycles, not {getattr(self, name)!r}")

    @classmethod
    def of(cls, clock_hz):
        """At a clock of `clock_hz` Hz (an integer or a Fraction): waits rounded up, the refresh interval down."""
        per_ns = Fraction(clock_hz) / 10**9

        def at_least(nanoseconds):
            return -int(-nanoseconds * per_ns // 1)
        return cls(**{name: max(at_least(ns), _SHORTEST.get(name, 1)) for name, ns in _NANOSECONDS.items()},
                   refresh_interval=int(_REFRESH_NANOSECONDS * per_ns), power_up=at_least(_POWER_UP_NANOSECONDS))
