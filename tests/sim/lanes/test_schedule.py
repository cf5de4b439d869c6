"""The order in which one copy of the state suffices: random circuits do in it what they do by the book."""
import random
import re
from collections import Counter

import pytest

from sim.lanes.netlist import Cell, Read, Register, Write, read_netlist
from sim.lanes.schedule import CombinationalLoop, Output, operands, schedule
from tests.sim.lanes.circuits import CLOCK_SETS, CLOCKS, INPUTS, State, by_the_book, circuit
from tests.sim.lanes.modules import FlatModule


def read(module):
    return read_netlist(module.json, clocks=CLOCKS, resets=(), joined=0)


def is_logic(node):
    return isinstance(node, Cell) or isinstance(node, Read) and node.clock is None


def check_order(netlist, clocks):
    """What every order has to keep; returns the nodes."""
    nodes = schedule(netlist, clocks)
    place = {node.output: k for k, node in enumerate(nodes) if is_logic(node)}
    computed = {cell.output for cell in netlist.cells}
    computed |= {port.output for memory in netlist.memories for port in memory.reads if port.clock is None}
    overwritten = {}                # variable or memory -> place of its last update
    for k, node in enumerate(nodes):
        if isinstance(node, Write):
            overwritten[node.memory] = k
        elif isinstance(node, Register | Read) and not is_logic(node):
            assert node.output not in overwritten, "two updates of one register"
            overwritten[node.output] = k
    for k, node in enumerate(nodes):
        for part in operands(node):
            if part.variable in computed or part.variable in place:
                assert place[part.variable] < k, "an operand that is computed later"
            assert overwritten.get(part.variable, k) >= k, "a value that has been overwritten"
        if isinstance(node, Read):
            assert overwritten.get(node.memory, k) >= k, "a word that has been overwritten"
    updated = [node for node in nodes if not is_logic(node) and not isinstance(node, Output)]
    assert {getattr(node, "output", node) for node in updated} == {
        *(register.output for register in netlist.registers if register.clock in clocks),
        *(port.output for memory in netlist.memories for port in memory.reads if port.clock in clocks),
        *(port for memory in netlist.memories for port in memory.writes if port.clock in clocks)}
    assert {node.name for node in nodes if isinstance(node, Output)} == set(netlist.outputs)
    return nodes


def check_run(netlist, rng, steps):
    """That nodes run in order, on one copy of the state, do what the netlist does."""
    orders = {clocks: check_order(netlist, clocks) for clocks in CLOCK_SETS}
    book, ordered = State(netlist), State(netlist)
    held = set(book.values)
    for _ in range(steps):
        for name, parts in netlist.inputs.items():
            value = rng.getrandbits(INPUTS[name])
            book.set(parts, value)
            ordered.set(parts, value)
        clocks = rng.choice(CLOCK_SETS)
        for variable in set(ordered.values) - held:
            del ordered.values[variable]            # logic: whatever is used has to be computed in this step
        shown = {}
        for node in orders[clocks]:
            result = ordered.result(node)
            if isinstance(node, Output):
                shown[node.name] = result
            ordered.take(node, result)
        assert shown == by_the_book(netlist, book, clocks)
        assert {variable: ordered.values[variable] for variable in held} == {
            variable: book.values[variable] for variable in held}
        assert ordered.words == book.words
    return orders


@pytest.mark.parametrize("seed", range(40))
def test_random_circuits(seed):
    rng = random.Random(seed)
    check_run(read(circuit(rng, rng.choice((2, 5, 10, 30)))), rng, 20)


def late(netlist, clocks=("clk",)):
    """Names of the registers whose next value goes to a variable of its own first."""
    return {node.output.name.removesuffix(" (next)") for node in schedule(netlist, clocks)
            if isinstance(node, Cell) and node.output.name.endswith(" (next)")}


def registers(values, more=lambda k: {}):
    """A module of registers "r0" ... of 4 bits. values: by number, number of the register whose value it takes."""
    module = FlatModule(CLOCKS)
    module.input("plain", 12)
    module.input("pixel", 12)
    outputs = [module.net(4) for _ in values]
    for k, other in enumerate(values):
        module.register(outputs[other], out=outputs[k], name=f"r{k}", init=k + 1, **more(k))
    module.output("result", sum(outputs, []))
    return read(module)


def test_registers_that_exchange_their_values():
    netlist = registers([1, 0])
    assert len(late(netlist)) == 1                  # one of the two has to wait, only one
    state = State(netlist)
    assert by_the_book(netlist, state, ("clk",)) == {"result": 0x21}
    check_run(netlist, random.Random(0), 20)


@pytest.mark.parametrize("size", [3, 7])
def test_rings(size):
    netlist = registers([(k + 1) % size for k in range(size)])
    assert len(late(netlist)) == 1
    check_run(netlist, random.Random(0), 20)


