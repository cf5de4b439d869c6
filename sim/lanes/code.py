"""C++ of a netlist: `step_<n>` for every set of clocks that may rise together, and tables of what can be looked at.

    struct Shared  what all lanes share: uint8_t b[..]; uint16_t h[..]; uint32_t w[..]; uint64_t d[..]; memories
    struct Block   what each lane of a block has of its own: V8 b[..]; V16 h[..]; V32 w[..]; V64 d[..]; memories
    eval_n_k       a run of nodes: logic of `Shared`, for every block logic and registers of it, registers of `Shared`

A variable is stored in the smallest type that holds it, zero-extended. Logic that one function alone needs is local to
it. Small functions compile fast, and their code is fetched once for all blocks.
"""
import json
from collections import defaultdict
from dataclasses import dataclass

from .netlist import Cell, Part, Read, Register, UnsupportedNetlist, Variable, Write
from .schedule import Output, operands, schedule

__all__ = ["generate"]

NODES_PER_FUNCTION = 250            # compile time per node grows from here on
FILES = 8                           # at most, compiled side by side
LETTERS = {8: "b", 16: "h", 32: "w", 64: "d"}
SMALL_TABLE = 16                    # words of a memory that multiplexers read faster than memory
INFIX = {"$and": "&", "$or": "|", "$xor": "^", "$add": "+", "$sub": "-", "$mul": "*",
         "$lt": "<", "$le": "<=", "$gt": ">", "$ge": ">=", "$eq": "==", "$ne": "!=", "$eqx": "==", "$nex": "!="}
ARGUMENTS = "(Shared *__restrict s, Block *__restrict blocks, Block *end)"


def storage_bits(width):
    """Bits of the smallest type that holds `width` bits."""
    return next(bits for bits in LETTERS if width <= bits)


@dataclass(frozen=True)
class Value:
    """A C++ expression of type V<bits> where it is a vector, else of U32 or U64."""
    text: str
    bits: int
    vector: bool


def generate(netlist, clock_sets, notes=()):
    """C++ files, name -> text: `design.h` and `design_*.cc`, to be compiled with simulator.h.

    clock_sets: `step_<n>` is a rising edge of all clocks of `clock_sets[n]`. notes: of `undefined.follow`.
    """
    return _Design(netlist, clock_sets).files(notes)


class _Design:
    def __init__(self, netlist, clock_sets):
        self._netlist = netlist
        self._count = defaultdict(int)              # (vector, bits) -> variables stored there
        self._place = {}                            # stored variable -> reference
        self._local = {}                            # variable of the present function -> reference
        self._memory_names = {memory: f"m{k}" for k, memory in enumerate(netlist.memories)}
        self._shown = {name: [self._shown_part(name, part) for part in parts]
                       for name, parts in netlist.outputs.items()}
        for parts in netlist.inputs.values():
            for part in parts:
                self._store(part.variable)
        for node in [*netlist.registers, *(r for m in netlist.memories for r in m.reads if r.clock is not None)]:
            self._store(node.output)
        self._functions = [list(self._cut(schedule(netlist, clocks))) for clocks in clock_sets]

    # Where variables are

    def _store(self, variable):
        key = variable.vector, storage_bits(variable.width)
        self._place[variable] = f"{'v' if variable.vector else 's'}->{LETTERS[key[1]]}[{self._count[key]}]"
        self._count[key] += 1

    def _shown_part(self, name, part):
        """(part, variable that shows it) of an output; constants need none."""
        if part.variable is None:
            return part, None
        shown = Variable(part.width, name, "cell", part.variable.vector)
        self._store(shown)
        return part, shown

    def _reference(self, variable):
        return self._place.get(variable) or self._local[variable]

    def _cut(self, nodes):
        """The nodes in runs, one a function; what several need is stored."""
        runs = [nodes[k:k + NODES_PER_FUNCTION] for k in range(0, len(nodes), NODES_PER_FUNCTION)]
        home = {node.output: k for k, run in enumerate(runs) for node in run if self._is_logic(node)}
        for k, run in enumerate(runs):
            for node in run:
                for part in operands(node):
                    variable = part.variable
                    if variable in home and home[variable] != k and variable not in self._place:
                        self._store(variable)
        return runs

    @staticmethod
    def _is_logic(node):
        return isinstance(node, Cell) or isinstance(node, Read) and node.clock is None

    # Files

    def files(self, notes):
        include = '#include "design.h"\n\n'
        functions, steps = [], []
        for n, runs in enumerate(self._functions):
            functions += [self._function(f"eval_{n}_{k}", run) for k, run in enumerate(runs)]
            calls = "".join(f"    eval_{n}_{k}(s, blocks, end);\n" for k in range(len(runs)))
            steps.append(f"void step_{n}{ARGUMENTS} {{\n{calls}}}\n")
        share = max(1, -(-len(functions) // FILES))
        files = {f"design_{k // share}.cc": include + "\n".join(functions[k:k + share])
                 for k in range(0, len(functions), share)}
        names = ", ".join(f"step_{n}" for n in range(len(steps)))
        steps.append(f"const Step steps[] = {{{names}}};\n")
        files["design_main.cc"] = '#include "simulator.h"\n\n' + "\n".join(
            [*steps, self._reset(), self._tables(), _notes(notes)])
        prototypes = "".join(f"void eval_{n}_{k}{ARGUMENTS};\n"
                             for n, runs in enumerate(self._functions) for k in range(len(runs)))
        files["design.h"] = "".join([
            '#pragma once\n#include "lanes.h"\n\n', self._struct("Shared", False), self._struct("Block", True),
            prototypes, "".join(f"void step_{n}{ARGUMENTS};\n" for n in range(len(self._functions)))])
        return files

    def _struct(self, name, vector):
        lines = [f"    {self._type(bits, vector)} {letter}[{self._count[vector, bits] + 1}];\n"
                 for bits, letter in LETTERS.items() if not vector or self._any_vectors()]
        lines += [f"    {self._type(storage_bits(memory.width), vector)} {self._memory_names[memory]}[{memory.size}];\n"
                  for memory in self._netlist.memories if memory.vector == vector]
        return f"struct {name} {{\n{''.join(lines)}}};\n"

    def _any_vectors(self):
        return any(vector for vector, _ in self._count)

    @staticmethod
    def _type(bits, vector):
        return f"V{bits}" if vector else f"uint{bits}_t"

    def _reset(self):
        shared, own = [], []
        for register in self._netlist.registers:
            if register.init:
                bits = storage_bits(register.output.width)
                value = f"wide{bits}({register.init}u)" if register.output.vector else f"{register.init}ull"
                (own if register.output.vector else shared).append(
                    f"    {self._reference(register.output)} = {value};\n")
        for memory in self._netlist.memories:
            if memory.loaded:
                bits = storage_bits(memory.width)
                words = ", ".join(f"{word}u" + "ll" * (bits == 64) for word in memory.init)
                place = f"{'v' if memory.vector else 's'}->{self._memory_names[memory]}[k]"
                (own if memory.vector else shared).append(
                    f"    {{ static const uint{bits}_t init[] = {{{words}}};\n"
                    f"      for (int k = 0; k < {memory.size}; k++) "
                    f"{place} = {f'wide{bits}(init[k])' if memory.vector else 'init[k]'}; }}\n")
        loop = f"    for (Block *v = blocks; v != end; v++) {{\n{''.join(own)}    }}\n" if own else ""
        return f"void reset{ARGUMENTS} {{\n    (void)s, (void)blocks, (void)end;\n{''.join(shared)}{loop}}}\n"

    def _tables(self):
        """Ports and registers as pieces, for `Simulator::find` of simulator.h."""
        looked_at = [*((name, [(part, part.variable) for part in parts]) for name, parts in
                       self._netlist.inputs.items()), *self._shown.items(),
                     *((name, [(part, part.variable) for part in parts]) for name, parts in
                       self._netlist.names.items() if name not in self._netlist.inputs | self._shown)]
        pieces, ports = [], []
        for name, parts in looked_at:
            low, first = 0, len(pieces)
            for part, variable in parts:
                if variable is None:
                    pieces.append(f"{{0, 0, 0, 0, {part.width}, {low}, {part.value}ull}}")
                else:
                    place = self._place[variable]
                    struct, member = ("Block" if variable.vector else "Shared"), place[3:]
                    at = 0 if part.variable is not variable else part.low
                    pieces.append(f"{{offsetof({struct}, {member}), {storage_bits(variable.width) // 8}, "
                                  f"{int(variable.vector)}, {at}, {part.width}, {low}, 0}}")
                low += part.width
            ports.append(f"{{{json.dumps(name)}, {low}, {first}, {len(pieces) - first}}}")
        return ("const Piece pieces[] = {\n    " + ",\n    ".join(pieces) + "};\nconst Port ports[] = {\n    "
                + ",\n    ".join(ports) + f"}};\nconst int port_count = {len(ports)};\n")

    # Functions

    def _function(self, name, run):
        self._local = {node.output: f"x{k}" for k, node in enumerate(run)
                       if self._is_logic(node) and node.output not in self._place}
        logic, own, updates = [], [], []            # in the order in which they run
        for node in run:
            self._statement(node, logic, own, updates)
        loop = []
        if own:
            loop = ["    for (Block *__restrict v = blocks; v != end; v++) {\n",
                    *_grouped(own, "        "), "    }\n"]
        return "".join([f"void {name}{ARGUMENTS} {{\n", *_grouped(logic, "    "), *loop, *_grouped(updates, "    "),
                        "}\n"])

    def _statement(self, node, logic, own, updates):
        """Appends (condition or None, statement) to where it belongs."""
        if isinstance(node, Output):
            for part, shown in self._shown[node.name]:
                if shown is not None:
                    value = self._exact([part], shown)
                    (own if shown.vector else logic).append((None, f"{self._reference(shown)} = {value};"))
        elif isinstance(node, Write):
            bits, vector = storage_bits(node.memory.width), node.memory.vector
            (own if vector else updates).append((self._condition(node.enable, 1), self._write(node, bits, vector)))
        elif self._is_logic(node):
            value = self._cell(node) if isinstance(node, Cell) else self._word(node)
            value = self._cast(value, node.output)
            reference = self._reference(node.output)
            kind = "" if node.output in self._place else f"const {self._local_type(node.output)} "
            (own if node.output.vector else logic).append((None, f"{kind}{reference} = {value};"))
        else:
            self._update(node, own if node.output.vector else updates)

    def _update(self, node, statements):
        register = node.output
        reference = self._reference(register)
        value = self._exact(node.data, register) if isinstance(node, Register) else self._cast(
            self._word(node), register)
        on = getattr(node, "on", 1)
        if node.enable is None or self._constant(node.enable) == on:
            statements.append((None, f"{reference} = {value};"))
        elif any(part.variable is not None and part.variable.vector for part in node.enable):
            enable = self._value(node.enable, 8).text
            choice = f"{reference}, {value}" if on else f"{value}, {reference}"
            statements.append((None, f"{reference} = mux({enable}, {choice});"))
        else:
            statements.append((self._condition(node.enable, on), f"{reference} = {value};"))

    def _condition(self, enable, on):
        if self._constant(enable) == on:
            return None
        text = self._value(enable, 32).text
        return text if on else f"!{text}"

    @staticmethod
    def _constant(parts):
        """Value of a bit that is a constant, else None."""
        return parts[0].value if parts[0].variable is None else None

    def _write(self, node, bits, vector):
        memory, address = self._memory_names[node.memory], self._value(node.address, 32)
        word = f"{'v' if vector else 's'}->{memory}[{address.text}]"
        value = self._value(node.data, bits if vector else max(bits, 32))
        text = self._wide(value, bits) if vector else value.text
        fits = 1 << sum(part.width for part in node.address) <= node.memory.size
        return f"{'' if fits else f'if ({address.text} < {node.memory.size}u) '}{word} = {text};"

    # Values

    def _local_type(self, variable):
        if variable.vector:
            return f"V{storage_bits(variable.width)}"
        return "U64" if variable.width > 32 else "U32"

    def _wide(self, value, bits):
        """Text of `value` as a vector."""
        return value.text if value.vector else f"wide{bits}({value.text})"

    def _cast(self, value, variable):
        """Text of `value` as what `variable` is."""
        if variable.vector:
            bits = storage_bits(variable.width)
            text = self._wide(value, bits)
            return text if not value.vector or value.bits == bits else f"to<V{bits}>({text})"
        return value.text

    def _exact(self, parts, variable):
        return self._cast(self._value(parts, self._bits(variable.width, variable.vector)), variable)

    @staticmethod
    def _bits(width, vector):
        bits = storage_bits(width)
        return bits if vector else max(bits, 32)

    def _is_vector(self, parts):
        return any(part.variable is not None and part.variable.vector for part in parts)

    def _value(self, parts, bits, signed=False):
        """`Value` of `bits` bits (of at least 32 where it is no vector), from parts that may be fewer or more."""
        parts = _cut_to(parts, bits)
        vector, width = self._is_vector(parts), sum(part.width for part in parts)
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
        signed = signed and sum(part.width for part in parts) < width
        return self._value(_cut_to(parts, width), bits, signed)

    def _both(self, cell, width, signed, vector):
        """Operands A and B, both vectors of `width`'s type where `vector`."""
        bits = self._bits(width, vector)
        values = [self._operand(cell.operands[port], width, bits, signed) for port in "AB"]
        return bits, [self._wide(value, bits) if vector else value.text for value in values]

    def _cell(self, cell):
        kind, width, vector = cell.kind, cell.output.width, cell.output.vector
        signed = {"A", "B"} <= cell.signed
        if kind == "$mux":
            return self._mux(cell)
        if kind == "first":
            a, b = (self._value(cell.operands[port], 32).text for port in "AB")
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
            a = self._wide(value, bits) if vector else value.text
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
            ones = [self._test(part_parts, "==", (1 << sum(p.width for p in part_parts)) - 1, vector)
                    for part_parts in _pieces(cell.operands["A"])]
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

    @staticmethod
    def _overflows(cell):
        """Whether the result may need more bits than the output has."""
        a, b = (sum(part.width for part in cell.operands[port]) for port in "AB")
        if {"A", "B"} <= cell.signed or cell.kind == "$sub":
            return True
        return (max(a, b) + 1 if cell.kind == "$add" else a + b) > cell.output.width

    def _mux(self, cell):
        width, vector = cell.output.width, cell.output.vector
        bits = self._bits(width, vector)
        select = self._value(cell.operands["S"], 8)
        a, b = (self._operand(cell.operands[port], width, bits, False) for port in "AB")
        if vector:
            a, b = (self._wide(value, bits) for value in (a, b))
            if select.vector:
                return Value(f"mux({select.text}, {a}, {b})", bits, True)
            return Value(f"({select.text} ? {b} : {a})", bits, True)
        return Value(f"({select.text} ? {b.text} : {a.text})", bits, False)

    def _comparison(self, cell, signed):
        vector = cell.output.vector
        width = max(sum(part.width for part in cell.operands[port]) for port in "AB")
        if width > 64:
            raise UnsupportedNetlist(f"a {cell.kind} of {width} bits")
        bits = self._bits(width, vector)
        values = [self._value(cell.operands[port], bits, signed) for port in "AB"]
        a, b = (self._wide(value, bits) if vector else value.text for value in values)
        operator = INFIX[cell.kind]
        if not vector:
            kind = f"int{bits}_t" if signed else ""
            return Value(f"U32({kind}({a}) {operator} {kind}({b}))", 32, False)
        kind = f"S{bits}" if signed else f"V{bits}"
        return Value(f"bit({kind}({a}) {operator} {kind}({b}))", 8, True)

    def _test(self, parts, operator, number, vector):
        """Text of a bit: `parts`, of at most 64 bits, compared with a number."""
        bits = self._bits(sum(part.width for part in parts), vector)
        value = self._value(parts, bits)
        if vector:
            return f"bit({self._wide(value, bits)} {operator} {f'wide{bits}({number}ull)'})"
        return f"U32({value.text} {operator} {_number(number, bits)})"

    def _nonzero(self, parts, vector):
        pieces = _pieces(parts)
        if not vector and len(pieces) == 1 and sum(part.width for part in parts) == 1:
            return self._value(parts, 32).text
        texts = [self._test(piece, "!=", 0, vector) for piece in pieces]
        return texts[0] if len(texts) == 1 else f"({' | '.join(texts)})"

    def _words(self, parts, vector):
        """Texts of `parts` in pieces of 64 bits, lowest first; the last one in as few as it needs."""
        for piece in _pieces(parts):
            bits = storage_bits(sum(part.width for part in piece)) if vector else 64
            value = self._value(piece, bits)
            yield self._wide(value, bits) if vector else value.text

    def _shift(self, cell):
        kind, width, vector = cell.kind, cell.output.width, cell.output.vector
        a_parts, b_parts = cell.operands["A"], cell.operands["B"]
        a_width, b_width = (sum(part.width for part in parts) for parts in (a_parts, b_parts))
        if b_width > 64:
            raise UnsupportedNetlist(f"a {kind} by a number of {b_width} bits")
        two_ways = "B" in cell.signed and kind in ("$shift", "$shiftx")
        if two_ways and self._is_vector(b_parts):
            raise UnsupportedNetlist("a shift to both sides by what pixels reach")
        if kind in ("$shift", "$shiftx", "$shr", "$sshr") and (a_width > 64 or cell.low) and not two_ways:
            return self._window(cell, a_parts, b_parts)
        work = max(a_width, cell.low + width)
        if work > 64:
            raise UnsupportedNetlist(f"a {kind} of {work} bits")
        bits = self._bits(work, vector)
        signed = "A" in cell.signed
        a = self._value(a_parts, bits, signed)
        a = self._wide(a, bits) if vector else a.text
        right = "sar" if kind == "$sshr" and signed else "shr"
        if signed and right == "shr" and work < bits:       # extended to the output, with zeros above
            a = f"({a} & {_number((1 << work) - 1, bits, vector)})"
        by = self._value(b_parts, 64).text
        if self._is_vector(b_parts):
            by_bits = max(bits, storage_bits(b_width))
            by = self._value(b_parts, by_bits).text
            if by_bits > bits:
                by = f"to<V{bits}>(at_most({by}, {bits}))"
        if two_ways:
            n = self._value(b_parts, 64, signed=True).text
            text = f"(int64_t({n}) >= 0 ? {right}({a}, U64({n})) : shl({a}, 0 - U64({n})))"
        else:
            text = f"{'shl' if kind in ('$shl', '$sshl') else right}({a}, {by})"
        value = self._masked(text, width, bits, vector, True)
        wanted = self._bits(width, vector)
        if wanted != bits:
            value = Value(f"to<V{wanted}>({value.text})" if vector else f"U{wanted}({value.text})", wanted, vector)
        return value

    def _window(self, cell, a_parts, b_parts):
        """Bits from B + low on, of an operand of any width: a choice among its words, then a shift."""
        width, vector = cell.output.width, cell.output.vector
        a_width = sum(part.width for part in a_parts)
        if "A" in cell.signed:
            raise UnsupportedNetlist(f"a {cell.kind} of a signed number of {a_width} bits")
        if self._is_vector(b_parts):
            raise UnsupportedNetlist(f"a {cell.kind} of {a_width} bits by what pixels reach")
        bits = 64
        words = [self._wide(value, 64) if vector else value.text
                 for value in (self._value(piece, 64) for piece in _pieces(a_parts)[cell.low // 64:] or [[Part(1)]])]
        kind = "V64" if vector else "U64"
        text = (f"window<{kind}>({self._value(b_parts, 64).text}, {{{', '.join(words)}}})")
        value = self._masked(text, width, bits, vector, True)
        wanted = self._bits(width, vector)
        if wanted != bits:
            value = Value(f"to<V{wanted}>({value.text})" if vector else f"U{wanted}({value.text})", wanted, vector)
        return value

    def _word(self, read):
        """`Value` of the word that a port reads."""
        memory, vector = read.memory, read.output.vector
        bits, name = storage_bits(memory.width), self._memory_names[memory]
        place = f"{'v' if memory.vector else 's'}->{name}"
        if self._is_vector(read.address):
            address_bits = sum(part.width for part in read.address)
            address = self._value(read.address, storage_bits(address_bits)).text
            if not memory.vector and memory.size == 1 << address_bits <= SMALL_TABLE:
                words = [f"wide{bits}({place}[{k}])" for k in range(memory.size)]
                return Value(self._tree(words, read.address), bits, True)
            return Value(f"gather<V{bits}>({place}, {memory.size}u, {address})", bits, True)
        address = self._value(read.address, 32).text
        text, nothing = f"{place}[{address}]", f"V{bits}{{}}" if memory.vector else "0"
        if 1 << sum(part.width for part in read.address) > memory.size:
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
            select = self._wide(self._value([part], 8), 8)
            words = [f"mux({select}, {a}, {b})" for a, b in zip(words[::2], words[1::2], strict=True)]
        return words[0]


def _notes(notes):
    return "const char *const notes[] = {\n" + "".join(f"    {json.dumps(note)},\n" for note in notes) + "    0};\n"


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


def _grouped(statements, indent):
    """Lines of (condition or None, statement); neighbours with one condition share it."""
    lines, open_condition = [], None
    for condition, statement in statements:
        if condition != open_condition:
            if open_condition is not None:
                lines.append(f"{indent}}}\n")
            if condition is not None:
                lines.append(f"{indent}if ({condition}) {{\n")
            open_condition = condition
        lines.append(f"{indent}{'    ' if condition is not None else ''}{statement}\n")
    if open_condition is not None:
        lines.append(f"{indent}}}\n")
    return lines
