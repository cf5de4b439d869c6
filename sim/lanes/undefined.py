"""Follows what hardware leaves undefined, from where it arises to where it is used.

Three things are undefined on a chip and quietly something in a simulation: what a block memory gives for the address
that is written in the same cycle, what it gives for an address beyond its depth, and a word that nobody has written.
Reading such a thing is no mistake: pipelines read at all times. Using it is.

`follow` adds to a netlist, for every variable that can be undefined, its origin: 0, or where the undefined value comes
from. Origins move as values do: through registers, memories and logic, a multiplexer's only from the side that it
chooses, a shift's only from the words that it brings out. Where one reaches what counts, the outputs UNDEFINED (the
origin) and USE (what takes it) say so:

    a memory's write enable; its write address while it writes; an output, or while another output is up
"""
from .netlist import (
    WINDOWS,
    Cell,
    Memory,
    Part,
    Read,
    Register,
    UnsupportedNetlist,
    Variable,
    Write,
    is_vector,
    width_of,
)

__all__ = ["CYCLE_BITS", "UNWRITTEN", "follow"]

UNDEFINED, USE = "undefined", "undefined_use"
UNWRITTEN = "that nobody has written"       # ends the notes of what did not arise in a cycle
ORIGIN_BITS, CYCLE_BITS = 32, 22            # an origin: number of its note; below it the cycle it arose in, mod 2**22
SMALL_TABLE = 16                            # words that are looked through where each lane reads another one


def follow(netlist, *, guards=None):
    """Adds origins to `netlist`, whose vectors are marked. Returns notes: texts of origins and of uses by their number.

    guards: output -> output; the first one counts only while the other is up. UnsupportedNetlist for more origins than
    there are numbers for.
    """
    return _Follower(netlist, guards or {}).notes


