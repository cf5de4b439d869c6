"""Runs pictures through the core in pysim: one testbench for each stream, optional gaps on all of them."""
import random

import numpy as np
from amaranth.sim import Simulator

from accel.rtl.core import Core

from .streams import Monitor

__all__ = ["run_core", "run_loads"]


def run_core(image, pictures, *, gaps=0.0, seed=0, timeout=2_000_000, vcd=None):
    """Logits int64 (N, n), cycles (N,), activation writes (groups, data, the cycle of each) of each of `pictures`,
    uint8 (N, 3, H, W).

    gaps: chance that a source pauses or a sink is not ready, in each cycle. timeout: in cycles.
    """
    return run_loads([(image, pictures)], gaps=gaps, seed=seed, timeout=timeout, vcd=vcd)


def run_loads(loads, *, gaps=0.0, seed=0, timeout=2_000_000, vcd=None):
    """The same for several nets loaded one after the other: (image, pictures) each.

    The pixels of a net are offered from the first word of its load on; a net is loaded when the pictures of the net
    before are answered.
    """
    dut = Core(loads[0][0].config)
    total, answered_before = 0, []
    for _, pictures in loads:
        answered_before.append(total)
        total += len(pictures)
    begun = [0]
    logits, cycles, writes = [[]], [], [[]]
    chance = random.Random(seed)

    async def put(ctx, port, payload):
        while chance.random() < gaps:
            await ctx.tick()
        ctx.set(port.payload, payload)
        ctx.set(port.valid, 1)
        await ctx.tick().until(port.ready)
        ctx.set(port.valid, 0)

    async def source(ctx):
        for (image, _), before in zip(loads, answered_before, strict=True):
            while len(cycles) < before:
                await ctx.tick()
            words = zip(*(column.tolist() for column in image.load_words()), strict=True)
            for index, (target, address, data) in enumerate(words):
                await put(ctx, dut.load, {"target": target, "address": address, "data": data})
                begun[0] += index == 0

    async def camera(ctx):
        for index, (_, pictures) in enumerate(loads):
            while begun[0] <= index:                # from the first word of a load on, pixels are the new net's
                await ctx.tick()
            for r, g, b in np.concatenate([p.reshape(3, -1).T for p in pictures]).tolist():
                await put(ctx, dut.pixels, {"r": r, "g": g, "b": b})

    async def sink(ctx):
        while len(cycles) < total:
            while chance.random() < gaps:
                await ctx.tick()
            ctx.set(dut.logits.ready, 1)
            word, count = await ctx.tick().sample(dut.logits.payload, dut.cycles).until(dut.logits.valid)
            ctx.set(dut.logits.ready, 0)
            logits[-1].append(word.logit)
            if word.last:
                cycles.append(count)
                logits.append([])
                writes.append([])

    async def trace(ctx):
        port = dut.trace
        async for _, _, valid, *write in ctx.tick().sample(port.valid, port.group, port.data, dut.cycles):
            if valid:
                writes[-1].append(write)

    async def watchdog(ctx):
        await ctx.delay(timeout * 1e-8)
        raise TimeoutError(f"no answer within {timeout} cycles")

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(source, background=True)
    simulator.add_testbench(camera, background=True)
    simulator.add_testbench(sink)
    simulator.add_testbench(trace, background=True)
    simulator.add_testbench(Monitor(dut.logits).watch, background=True)
    simulator.add_testbench(watchdog, background=True)
    if vcd:
        with simulator.write_vcd(vcd):
            simulator.run()
    else:
        simulator.run()
    return logits[:-1], np.array(cycles), [_pack(w, len(dut.trace.data)) for w in writes[:-1]]


def _pack(writes, width):
    groups, values, cycles = zip(*writes, strict=True)
    words = [[value >> 64 * i & (1 << 64) - 1 for i in range(-(-width // 64))] for value in values]
    return np.array(groups, dtype=np.uint32), np.array(words, dtype=np.uint64), np.array(cycles)
