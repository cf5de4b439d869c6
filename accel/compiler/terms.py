"""Terms of a layer in the form the array multiplies: unsigned codes, one offset, digits.

Every term becomes a `Kernel`: at each tap a matrix of unsigned integers u with

    weight[oc, lane] = (u[oc, lane] << shift) + (beta << beta_shift)

so that sum(weight * a) = (sum(u * a) << shift) + (beta * sum(a) << beta_shift). The array takes
`w_bits` of u at a time: digit j is either stored as a code of its own, or looked up in a level
table while the weight's code is stored once.
"""
from dataclasses import dataclass

import numpy as np

from accel.isa import BETA_BITS
from model.integer.grids import trailing_zeros
from model.integer.net import PICTURE, Skip

__all__ = ["Kernel", "kernel_of", "max_pool_kernels"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Kernel:
    """One term.

    taps: (dy, dx) of each tap.
    codes: int64 (taps, OC, lanes): u itself, or, with `tables`, the weight's code.
    digits: number of weight digits. tables: for each digit, its value for every code.
    diagonal: output channel c reads input channel c alone; `unused` is the other weights' code.
    maximum: take the maximum of the sums instead of adding this term. drop: low bits of the codes that read as 0.
    """
    source: str
    stride: int
    taps: tuple
    codes: np.ndarray
    digits: int = 1
    shift: int = 0
    beta: int = 0
    beta_shift: int = 0
    tables: tuple | None = None
    diagonal: bool = False
    unused: int = 0
    maximum: bool = False
    drop: int = 0

    def stored(self, codes, digit, w_bits):
        """The words to store for a digit of `codes`; None where those of the pass before serve."""
        if self.tables is None:
            return codes >> (w_bits * digit) & ((1 << w_bits) - 1)
        return codes if digit == 0 else None

    def weights(self, channels):
        """The signed weights, int64 (taps, OC, lanes), OC filled up to whole tiles of `channels`:
        what fills up the last tile must not overflow either."""
        padding = ((0, 0), (0, -self.codes.shape[1] % channels), (0, 0))
        codes = np.pad(self.codes, padding, constant_values=self.unused)
        return (self._unsigned(codes) << self.shift) + (self.beta << self.beta_shift)

    def _unsigned(self, codes):
        if self.tables is None:
            return codes
        w_bits = (len(self.tables[0]) - 1).bit_length()
        return sum(np.array(table)[codes] << w_bits * j for j, table in enumerate(self.tables))


def kernel_of(term, config):
    """The `Kernel` of a `Convolution` or `Skip` on `config`'s array."""
    if isinstance(term, Skip):
        return _skip_kernel(term, config)
    taps, codes = _taps(term, config)
    fields = {"source": term.source, "stride": term.stride, "taps": taps, "drop": term.drop}
    if term.levels is None:
        digits = _digits((1 << term.w_bits) - 1, config.w_bits)
        return Kernel(**fields, codes=codes, digits=digits, shift=term.shift + term.alpha - 1,
                      **_offset(term.beta, term.shift))
    beta, scale, u = _unsigned_levels(term.levels)
    fields |= {"digits": _digits(u.max(), config.w_bits), "shift": term.shift + scale}
    fields |= _offset(beta, term.shift)
    if fields["digits"] == 1 or term.w_bits > config.w_bits:      # or no room in the table
        return Kernel(**fields, codes=u[codes])
    return Kernel(**fields, codes=codes, tables=_tables(u, fields["digits"], config.w_bits))


def max_pool_kernels(pool, channels):
    """A `Kernel` for each pixel of the 2x2 window."""
    identity = np.eye(channels, dtype=np.int64)[None]
    return [Kernel(source=pool.source, stride=2, taps=((dy, dx),), codes=identity, diagonal=True,
                   maximum=(dy, dx) != (0, 0)) for dy in (0, 1) for dx in (0, 1)]


def _skip_kernel(term, config):
    """Signed gains are offset by the least of them, if that is negative; the offset is then the code of the level 0."""
    gain = np.asarray(term.gain, dtype=np.int64)
    scale = trailing_zeros(gain)
    gain = gain >> scale
    zero = -min(int(gain.min()), 0)
    codes = np.full((len(gain), len(gain)), zero)
    np.fill_diagonal(codes, gain + zero)
    return Kernel(source=term.source, stride=1, taps=((0, 0),), codes=codes[None], shift=scale,
                  digits=_digits(codes.max(), config.w_bits), **_offset(-zero, scale),
                  diagonal=True, unused=zero)


def _taps(term, config):
    """(dy, dx) of each tap, and codes int64 (taps, OC, lanes)."""
    codes = term.codes.astype(np.int64)
    out_channels, _, height, width = codes.shape
    if term.source == PICTURE and config.picture_taps == 3:
        # a word of the picture holds the pixel's left and right neighbours too: lane kx * 3 + colour. Of a picture of
        # one channel the lanes of the other colours are 0: any weight will do.
        codes = np.pad(codes, ((0, 0), (0, 3 - codes.shape[1]), (0, 0), (0, 0)))
        taps = tuple((ky - term.padding, 0) for ky in range(height))
        return taps, codes.transpose(2, 0, 3, 1).reshape(height, out_channels, -1)
    taps = tuple((ky - term.padding, kx - term.padding)
                 for ky in range(height) for kx in range(width))
    return taps, codes.transpose(2, 3, 0, 1).reshape(height * width, out_channels, -1)


def _unsigned_levels(levels):
    """(beta, scale, u): levels = beta + (u << scale), u >= 0 and as short as it gets."""
    levels = np.asarray(levels, dtype=np.int64)
    beta = int(levels.min())
    scale = trailing_zeros(levels - beta)
    return beta, scale, (levels - beta) >> scale


def _tables(u, digits, w_bits):
    """For each digit, its value for every code of w_bits; codes that no weight has read 0."""
    u = np.pad(u, (0, (1 << w_bits) - len(u)))
    return tuple(tuple((u >> w_bits * j & (1 << w_bits) - 1).tolist()) for j in range(digits))


def _offset(beta, shift):
    """beta and beta_shift; where beta is too long for its field, factors of two move over."""
    limit = 1 << BETA_BITS - 1
    while not -limit <= beta < limit and beta % 2 == 0:
        beta, shift = beta // 2, shift + 1
    return {"beta": beta, "beta_shift": shift}


def _digits(largest, w_bits):
    return max(1, -(-int(largest).bit_length() // w_bits))
