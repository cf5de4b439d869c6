"""Streams in pysim: a source, a sink and a monitor that checks the protocol, each with random pauses of its own."""
import random

from amaranth import Value
from amaranth.sim import Simulator

__all__ = ["Monitor", "get", "put", "simulate", "sink", "source"]


async def put(ctx, port, payload, *, domain="sync"):
    """Offers `payload` until it is taken. domain: the port's, here as below."""
    ctx.set(port.payload, payload)
    ctx.set(port.valid, 1)
    ready = False
    while not ready:                    # `until` does not like to be left waiting at the end of a simulation
        _, _, ready = await ctx.tick(domain).sample(port.ready)
    ctx.set(port.valid, 0)


async def get(ctx, port):
    """Takes a payload."""
    ctx.set(port.ready, 1)
    valid = False
    while not valid:
        _, _, valid, payload = await ctx.tick().sample(port.valid, port.payload)
    ctx.set(port.ready, 0)
    return payload


def source(port, payloads, *, pauses=0.0, seed=0, domain="sync"):
    """Testbench that offers one payload after the other. pauses: chance of another idle cycle before each."""
    chance = random.Random(seed)

    async def bench(ctx):
        for payload in payloads:
            while chance.random() < pauses:
                await ctx.tick(domain)
            await put(ctx, port, payload, domain=domain)
    return bench


def sink(port, *, pauses=0.0, seed=0, domain="sync"):
    """Testbench that takes what comes. pauses: chance in each cycle that it is not ready, whether something is offered
    or not."""
    chance = random.Random(seed)

    async def bench(ctx):
        while True:
            ctx.set(port.ready, chance.random() >= pauses)
            await ctx.tick(domain)
    return bench


class Monitor:
    """Records what passes through `port`: payloads, as numbers, and the cycles of their transfers.

    watch, the testbench, raises AssertionError where an offer is withdrawn or changed before it is taken.
    """
    def __init__(self, port, *, domain="sync"):
        self.port, self.payloads, self.cycles, self._domain = port, [], [], domain

    async def watch(self, ctx):
        port, offered, cycle = self.port, None, 0
        async for _, _, valid, ready, payload in ctx.tick(self._domain).sample(
                port.valid, port.ready, Value.cast(port.payload)):
            assert offered is None or (valid and payload == offered), f"offer not held in cycle {cycle}"
            offered = payload if valid and not ready else None
            if valid and ready:
                self.payloads.append(payload)
                self.cycles.append(cycle)
            cycle += 1


def simulate(dut, *benches, done, timeout, after=20):
    """Runs `benches` until `done()`, and `after` cycles more, in which nothing may go wrong either. TimeoutError where
    that takes more than `timeout` cycles."""
    async def finish(ctx):
        cycles = 0
        while not done():
            if cycles == timeout:
                raise TimeoutError(f"not done after {timeout} cycles")
            await ctx.tick()
            cycles += 1
        for _ in range(after):
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    for bench in benches:
        simulator.add_testbench(bench, background=True)
    simulator.add_testbench(finish)
    simulator.run()
