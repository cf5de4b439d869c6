"""Makes what yosys' `write_cxxrtl` generates quick to compile and to run.

CXXRTL's model of a core is one `eval` of tens of thousands of lines, which takes a compiler many minutes, and a
`commit` that compares and copies every register, which takes longer than the logic. A design of one clock whose logic
needs a single evaluation a cycle can do without both:

    struct Core { State states[2], *now, *next; ... }
    eval      computes outputs and *next from *now, inputs and memories; a sequence of small functions in several files
    commit    swaps `now` and `next`

Memory writes come last in `eval`, after every read of the old contents. A register that some path does not assign is
carried over first. Code of any other form than yosys 0.70 writes is refused: better no simulator than a wrong one.
"""
import re
from collections import Counter, defaultdict

__all__ = ["UnexpectedCode", "rewrite"]

LINES_PER_FUNCTION = 400            # compile time per line grows from here on
PARTS = 4                           # files that are compiled side by side

MEMBER = re.compile(r"\t(?:/\*(?:input|output)\*/ )?(value|wire|memory)<(\d+)> (\w+)(.*);")
LOCAL = re.compile(r"\tvalue<(\d+)> (\w+);")
NAME = re.compile(r"\b[pi]_\w+")
REGISTER = re.compile(r"\b([pi]_\w+)\.(curr|next)\b")
ASSIGNED = re.compile(r"\t\t([pi]_\w+)\.next = ")
INITIAL = re.compile(r"\t(\w+) = wire<(\d+)>")
ZERO_TABLE = re.compile(
    r"\tstatic const value<\d+> (mem_init_\d+)\[\d+\] \{\n"
    r"(?:[\t ]*(?:value<\d+>\{(?:0x0+u,?)+\},? ?)+\n)+\t\};\n\tstd::copy\(std::begin\(\1\)[^\n]*\n")
MEMORY_WRITE = re.compile(r"\bmemory_(\w+)\.update\((.*), 0\);")

HEADER = """#include <utility>
#include <cxxrtl/cxxrtl.h>
using namespace cxxrtl_yosys;

template <size_t Bits>
inline void write_memory(memory<Bits> &storage, size_t index, const value<Bits> &data, const value<Bits> &mask) {
	if (!mask.is_zero()) storage[index] = storage[index].update(data, mask);
}

struct Core {
	struct State {
%(registers)s	};
	State states[2], *now = &states[0], *next = &states[1];
%(members)s
	Core();
	void eval();
	void commit() { std::swap(now, next); }
%(prototypes)s};
"""


class UnexpectedCode(Exception):
    """Generated code that is not of the form this module knows."""


def rewrite(source):
    """C++ files, name -> text: `core.h`, which declares `struct Core`, and its parts `core_*.cc`.

    source: the text that `write_cxxrtl -O6 -g0` wrote for the flat module `core`.
    """
    struct = _between(source, "struct p_core : public module {\n", "\tp_core(interior) {}\n")
    reset = _between(source, "void p_core::reset() {\n", "\n}\n\nbool p_core::eval")
    body = _between(source, "bool p_core::eval(performer *performer) {\n", "\treturn converged;\n}\n")

    registers, members = _struct_members(struct)
    local, nodes = _nodes(body)
    nodes = _writes_last(nodes)
    carried = _carried_over(nodes, registers)
    functions = _functions(nodes)
    shared, private = _place_locals(functions, local)

    outputs = [name for name in registers if f"/*output*/ wire<{registers[name]}> {name};" in struct]
    header = HEADER % {
        "registers": "".join(f"\t\tvalue<{width}> {name};\n" for name, width in registers.items()),
        "members": "".join(f"\t{line}\n" for line in [
            *members, *(f"value<{registers[name]}> {name};" for name in outputs),
            *(f"value<{local[name]}> {name};" for name in shared)]),
        "prototypes": "".join(f"\tvoid eval_{k}(const State &now, State &next);\n" for k in range(len(functions)))}
    main = "".join([
        "Core::Core() {\n", INITIAL.sub(r"\tnow->\1 = value<\2>", ZERO_TABLE.sub("", reset)), "\n}\n\n",
        "void Core::eval() {\n",
        *(f"\tnext->{name} = now->{name};\n" for name in carried),
        *(f"\teval_{k}(*now, *next);\n" for k in range(len(functions))),
        *(f"\t{name} = now->{name};\n" for name in outputs), "}\n"])
    texts = [_function(k, function, private[k], local) for k, function in enumerate(functions)]
    include = '#include "core.h"\n\n'
    return {"core.h": header, "core_main.cc": include + main,
            **{f"core_{part}.cc": include + "\n".join(texts[part::PARTS]) for part in range(PARTS)}}


