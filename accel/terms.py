"""Terms of a layer in the form the array multiplies: unsigned codes, one offset, digits.

Every term becomes a `Kernel`: at each tap a matrix of unsigned integers u with

    weight[oc, lane] = (u[oc, lane] << shift) + (beta << beta_shift)

so that `sum(weight * a) = (sum(u * a) << shift) + (beta * sum(a) << beta_shift)`. u is multiplied `w_bits` at a time: digit j
of it is either stored as a code of its own, or looked up in a level table while the code itself is stored once.
"""
from dataclasses import dataclass

import numpy as np

from model.integer import IMAGE, Skip

from .isa import BETA_BITS

__all__ = ["Kernel", "kernel_of", "max_pool_kernels"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Kernel:
    """One term.

    codes: int64 (taps, OC, lanes), what the weight memory holds (before it is cut into digits where `tables` is None).
    unused: code of weights that must have no effect in a diagonal; 0 elsewhere, where nothing depends on it.
    digits: number of weight digits. tables: per digit, the level table (a tuple of digits, one for each code), or None.
    diagonal: input and output channels correspond, off-diagonal weights are 0.
    """
    source: str
    stride: int
    taps: tuple                      # of (dy, dx)
    codes: np.ndarray
    digits: int
    shift: int
    beta: int
    beta_shift: int
    tables: tuple | None = None
    unused: int = 0
    diagonal: bool = False
    maximum: bool = False

    def digit(self, codes, j, w_bits):
        """Stored weight codes of digit j; None where the words stored for digit 0 serve again."""
        if self.tables is None:
            return codes >> (w_bits * j) & ((1 << w_bits) - 1)
        return codes if j == 0 else None

    def weights(self, channels):
        """Signed integer weights of all taps, int64 (taps, OC rounded up to a multiple of `channels`, lanes).

        The channels that fill the last output tile are included: they, too, must not overflow.
        """
        pad = -self.codes.shape[1] % channels
        codes = np.pad(self.codes, ((0, 0), (0, pad), (0, 0)), constant_values=self.unused)
        return (self._values()[codes] << self.shift) + (self.beta << self.beta_shift)

    def _values(self):
        """u for each stored code."""
        if self.tables is None:
            return np.arange(max(int(self.codes.max()), self.unused) + 1)
        w_bits = (len(self.tables[0]) - 1).bit_length()
        return sum(np.array(table) << (w_bits * j) for j, table in enumerate(self.tables))


def kernel_of(term, config):
    """The `Kernel` of a `Convolution` or `Skip` on `config`'s array."""
    if isinstance(term, Skip):
        return _skip_kernel(term, config)
    taps, codes = _taps(term, config)
    fields = dict(source=term.source, stride=term.stride, taps=taps)
    if term.levels is None:
        return Kernel(**fields, codes=codes, digits=_digits((1 << term.w_bits) - 1, config), shift=term.shift + term.alpha - 1,
                      **_beta(term.beta, term.shift))
    beta, scale, u = _affine(term.levels)
    fields |= dict(digits=_digits(u.max(), config), shift=term.shift + scale, **_beta(beta, term.shift))
    if fields["digits"] == 1 or term.w_bits > config.w_bits:
        return Kernel(**fields, codes=u[codes])
    return Kernel(**fields, codes=codes, tables=_tables(u, fields["digits"], config.w_bits))


def max_pool_kernels(pool, channels):
    """One `Kernel` per pixel of the 2x2 window; all but the first take the maximum."""
    eye = np.eye(channels, dtype=np.int64)[None]
    return [Kernel(source=pool.source, stride=2, taps=((dy, dx),), codes=eye, digits=1, shift=0, beta=0, beta_shift=0,
                   diagonal=True, maximum=(dy, dx) != (0, 0)) for dy in (0, 1) for dx in (0, 1)]


def _skip_kernel(term, config):
    """A diagonal. Signed gains of n bits are offset by 2**(n - 1), the code of the level 0."""
    gain = np.asarray(term.gain, dtype=np.int64)
    scale = _trailing_zeros(gain)
    gain = gain >> scale
    offset = 0 if gain.min() >= 0 else 1 << max(int(-gain.min() - 1).bit_length(), max(int(gain.max()), 0).bit_length())
    codes = np.full((len(gain), len(gain)), offset)
    np.fill_diagonal(codes, gain + offset)
    return Kernel(source=term.source, stride=1, taps=((0, 0),), codes=codes[None], digits=_digits(max(codes.max(), 1), config),
                  shift=scale, **_beta(-offset, scale), unused=offset, diagonal=True)


def _taps(term, config):
    """Offsets (dy, dx) and codes int64 (taps, OC, lanes). An image word already holds a row of three taps."""
    codes = term.codes.astype(np.int64)
    out_channels, _, height, width = codes.shape
    if term.source == IMAGE and config.image_taps == 3:
        offsets = tuple((ky - term.padding, 0) for ky in range(height))
        return offsets, codes.transpose(2, 0, 3, 1).reshape(height, out_channels, -1)     # lane kx * 3 + colour
    offsets = tuple((ky - term.padding, kx - term.padding) for ky in range(height) for kx in range(width))
    return offsets, codes.transpose(2, 3, 0, 1).reshape(height * width, out_channels, -1)


def _affine(levels):
    """(beta, scale, u) with levels = beta + (u << scale), u unsigned and as short as it gets."""
    levels = np.asarray(levels, dtype=np.int64)
    beta = int(levels.min())
    scale = _trailing_zeros(levels - beta)
    return beta, scale, (levels - beta) >> scale


def _tables(u, digits, w_bits):
    """Per digit, the digit of every w_bits-bit code. Codes that the term does not use read 0."""
    padded = np.zeros(1 << w_bits, dtype=np.int64)
    padded[:len(u)] = u
    mask = (1 << w_bits) - 1
    return tuple(tuple(int(v) for v in padded >> (w_bits * j) & mask) for j in range(digits))


def _beta(beta, shift):
    """Fields beta and beta_shift; factors of two move into the shift only where beta is too long for its field."""
    while not -(1 << BETA_BITS - 1) <= beta < 1 << BETA_BITS - 1 and beta % 2 == 0:
        beta, shift = beta // 2, shift + 1
    return {"beta": beta, "beta_shift": shift}


def _digits(largest, config):
    return max(1, -(-int(largest).bit_length() // config.w_bits))


def _trailing_zeros(values):
    """Factors of two that all values share."""
    merged = int(np.bitwise_or.reduce(np.abs(values)))
    return (merged & -merged).bit_length() - 1 if merged else 0
