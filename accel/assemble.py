"""Instructions and weight words, packed by the layouts of `isa`, each number checked against its field."""
import numpy as np
from amaranth import Shape
from amaranth.lib import data

from .allocate import DoesNotFit
from .image import pack_fields
from .isa import *
from .isa import ROW_BITS

__all__ = ["Assembler"]

HALF_BITS = 32                     # of the level table in one `Levels`
OPS = {layout: op for op, layout in LAYOUTS.items()}


class Assembler:
    """Grows the program and the memories that it walks through.

    program: instructions. thresholds: words. layer: name of the layer being compiled, for messages.
    """

    def __init__(self, config):
        self.config = config
        self.layer = None
        self.program, self.thresholds = [], []
        self._weights = []                                            # of (rows, channels), memory order
        self._source = None
        self._table = self._packed_table(range(1 << config.w_bits))   # every program starts with the identity
        self._overflow = {}                                           # memory -> first layer that does not fit

    def emit(self, layout, **fields):
        """Append one instruction; a number that its field cannot hold is a `DoesNotFit`."""
        op = OPS[layout]
        for name, value in fields.items():
            low, high = _limits(data.Layout.cast(layout)[name].shape)
            if not low <= value <= high:
                raise DoesNotFit(self.layer, f"{name} of a {op.name} instruction", value, low if value < low else high)
        self.program.append(layout.const({"op": op, **fields}).as_bits())

    def source(self, tensor, stride, *, image):
        """The tensor that the next passes read; an instruction only where it changes."""
        _, height, width = tensor.shape
        fields = {"width": width, "height": height, "pitch": tensor.pitch, "stride2": stride - 1, "image": image}
        if fields != self._source:
            self.emit(Source, **fields)
            self._source = fields

    def levels(self, table):
        """Level table of the next passes, None for the identity; instructions only for the halves that change."""
        packed = self._packed_table(range(1 << self.config.w_bits) if table is None else table)
        for half, (old, new) in enumerate(zip(self._table, packed, strict=True)):
            if old != new:
                self.emit(Levels, half=half, table=new)
        self._table = packed

    def sweep(self, weights, base, **fields):
        """A `Pass` over new weight codes (rows, channels), or, with None, over those of the pass before."""
        if weights is not None:
            self._weights.append(weights[::-1])                       # the array shifts row rows - 1 in first
        self.emit(Pass, base=base % (1 << ROW_BITS), repeat=weights is None, **fields)

    def packed_weights(self):
        """The weight memory: uint64 words."""
        return pack_fields(np.concatenate(self._weights), self.config.w_bits)[:, 0]

    def check_depths(self):
        """Remember this layer if the memories are full after it."""
        for memory, (need, limit) in self._depths().items():
            if need > limit:
                self._overflow.setdefault(memory, self.layer)

    def finish(self):
        """The program's end. Raises `DoesNotFit` for the layer at which a memory ran out, with the whole net's need."""
        self.emit(End)
        self.check_depths()
        for memory, layer in self._overflow.items():
            raise DoesNotFit(layer, memory, *self._depths()[memory])

    def _depths(self):
        config = self.config
        return {"weight words": (len(self._weights) * config.rows, config.weight_depth),
                "threshold words": (len(self.thresholds), config.threshold_depth),
                "instructions": (len(self.program), config.program_depth)}

    def _packed_table(self, table):
        """Numbers for `Levels.table`, one per half; entry u at bits u * w_bits."""
        word = int(pack_fields(np.array([table]), self.config.w_bits)[0, 0])
        halves = -(-(self.config.w_bits << self.config.w_bits) // HALF_BITS)
        return [word >> (HALF_BITS * half) & ((1 << HALF_BITS) - 1) for half in range(halves)]


def _limits(shape):
    shape = Shape.cast(shape)
    return (-(1 << shape.width - 1), (1 << shape.width - 1) - 1) if shape.signed else (0, (1 << shape.width) - 1)
