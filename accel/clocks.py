"""Clocks that the core has met, placed and routed on a board."""
from fractions import Fraction

from .config import R8C8P2, R8C8P2_ONCHIP, R16C8P2, R16C16P2

__all__ = ["CORE_CLOCKS"]

# Hz, by the name of the configuration: a board of it met this clock, and boards of it are built for it.
CORE_CLOCKS = {
    R16C16P2.name: Fraction(125_000_000),
    R16C8P2.name: Fraction(125_000_000),
    R8C8P2.name: Fraction(125_000_000),
    R8C8P2_ONCHIP.name: Fraction(125_000_000),
}
