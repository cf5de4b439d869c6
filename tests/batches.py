"""Nets in batches: compiled by a plan that chance picks among those that there is room for, whether fast or not."""
import contextlib
import random

from accel.compiler.batches import plans
from accel.compiler.compile import compile_runs
from accel.compiler.placement import MemoryFull, place_batch

__all__ = ["batched"]


def batched(net, config, seed, most=6):
    """The `Image` of `net` in a batch of up to `most` pictures; picture by picture where there is no room for any."""
    image = compile_runs(net, config)
    chosen = [plan for plan in plans(image, most) if plan.batch > 1]
    random.Random(seed).shuffle(chosen)
    for plan in chosen:
        runs = plan.runs()
        if placement := place_batch(net, config, runs):
            with contextlib.suppress(MemoryFull):           # weights that are there again for each run
                return compile_runs(net, config, runs, placement)
    return image
