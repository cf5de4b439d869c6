"""The RTL compiled to machine code by CXXRTL: the engine for whole data sets."""
import ctypes
from ctypes import POINTER, c_char_p, c_uint32, c_uint64, c_void_p

import numpy as np

from accel.isa import LoadWord, LogitWord, PixelWord
from accel.rtl.core import Core
from model.common.errors import UserError

from .engine import NO_GAPS, Engine, Result
from .library import build_library, open_library, rtl_sources
from .payload import pack, records, unpack

__all__ = ["CxxrtlEngine", "build"]

CYCLES_PER_CALL = 50_000        # a fraction of a second: Ctrl-C and the progress bar wait that long at most
TRACE_RECORDS = 1 << 16


def build(config, *, waveforms=False):
    """Path of the library that simulates the core of `config`, built unless it is cached."""
    sources = "\0".join([config.digest(), rtl_sources()])
    return build_library(lambda: Core(config), name=config.name, sources=sources, waveforms=waveforms)


class Streams(ctypes.Structure):
    """`Streams` of driver.cc."""
    _fields_ = [
        ("load", POINTER(c_uint32)), ("load_count", c_uint64), ("load_done", c_uint64),
        ("pixels", POINTER(c_uint32)), ("pixels_count", c_uint64), ("pixels_done", c_uint64),
        ("logits", POINTER(c_uint32)), ("cycles", POINTER(c_uint32)),
        ("logits_count", c_uint64), ("logits_done", c_uint64),
        ("trace", POINTER(c_uint32)), ("trace_capacity", c_uint64), ("trace_count", c_uint64),
        ("pixels_gap", c_uint32), ("logits_gap", c_uint32), ("random", c_uint64), ("cycle", c_uint64),
    ]


def _pointer(array):
    return array.ctypes.data_as(POINTER(c_uint32))


def _open_library(path):
    library = open_library(path)
    library.uniqore_open.argtypes, library.uniqore_open.restype = [c_char_p], c_void_p
    library.uniqore_close.argtypes, library.uniqore_close.restype = [c_void_p], None
    library.uniqore_trace_words.argtypes, library.uniqore_trace_words.restype = [], c_uint32
    library.uniqore_run.argtypes, library.uniqore_run.restype = [c_void_p, POINTER(Streams), c_uint64], None
    return library


class _Trace:
    """Trace records of the driver, sorted by picture. words: uint32 words of a record."""

    def __init__(self, words, n_logits):
        self.buffer = np.zeros((TRACE_RECORDS, words), np.uint32)
        self._n_logits = n_logits
        self._records = self.buffer[:0]

    def drain(self, streams):
        """Moves what the driver has written out of its buffer."""
        self._records = np.concatenate([self._records, self.buffer[:streams.trace_count]])
        streams.trace_count = 0

    def pop(self, k):
        """Writes made while picture k, the oldest here, was computed: (groups uint32 (N,), data uint64 (N, words))."""
        of_picture = self._records[:, 0] // self._n_logits == k
        records, self._records = self._records[of_picture], self._records[~of_picture]
        data = records[:, 2:]
        data = np.pad(data, [(0, 0), (0, data.shape[1] % 2)])           # to whole 64-bit words
        return records[:, 1].copy(), np.ascontiguousarray(data).view("<u8")


class CxxrtlEngine(Engine):
    """Simulates the core in `library` (see `sim.library`) with `image` loaded.

    A run must be consumed to its end before the next one.

    vcd: path of a waveform file, for a library built with `waveforms`.
    timeout: cycles without progress after which the core counts as hung.
    """

    def __init__(self, image, library, *, trace=False, vcd=None, gaps=NO_GAPS, timeout):
        super().__init__()
        self._n_logits = image.n_logits
        self._timeout = timeout
        self._library = _open_library(library)
        self._simulator = self._library.uniqore_open(str(vcd).encode())
        if not self._simulator:
            raise UserError(f"cannot write the waveform file {vcd}")
        self._streams = Streams(
            pixels_gap=int(gaps.pixels * 2**32), logits_gap=int(gaps.logits * 2**32),
            random=0x9E3779B97F4A7C15 * (2 * gaps.seed + 1) % 2**64)    # odd, so never the stuck state 0
        self._trace = _Trace(self._library.uniqore_trace_words(), self._n_logits) if trace else None
        if trace:
            self._streams.trace = _pointer(self._trace.buffer)
            self._streams.trace_capacity = TRACE_RECORDS
        self._load(*image.load_words())

    def _load(self, targets, addresses, words):
        records, streams = pack(LoadWord, target=targets, address=addresses, data=words), self._streams
        streams.load, streams.load_count = _pointer(records), len(records)
        self._simulate_until(lambda: streams.load_done == streams.load_count, "end of loading")

    def _run(self, pictures):
        n, n_logits, streams = len(pictures), self._n_logits, self._streams
        red, green, blue = (pictures[:, c].reshape(-1) for c in range(3))     # (N * H * W,) each
        pixels = pack(PixelWord, r=red, g=green, b=blue)
        logits = records(LogitWord, n * n_logits)
        cycles = np.zeros(n * n_logits, np.uint32)
        streams.pixels, streams.pixels_count, streams.pixels_done = _pointer(pixels), len(pixels), 0
        streams.logits, streams.cycles = _pointer(logits), _pointer(cycles)
        streams.logits_count, streams.logits_done = len(logits), 0

        for k in range(n):
            of_picture = slice(k * n_logits, (k + 1) * n_logits)
            self._simulate_until(lambda last=of_picture.stop: streams.logits_done >= last, f"logits of picture {k}")
            yield Result(unpack(LogitWord, logits[of_picture], "logit").astype(np.int32), int(cycles[of_picture][-1]),
                         self._trace and self._trace.pop(k))

    def _simulate_until(self, done, what):
        streams, started = self._streams, self._streams.cycle
        while not done():
            if streams.cycle - started > self._timeout:
                raise UserError(f"the core hangs: no {what} within {self._timeout} cycles, at cycle {streams.cycle}")
            self._library.uniqore_run(self._simulator, streams, CYCLES_PER_CALL)
            if self._trace:
                self._trace.drain(streams)
        self.simulated_cycles = streams.cycle

    def close(self):
        if self._simulator:
            self._library.uniqore_close(self._simulator)
            self._simulator = None
