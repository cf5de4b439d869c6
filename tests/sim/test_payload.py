"""Whole streams of payloads against Amaranth's own packing of one."""
import numpy as np
from amaranth import signed
from amaranth.lib import data
from hypothesis import given
from hypothesis import strategies as st

from accel.isa import LoadKind, LoadWord
from sim.payload import pack, records, unpack

WIDE = data.StructLayout({"a": 3, "b": signed(7), "c": 64, "d": signed(32), "e": 1})


def as_number(record):
    return int.from_bytes(record.astype("<u4").tobytes(), "little")


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(-64, 63), st.integers(0, 2**64 - 1),
                          st.integers(-2**31, 2**31 - 1), st.integers(0, 1)), min_size=1, max_size=5))
def test_pack_is_the_layouts_own_packing(rows):
    a, b, c, d, e = zip(*rows, strict=True)
    packed = pack(WIDE, a=np.array(a), b=np.array(b), c=np.array(c, np.uint64), d=np.array(d), e=np.array(e))
    assert packed.shape == (len(rows), 4)
    for record, row in zip(packed, rows, strict=True):
        assert as_number(record) == WIDE.const(dict(zip("abcde", row, strict=True))).as_bits()
    for name, values in zip("abde", (a, b, d, e), strict=True):
        assert unpack(WIDE, packed, name).tolist() == list(values)


def test_load_words():
    packed = pack(LoadWord, kind=np.array([LoadKind.PLAY.value]), data=np.array([0xABCD]))
    assert as_number(packed[0]) == 3 | 0xABCD << 3


def test_records_are_whole_words():
    assert records(LoadWord, 5).shape == (5, 1) and records(WIDE, 5).shape == (5, 4)
