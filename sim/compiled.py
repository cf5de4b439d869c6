"""A compiled simulator of the core, behind the streams of streams.h, as an engine: lanes, CXXRTL, Verilator."""
import ctypes
from ctypes import POINTER, c_char_p, c_int, c_uint32, c_uint64, c_void_p

import numpy as np

from accel.image import pixels
from accel.isa import LoadWord, LogitWord, PixelWord
from model.common.errors import UserError

from .engine import NO_GAPS, Engine, Result
from .lanes.undefined import CYCLE_BITS, UNWRITTEN
from .library import open_library
from .loading import BACK_DOOR_WORDS, damaged_at, through_back_door
from .payload import pack, records, unpack
from .sdram import CompiledSdram

__all__ = ["CompiledEngine", "UndefinedValue", "lanes_of"]

CYCLES_PER_CALL = 5_000         # a fraction of a second: Ctrl-C and the progress bar wait that long at most
TRACE_RECORDS = 1 << 12


class Streams(ctypes.Structure):
    """`Streams` of streams.h."""
    _fields_ = [
        ("load", POINTER(c_uint32)), ("load_count", c_uint64), ("load_done", c_uint64),
        ("pixels", POINTER(c_uint32)),
        ("picture_pixels", c_uint64), ("pixels_count", c_uint64), ("pixels_done", c_uint64),
        ("logits", POINTER(c_uint32)), ("cycles", POINTER(c_uint32)),
        ("picture_logits", c_uint64), ("logits_count", c_uint64), ("logits_done", c_uint64),
        ("trace", POINTER(c_uint32)), ("trace_capacity", c_uint64), ("trace_count", c_uint64), ("lanes", c_uint64),
        ("pixels_gap", c_uint32), ("logits_gap", c_uint32), ("random", c_uint64), ("cycle", c_uint64),
        ("whole", c_uint32), ("damaged", c_uint32),
        ("undefined", c_uint32), ("undefined_use", c_uint32),
    ]


def _pointer(array):
    return array.ctypes.data_as(POINTER(c_uint32))


def _open_library(path):
    library = open_library(path)
    library.uniqore_open.argtypes, library.uniqore_open.restype = [c_char_p], c_void_p
    library.uniqore_close.argtypes, library.uniqore_close.restype = [c_void_p], None
    library.uniqore_lanes.argtypes, library.uniqore_lanes.restype = [], c_int
    library.uniqore_use_lanes.argtypes, library.uniqore_use_lanes.restype = [c_void_p, c_int], None
    library.uniqore_data_words.argtypes, library.uniqore_data_words.restype = [c_void_p], c_int
    library.uniqore_note.argtypes, library.uniqore_note.restype = [c_uint32], c_char_p
    library.uniqore_run.argtypes, library.uniqore_run.restype = [c_void_p, POINTER(Streams), c_uint64], None
    return library


def lanes_of(library):
    """Pictures that one run of the library at that path carries."""
    return _open_library(library).uniqore_lanes()


class UndefinedValue(Exception):
    """The core used what is undefined in hardware; the message says what, where it came from, and when."""


