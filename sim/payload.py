"""Stream payloads as arrays: the layouts of `accel.isa`, packed and unpacked a whole stream at once."""
import numpy as np
from amaranth import Shape
from amaranth.lib import data

from model.common import bits

__all__ = ["pack", "records", "unpack"]


def records(layout, n):
    """Room for n payloads of `layout`: zeros, uint32 (n, words), little-endian words."""
    return np.zeros((n, -(-data.Layout.cast(layout).size // bits.WORD)), np.uint32)


def pack(layout, **fields):
    """Payloads uint32 (N, words) of `layout` from one array (N,) of unsigned integers per field."""
    layout = data.Layout.cast(layout)
    places = [(layout[name].offset, layout[name].width, values) for name, values in fields.items()]
    return bits.pack(places, layout.size)


def unpack(layout, packed, name):
    """Field `name`, at most 63 bits wide, of payloads uint32 (N, words): int64 (N,), sign-extended if it is signed."""
    field = data.Layout.cast(layout)[name]
    values = bits.unpack(packed, field.offset, field.width).astype(np.int64)
    if Shape.cast(field.shape).signed:
        values -= (values >> (field.width - 1)) << field.width
    return values
