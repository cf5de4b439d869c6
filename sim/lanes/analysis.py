"""What pixels can reach: those variables have a value in every lane, all others one for all lanes.

Lanes share one run, so nothing that decides when something happens or where something is written may be of a lane: a
handshake, a memory's enable, its write address. Where it is, `mark_vectors` raises and names it. A read address may
differ from lane to lane, and so may a register's enable and the choice of a multiplexer: each lane has its own.
"""
from collections import defaultdict

__all__ = ["PixelsDecide", "mark_vectors"]


class PixelsDecide(Exception):
    """Pixels reach something that all lanes share; the message names it."""


def mark_vectors(netlist, *, inputs, outputs):
    """Sets `vector` of every variable that the ports `inputs` can reach. Only the ports `outputs` may be among them."""
    reached_from = defaultdict(list)            # variable or memory -> what has it for an operand
    for cell in netlist.cells:
        for parts in cell.operands.values():
            _note(reached_from, parts, cell.output)
    for register in netlist.registers:
        _note(reached_from, register.data + (register.enable or []), register.output)
    for memory in netlist.memories:
        for read in memory.reads:
            _note(reached_from, read.address + (read.enable or []), read.output)
            reached_from[memory].append(read.output)
        for write in memory.writes:
            _note(reached_from, write.data, memory)

    waiting = [part.variable for name in inputs for part in netlist.inputs[name]]
    reached = set(waiting)
    while waiting:
        for target in reached_from[waiting.pop()]:
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    for item in reached:
        item.vector = True
    _check(netlist, outputs)


def _note(reached_from, parts, target):
    for part in parts:
        if part.variable is not None:
            reached_from[part.variable].append(target)


def _check(netlist, outputs):
    for name, parts in netlist.outputs.items():
        if name not in outputs:
            _refuse(parts, f"the output {name}")
    for memory in netlist.memories:
        for read in memory.reads:
            _refuse(read.enable or [], f"the read enable of {memory.name}")
        for write in memory.writes:
            _refuse(write.enable, f"the write enable of {memory.name}")
            _refuse(write.address, f"the write address of {memory.name}")


def _refuse(parts, what):
    for part in parts:
        if part.variable is not None and part.variable.vector:
            raise PixelsDecide(f"pixels reach {what}, through {part.variable.name}: lanes would go apart")
