"""Given integer weights, the grid that holds every one of them in the fewest bits."""
import numpy as np

from model.common.errors import UserError

__all__ = ["grid_of", "trailing_zeros", "MAX_BITS"]

MAX_BITS = 8                    # a weight's code is a byte


def grid_of(weights):
    """The fields `codes`, `w_bits`, `alpha`, `beta`, `levels` and `shift` of a `Convolution` with these weights.

    weights: int64, any shape. A table of levels is taken where codes and table together are shorter than the codes of
    an even grid, and of those the one centred on zero where it holds the weights. UserError: no codes of MAX_BITS do.
    """
    values, inverse = np.unique(weights, return_inverse=True)
    shift = trailing_zeros(values)
    values >>= shift
    bits, alpha, beta = _even_grid(values)
    table_bits = max(1, (len(values) - 1).bit_length())
    if min(bits, table_bits) > MAX_BITS:
        raise UserError(f"{len(values)} different weights in {values[0] << shift} .. {values[-1] << shift} need codes "
                        f"of {min(bits, table_bits)} bits, and at most {MAX_BITS} fit")
    table_size = table_bits * weights.size + (bits + alpha - 1 << table_bits)
    if bits <= MAX_BITS and bits * weights.size <= table_size:
        fields = {"w_bits": bits, "alpha": alpha, "beta": beta, "levels": None}
        codes = ((values - beta) // alpha)[inverse]
    else:
        order = np.argsort(np.abs(values), kind="stable")       # code 0, which fills tiles up, is next to no weight
        levels = np.pad(values[order], (0, (1 << table_bits) - len(values)), mode="edge").astype(np.int32)
        fields = {"w_bits": table_bits, "levels": levels}
        codes = np.argsort(order)[inverse]
    return {**fields, "shift": shift, "codes": codes.reshape(weights.shape).astype(np.uint8)}


def _even_grid(values):
    """(bits, alpha, beta) of the smallest alpha * u + beta that holds all the values, ascending and not all even."""
    low, high = int(values[0]), int(values[-1])
    alpha = 2 if (values & 1).all() else 1
    bits = max(1, ((high - low) // alpha).bit_length())
    centred = 1 - (1 << bits) if alpha == 2 else -(1 << bits - 1)
    fits = centred <= low and high <= centred + alpha * ((1 << bits) - 1)
    return bits, alpha, centred if fits else low


def trailing_zeros(values):
    """Number of factors of two that all values (int64) share; 0 where all are zero."""
    merged = int(np.bitwise_or.reduce(values))
    return (merged & -merged).bit_length() - 1 if merged else 0
