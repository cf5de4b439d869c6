"""Instructions and weight words, packed by the layouts of `isa`, every number checked against its
field and every memory against its depth."""
import numpy as np
from amaranth import Shape
from amaranth.lib import data

from accel import tape
from accel.isa import *
from model.common.bits import pack_fields

from .placement import DoesNotFit, MemoryFull

__all__ = ["Assembler"]

CHUNK_LIMIT = 1 << CHUNK_BITS
INSTRUCTION_WORDS = tape.words_of(INSTRUCTION_BITS)
OPS = {layout: op for op, layout in LAYOUTS.items()}


class Assembler:
    """Grows a program and the memories that it walks through.

    program: instructions. thresholds: words. layer: the one being compiled, for messages.
    """

    def __init__(self, config):
        self.config = config
        self.layer = None
        self.program, self.thresholds = [], []
        self._tape_words = INSTRUCTION_WORDS            # of the settings
        self._weights = []              # of (rows, channels), in memory order
        self._source = None
        self._batch = {"more": 0, "apart": 0}
        self._pass = None               # fields of a pass that is not in the program yet: others may still join it
        self._known_halves = {}         # level table: its halves
        self._table = self._halves(None)
        self._full = {}                 # memory: layer that no longer found room in it

    def emit(self, layout, **fields):
        """Append an instruction."""
        self.flush()
        op = OPS[layout]
        for name, value in fields.items():
            low, high = _limits(data.Layout.cast(layout)[name].shape)
            if not low <= value <= high:
                raise DoesNotFit(self.layer, f"{name} of the {op.name} instruction", value,
                                 low if value < low else high)
        instruction = layout.const({"op": op, **fields})
        self.program.append(instruction.as_bits())
        _, count, bits = tape.operands_of(self.config, layout, instruction)
        self._tape_words += INSTRUCTION_WORDS + count * tape.words_of(bits)

    def flush(self):
        """Nothing joins the last pass any more."""
        if self._pass is not None:
            fields, self._pass = self._pass, None
            self.emit(Pass, **fields)

    def source(self, tensor, stride, *, picture):
        """The tensor that the next passes read: an instruction where it changes."""
        _, height, width = tensor.shape
        fields = {"width": width, "height": height, "pitch": tensor.pitch, "plane": tensor.plane,
                  "stride2": stride - 1, "picture": picture, "apart": tensor.apart % (1 << ROW_BITS)}
        if fields != self._source:
            self.emit(Source, **fields)
            self._source = fields

    def batch(self, pictures, apart):
        """The next tiles have so many pictures, whose codes lie `apart` bank rows from each other: an instruction where
        it changes."""
        fields = {"more": pictures - 1, "apart": apart % (1 << ROW_BITS) if pictures > 1 else 0}
        if fields != self._batch:
            self.emit(Batch, **fields)
            self._batch = fields

    def levels(self, table):
        """Level table of the next passes (None: the identity): instructions for what changes."""
        halves = self._halves(table)
        for half, (old, new) in enumerate(zip(self._table, halves, strict=True)):
            if old != new:
                self.emit(Levels, half=half, table=new)
        self._table = halves

    def run(self, weights, base, **fields):
        """A pass over weight codes (rows, channels); with None, over those of the pass before."""
        if weights is not None:
            self._weights.append(weights[::-1])         # the last row enters the array first
        fields |= {"base": base % (1 << ROW_BITS), "repeat": weights is None, "more": 0}
        joined = self._joined(fields)
        if not joined:
            self.flush()
        self._pass = joined or fields

    def _joined(self, fields):
        """The last pass with this one behind it as one instruction; None where it is not one."""
        last = self._pass
        if last is None or last["repeat"] or last["final"] or last["more"] == (1 << MORE_BITS) - 1:
            return None
        more = last["more"] + 1
        follows = last | {"base": (last["base"] + more * self._source["plane"]) % (1 << ROW_BITS), "more": 0,
                          "clear": 0, "final": fields["final"], "logits": fields["logits"]}
        if fields != follows:
            return None
        return last | {"final": fields["final"], "logits": fields["logits"], "more": more}

    def weights(self):
        """The weight memory, uint64 words."""
        words = pack_fields(np.concatenate(self._weights), self.config.w_bits)
        return words.squeeze(axis=1)

    def end_layer(self):
        """Note the layer if a memory overflows with it."""
        self.flush()
        for memory, (need, limit) in self._depths().items():
            if need > limit:
                self._full.setdefault(memory, self.layer)

    def end(self):
        """End the program. Refuses a net that overflows a memory, with the whole net's need."""
        self.emit(End)
        self.end_layer()
        for memory, layer in self._full.items():
            raise MemoryFull(layer, memory, *self._depths()[memory])

    def _depths(self):
        """{memory: (words used, words there)}, of memories that have to hold all of it: the SDRAM the tape, or, without
        one, the three memories that the tape fills."""
        config = self.config
        if config.sdram_hz is None:
            return {"weight words": (len(self._weights) * config.rows, config.weight_depth),
                    "threshold words": (len(self.thresholds), config.threshold_depth),
                    "instructions": (len(self.program), config.program_depth)}
        return {"chunks of the tape": (-(-self._tape_words // tape.PAYLOAD_WORDS), CHUNK_LIMIT)}

    def _halves(self, table):
        """`Levels.table` of each half; every program starts with the identity in force."""
        if table not in self._known_halves:
            self._known_halves[table] = self._halves_of(table)
        return self._known_halves[table]

    def _halves_of(self, table):
        bits = self.config.w_bits
        entries = np.arange(1 << bits) if table is None else np.array(table)
        word = int(pack_fields(entries[None], bits)[0, 0])
        halves = range(-(-len(entries) * bits // HALF_BITS))
        return [word >> HALF_BITS * half & (1 << HALF_BITS) - 1 for half in halves]


def _limits(shape):
    shape = Shape.cast(shape)
    if shape.signed:
        return -(1 << shape.width - 1), (1 << shape.width - 1) - 1
    return 0, (1 << shape.width) - 1
