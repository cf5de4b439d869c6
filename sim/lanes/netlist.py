"""A netlist as yosys' `write_json` documents it, as variables and what drives them.

Every variable has at most 64 bits and is cut where its users cut it: a register of sixteen 4-bit codes that are used
one by one is sixteen variables. What a value is made of is a list of `Part`s, lowest first.

    input -> Variable          cell -> Variable          register, memory read -> Variable (old value until its clock)
"""
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

__all__ = ["WINDOWS", "Cell", "Memory", "Netlist", "Part", "Read", "Register", "UnsupportedNetlist", "Variable",
           "Write", "is_vector", "read_netlist", "script", "width_of"]

WORD = 64                       # bits of the widest variable

# Without the resets, which nothing uses, registers are simpler. Clock enables stay, as `$mux`es before the registers:
# `read_netlist` finds them.
SCRIPT = """
read_rtlil core.il
hierarchy -top core
proc
flatten
cd core
%(resets)s
cd ..
opt_clean
opt_expr
memory_collect
opt_clean
pmuxtree
wreduce
opt_expr
opt_merge
opt_clean -purge
dffunmap
opt_clean
write_json core.json
"""

BITWISE = {"$mux", "$not", "$and", "$or", "$xor", "$xnor", "$pos"}      # bit k of Y needs bit k of the operands alone
SHIFTS = {"$shl", "$shr", "$sshl", "$sshr", "$shift", "$shiftx"}
WINDOWS = {"$shift", "$shiftx", "$shr"}        # those of which some bits of A are the output
ARITHMETIC = {"$add", "$sub", "$mul", "$neg"}
COMPARISONS = {"$lt", "$le", "$gt", "$ge", "$eq", "$ne", "$eqx", "$nex"}
REDUCTIONS = {"$logic_not", "$logic_and", "$logic_or", "$reduce_or", "$reduce_and", "$reduce_bool", "$reduce_xor",
              "$reduce_xnor"}
# Parameters of `$mem_v2` that have to be 0.
MEMORY_REFUSALS = {
    "RD_TRANSPARENCY_MASK": "transparent ports",
    "RD_WIDE_CONTINUATION": "wide ports", "WR_WIDE_CONTINUATION": "wide ports",
    "WR_PRIORITY_MASK": "write ports of which one goes before another", "RD_INIT_VALUE": "read data that begin as 1"}
REGISTERS = {"$dff", "$dffe", "$adff"}
KINDS = BITWISE | SHIFTS | ARITHMETIC | COMPARISONS | REDUCTIONS


class UnsupportedNetlist(Exception):
    """A netlist with something in it that this simulator does not know."""


def script(resets=("rst",)):
    """The yosys script that makes `core.json` of `core.il`. resets: ports that are never up."""
    return SCRIPT % {"resets": "\n".join(f"delete -input w:{name}\nconnect -nounset -set {name} 1'0"
                                         for name in resets)}


@dataclass(eq=False)
class Variable:
    """width: bits, 1 .. 64. name: a name that it has in the RTL, for messages. kind: "input", "cell", "register".
    vector: whether it has a value of its own in every lane (see `analysis`)."""
    width: int
    name: str
    kind: str
    vector: bool = False


@dataclass(frozen=True)
class Part:
    """Bits `low` .. `low + width - 1` of `variable`; without a variable, the constant `value` of `width` bits."""
    width: int
    variable: Variable | None = None
    low: int = 0
    value: int = 0


def width_of(parts):
    """Bits of a list of parts."""
    return sum(part.width for part in parts)


def is_vector(parts):
    """Whether lanes differ in any of the parts."""
    return any(part.variable is not None and part.variable.vector for part in parts)


@dataclass(eq=False)
class Cell:
    """kind: yosys' word ("$add"). operands: port -> parts. signed: ports whose operand is sign-extended.
    low: lowest bit of the output that `output` is (only of a shift; others are cut with their operands)."""
    kind: str
    output: Variable
    operands: dict
    signed: frozenset = frozenset()
    low: int = 0


