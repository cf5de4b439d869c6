"""The tape: a compiled net as one sequence of 16-bit words, in the order in which the core needs them.

    instruction | its operands | instruction | its operands | ... | Emit with `end`, or End | zeros

Everything is used strictly in this order, so nothing on the tape has an address. A word of more than 16 bits is several
words of the tape, lowest first:

    after            operands                                                                   bits each
    Tile             its `config.threshold_words` thresholds, where it reads some               acc_bits, or 16: short
    Pass             its `config.rows` weight words, unless it repeats; so for each pass        channels * w_bits
    Emit             low and high half of the bias of each logit                                16

The tape lies in chunks of 512 words, a row of the SDRAM: 511 words of it, and their check. The check is the
CRC-16/IBM-3740 of its words, each high byte first, and that exclusive-ored with the chunk's number: a word that flipped
is found, and so is a chunk in another one's place.
"""
import binascii

import numpy as np

from . import isa

__all__ = ["CHUNK_BYTES", "CHUNK_WORDS", "PAYLOAD_WORDS", "SHORT_BITS", "SLOTS", "chunk_check", "chunks", "operands_of",
           "payload", "words_of"]

CHUNK_WORDS = 512
CHUNK_BYTES = 2 * CHUNK_WORDS
PAYLOAD_WORDS = CHUNK_WORDS - 1
SHORT_BITS = 16                 # of a threshold that is short
SLOTS = 4                       # chunks between SDRAM and rings: one is read, one filled, one on its way at any time
INSTRUCTION_WORDS = isa.INSTRUCTION_BITS // 16


def words_of(bits):
    """Words of the tape that a word of so many bits takes."""
    return -(-bits // 16)


def operands_of(config, layout, fields):
    """(memory, count, bits): what follows an instruction on the tape, so many words of "weights" or "thresholds", of so
    many bits each; (None, 0, 0) for nothing. layout, fields: the instruction, as `isa.decode` gives them."""
    if layout is isa.Pass and not fields.repeat:
        return "weights", (int(fields.more) + 1) * config.rows, config.channels * config.w_bits
    if layout is isa.Tile and fields.thresholds:
        return "thresholds", config.threshold_words, SHORT_BITS if fields.short else config.acc_bits
    if layout is isa.Emit:
        return "thresholds", 2 * int(fields.count), SHORT_BITS
    return None, 0, 0


def chunks(config, settings, program, weights, thresholds):
    """The tape, uint16 (chunks, 512), of the words of the three memories in order and the `isa.Settings` word."""
    memories = {"weights": weights.astype(np.uint64), "thresholds": thresholds.astype(np.int64).view(np.uint64)}
    pieces = [_split([settings], isa.INSTRUCTION_BITS)]
    at = dict.fromkeys(memories, 0)
    for word in program:
        pieces.append(_split([word], isa.INSTRUCTION_BITS))
        memory, count, bits = operands_of(config, *isa.decode(word))
        if memory:
            begin = at[memory]
            at[memory] = begin + count
            pieces.append(_split(memories[memory][begin:begin + count], bits))
    words = np.concatenate(pieces)
    words = np.pad(words, (0, -len(words) % PAYLOAD_WORDS)).reshape(-1, PAYLOAD_WORDS)
    checks = np.array([chunk_check(number, chunk) for number, chunk in enumerate(words)], np.uint16)
    return np.concatenate([words, checks[:, None]], axis=1)


def chunk_check(number, words):
    """The check of chunk `number`; words: uint16 (511,)."""
    return binascii.crc_hqx(words.astype(">u2").tobytes(), 0xFFFF) ^ number


def payload(chunks):
    """The words of the tape without checks, uint16 (chunks * 511,); ValueError where a check does not hold."""
    for number, chunk in enumerate(chunks):
        if chunk_check(number, chunk[:PAYLOAD_WORDS]) != chunk[PAYLOAD_WORDS]:
            raise ValueError(f"the check of chunk {number} does not hold")
    return chunks[:, :PAYLOAD_WORDS].reshape(-1)


def _split(words, bits):
    """Words of the tape that hold `words` of so many bits each: uint16."""
    words = np.asarray(words, dtype=np.uint64)
    shifts = np.arange(0, bits, 16, dtype=np.uint64)
    last = np.uint64((1 << bits) - 1 if bits < 64 else 2**64 - 1)
    return ((words & last)[:, None] >> shifts).astype(np.uint16).reshape(-1)
