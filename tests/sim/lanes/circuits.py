"""Random circuits of registers, memories and logic on two clocks, and what they do by the book: all of a step's new
values are computed from old ones before any is taken."""
from sim.lanes.netlist import Cell, Read, Register, Write
from sim.lanes.schedule import Output
from tests.sim.lanes.modules import FlatModule, cell_result

__all__ = ["CLOCKS", "CLOCK_SETS", "INPUTS", "State", "by_the_book", "circuit"]

CLOCKS = ("clk", "b_clk")
CLOCK_SETS = (("clk",), ("b_clk",), CLOCKS)
INPUTS = {"pixel": 12, "plain": 12}             # name -> bits
KINDS = ("$add", "$sub", "$and", "$xor", "$mux", "$not", "$lt", "$eq", "$reduce_or", "$shr")
SIZE = 6                                        # words of a memory


def circuit(rng, registers):
    """A `FlatModule` with INPUTS, the output "result", registers "r<k>", half as many cells and a few memories. What
    "pixel" reaches decides nothing that lanes share."""
    module = FlatModule(CLOCKS)
    plain, values = [module.input("plain", INPUTS["plain"])], [module.input("pixel", INPUTS["pixel"])]
    own = [rng.random() < 0.5 for _ in range(registers)]            # registers that pixels may reach
    outputs = [module.net(rng.choice((1, 3, 8, 9, 20, 33, 64))) for _ in range(registers)]
    values += [out for out, may in zip(outputs, own, strict=True) if may]
    plain += [out for out, may in zip(outputs, own, strict=True) if not may]

    def pick(pool, width):
        """A value of `width` bits of what `pool` has."""
        bits = rng.choice(pool)
        while len(bits) < width:
            bits = bits + rng.choice(pool)
        low = rng.choice((0, len(bits) - width))
        return bits[low:low + width]

    def add_cells(pool, count):
        for _ in range(count):
            kind, width = rng.choice(KINDS), rng.choice((1, 2, 5, 8, 16, 30))
            operands = {"A": pick(pool, width)}
            if kind not in ("$not", "$reduce_or"):
                operands["B"] = pick(pool, 3 if kind == "$shr" else width)
            if kind == "$mux":
                operands["S"] = pick(pool, 1)
            pool.append(module.cell(kind, 1 if kind in ("$lt", "$eq", "$reduce_or") else width, **operands))

    add_cells(plain, registers // 4)
    for k in range(rng.randint(1, 3)):
        pool, clock = rng.choice((plain, plain + values)), rng.choice(CLOCKS)
        reads = [(pick(rng.choice((plain, pool)), 3), rng.choice((None, pick(plain, 1))))
                 for _ in range(rng.randint(1, 3))]
        writes = [(pick(plain, 3), pick(pool, 10), pick(plain, 1))] * rng.randint(0, 1)
        values += module.memory(f"m{k}", 10, SIZE, reads=reads, writes=writes, clock=clock,
                                init=[rng.getrandbits(10) for _ in range(SIZE)])
    everything = plain + values
    add_cells(everything, registers // 4)
    for number, (out, may) in enumerate(zip(outputs, own, strict=True)):
        pool, width = everything if may else plain, len(out)
        # Often another register's value itself, or its own in a ring.
        data = pick(outputs if may and rng.random() < 0.6 else pool, width)
        more = {}
        match rng.randrange(3):
            case 1:
                more = {"kind": "$dffe", "EN": pick(pool, 1), "EN_POLARITY": rng.randint(0, 1)}
            case 2:
                sides = {"A": out, "B": data} if rng.random() < 0.5 else {"A": data, "B": out}
                data = module.cell("$mux", width, S=pick(pool, 1), **sides)
        module.register(data, out=out, name=f"r{number}", clock=rng.choice(CLOCKS), init=rng.getrandbits(width), **more)
    module.output("result", [bit for value in everything[-registers:] + outputs for bit in value])
    return module


class State:
    """Values of a netlist's inputs, registers and memories, at configuration; `inputs` are set with `set`."""
    def __init__(self, netlist):
        self.values = {variable: 0 for variable in netlist.variables() if variable.kind != "cell"}
        self.values |= {register.output: register.init for register in netlist.registers}
        self.words = {memory: list(memory.init) for memory in netlist.memories}

    def set(self, parts, value):
        for part in parts:
            self.values[part.variable] = value & (1 << part.width) - 1
            value >>= part.width

    def number(self, parts):
        value, at = 0, 0
        for part in parts:
            source = part.value if part.variable is None else self.values[part.variable] >> part.low
            value, at = value | (source & (1 << part.width) - 1) << at, at + part.width
        return value

    def result(self, node):
        """What a node computes of the values as they are; None for a register or a write without its enable."""
        match node:
            case Cell():
                operands = {port: (self.number(parts), sum(part.width for part in parts))
                            for port, parts in node.operands.items()}
                return cell_result(node.kind, operands, node.signed, node.output.width)
            case Read():
                if node.enable and not self.number(node.enable):
                    return None
                words, address = self.words[node.memory], self.number(node.address)
                return words[address] if address < len(words) else 0
            case Register():
                taken = node.enable is None or self.number(node.enable) == node.on
                return self.number(node.data) if taken else None
            case Write():
                address = self.number(node.address)
                written = self.number(node.enable) and address < node.memory.size
                return (address, self.number(node.data)) if written else None
            case Output():
                return self.number(node.parts)

    def take(self, node, result):
        """Makes `result` the new value of what the node drives."""
        if isinstance(node, Write) and result is not None:
            self.words[node.memory][result[0]] = result[1]
        elif not isinstance(node, Write | Output) and result is not None:
            self.values[node.output] = result


def by_the_book(netlist, state, clocks):
    """A rising edge of `clocks`. Returns output -> its value before the edge."""
    logic = {cell.output: cell for cell in netlist.cells}
    logic |= {read.output: read for memory in netlist.memories for read in memory.reads if read.clock is None}
    for variable in logic:
        state.values.pop(variable, None)

    def settle(variable):
        if variable in logic and variable not in state.values:
            node = logic[variable]
            parts = sum(node.operands.values(), []) if isinstance(node, Cell) else node.address
            for part in parts:
                settle(part.variable)
            state.take(node, state.result(node))

    for variable in logic:
        settle(variable)
    outputs = {name: state.number(parts) for name, parts in netlist.outputs.items()}
    ports = [port for memory in netlist.memories for port in memory.reads + memory.writes]
    updates = [node for node in netlist.registers + ports if node.clock in clocks]
    for node, result in [(node, state.result(node)) for node in updates]:
        state.take(node, result)
    return outputs
