"""Talks to a `System` in pysim through its pins: bit-banged bytes in, sampled bytes out."""
from amaranth.sim import Simulator

from accel import link

__all__ = ["CYCLES_PER_BIT", "converse", "parse"]

CYCLES_PER_BIT = 8


def converse(dut, script, *, timeout=2_000_000, bit_cycles=CYCLES_PER_BIT):
    """Runs `script`, an async function of (send, receive, wait): send(bytes) as a UART would, receive() -> (kind,
    sequence, payload) of the next frame, wait(cycles)."""
    received = bytearray()

    async def host(ctx):
        async def send(octets):
            for octet in octets:
                for bit in [0, *(octet >> k & 1 for k in range(8)), 1]:
                    ctx.set(dut.rx, bit)
                    await ctx.tick().repeat(bit_cycles)

        async def receive():
            while True:
                frame, used = parse(received)
                if frame:
                    del received[:used]
                    return frame
                await ctx.tick()

        async def wait(cycles):
            await ctx.tick().repeat(cycles)

        await script(send, receive, wait)

    async def line(ctx):
        while True:
            while ctx.get(dut.tx):
                await ctx.tick()
            await ctx.tick().repeat(bit_cycles // 2)
            octet = 0
            for k in range(9):
                await ctx.tick().repeat(bit_cycles)
                octet |= ctx.get(dut.tx) << k
            assert octet >> 8, "a stop bit is high"
            received.append(octet & 0xFF)

    async def watchdog(ctx):
        await ctx.delay(timeout * 1e-8)
        raise TimeoutError(f"no end within {timeout} cycles")

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(host)
    simulator.add_testbench(line, background=True)
    simulator.add_testbench(watchdog, background=True)
    simulator.run()


def parse(octets):
    """((kind, sequence, payload), bytes used) of the frame that `octets` begins with, (None, 0) if it is not whole.

    Written from docs/uart.md, not from the RTL; every check is asserted.
    """
    if len(octets) < 9:
        return None, 0
    assert octets[:2] == b"\xa5\x5a" and octets[2] == 1, bytes(octets[:9])
    length = octets[5] | octets[6] << 8
    if len(octets) < 13 + length:
        return None, 0
    payload = bytes(octets[9:9 + length])
    assert bytes(octets[:13 + length]) == link.frame(octets[3], octets[4], payload)
    return (octets[3], octets[4], payload), 13 + length