class _Follower:
    def __init__(self, netlist, guards):
        self._netlist = netlist
        self.notes = [""]
        self._numbers = {}
        self._origins = {}                  # variable -> variable that is its origin
        self._addresses = {}
        self._cells, self._registers = [], []
        cycle = Variable(CYCLE_BITS, "cycle", "register")
        self._cycle = [Part(CYCLE_BITS, cycle)]
        clock = netlist.clocks[0]
        counted = self._cell("$add", CYCLE_BITS, A=self._cycle, B=[Part(1, value=1)])
        self._registers.append(Register(cycle, counted, clock))
        self._followed = self._can_be_undefined()
        shadows = {memory: Memory(f"{memory.name} (origin)", ORIGIN_BITS, memory.size, self._unwritten(memory))
                   for memory in netlist.memories}
        for variable in self._followed:
            self._origins[variable] = Variable(ORIGIN_BITS, f"{variable.name} (origin)", variable.kind)
        for cell in netlist.cells:
            if cell.output in self._followed:
                self._logic(cell)
        for register in netlist.registers:
            if register.output in self._followed:
                self._register(register)
        uses = []
        for memory, shadow in shadows.items():
            for read in memory.reads:
                self._read(read, shadow)
            for write in memory.writes:
                uses += self._write(write, shadow)
        for name, parts in netlist.outputs.items():
            guard = netlist.outputs.get(guards.get(name))
            uses.append((self._if(guard, self._of(parts)) if guard else self._of(parts), f"the output {name}"))
        self._report(uses)
        netlist.cells += self._cells
        netlist.registers += self._registers
        netlist.memories += shadows.values()

    def _can_be_undefined(self):
        """Variables that a memory's word can reach, in order."""
        reached_from = {}
        for cell in self._netlist.cells:
            for parts in cell.operands.values():
                _note(reached_from, parts, cell.output)
        for register in self._netlist.registers:
            _note(reached_from, register.data + (register.enable or []), register.output)
        for memory in self._netlist.memories:
            for read in memory.reads:
                _note(reached_from, read.address + (read.enable or []), read.output)
        waiting = [read.output for memory in self._netlist.memories for read in memory.reads]
        reached = dict.fromkeys(waiting)
        while waiting:
            for variable in reached_from.get(waiting.pop(), ()):
                if variable not in reached:
                    reached[variable] = None
                    waiting.append(variable)
        return reached

    # Origins as parts

    def _number(self, text):
        """Index of a note, made if it is a new one."""
        if text not in self._numbers:
            self._numbers[text] = len(self.notes)
            self.notes.append(text)
        return self._numbers[text]

    def _cell(self, kind, width, **operands):
        output = Variable(width, kind, "cell")
        self._cells.append(Cell(kind, output, operands))
        return [Part(width, output)]

    def _of(self, *operands):
        """Origin of what depends on all of `operands`: that of the first one that is undefined."""
        variables = dict.fromkeys(part.variable for parts in operands for part in parts
                                  if part.variable in self._origins)
        return self._first(*([Part(ORIGIN_BITS, self._origins[variable])] for variable in variables))

    def _first(self, *origins):
        """The first origin that is not 0. Parts; [] is 0."""
        result = []
        for origin in origins:
            if origin and result != origin:
                result = self._cell("first", ORIGIN_BITS, A=result, B=origin) if result else origin
        return result

    def _if(self, bit, origin, otherwise=()):
        """`origin` where the bit is 1."""
        if not origin and not otherwise:
            return []
        if bit[0].variable is None:
            return origin if bit[0].value else list(otherwise)
        return self._cell("$mux", ORIGIN_BITS, S=bit, A=list(otherwise) or _nothing(), B=origin or _nothing())

    def _arisen(self, text):
        """The origin of what arises in this cycle."""
        return self._cycle + [Part(ORIGIN_BITS - CYCLE_BITS, value=self._number(text))]

    def _set(self, variable, origin):
        self._cells.append(Cell("$pos", self._origins[variable], {"A": origin or _nothing()}))

    # What the netlist does, done to origins

    def _logic(self, cell):
        operands = cell.operands
        if cell.kind == "$mux" and not is_vector(operands["S"]):
            chosen = self._if(operands["S"], self._of(operands["B"]), self._of(operands["A"]))
            origin = self._first(self._of(operands["S"]), chosen)
        elif cell.kind in WINDOWS and not is_vector(operands["B"]) and "B" not in cell.signed:
            origin = self._first(self._of(operands["B"]), *self._window(cell))
        elif cell.kind in ("$and", "$mul"):
            origin = self._of(*operands.values())
            for port in "AB":
                if origin and not is_vector(operands[port]) and any(p.variable is not None for p in operands[port]):
                    # Nothing comes through a gate that a defined 0 closes.
                    closed = self._cell("$logic_not", 1, A=operands[port] + self._of(operands[port]))
                    origin = self._if(closed, [], origin)
        else:
            origin = self._of(*operands.values())
        self._set(cell.output, origin)

    def _window(self, cell):
        """Origins of those parts of A that a shift to the right by B brings to the output."""
        low, by = 0, cell.operands["B"]
        for part in cell.operands["A"]:
            high, origin = low + part.width, self._of([part])
            if origin:
                # Output bit k is bit B + cell.low + k of A.
                first, last = low - cell.low - cell.output.width + 1, high - cell.low - 1
                inside = self._cell("$le", 1, A=by, B=_number(last)) if last >= 0 else [Part(1)]
                if first > 0:
                    reached = self._cell("$ge", 1, A=by, B=_number(first))
                    inside = self._cell("$and", 1, A=inside, B=reached)
                yield self._if(inside, origin)
            low = high

    def _register(self, register):
        data = self._of(register.data)
        shadow = Register(self._origins[register.output], data or _nothing(), register.clock)
        if register.enable and is_vector(register.enable):
            shadow.data = self._of(register.data, register.enable, [Part(register.output.width, register.output)])
        elif register.enable:
            self._enable(shadow, register.enable, register.on)
        self._registers.append(shadow)

    def _enable(self, shadow, enable, on=1):
        """Makes `shadow` take its data where `enable` equals `on`, and the enable's origin where that is undefined."""
        undefined = self._of(enable)
        if undefined:
            kept = [Part(ORIGIN_BITS, shadow.output)]
            taken = self._if(enable, *((shadow.data, kept) if on else (kept, shadow.data)))
            shadow.data = self._first(undefined, taken)
        else:
            shadow.enable, shadow.on = enable, on

    def _unwritten(self, memory):
        """First origins of a memory's words: those that pixels reach are overwritten picture by picture, and what a
        configuration holds is defined."""
        if memory.vector or memory.loaded:
            return [0] * memory.size
        return [self._number(f"a word of {_whole(memory)} {UNWRITTEN}") << CYCLE_BITS] * memory.size

    def _read(self, read, shadow):
        memory, output = read.memory, read.output
        if is_vector(read.address):
            # Each lane reads another word: all of them have to be defined.
            words = [self._word(shadow, [Part(width_of(read.address), value=k)])
                     for k in range(memory.size if memory.size <= SMALL_TABLE else 0)]
            origin = self._first(self._of(read.address), *words)
        else:
            origin = self._first(self._read_wrongly(read), self._word(shadow, read.address))
        if read.clock is None:
            self._set(output, origin)
        else:
            follower = Register(self._origins[output], origin or _nothing(), read.clock)
            self._enable(follower, read.enable)
            self._registers.append(follower)

    def _word(self, shadow, address):
        word = Variable(ORIGIN_BITS, shadow.name, "cell")
        shadow.reads.append(Read(shadow, word, address))
        return [Part(ORIGIN_BITS, word)]

    def _read_wrongly(self, read):
        """Origin of a read with an undefined address, one beyond the depth, or that of a write of this cycle."""
        memory, name = read.memory, _whole(read.memory)
        enables = tuple(tuple(write.enable) for write in memory.writes)
        key = name, tuple(read.address), read.clock, enables           # the same of most columns
        if key in self._addresses:
            return self._addresses[key]
        origin = self._of(read.address)
        if 1 << width_of(read.address) > memory.size:
            beyond = self._cell("$ge", 1, A=read.address, B=_number(memory.size))
            text = f"a word of {name} beyond its {memory.size} words"
            origin = self._first(origin, self._if(beyond, self._arisen(text)))
        for write in memory.writes if read.clock is not None else ():
            same = self._cell("$eq", 1, A=read.address, B=write.address)
            both = self._cell("$and", 1, A=same, B=write.enable)
            text = f"a word of {name} read in the cycle that writes it"
            origin = self._first(origin, self._if(both, self._arisen(text)))
        self._addresses[key] = origin
        return origin

    def _write(self, write, shadow):
        """Writes the origin beside the data; returns the uses of enable and address."""
        name = _whole(write.memory)
        data = self._of(write.data) or _nothing()
        shadow.writes.append(Write(shadow, write.address, data, write.enable, write.clock))
        uses = [(self._of(write.enable), f"the write enable of {name}"),
                (self._if(write.enable, self._of(write.address)), f"the write address of {name}")]
        if 1 << width_of(write.address) > write.memory.size:
            beyond = self._cell("$ge", 1, A=write.address, B=_number(write.memory.size))
            both = self._cell("$and", 1, A=beyond, B=write.enable)
            text = f"an address beyond the {write.memory.size} words of {name}"
            uses.append((self._if(both, self._arisen(text)), f"a write to {name}"))
        return uses

    def _report(self, uses):
        if len(self.notes) > 1 << ORIGIN_BITS - CYCLE_BITS:         # until here they are those of origins
            raise UnsupportedNetlist(f"{len(self.notes) - 1} origins of undefined values, too many to tell apart")
        undefined, use = [], []
        for origin, text in dict.fromkeys((tuple(origin), text) for origin, text in uses if origin):
            number = [Part(ORIGIN_BITS, value=self._number(text))]
            use = self._if(self._cell("$reduce_bool", 1, A=list(origin)), number, use)
            undefined = self._first(list(origin), undefined)
        self._netlist.outputs[UNDEFINED] = undefined or _nothing()
        self._netlist.outputs[USE] = use or _nothing()


def _note(reached_from, parts, target):
    for part in parts:
        if part.variable is not None:
            reached_from.setdefault(part.variable, []).append(target)


def _whole(memory):
    """Name of the memory that `memory` is a column of."""
    return memory.name.partition("[")[0]


def _number(value):
    return [Part(max(1, value.bit_length()), value=value)]


def _nothing():
    return [Part(ORIGIN_BITS)]