def _between(cxx, start, stop):
    _, found, rest = cxx.partition(start)
    inside, ended, _ = rest.partition(stop)
    if not (found and ended):
        raise UnexpectedCode(f"no {start.strip()!r} ... {stop.strip()!r}")
    return inside


def _struct_members(struct):
    """Registers (name -> width) and the declarations of everything else."""
    registers, members, depth = {}, [], 0
    for line in struct.splitlines():
        member = MEMBER.fullmatch(line)
        if member and member[1] == "wire":
            registers[member[3]] = member[2]
        elif member and not member[3].startswith("prev_"):
            members.append(f"{member[1]}<{member[2]}> {member[3]}{member[4]};")
        elif line.startswith("\tbool posedge_p_clk()"):
            depth = 1
        elif depth and line == "\t}":
            depth = 0
        elif line.strip() and not (member or depth or line.startswith("\t//")):
            raise UnexpectedCode(f"member {line.strip()!r}")
    return registers, members


def _nodes(body):
    """Locals (name -> width) and the statements of `eval`, one list of lines for each cell or group of cells."""
    local, nodes, in_comment = {}, [], False
    for line in filter(None, body.splitlines()):
        declared = LOCAL.fullmatch(line)
        if declared:
            local[declared[2]] = declared[1]
        elif line.startswith("\t//"):
            if not in_comment:
                nodes.append([])
            in_comment = True
            nodes[-1].append(line)
            continue
        elif line not in ("\tbool converged = true;", "\tbool posedge_p_clk = this->posedge_p_clk();"):
            nodes[-1].append(line)
        in_comment = False
    return local, nodes


def _writes_last(nodes):
    """The nodes with those that write memories at the end, as direct writes."""
    reads, writes, ports = [], [], Counter()
    for node in nodes:
        cxx = "\n".join(node)
        direct, n = MEMORY_WRITE.subn(r"write_memory(memory_\1, \2);", cxx)
        if "converged" in cxx or (".update(" in cxx and not n):
            raise UnexpectedCode(cxx)
        ports.update(m[1] for m in MEMORY_WRITE.finditer(cxx))
        (writes if n else reads).append(direct.splitlines())
    if any(n > 1 for n in ports.values()):
        raise UnexpectedCode("a memory with several write ports")
    return reads + writes


def _carried_over(nodes, registers):
    """Registers that are not assigned as a whole on every path."""
    always = set()
    for node in nodes:
        code = [line for line in node if not line.startswith("\t//")]
        if len(code) == 3 and code[0] == "\tif (posedge_p_clk) {" and code[2] == "\t}":
            assigned = ASSIGNED.match(code[1])
            if assigned:
                always.add(assigned[1])
    return [name for name in registers if name not in always]


def _functions(nodes):
    """The nodes in runs of about LINES_PER_FUNCTION lines, comments dropped."""
    functions = [[]]
    for node in nodes:
        code = [line for line in node if not line.startswith("\t//")]
        if len(functions[-1]) + len(code) > LINES_PER_FUNCTION:
            functions.append([])
        functions[-1] += code
    return functions


def _place_locals(functions, local):
    """Locals that several functions use, and per function those that only it uses."""
    users = defaultdict(set)
    for k, function in enumerate(functions):
        for name in NAME.findall("\n".join(function)):
            if name in local:
                users[name].add(k)
    shared = [name for name in local if len(users[name]) > 1]
    private = [[name for name in local if users[name] == {k}] for k in range(len(functions))]
    return shared, private


def _function(k, lines, private, local):
    code = REGISTER.sub(lambda m: f"{'now' if m[2] == 'curr' else 'next'}.{m[1]}", "\n".join(lines))
    declared = "".join(f"\tvalue<{local[name]}> {name};\n" for name in private)
    return (f"void Core::eval_{k}(const State &now, State &next) {{\n"
            f"\tconstexpr bool posedge_p_clk = true;\n{declared}{code}\n}}\n")
