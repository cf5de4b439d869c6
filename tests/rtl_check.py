"""Nets through a compiled simulator of the RTL, compared with the golden model: logits, codes and cycles."""
from dataclasses import replace

import numpy as np

from accel.compiler.compile import compile_net
from accel.config import TINY, TINY_1PX
from accel.cycles import schedule
from model.integer.golden import forward, trace
from sim.compare import first_mismatch
from sim.engine import NO_GAPS, Gaps
from sim.engines import open_engine
from tests.batches import batched
from tests.nets import corner_pictures, random_net, random_pictures, residual_net

__all__ = ["FUZZED", "LARGE", "PLAYED", "check_net", "check_random_batch", "check_random_net", "check_residual_net"]

# Small, and different in every parameter that the RTL is made of. Some nets of the parts have one picture buffer, and
# many several bands a layer.
FUZZED = [TINY, TINY_1PX, replace(TINY, name="tiny-3bit", w_bits=3, a_bits=3),
          replace(TINY, name="tiny-2bit-4px", w_bits=2, a_bits=2, pixels_per_cycle=4),
          replace(TINY, name="tiny-parts", rows=8, accumulator_depth=16, activation_depth=128),
          # the picture's taps side by side
          replace(TINY, name="tiny-three-taps", rows=12, chains=3, weight_depth=2040)]

# Rings that hold hardly any net, so that an SDRAM plays it. The clock is slow, so that the SDRAM wakes up in 5,000
# cycles.
PLAYED = replace(TINY, name="tiny-played", weight_depth=64, threshold_depth=64, program_depth=32, sdram_hz=25_000_000)

# Memories for all of `tests.nets.SIZES`, some in bands, one with a single picture buffer.
LARGE = replace(TINY, name="tiny-large", activation_depth=16384, accumulator_depth=512, weight_depth=8192,
                threshold_depth=4096, program_depth=4096)


def check_net(net, config, library, *, count=2, seed=0, gaps=NO_GAPS, image=None):
    """`count` random pictures, an all black and an all white one, through the simulator in `library`. Returns how many
    pictures that were. image: of the net, where it is not compiled picture by picture."""
    image = image or compile_net(net, config)
    answers = schedule(image).answers
    pictures = np.concatenate([random_pictures(net, count, seed), corner_pictures(net)])
    engine = open_engine("lanes", image, library=library, trace=True, gaps=gaps)
    logits, codes = forward(net, pictures), trace(net, pictures)
    for k, result in enumerate(engine.run(pictures)):
        np.testing.assert_array_equal(result.logits, logits[k], err_msg=f"{net.name}, picture {k}")
        assert result.number == k % image.batch
        assert (result.cycles, result.program_cycles) == (answers[result.number], answers[-1])
        expected = {name: tensor[k] for name, tensor in codes.items()}
        mismatch = first_mismatch(expected, image.tensors(*result.writes, picture=result.number))
        assert mismatch is None, f"{net.name}, picture {k}: {mismatch}"
    engine.close()
    return len(pictures)


def check_random_net(seed, config, library):
    """`random_net(seed, config)`, with back-pressure for every third seed."""
    gaps = Gaps(pixels=0.4, logits=0.7, seed=seed) if seed % 3 == 0 else NO_GAPS
    return check_net(random_net(seed, config), config, library, seed=seed, gaps=gaps)


def check_random_batch(seed, config, library):
    """`random_net(seed, config)` in a batch, an incomplete one last."""
    net = random_net(seed, config)
    gaps = Gaps(pixels=0.4, logits=0.7, seed=seed) if seed % 3 == 0 else NO_GAPS
    return check_net(net, config, library, count=5, seed=seed, gaps=gaps, image=batched(net, config, seed))


def check_residual_net(seed, config, library):
    """`residual_net(seed, config)`: what a residual reads while it is written over would come out here."""
    return check_net(residual_net(seed, config), config, library, seed=seed)