def test_a_chain_needs_no_variable_more():
    netlist = registers([0, 0, 1, 2, 3])
    assert late(netlist) == set()
    names = [node.output.name for node in schedule(netlist, ("clk",)) if isinstance(node, Register)]
    assert names.index("r4") < names.index("r3") < names.index("r2") < names.index("r1") < names.index("r0")


def test_a_register_may_read_itself():
    assert late(registers([0, 1])) == set()


def test_clocks_that_do_not_rise_hold_nobody_up():
    netlist = registers([1, 0], lambda k: {"clock": CLOCKS[k]})
    assert [late(netlist, clocks) for clocks in CLOCK_SETS[:2]] == [set(), set()]
    assert len(late(netlist, CLOCKS)) == 1
    assert Counter(isinstance(node, Register) for node in schedule(netlist, ("clk",)))[True] == 1
    check_run(netlist, random.Random(0), 20)


@pytest.mark.parametrize("polarity", [0, 1])
def test_an_exchange_with_enables(polarity):
    module = FlatModule(CLOCKS)
    enables, outputs = module.input("plain", 12), [module.net(4) for _ in range(2)]
    module.input("pixel", 12)
    for k in range(2):
        module.register(outputs[1 - k], out=outputs[k], name=f"r{k}", init=k + 1, kind="$dffe", EN=enables[k:k + 1],
                        EN_POLARITY=polarity)
    netlist = read(module)
    assert len(late(netlist)) == 1
    check_run(netlist, random.Random(0), 40)


def test_a_read_port_and_a_register_that_exchange_their_values():
    module = FlatModule(CLOCKS)
    plain, address = module.input("plain", 12), module.net(3)
    module.input("pixel", 12)
    [word] = module.memory("memory", 3, 8, reads=[(address, plain[3:4])], writes=[(address, plain[:3], plain[4:5])],
                           init=[3, 1, 4, 1, 5, 2, 6, 5])
    module.register(word, out=address, name="address")
    module.output("result", word + address)
    netlist = read(module)
    assert len(late(netlist)) == 1
    check_run(netlist, random.Random(0), 60)


def test_a_memory_that_is_written_with_what_it_gave():
    module = FlatModule(CLOCKS)
    plain = module.input("plain", 12)
    module.input("pixel", 12)
    # The write comes after the memory has been read, and before what was read is overwritten: the read is late.
    word = module.net(3)
    module.memory("memory", 3, 8, reads=[(plain[:3], ["1"])], writes=[(plain[3:6], word, ["1"])], init=range(8),
                  out=[word])
    module.output("result", word)
    netlist = read(module)
    assert any(node.output.name.endswith(" (word)") for node in schedule(netlist, ("clk",)) if isinstance(node, Read))
    check_run(netlist, random.Random(0), 60)


def test_logic_that_nobody_needs_is_left_out():
    module = FlatModule(CLOCKS)
    a = module.input("plain", 4)
    module.cell("$neg", 4, A=a)
    module.output("y", module.cell("$not", 4, A=a))
    assert [node.kind for node in schedule(read(module), ("clk",)) if isinstance(node, Cell)] == ["$not"]


# Loops

def refused(module, names):
    with pytest.raises(CombinationalLoop) as error:
        schedule(read(module), ("clk",))
    found = re.fullmatch(r"combinational logic depends on itself, through (.*) among others", str(error.value))
    assert found and found[1] in names, str(error.value)


def test_a_loop_of_logic_is_refused_by_the_name_of_one_in_it():
    module = FlatModule(CLOCKS)
    loop, x = module.net(4, "unit.loop"), module.input("plain", 4)
    around = module.cell("$add", 4, A=loop, B=x)
    module.name("unit.around", around)
    module.cell("$xor", 4, A=around, B=x, out=loop)
    # What only hangs on the loop is not to blame.
    behind = module.cell("$neg", 4, A=loop)
    module.name("a_name_before_all_others", behind)
    module.output("y", behind)
    module.register(behind, name="register")
    refused(module, {"unit.loop", "unit.around"})


def test_a_loop_through_a_read_is_refused():
    module = FlatModule(CLOCKS)
    address = module.net(3, "unit.address")
    module.memory("unit.memory", 3, 8, reads=[(address, None)], out=[address])
    module.output("y", address)
    refused(module, {"unit.address"})


def test_a_loop_through_a_register_is_none():
    module = FlatModule(CLOCKS)
    count = module.net(4)
    module.register(module.cell("$add", 4, A=count, B=["1"]), out=count)
    module.output("y", count)
    assert [type(node) for node in schedule(read(module), ("clk",))].count(Register) == 1
