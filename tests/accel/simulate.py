"""Small helpers to run a component in pysim: a clocked stimulus, always with a timeout."""
import warnings

import numpy as np
from amaranth.sim import Simulator

__all__ = ["run_cycles"]


def run_cycles(dut, stimulus, sample, cycles):
    """Drives `dut` for `cycles` clock cycles. stimulus(ctx, cycle) sets inputs before the edge that ends the cycle;
    sample(ctx, cycle) reads outputs in the same cycle, after the inputs have settled. Returns the samples."""
    samples = []

    async def bench(ctx):
        for cycle in range(cycles):
            stimulus(ctx, cycle)
            samples.append(sample(ctx, cycle))
            await ctx.tick()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulator = Simulator(dut)
        simulator.add_clock(1e-8)
        simulator.add_testbench(bench)
        simulator.run()
    return np.array(samples)
