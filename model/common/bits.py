"""Fields of bits in little-endian words: every memory word, stream payload and packed weight is made here.

    bit     0        offset           offset + width       32                       word 0 holds bits 0 .. 31,
            |  ...   |  lowest .. highest bit  |   ...      |  ...                  word 1 bits 32 .. 63, ...
"""
import numpy as np

__all__ = ["WORD", "pack", "pack_codes", "pack_fields", "unpack", "unpack_codes", "unpack_fields"]

WORD = 32


def _words_of(offset, width):
    """Per 32-bit word that the field touches: (word, bits to shift the field left, negative for right)."""
    for word in range(offset // WORD, (offset + width - 1) // WORD + 1):
        yield word, offset - WORD * word


def _shift(values, left):
    return values << np.uint64(left) if left >= 0 else values >> np.uint64(-left)


def pack(fields, size):
    """Records of `size` bits: uint32 (N, ceil(size / 32)). fields: (offset, width, values (N,)) each; of a value, the
    low `width` bits count, at most 64."""
    packed = np.zeros((len(fields[0][2]), -(-size // WORD)), np.uint32)
    for offset, width, values in fields:
        values = np.asarray(values).astype(np.uint64) & np.uint64((1 << width) - 1)
        for word, left in _words_of(offset, width):
            packed[:, word] |= (_shift(values, left) & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    return packed


def unpack(records, offset, width):
    """The field of that place in records uint32 (N, words): uint64 (N,)."""
    values = np.zeros(len(records), np.uint64)
    for word, left in _words_of(offset, width):
        values |= _shift(records[:, word].astype(np.uint64), -left)
    return values & np.uint64((1 << width) - 1)


def pack_fields(values, bits):
    """Unsigned values (N, fields), field i at bits i * bits: uint64 (N, words)."""
    values = np.asarray(values)
    size = values.shape[1] * bits
    records = pack([(i * bits, bits, column) for i, column in enumerate(values.T)], size + -size % 64)
    return np.ascontiguousarray(records).view("<u8").astype(np.uint64)


def unpack_fields(words, bits, fields):
    """Inverse of `pack_fields`, for at most 8 bits: uint8 (N, fields)."""
    records = np.ascontiguousarray(words, dtype="<u8").view("<u4")
    return np.stack([unpack(records, i * bits, bits).astype(np.uint8) for i in range(fields)], axis=1)


def pack_codes(codes, bits):
    """Codes uint8, any shape, as a file keeps them: one stream of bits, each code's lowest bit first, the first bit of
    the stream in the highest bit of byte 0. uint8 (ceil(size * bits / 8),)."""
    return np.packbits(codes.reshape(-1, 1) >> np.arange(bits, dtype=np.uint8) & 1)


def unpack_codes(packed, shape, bits):
    """Inverse of `pack_codes`: uint8 of `shape`."""
    count = int(np.prod(shape))
    planes = np.unpackbits(packed, count=count * bits).reshape(count, bits)
    return (planes << np.arange(bits, dtype=np.uint8)).sum(1, dtype=np.uint8).reshape(shape)
