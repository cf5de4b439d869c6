"""The order in which one copy of the state suffices: whoever reads a register comes before its update.

    for node in schedule(netlist, clocks): ...          # Cell, Read, Register, Write, Output

A register whose readers cannot all come before it (two registers that exchange their values, say) is `late`: its next
value goes to a variable of its own in its place, and from there to the register at the end.
"""
from collections import defaultdict
from dataclasses import dataclass

from .netlist import Cell, Part, Read, Register, Variable

__all__ = ["CombinationalLoop", "Output", "operands", "schedule"]


class CombinationalLoop(Exception):
    """Logic that depends on its own result."""


@dataclass(eq=False)
class Output:
    """Shows `parts` as port `name` has them before the clock edge."""
    name: str
    parts: list


def schedule(netlist, clocks):
    """Nodes of one step, in order: a rising edge of all `clocks` at once. Outputs are what they are before it."""
    return _Schedule(netlist, clocks).order()


def operands(node):
    """All parts that a node reads."""
    match node:
        case Cell():
            return [part for parts in node.operands.values() for part in parts]
        case Register():
            return node.data + (node.enable or [])
        case Read():
            return node.address + (node.enable or [])
        case Output():
            return node.parts
    return node.address + node.data + node.enable


class _Schedule:
    def __init__(self, netlist, clocks):
        self._logic = {cell.output: cell for cell in netlist.cells}         # variable -> node that computes it
        updates = [register for register in netlist.registers if register.clock in clocks]
        for memory in netlist.memories:
            for read in memory.reads:
                if read.clock is None:
                    self._logic[read.output] = read
                elif read.clock in clocks:
                    updates.append(read)
            for write in memory.writes:
                if write.clock in clocks:
                    updates.append(write)
        self._updates = updates
        outputs = [Output(name, parts) for name, parts in netlist.outputs.items()]
        self._nodes = self._needed(updates + outputs)
        self._updated = {node.output: node for node in updates if isinstance(node, Register | Read)}
        self._writers = defaultdict(list)
        for node in updates:
            if not isinstance(node, Register | Read):
                self._writers[node.memory].append(node)

    def _needed(self, roots):
        """`roots` and the logic that they need."""
        nodes, seen, waiting = [], set(roots), list(reversed(roots))
        while waiting:
            node = waiting.pop()
            nodes.append(node)
            for variable in _sources(node):
                logic = self._logic.get(variable)
                if logic is not None and logic not in seen:
                    seen.add(logic)
                    waiting.append(logic)
        return nodes

    def order(self):
        after = defaultdict(list)               # node -> nodes that must come later
        logic_left = dict.fromkeys(self._nodes, 0)      # nodes that compute its operands
        readers_left = dict.fromkeys(self._nodes, 0)    # nodes that read what it overwrites
        for node in self._nodes:
            overwriters = []
            for variable in _sources(node):
                if variable in self._logic:
                    after[self._logic[variable]].append((node, logic_left))
                    logic_left[node] += 1
                elif variable in self._updated:
                    overwriters.append(self._updated[variable])
            if isinstance(node, Read):
                overwriters += self._writers[node.memory]
            for other in overwriters:
                if other is not node:
                    after[node].append((other, readers_left))
                    readers_left[other] += 1

        ordered, late, done = [], [], set()
        ready = [node for node in reversed(self._nodes) if not logic_left[node] and not readers_left[node]]
        stuck = [node for node in self._nodes if isinstance(node, Register | Read)]
        while len(done) < len(self._nodes):
            if ready:
                node = ready.pop()
                ordered.append(node)
            else:
                node = self._cut(stuck, done, logic_left, readers_left)
                following, commit = self._late(node)
                ordered += following
                late.append(commit)
            done.add(node)
            for other, left in after[node]:
                left[other] -= 1
                if not logic_left[other] and not readers_left[other] and other not in done:
                    ready.append(other)
        return ordered + late

    def _cut(self, stuck, done, logic_left, readers_left):
        """A register that waits for its readers alone, as few of them as possible."""
        stuck[:] = [node for node in stuck if node not in done]
        waiting = [node for node in stuck if not logic_left[node] and (
            isinstance(node, Register) or node.clock is not None)]
        if not waiting:
            raise CombinationalLoop(f"combinational logic depends on itself, through {self._in_loop(logic_left)} "
                                    "among others")
        return min(waiting, key=readers_left.__getitem__)

    def _in_loop(self, logic_left):
        """Name of a variable in a loop, found by going back from logic that waits for logic."""
        node, passed = next(node for node in self._nodes if logic_left[node]), set()
        while node not in passed:
            passed.add(node)
            node = next(logic for logic in map(self._logic.get, _sources(node)) if logic_left.get(logic))
        return node.output.name

    @staticmethod
    def _late(node):
        """(nodes that compute the next value into a variable of its own, node that moves it to the register)."""
        register = node.output
        following = Variable(register.width, register.name + " (next)", "cell", register.vector)
        commit = Register(register, [Part(register.width, following)], node.clock)
        if isinstance(node, Read):
            word = Variable(register.width, register.name + " (word)", "cell", register.vector)
            nodes, data = [Read(node.memory, word, node.address)], [Part(register.width, word)]
        else:
            nodes, data = [], node.data
        if node.enable is None:
            return [*nodes, Cell("$pos", following, {"A": data})], commit
        held = [Part(register.width, register)]
        choice = {"A": held, "B": data} if node.on else {"A": data, "B": held}
        return [*nodes, Cell("$mux", following, {**choice, "S": node.enable})], commit


def _sources(node):
    return dict.fromkeys(part.variable for part in operands(node) if part.variable is not None)