@dataclass(eq=False)
class Register:
    """Takes `data` at the rising edge of `clock` where `enable` (parts of one bit; None: always) equals `on`."""
    output: Variable
    data: list
    clock: str
    init: int = 0
    enable: list | None = None
    on: int = 1


@dataclass(eq=False)
class Read:
    """A read port. clock None: combinational. enable: parts of one bit, of a clocked port."""
    memory: "Memory"
    output: Variable
    address: list
    clock: str | None = None
    enable: list | None = None
    on: int = 1                 # as a register's


@dataclass(eq=False)
class Write:
    """A write port: `data`, of the memory's width, at the rising edge of `clock` where `enable` (one bit) is 1."""
    memory: "Memory"
    address: list
    data: list
    enable: list
    clock: str


@dataclass(eq=False)
class Memory:
    """A column of a memory of the RTL. init: its words at configuration. loaded: whether the memory, all columns taken
    together, holds anything then; one of zeros alone counts as empty."""
    name: str
    width: int
    size: int
    init: list
    reads: list = field(default_factory=list)
    writes: list = field(default_factory=list)
    vector: bool = False
    loaded: bool = False


@dataclass(eq=False)
class Netlist:
    """inputs, outputs: port -> parts. names: name of a register in the RTL (hierarchical, dots) -> parts."""
    inputs: dict
    outputs: dict
    cells: list
    registers: list
    memories: list
    names: dict
    clocks: list

    def variables(self):
        """All variables, each once."""
        return [*(part.variable for parts in self.inputs.values() for part in parts),
                *(cell.output for cell in self.cells), *(register.output for register in self.registers),
                *(read.output for memory in self.memories for read in memory.reads)]


def read_netlist(module, *, clocks, resets=("rst",), joined=8):
    """`Netlist` of `module`, the JSON value of a flat module.

    clocks: names of its clock ports. resets: of ports that are never up. joined: neighbours are not cut apart while
    they have no more bits together; 0 keeps all fields apart, so that it can be told what reaches each.
    """
    return _Reader(module, clocks, resets, joined).netlist


def _words(width):
    return [(low, min(low + WORD, width)) for low in range(0, width, WORD)]


def _number(cell, name):
    return int(cell["parameters"].get(name, "0"), 2)


