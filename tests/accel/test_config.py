"""Configurations that cannot be built are refused at once, with the value in the message."""
from dataclasses import replace
from fractions import Fraction

import pytest

from accel.clocks import CORE_CLOCKS
from accel.config import CONFIGS, DEFAULT, R16C16P2, TINY, AccelConfig


@pytest.mark.parametrize("changes, message", [
    (dict(rows=3), "rows must be an integer in 4 .. 32, not 3"),
    (dict(rows=6), "rows must be a multiple of 2 \\* chains = 4, not 6"),
    (dict(chains=1.5), "chains must be an integer"),
    (dict(w_bits=3), "digits of one width, not 3 x 4 bits"),
    (dict(pixels_per_cycle=4), "a multiplier does 4 MACs of 4 bits, not 8"),
    (dict(pixels_per_cycle=3, w_bits=3, a_bits=3), "power of two of pixels_per_cycle, not 3"),
    (dict(weight_depth=32769), "weight_depth must be an integer in 1 .. 32768, not 32769"),
    (dict(rows=32, chains=16), "a weight word has 64 bits, not 32 codes of 4 bits"),
    (dict(rows=32, activation_depth=8192), "an activation write has a 16-bit address"),
])
def test_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)


def test_digest_is_of_what_is_built():
    assert replace(R16C16P2, name="other", lut_elements=1).digest() == R16C16P2.digest()
    assert len({config.digest() for config in CONFIGS.values()}) == len(CONFIGS)


def test_digests_stay():
    """Images, bitstreams and reports carry them."""
    assert {name: config.digest() for name, config in CONFIGS.items()} == {
        "16x16x2": "cc30019d4a0f5514", "16x16x2-deep": "0a6b4550d11efdcf", "16x16x1": "87579bca33d67a91",
        "16x8x2": "3dd16d8cfff20f62", "8x8x2": "14270e6a8ebd46b0", "tiny": "895ea1f9ea1dcdca",
        "tiny-1px": "b4eeeec6006ced83"}


def test_names_are_shapes():
    for name, config in CONFIGS.items():
        if not name.startswith("tiny"):
            assert name.split("-")[0] == f"{config.rows}x{config.channels}x{config.pixels_per_cycle}"
    assert CONFIGS[DEFAULT.name] is DEFAULT


def test_headers_of_older_versions_are_read():
    header = R16C16P2.header()
    assert AccelConfig.of_header(header) == R16C16P2
    former = {"clock_hz": 1e8, "placed_and_routed": True, "image_height": 32, "image_width": 32}
    assert AccelConfig.of_header(header | former) == R16C16P2
    with pytest.raises(TypeError, match="wings"):
        AccelConfig.of_header(header | {"wings": 2})


def test_core_clocks_are_exact_and_of_configurations():
    assert set(CORE_CLOCKS) <= set(CONFIGS)
    assert all(type(clock) is Fraction for clock in CORE_CLOCKS.values())
    assert CORE_CLOCKS[DEFAULT.name] == Fraction(131_250_000)


def test_macs_per_cycle():
    assert {name: config.macs_per_cycle for name, config in CONFIGS.items()} == {
        "16x16x2": 512, "16x16x2-deep": 512, "16x16x1": 256, "16x8x2": 256,
        "8x8x2": 128, "tiny": 32, "tiny-1px": 16}
