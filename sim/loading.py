"""How a net comes into a simulated core: by its load stream, or, a long one, straight into its SDRAM."""
from itertools import pairwise

import numpy as np

from accel.isa import LoadKind
from accel.sdram import COLUMNS

__all__ = ["BACK_DOOR_WORDS", "damaged_at", "through_back_door"]

BACK_DOOR_WORDS = 1 << 16           # of a tape, as a rule: loading them takes a second or two


def through_back_door(kinds, words, row):
    """Puts all words of the tape in a load stream where the core would write them. Returns what is left of the stream.

    kinds: uint8 (N,), words: uint16 (N,), and so is what is returned. row: function of a chunk that gives its words in
    the SDRAM, uint16 (512,).
    """
    begins = np.flatnonzero(kinds == LoadKind.BEGIN.value)
    for begin, end in pairwise([*begins, len(kinds)]):
        tape = words[begin:end][kinds[begin:end] == LoadKind.WORD.value]
        for k in range(0, len(tape), COLUMNS):
            part = tape[k:k + COLUMNS]
            row(int(words[begin]) + k // COLUMNS)[:len(part)] = part
    left = kinds != LoadKind.WORD.value
    return kinds[left], words[left]


def damaged_at(cycle):
    """What is said of a core that found its net damaged."""
    return f"the net in the core is damaged: a check of its tape does not hold, at cycle {cycle}"
