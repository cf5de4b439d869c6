"""Stream payloads as arrays: the layouts of `accel.isa`, packed and unpacked a whole stream at once."""
import numpy as np
from amaranth import Shape
from amaranth.lib import data

__all__ = ["pack", "records", "unpack"]

WORD = 32


def _words_of(field):
    """Per 32-bit word that `field` touches: (word, bits to shift the field left, negative for right)."""
    for word in range(field.offset // WORD, (field.offset + field.width - 1) // WORD + 1):
        yield word, field.offset - WORD * word


def _shift(values, left):
    return values << np.uint64(left) if left >= 0 else values >> np.uint64(-left)


def records(layout, n):
    """Room for n payloads of `layout`: zeros, uint32 (n, words), little-endian words."""
    return np.zeros((n, -(-data.Layout.cast(layout).size // WORD)), np.uint32)


def pack(layout, **fields):
    """Payloads uint32 (N, words) of `layout` from one array (N,) of unsigned integers per field."""
    packed = records(layout, len(next(iter(fields.values()))))
    for name, values in fields.items():
        field = data.Layout.cast(layout)[name]
        values = np.asarray(values).astype(np.uint64) & np.uint64((1 << field.width) - 1)
        for word, left in _words_of(field):
            packed[:, word] |= (_shift(values, left) & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    return packed


def unpack(layout, packed, name):
    """Field `name`, at most 63 bits wide, of payloads uint32 (N, words): int64 (N,), sign-extended if it is signed."""
    field = data.Layout.cast(layout)[name]
    bits = np.zeros(len(packed), np.uint64)
    for word, left in _words_of(field):
        bits |= _shift(packed[:, word].astype(np.uint64), -left)
    values = (bits & np.uint64((1 << field.width) - 1)).astype(np.int64)
    if Shape.cast(field.shape).signed:
        values -= (values >> (field.width - 1)) << field.width
    return values
