"""A component with everything that this project's RTL may be made of, and its run in pysim."""
import random
import warnings

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from sim.lanes.build import Ports

__all__ = ["PORTS", "Machine", "in_pysim", "inputs"]

RESULT_BITS = 5000
PORTS = Ports(pixels=("own", "own_number"), answers=("results",))


class Machine(wiring.Component):
    """Members
    -------
    own, own_number : In, what pixels reach;  shared, shared_number, control : In
    results : Out, what logic and memories give
    registers : name -> Signal, after `elaborate`
    """
    def __init__(self):
        self.registers = {}
        super().__init__({
            "own": In(40), "own_number": In(signed(11)), "shared": In(70), "shared_number": In(signed(19)),
            "control": In(data.StructLayout({
                "enable": 1, "choice": 3, "write": 1, "read": 1, "write_address": 5, "read_address": 5, "mask": 4})),
            "results": Out(RESULT_BITS)})

    def elaborate(self, platform):
        m = Module()
        self._results = []
        self._logic()
        self._registers(m)
        self._memories(m)
        results = Cat(self._results)
        assert len(results) <= RESULT_BITS, len(results)
        m.d.comb += self.results.eq(results)
        return m

    def _register(self, m, name, value, *, shape=None, init=0):
        register = self.registers[name] = Signal(shape or value.shape(), name=name, init=init)
        m.d.sync += register.eq(value)
        return register

    def _logic(self):
        own, shared, number, other = self.own, self.shared, self.own_number, self.shared_number
        for a, b in [(own[:9], shared[3:20]), (number, other), (shared[:33], other), (number, own[30:]),
                     (own[:17], own[20:25]), (shared[8:16], shared[40:44])]:
            by = b.as_unsigned()[:4]
            self._results += [a + b, a - b, a * b, -a, ~a, a & b, a | b, a ^ b, a < b, a <= b, a > b, a >= b, a == b,
                              a != b, abs(a), a >> by, a << by, a.any(), a.all(), a.xor(), a.bool(), Mux(b[0], a, b),
                              Mux(own[3], a, b), Mux(a, b, 5)]
        for by, word in ((own[4:8], shared[:64]), (shared[4:8], shared)):
            self._results += [own.bit_select(by, 5), word.bit_select(by, 9), own.word_select(by[:3], 4), number >> by,
                              other >> by, own << by, Array(own[3 * k:3 * k + 3] for k in range(9))[by],
                              Array([3, 1, 4, 1, 5, 9])[by], own.rotate_left(11), number.shift_right(2),
                              by.matches("1--0", "0000")]

    def _registers(self, m):
        own, shared, control = self.own, self.shared, self.control
        self._register(m, "sum", self.own_number + self.shared_number, init=-3)
        self._register(m, "wide", Cat(own, shared, own), init=0x123456789abcdef0123456789)
        # Values that change places, and a ring: no order of evaluation can do with one copy of them.
        left, right = Signal(13, name="left", init=0x1234), Signal(13, name="right", init=0xabc)
        m.d.sync += [left.eq(right), right.eq(left ^ own[:13])]
        ring = [Signal(3, name=f"ring{k}", init=k) for k in range(5)]
        with m.If(control.enable):
            m.d.sync += [after.eq(before) for before, after in zip(ring, ring[1:] + ring[:1], strict=True)]
        kept = Signal(20)
        own_kept = Signal(20)
        low = Signal(9)
        until = Signal(9)
        own_until = Signal(9)
        m.d.sync += [until.eq(Mux(control.enable, until, shared)), own_until.eq(Mux(own[5], own_until, own))]
        state = Signal(3)
        count = Signal(7)
        with m.If(control.enable):
            m.d.sync += [kept.eq(shared), own_kept.eq(own)]
        with m.If(own[0]):                      # a lane's own enable
            m.d.sync += low.eq(own[1:])
        with m.Elif(control.enable & own[1]):
            m.d.sync += low[:4].eq(shared)
        with m.Switch(control.choice):
            with m.Case(0, 3):
                m.d.sync += state.eq(state + 1)
            with m.Case("1-1"):
                m.d.sync += [state.eq(control.choice), count.eq(count - 1)]
            with m.Case(1):
                m.d.sync += count.eq(count + kept[:3])
            with m.Default():
                m.d.sync += count.eq(Mux(state == 2, 0, ~count))
        named = (left, right, *ring, kept, own_kept, low, until, own_until, state, count)
        self.registers |= {register.name: register for register in named}
        self._results += [left + right, own_kept - kept, low, state, count, *self.registers.values()]

    def _memories(self, m):
        own, shared, control = self.own, self.shared, self.control
        rng = random.Random(5)

        def make(name, width, depth, init=True, **more):
            made = memory.Memory(shape=width, depth=depth, init=[
                rng.getrandbits(width) for _ in range(depth if init else 0)])
            m.submodules[name] = made
            port = made.write_port(**more)
            m.d.comb += [port.en.eq(control.write.replicate(len(port.en)) & control.mask),
                         port.addr.eq(control.write_address)]
            return made, port

        def read(made, address, domain="sync"):
            port = made.read_port(domain=domain)
            m.d.comb += port.addr.eq(address)
            if domain == "sync":
                m.d.comb += port.en.eq(control.read)
            self._results.append(port.data)

        # Shared memories: of few words and of many, of a power of two or not, read by each lane elsewhere.
        for depth, width in ((16, 5), (8, 40), (2, 17), (5, 8), (13, 33), (19, 7), (300, 18)):
            made, port = make(f"shared{depth}", width, depth)
            m.d.comb += port.data.eq(Cat(shared, self.shared_number))
            for domain in ("comb", "sync"):
                read(made, control.read_address, domain)
                read(made, own, domain)
                read(made, Cat(own[:2], shared[:2]), domain)
        # Memories that pixels are written to.
        for depth, width in ((16, 9), (6, 20), (32, 33)):
            made, port = make(f"own{depth}", width, depth, init=depth == 6)
            m.d.comb += port.data.eq(Cat(own, shared))
            for domain in ("comb", "sync"):
                read(made, control.read_address, domain)
                read(made, own[7:13], domain)
        # Memories that are written in every cycle.
        for name, value in (("always_shared", shared), ("always_own", own)):
            always = memory.Memory(shape=12, depth=8, init=[])
            m.submodules[name] = always
            port = always.write_port()
            m.d.comb += [port.en.eq(1), port.addr.eq(control.write_address), port.data.eq(value)]
            read(always, control.read_address)
        # A word in columns that are written and read apart, some of them pixels.
        columns, port = make("columns", 120, 10, granularity=30)
        m.d.comb += port.data.eq(Cat(shared[:60], own[:30], shared))
        ports = [columns.read_port(), columns.read_port(domain="comb")]
        m.d.comb += [ports[0].addr.eq(control.read_address), ports[0].en.eq(control.read), ports[1].addr.eq(shared)]
        a, b = (port.data for port in ports)
        self._results += [a[:30] + b[30:60], a[60:90], b[90:], b[5:9]]


def inputs(rng, cycles):
    """Values of the inputs, a dict of integers for every cycle: of those that lanes share and of those of one lane."""
    def values(names):
        return {name: rng.choice((rng.getrandbits(bits), rng.getrandbits(bits), 0, (1 << bits) - 1, rng.randrange(16)))
                for name, bits in names.items()}
    return ([values({"shared": 70, "shared_number": 19, "control": 20}) for _ in range(cycles)],
            lambda: [values({"own": 40, "own_number": 11}) for _ in range(cycles)])


def in_pysim(cycles):
    """(results before the edge, register -> value after it), for every cycle of `cycles`, a list of inputs' values."""
    machine, seen = Machine(), []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulator = Simulator(machine)

    async def bench(ctx):
        for values in cycles:
            for name, value in values.items():
                port = getattr(machine, name)
                ctx.set(port.as_value() if name == "control" else port, value)
            results = ctx.get(machine.results)
            await ctx.tick()
            seen.append((results, {name: ctx.get(register) & (1 << len(register)) - 1
                                   for name, register in machine.registers.items()}))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen
