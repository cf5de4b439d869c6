"""C++ of a netlist: `step_<n>` for every set of clocks that may rise together, and tables of what can be looked at.

    struct Shared  what all lanes share: uint8_t b[..]; uint16_t h[..]; uint32_t w[..]; uint64_t d[..]; memories
    struct Block   what each lane of a block has of its own: V8 b[..]; V16 h[..]; V32 w[..]; V64 d[..]; memories
    eval_n_k       a run of nodes: logic of `Shared`, for every block logic and registers of it, registers of `Shared`

A variable is stored in the smallest type that holds it, zero-extended. Logic that one function alone needs is local to
it. Small functions compile fast, and their code is fetched once for all blocks.
"""
import json
from collections import defaultdict

from .expressions import LETTERS, Expressions, storage_bits
from .netlist import Cell, Read, Register, Variable, Write, is_vector, width_of
from .schedule import Output, operands, schedule

__all__ = ["generate"]

NODES_PER_FUNCTION = 250            # compile time per node grows from here on
FILES = 8                           # at most, compiled side by side
ARGUMENTS = "(Shared *__restrict s, Block *__restrict blocks, Block *end)"


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
        self._expressions = Expressions(self._reference, lambda memory: self._memory_names[memory])
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
            steps.append(f"static void step_{n}{ARGUMENTS} {{\n{calls}}}\n")
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
            prototypes])
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
            if any(memory.init):
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
                    value = self._expressions.exact([part], shown)
                    (own if shown.vector else logic).append((None, f"{self._reference(shown)} = {value};"))
        elif isinstance(node, Write):
            bits, vector = storage_bits(node.memory.width), node.memory.vector
            (own if vector else updates).append((self._condition(node.enable, 1), self._write(node, bits, vector)))
        elif self._is_logic(node):
            value = self._expressions.cell(node) if isinstance(node, Cell) else self._expressions.word(node)
            value = self._expressions.cast(value, node.output)
            reference = self._reference(node.output)
            kind = "" if node.output in self._place else f"const {self._expressions.local_type(node.output)} "
            (own if node.output.vector else logic).append((None, f"{kind}{reference} = {value};"))
        else:
            self._update(node, own if node.output.vector else updates)

    def _update(self, node, statements):
        register = node.output
        reference = self._reference(register)
        value = self._expressions.exact(node.data, register) if isinstance(node, Register) else self._expressions.cast(
            self._expressions.word(node), register)
        on = node.on
        if node.enable is None or self._constant(node.enable) == on:
            statements.append((None, f"{reference} = {value};"))
        elif is_vector(node.enable):
            enable = self._expressions.value(node.enable, 8).text
            choice = f"{reference}, {value}" if on else f"{value}, {reference}"
            statements.append((None, f"{reference} = mux({enable}, {choice});"))
        else:
            statements.append((self._condition(node.enable, on), f"{reference} = {value};"))

    def _condition(self, enable, on):
        if self._constant(enable) == on:
            return None
        text = self._expressions.value(enable, 32).text
        return text if on else f"!{text}"

    @staticmethod
    def _constant(parts):
        """Value of a bit that is a constant, else None."""
        return parts[0].value if parts[0].variable is None else None

    def _write(self, node, bits, vector):
        memory, address = self._memory_names[node.memory], self._expressions.value(node.address, 32)
        word = f"{'v' if vector else 's'}->{memory}[{address.text}]"
        value = self._expressions.value(node.data, bits if vector else max(bits, 32))
        text = self._expressions.wide(value, bits) if vector else value.text
        fits = 1 << width_of(node.address) <= node.memory.size
        return f"{'' if fits else f'if ({address.text} < {node.memory.size}u) '}{word} = {text};"


def _notes(notes):
    return "const char *const notes[] = {\n" + "".join(f"    {json.dumps(note)},\n" for note in notes) + "    0};\n"


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
