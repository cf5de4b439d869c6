"""What the tensors of an ONNX graph stand for while it is read: exact sums of integer terms, and constants."""
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from onnx import helper, numpy_helper

from model.common.errors import UserError
from model.integer.grids import grid_of
from model.integer.net import Convolution, Skip

__all__ = ["Refusal", "require", "Term", "Value", "attributes_of", "integers", "per_channel", "constant_of",
           "quantized", "FOLDS", "INT32"]

INT32 = np.iinfo(np.int32)


class Refusal(Exception):
    """Why a node is refused."""


def require(condition, reason):
    if not condition:
        raise Refusal(reason)


def attributes_of(node, **defaults):
    """The node's attributes by name, with defaults for those it leaves out; others are refused."""
    found = {}
    for attribute in node.attribute:
        require(attribute.name in defaults, f"its attribute {attribute.name} is not supported")
        value = helper.get_attribute_value(attribute)
        scalar = isinstance(value, bytes | int | float)
        found[attribute.name] = value.decode() if isinstance(value, bytes) else value if scalar else list(value)
    return {**defaults, **found}


# Tensors

@dataclass(frozen=True, kw_only=True, eq=False)
class Term:
    """weights: int64 (OC, IC, K, K), or (OC,) for a gain of each channel. drop: low bits of the codes that it does not
    see."""
    source: str
    weights: np.ndarray
    stride: int = 1
    padding: int = 0
    drop: int = 0

    def times(self, factors):
        """The term times int64 factors (OC,)."""
        weights = self.weights * factors.reshape(-1, *(1,) * (self.weights.ndim - 1))
        require(np.abs(weights).max() <= INT32.max, "its product exceeds 32 bits")
        return replace(self, weights=weights)

    def integer(self):
        """The term of the integer net."""
        if self.weights.ndim == 1:
            require(self.drop == 0, "codes without their low bits are for convolutions alone")
            return Skip(source=self.source, gain=self.weights.astype(np.int32))
        try:
            grid = grid_of(self.weights)
        except UserError as error:
            raise Refusal(str(error)) from None
        return Convolution(source=self.source, stride=self.stride, padding=self.padding, drop=self.drop, **grid)


@dataclass(frozen=True, kw_only=True, eq=False)
class Value:
    """A tensor (N, C, H, W): the sum of the terms plus the bias; or `pooled`, scale * (bias + that of all pixels).

    size: (H, W), before the pool. bias: int64 (C,), never multiplied by the pixels.
    codes: name of the tensor of codes that it is, or the pool of, else None. drop: low bits that these codes lack.
    flat: whether its shape is (N, C) rather than (N, C, 1, 1).
    """
    size: tuple
    terms: tuple
    bias: np.ndarray
    codes: str | None = None
    drop: int = 0
    pooled: bool = False
    flat: bool = False
    scale: Fraction = Fraction(1)

    @property
    def channels(self):
        return len(self.bias)

    @property
    def pixels(self):
        return self.size[0] * self.size[1]

    @property
    def shape(self):
        """Without the batch."""
        return (self.channels,) if self.flat else (self.channels, *((1, 1) if self.pooled else self.size))

    def times(self, factors):
        """The value times int64 factors (C,)."""
        bias = self.bias * factors
        require(np.abs(bias).max() <= INT32.max, "its product exceeds 32 bits")
        return replace(self, codes=None, bias=bias, terms=tuple(term.times(factors) for term in self.terms))

    def in_units(self, unit):
        """The same value with `unit`, of which its scale is a multiple, for its scale."""
        multiple = self.scale / unit
        require(multiple <= INT32.max, "its scale exceeds 32 bits")
        return self if multiple == 1 else replace(self.times(np.full(self.channels, int(multiple))), scale=unit)

    def plus(self, constants, what):
        """The value plus finite numbers (C,), which a refusal calls `what`."""
        counted = [Fraction(number) / self.scale for number in constants.tolist()]
        unit = "an integer" if self.scale == 1 else f"a multiple of {self.scale}"
        for number, constant in zip(counted, constants, strict=True):
            require(number.denominator == 1, f"{what} has {constant!s}, which is not {unit}")
            require(abs(number) <= INT32.max, f"{what} exceeds 32 bits")
        return replace(self, codes=None, bias=self.bias + np.array([int(number) for number in counted], np.int64))


# Constants

def integers(array, what):
    """The array as int64; refused, as `what`, unless whole numbers of 32 bits."""
    require(array.dtype.kind in "iufb" and array.size > 0, f"{what} are no numbers")
    numbers = array.astype(np.float64)
    broken = np.argwhere(numbers != np.floor(numbers)).tolist()
    if broken:                                          # !s: as many digits as tell the number from its neighbours
        raise Refusal(f"{what} are not integers: {array[tuple(broken[0])]!s} at {broken[0]}"
                      + (f", and {len(broken) - 1:,} more" if len(broken) > 1 else ""))
    require((np.abs(numbers) <= INT32.max).all(), f"{what} exceed 32 bits")
    return array.astype(np.int64)


def per_channel(array, value, flat):
    """A constant next to the value, which is (N, C) if `flat`, as finite numbers (C,)."""
    require(array.dtype.kind in "iuf" and np.isfinite(array).all(), "its constant is not finite")
    try:
        return np.broadcast_to(array, (1, value.channels) if flat else (1, value.channels, 1, 1)).reshape(-1)
    except ValueError:
        raise Refusal(f"a constant of shape {array.shape} is not one number a channel of {value.shape}") from None


def constant_of(node):
    """The array that a Constant node gives."""
    (attribute,) = node.attribute
    value = helper.get_attribute_value(attribute)
    return numpy_helper.to_array(value) if attribute.name == "value" else np.array(value)


def quantized(node, array, scale, zero, bits):
    """What a QONNX Quant node makes of an array: array / scale + zero, rounded and clipped to its bits, and back."""
    attributes = attributes_of(node, signed=1, narrow=0, rounding_mode="ROUND")
    rounding = {"ROUND": np.round, "HALF_EVEN": np.round, "CEIL": np.ceil, "FLOOR": np.floor}
    mode = attributes["rounding_mode"].upper()
    require(mode in rounding, f"rounding_mode {mode} is not supported")
    require(bits.size == 1 and 2 <= bits.item() <= 32 and bits.item() % 1 == 0, "its bit width is not one of 2 .. 32")
    require((scale > 0).all(), "its scale is not positive")
    signed, narrow, count = bool(attributes["signed"]), bool(attributes["narrow"]), int(bits.item())
    low = narrow - (1 << count - 1) if signed else 0
    high = (1 << count - signed) - 1 - (narrow and not signed)
    return (np.clip(rounding[mode](array / scale + zero), low, high) - zero) * scale


def _transposed(node, array):
    return np.transpose(array, attributes_of(node, perm=None)["perm"])


def _cast(node, array):
    return array.astype(helper.tensor_dtype_to_np_dtype(attributes_of(node, to=0, saturate=1)["to"]))


FOLDS = {"Identity": lambda node, array: array, "Transpose": _transposed, "Cast": _cast,
         "Quant": quantized, "IntQuant": quantized}          # operators on constants, by name
