"""The SDRAM beside the core: its shape, its timing in cycles of the core's clock.

Figures hold for every part in use: IS42S16160G-7, MT48LC16M16A2-6A, M12L2561616A, AS4C32M16SB-7 (its upper half of
columns is left alone). The memory is `CHUNKS` chunks of `COLUMNS` words of 16 bits; a chunk is a row of a bank:

    bank = chunk % BANKS        row = chunk // BANKS        column = word of the chunk
"""
from dataclasses import dataclass
from fractions import Fraction

from . import timing

__all__ = ["BANKS", "CAS", "CHUNKS", "COLUMNS", "MAX_POSTPONED", "REFRESH_BATCH", "ROWS", "SdramSchedule",
           "SdramTiming"]

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


class SdramSchedule:
    """When `accel.rtl.sdram.controller.SdramController` does what, to the cycle, while chunks are read.

    timing : SdramTiming, the controller's. Cycle 0 is the one of its `restarted`.
    """
    def __init__(self, timing):
        self.timing = timing
        self.restart()

    def restart(self):
        """To cycle 0."""
        self._taken_from = 0                            # a request may be taken
        self._closed = 0                                # all rows are closed from this cycle on, if none is read
        self._first = None                              # decision of the first READ of the row that is read
        self._refreshes = 0                             # that were done

    def read(self, valid_at, *, same_bank=False):
        """A chunk that is on offer from cycle `valid_at` on; requests come in order. same_bank: it lies in the bank of
        the chunk before. Returns the cycles in which its request is taken, its first word comes and its last one.
        """
        cycles = self.timing
        taken = max(valid_at, self._taken_from)
        known = taken + 1                               # the request is where it is decided upon
        if self._first is not None:
            decided = self._first + COLUMNS - cycles.rcd
            in_time = known <= decided < self._due() and not same_bank
            self._closed = self._first + COLUMNS + 1 + cycles.rp
        if self._first is not None and in_time:
            self._first += COLUMNS + 1
        else:
            self._first = self._opened(known) + cycles.rcd
        self._taken_from = self._first
        first_word = self._first + 1 + timing.SDRAM_WORD
        return taken, first_word, first_word + COLUMNS

    def restarted(self, begin):
        """The cycle of `restarted`, with `restart` up from cycle `begin` on, behind all reads. No call may follow."""
        if self._first is not None:
            self._closed, self._first = self._first + COLUMNS + 1 + self.timing.rp, None
        interval = self.timing.refresh_interval
        owed, refresh = REFRESH_BATCH + 1, self._opened(begin) + 1
        ticks = refresh // interval                     # intervals that ended before they count again
        while owed:
            owed += (refresh + 1) // interval - ticks - 1
            ticks = (refresh + 1) // interval
            refresh += self.timing.rfc
        return refresh + 1

    def _due(self):
        """The cycle in which refreshes are due, unless some are done before."""
        return (self._refreshes + REFRESH_BATCH) * self.timing.refresh_interval + 1

    def _opened(self, known):
        """The cycle in which ACTIVATE is decided upon, after all rows were closed."""
        cycle = self._closed
        while max(cycle, known) >= self._due():
            cycle, owed = max(cycle, self._due()), True
            while owed:
                self._refreshes += 1
                owed = (cycle + 1) // self.timing.refresh_interval > self._refreshes
                cycle += self.timing.rfc
        self._closed = cycle
        return max(cycle, known)
