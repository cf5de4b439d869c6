"""A simulated board as a serial port, with faults on the way to it on request."""
from fractions import Fraction

from sim.board import BoardSimulator

__all__ = ["BoardPort"]

CYCLES_A_READ = 20_000
CYCLES_A_SECOND = 1_000_000
CORE_RATIO = Fraction(1009, 1008)           # as few cycles of the core as its pictures allow, in every phase


class BoardPort:
    """Reads and writes as pyserial does. fault: function bytes -> bytes, applied to what the host writes, once.

    Its time is the board's: a busy machine lets no host time out.
    """

    def __init__(self, library, *, core_ratio=CORE_RATIO, **options):
        self.board = BoardSimulator(library, core_ratio=core_ratio, **options)
        self._said, self.fault = bytearray(), None

    def write(self, octets):
        if self.fault:
            octets, self.fault = self.fault(octets), None
        self._said += self.board.exchange(octets, 0)

    def read(self, count):
        if not self._said:
            self._said += self.board.exchange(b"", CYCLES_A_READ)
        octets = bytes(self._said[:count])
        del self._said[:count]
        return octets

    def now(self):
        """Seconds, of a million cycles each."""
        return self.board.line.cycle / CYCLES_A_SECOND

    @property
    def in_waiting(self):
        return len(self._said)

    def close(self):
        pass
