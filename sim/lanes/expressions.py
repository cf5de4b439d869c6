"""C++ expressions of a netlist's values: of plain integers, and of vectors as lanes.h has them.

A value is computed in as many bits as the type has that stores it, at least 32 for plain integers, and is zero-extended
in them.
"""
from dataclasses import dataclass

from .netlist import Part, UnsupportedNetlist, is_vector, width_of

__all__ = ["LETTERS", "Expressions", "storage_bits"]

LETTERS = {8: "b", 16: "h", 32: "w", 64: "d"}
SMALL_TABLE = 16                    # words of a memory that multiplexers read faster than memory
INFIX = {"$and": "&", "$or": "|", "$xor": "^", "$add": "+", "$sub": "-", "$mul": "*",
         "$lt": "<", "$le": "<=", "$gt": ">", "$ge": ">=", "$eq": "==", "$ne": "!=", "$eqx": "==", "$nex": "!="}


def storage_bits(width):
    """Bits of the smallest type that holds `width` bits."""
    return next(bits for bits in LETTERS if width <= bits)


@dataclass(frozen=True)
class Value:
    """A C++ expression of type V<bits> where it is a vector, else of U32 or U64."""
    text: str
    bits: int
    vector: bool


class Expressions:
    """Expressions over variables and memories that are somewhere already.

    reference: function of a variable, memory_name: of a memory: what C++ calls it.
    """

    def __init__(self, reference, memory_name):
        self._reference, self._memory_name = reference, memory_name

    @staticmethod
    def local_type(variable):
        """C++ type of a variable of a function."""
        if variable.vector:
            return f"V{storage_bits(variable.width)}"
        return "U64" if variable.width > 32 else "U32"

    @staticmethod
    def wide(value, bits):
        """Text of `value` as a vector."""
        return value.text if value.vector else f"wide{bits}({value.text})"

    def cast(self, value, variable):
        """Text of `value` as what `variable` is."""
        if variable.vector:
            bits = storage_bits(variable.width)
            text = self.wide(value, bits)
            return text if not value.vector or value.bits == bits else f"to<V{bits}>({text})"
        return value.text

    def exact(self, parts, variable):
        """Text of `parts` as what `variable` is."""
        return self.cast(self.value(parts, self._bits(variable.width, variable.vector)), variable)

    @staticmethod
    def _bits(width, vector):
        bits = storage_bits(width)
        return bits if vector else max(bits, 32)

    def value(self, parts, bits, signed=False):
        """`Value` of `bits` bits (of at least 32 where it is no vector), from parts that may be fewer or more."""
        parts = _cut_to(parts, bits)
        vector, width = is_vector(parts), width_of(parts)
        if not vector:
            bits = max(bits, 32)
        texts, shared, constant, low = [], [], 0, 0
        for part in parts:
            if part.variable is None:
                constant |= part.value << low
            else:
                text, place = self._part(part, bits, vector and part.variable.vector), shared
                if vector and part.variable.vector:
                    place = texts
                place.append(f"({text} << {low})" if low else text)
            low += part.width
        if constant or not (texts or shared):
            shared.append(_number(constant, bits))
        if shared and vector:
            texts.append(f"wide{bits}({' | '.join(shared)})")
        texts = texts or shared
        text = texts[0] if len(texts) == 1 else f"({' | '.join(texts)})"
        if signed and width < bits:
            text = f"sext{bits}({text}, {width})"
        return Value(text, bits, vector)

    def _part(self, part, bits, vector):
        variable, text = part.variable, self._reference(part.variable)
        own_bits = self._bits(variable.width, variable.vector)
        if part.low:
            text = f"({text} >> {part.low})"
        if part.low + part.width < variable.width:
            text = f"({text} & {_number((1 << part.width) - 1, own_bits, vector)})"
        if vector:
            return text if own_bits == bits else f"to<V{bits}>({text})"
        if bits == 64:
            return f"U64({text})"
        return f"U32({text})"

    def _operand(self, parts, width, bits, signed):
        """The lowest `width` bits of an operand, extended by its sign where it is shorter; anything above them."""
        signed = signed and width_of(parts) < width
        return self.value(_cut_to(parts, width), bits, signed)

    def _both(self, cell, width, signed, vector):
        """Operands A and B, both vectors of `width`'s type where `vector`."""
        bits = self._bits(width, vector)
        values = [self._operand(cell.operands[port], width, bits, signed) for port in "AB"]
        return bits, [self.wide(value, bits) if vector else value.text for value in values]

    def cell(self, cell):
        """`Value` of what a cell computes."""
        kind, width, vector = cell.kind, cell.output.width, cell.output.vector
        signed = {"A", "B"} <= cell.signed
        if kind == "$mux":
            return self._mux(cell)
        if kind == "first":
            a, b = (self.value(cell.operands[port], 32).text for port in "AB")
            return Value(f"({a} ? {a} : {b})", 32, False)
        if kind in ("$and", "$or", "$xor", "$xnor"):
            bits, (a, b) = self._both(cell, width, signed, vector)
            text = f"({a} {INFIX.get(kind, '^')} {b})"
            return self._masked(f"~{text}" if kind == "$xnor" else text, width, bits, vector, kind == "$xnor" or signed)
        if kind in ("$add", "$sub", "$mul"):
            bits, (a, b) = self._both(cell, width, signed, vector)
            return self._masked(f"({a} {INFIX[kind]} {b})", width, bits, vector, self._overflows(cell))
        if kind in ("$not", "$neg", "$pos"):
            bits = self._bits(width, vector)
            value = self._operand(cell.operands["A"], width, bits, "A" in cell.signed)
            a = self.wide(value, bits) if vector else value.text
            sign = {"$not": "~", "$neg": "-", "$pos": ""}[kind]
            return self._masked(f"({sign}{a})", width, bits, vector, kind != "$pos" or "A" in cell.signed)
        if kind in ("$lt", "$le", "$gt", "$ge", "$eq", "$ne", "$eqx", "$nex"):
            return self._comparison(cell, signed)
        if kind in ("$shl", "$sshl", "$shr", "$sshr", "$shift", "$shiftx"):
            return self._shift(cell)
        if kind in ("$reduce_xor", "$reduce_xnor"):
            text = " ^ ".join(f"parity({word})" for word in self._words(cell.operands["A"], vector))
            return self._bit(f"(({text}) ^ {int(kind == '$reduce_xnor')}u)", vector)
        if kind == "$reduce_and":
            ones = [self._test(piece, "==", (1 << width_of(piece)) - 1, vector)
                    for piece in _pieces(cell.operands["A"])]
            return self._bit("(" + " & ".join(ones) + ")", vector)
        if kind in ("$logic_and", "$logic_or"):
            a, b = (self._nonzero(cell.operands[port], vector) for port in "AB")
            return self._bit(f"({a} {'&' if kind == '$logic_and' else '|'} {b})", vector)
        if kind == "$logic_not":
            text = self._nonzero(cell.operands["A"], vector)
            return self._bit(f"({text} ^ {'uint8_t(1)' if vector else '1u'})", vector)
        if kind in ("$reduce_or", "$reduce_bool"):
            return self._bit(self._nonzero(cell.operands["A"], vector), vector)
        raise UnsupportedNetlist(f"a cell {kind}")

    @staticmethod
    def _bit(text, vector):
        return Value(text, 8 if vector else 32, vector)

    def _masked(self, text, width, bits, vector, overflows):
        if overflows and width < bits:
            text = f"({text} & {_number((1 << width) - 1, bits, vector)})"
        return Value(text, bits, vector)

    def _narrowed(self, text, width, bits, vector):
        """The lowest `width` bits of a number computed in more, in the type of so many."""
        value, wanted = self._masked(text, width, bits, vector, True), self._bits(width, vector)
        if wanted != bits:
            value = Value(f"to<V{wanted}>({value.text})" if vector else f"U{wanted}({value.text})", wanted, vector)
        return value

    @staticmethod
    def _overflows(cell):
        """Whether the result may need more bits than the output has."""
        a, b = (width_of(cell.operands[port]) for port in "AB")
        if {"A", "B"} <= cell.signed or cell.kind == "$sub":
            return True
        return (max(a, b) + 1 if cell.kind == "$add" else a + b) > cell.output.width

    def _mux(self, cell):
        width, vector = cell.output.width, cell.output.vector
        bits = self._bits(width, vector)
        select = self.value(cell.operands["S"], 8)
        a, b = (self._operand(cell.operands[port], width, bits, False) for port in "AB")
        if vector:
            a, b = (self.wide(value, bits) for value in (a, b))
            if select.vector:
                return Value(f"mux({select.text}, {a}, {b})", bits, True)
            return Value(f"({select.text} ? {b} : {a})", bits, True)
        return Value(f"({select.text} ? {b.text} : {a.text})", bits, False)

    def _comparison(self, cell, signed):
        vector = cell.output.vector
        width = max(width_of(cell.operands[port]) for port in "AB")
        if width > 64:
            raise UnsupportedNetlist(f"a {cell.kind} of {width} bits")
        bits = self._bits(width, vector)
        values = [self.value(cell.operands[port], bits, signed) for port in "AB"]
        a, b = (self.wide(value, bits) if vector else value.text for value in values)
        operator = INFIX[cell.kind]
        if not vector:
            kind = f"int{bits}_t" if signed else ""
            return Value(f"U32({kind}({a}) {operator} {kind}({b}))", 32, False)
        kind = f"S{bits}" if signed else f"V{bits}"
        return Value(f"bit({kind}({a}) {operator} {kind}({b}))", 8, True)

    def _test(self, parts, operator, number, vector):
        """Text of a bit: `parts`, of at most 64 bits, compared with a number."""
        bits = self._bits(width_of(parts), vector)
        value = self.value(parts, bits)
        if vector:
            return f"bit({self.wide(value, bits)} {operator} {f'wide{bits}({number}ull)'})"
        return f"U32({value.text} {operator} {_number(number, bits)})"

    def _nonzero(self, parts, vector):
        pieces = _pieces(parts)
        if not vector and len(pieces) == 1 and width_of(parts) == 1:
            return self.value(parts, 32).text
        texts = [self._test(piece, "!=", 0, vector) for piece in pieces]
        return texts[0] if len(texts) == 1 else f"({' | '.join(texts)})"

    def _words(self, parts, vector):
        """Texts of `parts` in pieces of 64 bits, lowest first; the last one in as few as it needs."""
        for piece in _pieces(parts):
            bits = storage_bits(width_of(piece)) if vector else 64
            value = self.value(piece, bits)
            yield self.wide(value, bits) if vector else value.text

    def _shift(self, cell):
        kind, width, vector = cell.kind, cell.output.width, cell.output.vector
        a_parts, b_parts = cell.operands["A"], cell.operands["B"]
        a_width, b_width = (width_of(parts) for parts in (a_parts, b_parts))
        if b_width > 64:
            raise UnsupportedNetlist(f"a {kind} by a number of {b_width} bits")
        two_ways = "B" in cell.signed and kind in ("$shift", "$shiftx")
        if two_ways and is_vector(b_parts):
            raise UnsupportedNetlist("a shift to both sides by what pixels reach")
        if kind in ("$shift", "$shiftx", "$shr", "$sshr") and (a_width > 64 or cell.low) and not two_ways:
            return self._window(cell, a_parts, b_parts)
        work = max(a_width, cell.low + width)
        if work > 64:
            raise UnsupportedNetlist(f"a {kind} of {work} bits")
        bits = self._bits(work, vector)
        signed = "A" in cell.signed
        a = self.value(a_parts, bits, signed)
        a = self.wide(a, bits) if vector else a.text
        right = "sar" if kind == "$sshr" and signed else "shr"
        if signed and right == "shr" and work < bits:       # extended to the output, with zeros above
            a = f"({a} & {_number((1 << work) - 1, bits, vector)})"
        by = self.value(b_parts, 64).text
        if is_vector(b_parts):
            by_bits = max(bits, storage_bits(b_width))
            by = self.value(b_parts, by_bits).text
            if by_bits > bits:
                by = f"to<V{bits}>(at_most({by}, {bits}))"
        if two_ways:
            n = self.value(b_parts, 64, signed=True).text
            text = f"(int64_t({n}) >= 0 ? {right}({a}, U64({n})) : shl({a}, 0 - U64({n})))"
        else:
            text = f"{'shl' if kind in ('$shl', '$sshl') else right}({a}, {by})"
        return self._narrowed(text, width, bits, vector)

    def _window(self, cell, a_parts, b_parts):
        """Bits from B + low on, of an operand of any width: a choice among its words, then a shift."""
        width, vector = cell.output.width, cell.output.vector
        a_width = width_of(a_parts)
        if "A" in cell.signed:
            raise UnsupportedNetlist(f"a {cell.kind} of a signed number of {a_width} bits")
        if is_vector(b_parts):
            raise UnsupportedNetlist(f"a {cell.kind} of {a_width} bits by what pixels reach")
        bits = 64
        words = [self.wide(value, 64) if vector else value.text
                 for value in (self.value(piece, 64) for piece in _pieces(a_parts)[cell.low // 64:] or [[Part(1)]])]
        kind = "V64" if vector else "U64"
        text = (f"window<{kind}>({self.value(b_parts, 64).text}, {{{', '.join(words)}}})")
        return self._narrowed(text, width, bits, vector)

    def word(self, read):
        """`Value` of the word that a port reads."""
        memory, vector = read.memory, read.output.vector
        bits, name = storage_bits(memory.width), self._memory_name(memory)
        place = f"{'v' if memory.vector else 's'}->{name}"
        if is_vector(read.address):
            address_bits = width_of(read.address)
            address = self.value(read.address, storage_bits(address_bits)).text
            if not memory.vector and memory.size == 1 << address_bits <= SMALL_TABLE:
                words = [f"wide{bits}({place}[{k}])" for k in range(memory.size)]
                return Value(self._tree(words, read.address), bits, True)
            return Value(f"gather<V{bits}>({place}, {memory.size}u, {address})", bits, True)
        address = self.value(read.address, 32).text
        text, nothing = f"{place}[{address}]", f"V{bits}{{}}" if memory.vector else "0"
        if 1 << width_of(read.address) > memory.size:
            text = f"({address} < {memory.size}u ? {text} : {nothing})"
        if memory.vector:
            return Value(text, bits, True)
        value = Value(f"U{max(bits, 32)}({text})", max(bits, 32), False)
        return Value(f"wide{bits}({value.text})", bits, True) if vector else value

    def _tree(self, words, address):
        """Choice among 2**n words by the n bits of the address, lowest first."""
        bit_parts = [Part(1, part.variable, part.low + k) if part.variable is not None else
                     Part(1, value=part.value >> k & 1) for part in address for k in range(part.width)]
        for part in bit_parts:
            select = self.wide(self.value([part], 8), 8)
            words = [f"mux({select}, {a}, {b})" for a, b in zip(words[::2], words[1::2], strict=True)]
        return words[0]


def _number(value, bits, vector=False):
    if vector:
        return f"uint{bits}_t({value:#x}{'ull' if bits == 64 else 'u'})"
    return f"U64({value:#x}ull)" if bits == 64 else f"{value:#x}u"


def _cut_to(parts, width):
    """The lowest `width` bits of `parts`."""
    cut = []
    for part in parts:
        if width <= 0:
            break
        if part.width > width:
            part = Part(width, part.variable, part.low, part.value & (1 << width) - 1)
        cut.append(part)
        width -= part.width
    return cut


def _pieces(parts):
    """`parts` in runs of 64 bits, the last one shorter."""
    runs, room = [[]], 64
    for part in parts:
        while part.width > room:
            runs[-1].append(Part(room, part.variable, part.low, part.value & (1 << room) - 1))
            part = Part(part.width - room, part.variable, part.low + room, part.value >> room)
            runs.append([])
            room = 64
        runs[-1].append(part)
        room -= part.width
        if not room:
            runs.append([])
            room = 64
    return [run for run in runs if run] or [[Part(1)]]
