"""Accelerators that the tests run on: the named ones, and variants of their parameters."""
from dataclasses import replace

from accel.config import CONFIGS, R16C16P2, TINY

__all__ = ["VARIANTS"]

VARIANTS = {
    **CONFIGS,
    "2-bit": replace(TINY, name="2-bit", w_bits=2, a_bits=2),
    "3-bit": replace(TINY, name="3-bit", w_bits=3, a_bits=3),
    "2-parts": replace(TINY, name="2-parts", rows=8),
    "4-parts": replace(TINY, name="4-parts", rows=16),
    "4-pixels": replace(R16C16P2, name="4-pixels", pixels_per_cycle=4, w_bits=2, a_bits=2),
    "bands": replace(TINY, name="bands", rows=8, accumulator_depth=16, activation_depth=112),
    "narrow": replace(TINY, name="narrow", acc_bits=18),
}