class CompiledEngine(Engine):
    """Simulates the core in `library` with `image` loaded, `lanes` batches of pictures in one run.

    A run must be consumed to its end before the next one.

    library: path of a library whose driver is built on streams.h. vcd: path of a waveform file, where the simulator
    writes such. timeout: cycles without progress after which the core counts as hung. sdram: `SdramTiming` of the chip,
    where the core has one. back_door: words of a tape from which on it is put into that chip's memory, and not loaded
    word by word; None for never.

    sdram: the `CompiledSdram`.
    """

    def __init__(self, image, library, *, trace=False, vcd=None, gaps=NO_GAPS, timeout, sdram=None,
                 back_door=BACK_DOOR_WORDS):
        super().__init__(image.batch)
        self._n_logits = image.n_logits
        self._timeout = timeout
        self._library = _open_library(library)
        self._simulator = self._library.uniqore_open(None if vcd is None else str(vcd).encode())
        if not self._simulator:
            raise UserError(f"cannot write the waveform file {vcd}")
        self.sdram = CompiledSdram(self._library, self._simulator, sdram)
        self.lanes = self._library.uniqore_lanes()
        self._trace = trace
        self._streams = Streams(
            lanes=1, pixels_gap=int(gaps.pixels * 2**32), logits_gap=int(gaps.logits * 2**32),
            random=0x9E3779B97F4A7C15 * (2 * gaps.seed + 1) % 2**64)    # odd, so never the stuck state 0
        kinds, words = image.load_words()
        if self.sdram.memory is not None and back_door is not None and len(words) >= back_door:
            kinds, words = through_back_door(kinds, words, self.sdram.row)
        self._library.uniqore_use_lanes(self._simulator, 1)
        self._load(kinds, words)

    def _load(self, kinds, words):
        records, streams = pack(LoadWord, kind=kinds, data=words), self._streams
        streams.load, streams.load_count = _pointer(records), len(records)
        self._simulate_until(lambda: streams.load_done == streams.load_count and streams.whole, "end of loading")

    def _run(self, pictures):
        if not len(pictures):
            return
        lanes, batch, n_logits, streams = self.used_lanes(len(pictures)), self.batch, self._n_logits, self._streams
        self._library.uniqore_use_lanes(self._simulator, lanes)
        burst = lanes * batch
        bursts = -(-len(pictures) // burst)
        # Lanes and batches that are not full carry the last picture; nobody looks at them. A lane's batch comes to it
        # picture by picture.
        carried = np.minimum(np.arange(bursts * burst), len(pictures) - 1).reshape(bursts, lanes, batch)
        carried = pictures[carried.transpose(0, 2, 1).ravel()]
        red, green, blue = pixels(carried).reshape(-1, 3).T                   # (bursts * batch * lanes * H * W,) each
        words = pack(PixelWord, r=red, g=green, b=blue)
        logits = records(LogitWord, bursts * burst * n_logits)
        cycles = np.zeros((bursts * batch, n_logits), np.uint32)
        streams.lanes = lanes
        streams.pixels, streams.pixels_done = _pointer(words), 0
        streams.picture_pixels, streams.pixels_count = len(words) // (bursts * burst), len(words) // lanes
        streams.logits, streams.cycles, streams.logits_done = _pointer(logits), _pointer(cycles), 0
        streams.picture_logits, streams.logits_count = n_logits, bursts * batch * n_logits
        trace = _Trace(streams, self._library.uniqore_data_words(self._simulator)) if self._trace else None

        for k in range(bursts):
            first, last = k * burst, (k + 1) * batch * n_logits
            self._simulate_until(lambda last=last: streams.logits_done >= last, f"logits of picture {first}", trace)
            taken = unpack(LogitWord, logits[first * n_logits:(first + burst) * n_logits], "logit").astype(np.int32)
            taken = taken.reshape(batch, lanes, n_logits)
            counted = cycles[k * batch:(k + 1) * batch, -1].tolist()
            writes = trace and trace.pop(k, batch)
            for position in range(min(burst, len(pictures) - first)):
                lane, number = divmod(position, batch)
                yield Result(taken[number, lane], counted[number], counted[-1], number, writes and writes(lane))

    def _simulate_until(self, done, what, trace=None):
        streams, moved, loaded = self._streams, self._streams.cycle, self._streams.load_done
        while not done():
            if streams.load_done != loaded:
                moved, loaded = streams.cycle, streams.load_done
            if streams.cycle - moved > self._timeout:
                raise UserError(f"the core hangs: no {what} within {self._timeout} cycles, at cycle {streams.cycle}")
            self._library.uniqore_run(self._simulator, streams, CYCLES_PER_CALL)
            if trace:
                trace.drain()
            self.simulated_cycles = streams.cycle
            if streams.undefined:
                raise UndefinedValue(self._undefined())
            self.sdram.check()
            if streams.damaged and streams.load_done == streams.load_count:
                raise UserError(damaged_at(streams.cycle))

    def _undefined(self):
        """Where an undefined value came from and what used it."""
        origin, streams = self._streams.undefined, self._streams
        age = (streams.cycle - origin) % (1 << CYCLE_BITS)
        arisen, used = (self._library.uniqore_note(number).decode()
                        for number in (origin >> CYCLE_BITS, streams.undefined_use))
        since = "" if arisen.endswith(UNWRITTEN) else f", of cycle {streams.cycle - age},"
        return f"cycle {streams.cycle}: {used} is undefined, since it depends on {arisen}{since}"

    def close(self):
        if self._simulator:
            self._library.uniqore_close(self._simulator)
            self._simulator = None


class _Trace:
    """Room for the trace of `streams`, and its records so far. words: uint32 words of one lane's data."""

    def __init__(self, streams, words):
        self._streams, self._lanes, self._words = streams, streams.lanes, words
        self._buffer = np.zeros((TRACE_RECORDS, 2 + self._lanes * words), np.uint32)
        self._records = []
        streams.trace, streams.trace_capacity, streams.trace_count = _pointer(self._buffer), TRACE_RECORDS, 0

    def drain(self):
        """Moves what the driver has written out of its buffer."""
        self._records.append(self._buffer[:self._streams.trace_count].copy())
        self._streams.trace_count = 0

    def pop(self, burst, batch):
        """Takes the writes made while this burst, the oldest here, was computed, `batch` pictures a lane. Returns a
        function of the lane that gives (groups uint32 (N,), data uint64 (N, words))."""
        records = np.concatenate(self._records)
        of_burst = records[:, 0] // (self._streams.picture_logits * batch) == burst
        self._records = [records[~of_burst]]
        groups = records[of_burst, 1].copy()
        data = records[of_burst, 2:].reshape(-1, self._lanes, self._words)
        data = np.pad(data, [(0, 0), (0, 0), (0, self._words % 2)])           # to whole 64-bit words

        def of_lane(lane):
            return groups, np.ascontiguousarray(data[:, lane]).view("<u8")
        return of_lane
