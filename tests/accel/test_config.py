"""Configurations that cannot be built are refused at once, with the value in the message."""
from dataclasses import replace

import pytest

from accel.config import CONFIGS, TINY, ULX3S_85F


@pytest.mark.parametrize("changes, message", [
    (dict(rows=3), "rows must be an integer in 4 .. 32, not 3"),
    (dict(rows=6), "rows must be a multiple of 2 \\* chains = 4, not 6"),
    (dict(chains=1.5), "chains must be an integer"),
    (dict(w_bits=3), "digits of one width, not 3 x 4 bits"),
    (dict(pixels_per_cycle=4), "a multiplier does 4 MACs of 4 bits, not 8"),
    (dict(pixels_per_cycle=3, w_bits=3, a_bits=3), "power of two of pixels_per_cycle, not 3"),
    (dict(weight_depth=32769), "weight_depth must be an integer in 1 .. 32768, not 32769"),
    (dict(picture_width=128), "picture_width must be an integer in 1 .. 127"),
    (dict(rows=32, chains=16), "a weight word has 64 bits, not 32 codes of 4 bits"),
    (dict(rows=32, activation_depth=8192), "an activation write has a 16-bit address"),
    (dict(activation_depth=32), "two images need 64 bank rows, activation_depth is 32"),
])
def test_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)


def test_digest_is_of_what_is_built():
    assert replace(ULX3S_85F, name="other", clock_hz=1.0).digest() == ULX3S_85F.digest()
    assert len({config.digest() for config in CONFIGS.values()}) == len(CONFIGS)


def test_macs_per_cycle():
    assert {name: config.macs_per_cycle for name, config in CONFIGS.items()} == {
        "ulx3s-85f": 512, "ulx3s-85f-deep": 512, "ulx3s-85f-1px": 256, "ulx3s-45f": 256,
        "ulx3s-25f": 128, "tiny": 32, "tiny-1px": 16}