class _Reader:
    def __init__(self, module, clocks, resets, joined):
        self._joined = joined
        self._driver = {}               # bit number -> (variable, bit of it)
        self._clock_of = {module["ports"][name]["bits"][0]: name for name in clocks if name in module["ports"]}
        self._names, self._initial = self._names_and_init(module)
        self._cuts = self._cut_places(module)
        ports = {name: port for name, port in module["ports"].items() if name not in clocks and name not in resets}
        inputs = {name: self._new(port["bits"], "input", f"{name}", self._places(port["bits"]))
                  for name, port in ports.items() if port["direction"] == "input"}
        makers = []                     # operands are looked up once every driver is known
        cells, registers, memories = [], [], []
        for name, cell in module["cells"].items():
            if cell["type"] in REGISTERS:
                makers.append(self._register(name, cell, registers))
            elif cell["type"] == "$mem_v2":
                makers.append(self._memory(name, cell, memories))
            elif cell["type"] in KINDS:
                makers.append(self._cell(name, cell, cells))
            elif cell["type"] not in ("$scopeinfo",):
                raise UnsupportedNetlist(f"a cell {cell['type']} ({name})")
        for make in makers:
            make()
        names = {name: self._parts(net["bits"]) for name, net in module["netnames"].items()
                 if "$" not in name and all(
                     bit in self._driver and self._driver[bit][0].kind == "register" for bit in net["bits"])}
        self.netlist = Netlist(
            inputs={name: [Part(v.width, v) for v in variables] for name, variables in inputs.items()},
            outputs={name: self._parts(port["bits"]) for name, port in ports.items() if port["direction"] == "output"},
            cells=cells, registers=registers, memories=memories, names=names, clocks=list(clocks))
        _find_enables(self.netlist)

    def _names_and_init(self, module):
        """Of every bit: a name, as short as there is one; and its value at configuration, where that is not 0."""
        names, initial = {}, {}
        for name, net in module["netnames"].items():
            for k, bit in enumerate(net["bits"]):
                rank = ("$" in name, name.count("."), len(name))
                if bit not in names or rank < names[bit][0]:
                    names[bit] = rank, name, k
            for bit, value in zip(net["bits"], reversed(net["attributes"].get("init", "")), strict=False):
                if value == "1":
                    initial[bit] = 1
        return {bit: (name, k) for bit, (_, name, k) in names.items()}, initial

    def _cut_places(self, module):
        """Bits before which a variable is cut: where a use begins or ends, unless another use needs both sides at once.

        Registers, multiplexers and other cells that treat every bit alike need no bits together: they are cut where
        what they read is, and where what they drive is.
        """
        following, wanted, together, alike = {}, set(), set(), []
        for bits in self._driven(module):
            following.update(zip(bits, bits[1:], strict=False))

        def use(bits, needed_together):
            for before, bit in pairwise([None, *bits, None]):
                if bit != before and following.get(before) != bit:
                    wanted.update(place for place in (bit, following.get(before)) if isinstance(place, int))
                elif needed_together:
                    together.add(bit)

        for cell in module["cells"].values():
            moved = self._moved(cell)
            for operand, output in moved:
                use(operand, False)
                alike += zip(operand, output, strict=False)
                # A constant beside a value, or two values: the output is cut between them.
                wanted.update(bit for k, bit in enumerate(output[1:], 1)
                              if k < len(operand) and following.get(operand[k - 1]) != operand[k])
            if not moved or cell["type"] == "$mem_v2":
                for port, bits in cell["connections"].items():
                    if cell["port_directions"][port] == "input" and port != "WR_DATA":
                        # Of several words in a register a shift chooses one: where fields are kept apart, so are they.
                        chosen = port == "A" and cell["type"] in WINDOWS and not self._joined
                        use(bits, not chosen)

        neighbours = defaultdict(list)
        for a, b in alike:
            if isinstance(a, int) and isinstance(b, int):
                neighbours[a].append(b)
                neighbours[b].append(a)
        cuts, waiting = set(), [bit for bit in wanted if bit not in together]
        while waiting:
            bit = waiting.pop()
            if bit not in cuts and bit not in together:
                cuts.add(bit)
                waiting += neighbours[bit]
        return cuts

    @staticmethod
    def _driven(module):
        """The bits of everything that drives: lists, lowest bit first."""
        for cell in module["cells"].values():
            for port in ("Q", "Y"):
                if port in cell["connections"]:
                    yield cell["connections"][port]
            if cell["type"] == "$mem_v2":
                width, bits = _number(cell, "WIDTH"), cell["connections"]["RD_DATA"]
                yield from (bits[low:low + width] for low in range(0, len(bits), width))
        yield from (port["bits"] for port in module["ports"].values() if port["direction"] == "input")

    @staticmethod
    def _moved(cell):
        """(operand, output) whose bits belong together one by one."""
        con = cell["connections"]
        if cell["type"] in REGISTERS:
            return [(con["D"], con["Q"])]
        if cell["type"] in BITWISE:
            return [(con[port], con["Y"]) for port in "AB" if port in con]
        if cell["type"] == "$mem_v2":
            width = _number(cell, "WIDTH")
            words = [con["WR_DATA"][low:low + width] for low in range(0, len(con["WR_DATA"]), width)]
            return [(word, con["RD_DATA"][low:low + width])
                    for low in range(0, len(con["RD_DATA"]), width) for word in words]
        return []

    def _places(self, bits):
        """Places (low, high) to cut `bits` at. Neighbours that are small together stay together: from the top, since a
        field often begins with a bit that is used alone."""
        cuts = [0, *(k for k in range(1, len(bits)) if bits[k] in self._cuts), len(bits)]
        places, high = [], len(bits)
        for low, below in zip(cuts[-2::-1], [*cuts[-3::-1], None], strict=True):
            if below is None or high - below > self._joined:
                while high - low > WORD:
                    places.append((high - WORD, high))
                    high -= WORD
                places.append((low, high))
                high = low
        return places[::-1]

    def _new(self, bits, kind, name, places):
        """Variables of `bits`, one for each place."""
        variables = []
        for low, high in places:
            known, k = self._names.get(bits[low], (name, low))
            variable = Variable(high - low, known if (low, high) == (0, len(bits)) and not k else f"{known}[{k}]", kind)
            self._driver.update({bit: (variable, at) for at, bit in enumerate(bits[low:high])})
            variables.append(variable)
        return variables

    def _parts(self, bits):
        parts, k = [], 0
        while k < len(bits):
            low = k
            if isinstance(bits[k], str):
                while k < len(bits) and isinstance(bits[k], str):
                    k += 1
                value = sum((bit == "1") << at for at, bit in enumerate(bits[low:k]))
                parts.append(Part(k - low, value=value))
                continue
            if bits[k] not in self._driver:
                raise UnsupportedNetlist(f"nothing drives {self._names.get(bits[k], ('a bit',))[0]}")
            variable, at = self._driver[bits[k]]
            k += 1
            while k < len(bits) and self._driver.get(bits[k]) == (variable, at + k - low):
                k += 1
            parts.append(Part(k - low, variable, at))
        return parts

    def _clock(self, bit, polarity, name):
        if bit not in self._clock_of or not polarity:
            raise UnsupportedNetlist(f"{name} has a clock that is none of {', '.join(self._clock_of.values())}, or "
                                     "its falling edge")
        return self._clock_of[bit]

    def _register(self, name, cell, registers):
        con, bits = cell["connections"], cell["connections"]["Q"]
        if "ARST" in con and con["ARST"] != [f"{1 - _number(cell, 'ARST_POLARITY')}"]:
            raise UnsupportedNetlist(f"{name} has an asynchronous reset")
        clock = self._clock(con["CLK"][0], _number(cell, "CLK_POLARITY"), name)
        places = self._places(bits)
        variables = self._new(bits, "register", name, places)

        def make():
            enable = self._parts(con["EN"]) if "EN" in con else None
            for variable, (low, high) in zip(variables, places, strict=True):
                init = sum(self._initial.get(bit, 0) << k for k, bit in enumerate(bits[low:high]))
                registers.append(Register(variable, self._parts(con["D"][low:high]), clock, init, enable,
                                          _number(cell, "EN_POLARITY") if enable else 1))
        return make

    def _cell(self, name, cell, cells):
        kind, con, bits = cell["type"], cell["connections"], cell["connections"]["Y"]
        if len(bits) > WORD and kind not in BITWISE | SHIFTS:
            raise UnsupportedNetlist(f"a {kind} of {len(bits)} bits ({name})")
        places = self._places(bits) if kind in BITWISE else _words(len(bits))
        variables = self._new(bits, "cell", name, places)
        signed = frozenset(port for port in "AB" if _number(cell, f"{port}_SIGNED"))

        def operand(port, low, high):
            bits = con[port]
            if kind not in BITWISE or port == "S" or (len(places) == 1 and len(bits) <= WORD):
                return self._parts(bits)
            filling = bits[-1] if port in signed else "0"           # yosys extends operands to the output's width
            return self._parts((bits + [filling] * max(0, high - len(bits)))[low:high])

        def make():
            for variable, (low, high) in zip(variables, places, strict=True):
                operands = {port: operand(port, low, high) for port in "ABS" if port in con}
                cells.append(Cell(kind, variable, operands, signed, low if kind in SHIFTS else 0))
        return make

    def _memory(self, name, cell, memories):
        con, width, size = cell["connections"], _number(cell, "WIDTH"), _number(cell, "SIZE")
        a, reads, writes = _number(cell, "ABITS"), _number(cell, "RD_PORTS"), _number(cell, "WR_PORTS")
        if _number(cell, "OFFSET"):
            raise UnsupportedNetlist(f"a memory that does not begin at address 0 ({name})")
        init = cell["parameters"]["INIT"].replace("x", "0").rjust(size * width, "0")[::-1]
        for parameter, what in MEMORY_REFUSALS.items():
            if "1" in cell["parameters"].get(parameter, "0"):
                raise UnsupportedNetlist(f"a memory with {what} ({name})")
        if any(bit not in ("0", "x") for port in ("RD_ARST", "RD_SRST") for bit in con[port]):
            raise UnsupportedNetlist(f"a memory with a reset of its read data ({name})")
        # A column ends where a reader's use or a group of bits that are written together does.
        cuts = {low for p in range(reads) for low, _ in self._places(con["RD_DATA"][p * width:(p + 1) * width])}
        enables = con["WR_EN"]
        cuts |= {k for p in range(writes) for k in range(1, width)
                 if enables[p * width + k] != enables[p * width + k - 1]}
        makers = []
        for low, high in pairwise(sorted(cuts | {0, width})):
            words = [int(init[k * width + low:k * width + high][::-1], 2) for k in range(size)]
            memory = Memory(name if high - low == width else f"{name}[{low}:{high}]", high - low, size, words,
                            loaded="1" in init)
            memories.append(memory)
            for p in range(reads):
                clocked = _number(cell, "RD_CLK_ENABLE") >> p & 1
                bits = con["RD_DATA"][p * width + low:p * width + high]
                [variable] = self._new(bits, "register" if clocked else "cell", f"{name}[{low}]", [(0, high - low)])
                makers.append(self._read(name, cell, p, a, variable, clocked, memory))
            for p in range(writes):
                makers.append(self._write(name, cell, p, a, width, low, high, memory))

        def make():
            for made in makers:
                made()
        return make

    def _read(self, name, cell, p, a, variable, clocked, memory):
        con = cell["connections"]

        def make():
            clock = self._clock(con["RD_CLK"][p], _number(cell, "RD_CLK_POLARITY") >> p & 1, name) if clocked else None
            memory.reads.append(Read(memory, variable, self._parts(con["RD_ADDR"][p * a:(p + 1) * a]), clock,
                                     self._parts([con["RD_EN"][p]]) if clocked else None))
        return make

    def _write(self, name, cell, p, a, width, low, high, memory):
        con = cell["connections"]

        def make():
            clock = self._clock(con["WR_CLK"][p], _number(cell, "WR_CLK_POLARITY") >> p & 1, name)
            memory.writes.append(Write(
                memory, self._parts(con["WR_ADDR"][p * a:(p + 1) * a]),
                self._parts(con["WR_DATA"][p * width + low:p * width + high]),
                self._parts([con["WR_EN"][p * width + low]]), clock))
        return make


def _find_enables(netlist):
    """Makes a register that keeps its value through a multiplexer one with an enable."""
    driver = {cell.output: cell for cell in netlist.cells if cell.kind == "$mux"}
    for register in netlist.registers:
        if register.enable is not None or len(register.data) != 1:
            continue
        [part] = register.data
        cell, kept = driver.get(part.variable), [Part(register.output.width, register.output)]
        if cell is None or part.width != cell.output.width:
            continue
        for port, other, on in (("A", "B", 1), ("B", "A", 0)):
            if cell.operands[port] == kept:
                register.data, register.enable, register.on = cell.operands[other], cell.operands["S"], on
                break
