"""When the words of a tape that is played are in the rings: the exact model of `accel.rtl.tape` and the SDRAM.

Cycle 0 is the first one of the program's counter. Before it the rings are as full as they get, and four chunks wait
behind them. From then on everything follows from when the core reads what, to the cycle: a word is taken a cycle after
the one before, or when its chunk is there, or when its block has room. So it does up to the start of the next picture,
in the middle of a program or of the next one: behind the tape's end comes its beginning, until a ring is full. Then the
rings are as full again as they get.
"""
import contextlib
import copy
import math
from collections import deque

from . import isa, tape, timing
from .sdram import BANKS, SdramSchedule, SdramTiming

__all__ = ["LoadedSchedule", "TapeSchedule", "tape_schedule"]

LONG_AGO = -math.inf
SLOTS = tape.SLOTS
NEARLY = tape.PAYLOAD_WORDS - timing.QUEUE_DEPTH    # words taken of a chunk, all others of which are on their way out
RESTARTED = -3                      # cycle in which the SDRAM's controller begins anew


def tape_schedule(image):
    """The schedule of what the core of `image` reads."""
    return LoadedSchedule() if image.resident else TapeSchedule(image.config, image.program)


class LoadedSchedule:
    """Of a net that is loaded once: everything is always there."""

    def instruction(self):
        return LONG_AGO

    def weights(self):
        return LONG_AGO

    def thresholds(self, count, bits):
        return LONG_AGO

    def instruction_taken(self, cycle):
        pass

    def weights_free(self, cycle):
        pass

    def thresholds_read(self, cycle, count):
        pass

    def next_picture(self, index, asked):
        return asked + timing.ASK


