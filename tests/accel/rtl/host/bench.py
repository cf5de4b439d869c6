"""Stand-ins of what is around the units of the host's side: the reader of a payload, the dispatcher."""
import random

__all__ = ["PayloadSource", "carry_out"]


class PayloadSource:
    """In the place of a PayloadReader.

    port, left : `octets` and `left` of the unit. gap: cycles from a byte to the next, at least. pauses: chance of
    another idle cycle before each.
    """
    def __init__(self, port, left, *, gap=1, pauses=0.0, seed=0):
        self._port, self._left, self._gap, self._pauses = port, left, gap, pauses
        self._chance = random.Random(seed)
        self.octets = b""                       # to be set to a payload; what has not been taken of it

    async def bench(self, ctx):
        port, idle = self._port, 0
        while True:
            octets = self.octets
            ctx.set(self._left, len(octets))
            if idle or not octets or self._chance.random() < self._pauses:
                idle = max(idle - 1, 0)
                ctx.set(port.valid, 0)
                await ctx.tick()
                continue
            ctx.set(port.payload, octets[0])
            ctx.set(port.valid, 1)
            ready = False
            while not ready and self.octets is octets:
                _, _, ready = await ctx.tick().sample(port.ready)
            if ready:
                self.octets, idle = octets[1:], self._gap - 1


async def carry_out(ctx, control, command, sequence=0):
    """Gives an order until it is taken; returns its fault."""
    ctx.set(control.order.payload, {"command": command, "sequence": sequence})
    ctx.set(control.order.valid, 1)
    ready = False
    while not ready:
        _, _, ready, fault = await ctx.tick().sample(control.order.ready, control.fault)
    ctx.set(control.order.valid, 0)
    return fault
