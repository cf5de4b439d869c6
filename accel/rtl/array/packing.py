"""Several small multiplications in one 18 x 18 multiplier.

Two weight codes times m activation codes in a single product,

    (w0 + w1 << i) * (a0 + a1 << j + ...)

with fields of 2 * bits - 1 bits: one bit less than a product needs. Product k is one bit longer than its field; its top
bit is the bit above the field XOR the lowest bit of product k + 1 (an AND gate beside the multiplier), and what it
added to field k + 1 is taken off there. So 4 MACs fit at 4 x 4 bits, 6 at 3 x 3, 8 at 2 x 2.

    field:   [ .. product 1 .. |t0][ .. product 0 .. ]        t0 = top bit of product 0, overlapping product 1
"""
from dataclasses import dataclass
from functools import cached_property

__all__ = ["Packing"]


@dataclass(frozen=True)
class Packing:
    """How `2 * pixels` products of `bits` x `bits` share a multiplier. Raises ValueError where they do not fit.

    weight_step, pixel_step: distance in bits between the two weights, between pixels, in their operands.
    order: (weight index, pixel index) of the products, lowest field first.
    """
    bits: int
    pixels: int

    def __post_init__(self):
        if max(self.weight_width, self.pixel_width) > 18:
            raise ValueError(f"{2 * self.pixels} products of {self.bits} x {self.bits} bits do not fit in 18 x 18 bits")

    @property
    def field(self):
        return 2 * self.bits - 1

    @property
    def _weights_adjacent(self):
        return 2 * self.field * (self.pixels - 1) + self.bits <= 18

    @property
    def weight_step(self):
        return self.field if self._weights_adjacent else self.pixels * self.field

    @property
    def pixel_step(self):
        return 2 * self.field if self._weights_adjacent else self.field

    @property
    def weight_width(self):
        return self.weight_step + self.bits

    @property
    def pixel_width(self):
        return (self.pixels - 1) * self.pixel_step + self.bits

    @cached_property
    def order(self):
        pairs = [(i * self.weight_step + j * self.pixel_step, i, j) for i in range(2) for j in range(self.pixels)]
        return [(i, j) for _, i, j in sorted(pairs)]

    def pack_weights(self, weights):
        return sum(w << i * self.weight_step for i, w in enumerate(weights))

    def pack_pixels(self, pixels):
        return sum(a << j * self.pixel_step for j, a in enumerate(pixels))

    def unpack(self, product, low_bits):
        """Products out of the packed product, in `order`, each as (field value, borrow): product = field - borrow.

        low_bits: lowest bit of every product, in `order`. The same lines serve numpy arrays and Amaranth values:
        what the exhaustive test checks is what the hardware does.
        """
        out, borrow = [], 0
        for k in range(len(self.order)):
            low = product >> k * self.field & (1 << self.field) - 1
            above = product >> (k + 1) * self.field & 1
            top = above ^ (low_bits[k + 1] if k + 1 < len(self.order) else 0)
            out.append((low | top << self.field, borrow))
            borrow = top
        return out