class TapeSchedule:
    """Of a net that is played. The methods are called in the order of the tape, each `..._taken`, `_free` and `_read`
    before what needs its room: the core cannot do otherwise. They return the first cycle in which what they name is
    there."""

    def __init__(self, config, program):
        self._config, self._instructions = config, program
        words = tape.words_of(isa.INSTRUCTION_BITS) * (1 + len(program))
        for word in program:
            _, count, bits = tape.operands_of(config, *isa.decode(word))
            words += count * tape.words_of(bits)
        self._chunks = -(-words // tape.PAYLOAD_WORDS)          # of the tape
        self._sdram = SdramSchedule(SdramTiming.of(config.sdram_hz))
        self._restarted = RESTARTED     # cycle in which the SDRAM's controller began anew
        self._last = LONG_AGO           # cycle of the last word taken
        self._state = LONG_AGO          # first cycle of the distributor's state after it
        self._word = tape.words_of(isa.INSTRUCTION_BITS)        # payload words taken: the `Settings`
        self._stored = None             # number of the first chunk that is not there from the beginning
        self._freed = []                # of each chunk: cycle in which its last word was taken
        self._arrivals = []             # of each chunk asked for: first cycle in which a word of it may be taken
        self._asked = LONG_AGO          # cycle in which the last request for a chunk was taken
        self._block_words = config.rows * tape.words_of(config.channels * config.w_bits)
        self._program = _Ring(config.program_depth)
        self._weights = _Ring(config.weight_depth // config.rows)
        self._thresholds = _Ring(config.threshold_depth)
        self._within = False            # the last words were a pass's, and another pass's may follow

    def instruction(self):
        """The next instruction."""
        begin = max(self._state + 1, self._program.room(1))
        self._take(begin + 1, tape.words_of(isa.INSTRUCTION_BITS))
        self._state, self._within = self._last + 2, False
        return self._last + 3 + timing.RING_WRITE

    def weights(self):
        """The weight words of the next pass."""
        room = self._weights.room(1)
        if not self._within:
            begin = max(self._state + 1, room)
        elif room <= self._last:        # there was room in the very cycle of the last word
            begin = self._last
        else:
            begin = max(self._state, room)
        self._operands(begin, self._block_words)
        self._within = True
        return self._last + 2 + timing.RING_WRITE

    def thresholds(self, count, bits):
        """The thresholds of a tile, or of an `Emit`, of so many bits each on the tape."""
        self._operands(max(self._state + 1, self._thresholds.room(count)), count * tape.words_of(bits))
        return self._last + 2 + timing.RING_WRITE

    def instruction_taken(self, cycle):
        """The oldest instruction is."""
        self._program.free(cycle, 1)

    def weights_free(self, cycle):
        """The oldest pass's weight words are."""
        self._weights.free(cycle, 1)

    def thresholds_read(self, cycle, count):
        """So many thresholds are read, one a cycle, the first in cycle `cycle`."""
        self._thresholds.free(cycle, count)

    def next_picture(self, index, asked):
        """The cycle before the next picture's first, where a picture waits from cycle `asked` on. index: of the
        instruction behind those called for, behind the last one of the next program. Called after all that has been
        freed so far."""
        ahead = copy.deepcopy(self, {id(self._instructions): self._instructions})
        ahead._fill(index)
        begin = max(asked + timing.ASK, ahead._settled()) + timing.TAPE_SETTLED + timing.TAPE_RESTART
        start = self._restarted + ahead._sdram.restarted(begin - self._restarted) - RESTARTED - 1
        self._all_there(start + 1)
        return start

    def _fill(self, index):
        """Takes what comes, from instruction `index` on, until a ring is full."""
        with contextlib.suppress(_Full):
            if index < len(self._instructions):
                self._take_program(index)
            rest = self._chunks * tape.PAYLOAD_WORDS - self._word
            if rest > 0:
                self._take(self._last + 1, rest)
                self._state = self._last + 1
            self._take_settings()
            self._take_program(0)

    def _take_program(self, index):
        for word in self._instructions[index:]:
            layout, fields = isa.decode(word)
            self.instruction()
            memory, count, bits = tape.operands_of(self._config, layout, fields)
            if memory == "weights":
                for _ in range(count // self._config.rows):
                    self.weights()
            elif memory == "thresholds":
                self.thresholds(count, bits)
            if layout is isa.Emit and fields.end:
                return

    def _all_there(self, first):
        """Everything that there is room for is there, from cycle `first` on."""
        self._sdram, self._restarted = SdramSchedule(self._sdram.timing), first + RESTARTED
        self._last = self._state = self._asked = LONG_AGO
        self._stored, self._arrivals, self._freed = None, [], [LONG_AGO] * len(self._freed)
        for ring in (self._program, self._weights, self._thresholds):
            ring.all_free()

    def _take_settings(self):
        """They go to no ring, but are waited for as if they did."""
        begin = max(self._state + 1, self._program.room(0))
        self._take(begin + 1, tape.words_of(isa.INSTRUCTION_BITS))
        self._state, self._within = self._last + 2, False

    def _settled(self):
        """First cycle in which the distributor waits, words wait for it, and all chunks that there is room for have
        come. The newest need not be stored yet, unless the oldest is on its way out to its last word."""
        arrival = self._arrival(len(self._freed) + SLOTS - 1)
        newest = timing.CHUNK_QUEUE - 1 if self._word % tape.PAYLOAD_WORDS >= NEARLY else timing.TAPE_CHUNK
        return max(self._last + timing.QUEUE_FULL, arrival - newest + 1)

    def _operands(self, begin, words):
        self._take(begin + 1, words)
        self._state = self._last + 1

    def _take(self, cycle, count):
        """Takes `count` words, the first not before `cycle`."""
        if cycle > LONG_AGO and self._stored is None:
            self._stored = self._word // tape.PAYLOAD_WORDS + SLOTS
        cycle = max(cycle, self._last + 1)
        while count:
            chunk, position = divmod(self._word, tape.PAYLOAD_WORDS)
            if position == 0:
                cycle = max(cycle, self._arrival(chunk))
            here = min(count, tape.PAYLOAD_WORDS - position)
            cycle, count, self._word = cycle + here, count - here, self._word + here
            if position + here == tape.PAYLOAD_WORDS:
                self._freed.append(cycle - 1)
        self._last = cycle - 1

    def _arrival(self, chunk):
        """First cycle in which a word of the chunk may be taken."""
        if self._stored is None:
            return LONG_AGO
        while len(self._arrivals) <= chunk:
            self._arrivals.append(self._read(len(self._arrivals)))
        return self._arrivals[chunk]

    def _read(self, chunk):
        """Reads the next chunk, number `chunk` counted from the picture's first."""
        if chunk < self._stored:
            return LONG_AGO
        # Slots are asked for again in the order in which they become free; those before the start do not count.
        free = self._freed[chunk - SLOTS]
        valid = max(free + timing.SLOT_FREE, self._asked) + timing.TAPE_REQUEST
        again = chunk % self._chunks == 0               # the tape's first, after its last
        self._asked, _, last = (self._restarted + cycle for cycle in self._sdram.read(
            valid - self._restarted, same_bank=again and (self._chunks - 1) % BANKS == 0))
        return last + timing.TAPE_CHUNK


class _Full(Exception):
    """There will be no room."""


class _Ring:
    """Room in a ring of `capacity` units."""

    def __init__(self, capacity):
        self._capacity = capacity
        self._reserved = self._freed = 0
        self._newest = LONG_AGO         # cycle of the last unit freed that was needed
        self._frees = deque()           # (cycle of the first unit, units), one a cycle

    def room(self, count):
        """First cycle in which there is room for `count` more, which are reserved; for 0, for one more. `_Full` if
        there will not be."""
        self._reserved += count
        needed = self._reserved + (count == 0) - self._capacity
        cycle = LONG_AGO
        while self._freed < needed:
            if not self._frees:
                raise _Full
            first, units = self._frees[0]
            used = min(units, needed - self._freed)
            self._freed += used
            cycle = first + used - 1
            if used == units:
                self._frees.popleft()
            else:
                self._frees[0] = first + used, units - used
            self._newest = cycle
        return max(cycle, self._newest if needed > 0 else LONG_AGO) + timing.CREDIT

    def free(self, cycle, units):
        """So many units are, one a cycle, the first in cycle `cycle`."""
        self._frees.append((cycle, units))

    def all_free(self):
        """All those are, long ago."""
        self._freed += sum(units for _, units in self._frees)
        self._frees.clear()
        self._newest = LONG_AGO
