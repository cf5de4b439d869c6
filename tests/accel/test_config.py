"""Configurations that cannot be built are refused at once, with the value in the message."""
from dataclasses import replace
from fractions import Fraction

import pytest

from accel.clocks import CORE_CLOCKS
from accel.config import CONFIGS, DEFAULT, R8C8P2, R8C8P2_ONCHIP, R16C16P2, TINY, AccelConfig


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
    (dict(weight_depth=4), "weight_depth must be at least 8, not 4"),
    (dict(weight_depth=2046), "weight_depth must be a multiple of 4 rows, not 2046"),
    (dict(threshold_depth=59), "threshold_depth must be at least 60, not 59"),
    (dict(sdram_hz=0), "sdram_hz must be None or an integer of at least 20000000, not 0"),
    (dict(sdram_hz=Fraction(10**9, 3)), "sdram_hz must be None or an integer of at least 20000000, not Fraction"),
    (dict(sdram_hz=10**8, threshold_depth=96), "threshold_depth of a core with SDRAM must be a power of two, not 96"),
    (dict(sdram_hz=10**8, program_depth=24), "program_depth of a core with SDRAM must be a power of two, not 24"),
])
def test_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)


def test_digest_is_of_what_is_built():
    assert replace(R16C16P2, name="other", lut_elements=1, sdram_hz=10**8).digest() == R16C16P2.digest()
    apart = {name: config.digest() for name, config in CONFIGS.items() if config != R8C8P2_ONCHIP}
    assert len(set(apart.values())) == len(apart)


def test_a_core_without_its_sdram_runs_the_same_images_as_far_as_they_are_resident():
    assert R8C8P2_ONCHIP == replace(R8C8P2, name=R8C8P2_ONCHIP.name, sdram_hz=None)
    assert R8C8P2_ONCHIP.digest() == R8C8P2.digest()


def test_digests_stay():
    """Images, bitstreams and reports carry them."""
    assert {name: config.digest() for name, config in CONFIGS.items()} == {
        "16x16x2": "93568ebe81944820", "16x16x1": "3b9359f1be4b6042", "16x8x2": "1bb5d7d7a2f3799c",
        "8x8x2": "ed223a9bcaf0e31e", "8x8x2-onchip": "ed223a9bcaf0e31e", "tiny": "c9f2589929b471b5",
        "tiny-1px": "6990b28aa8078588", "tiny-sdram": "9208fadd57db2226"}


def test_names_are_shapes():
    for name, config in CONFIGS.items():
        if not name.startswith("tiny"):
            assert name.split("-")[0] == f"{config.rows}x{config.channels}x{config.pixels_per_cycle}"
    assert CONFIGS[DEFAULT.name] is DEFAULT


def test_headers():
    header = R16C16P2.header()
    assert AccelConfig.of_header(header) == R16C16P2
    with pytest.raises(TypeError, match="wings"):
        AccelConfig.of_header(header | {"wings": 2})


def test_core_clocks_are_exact_and_of_configurations():
    assert set(CORE_CLOCKS) <= set(CONFIGS)
    assert all(type(clock) is Fraction for clock in CORE_CLOCKS.values())
    assert CORE_CLOCKS[DEFAULT.name] == Fraction(125_000_000)


def test_an_sdram_runs_at_the_clock_of_its_core():
    assert all(config.sdram_hz in (None, CORE_CLOCKS[config.name]) for config in CONFIGS.values()
               if config.name in CORE_CLOCKS)


def test_macs_per_cycle():
    assert {name: config.macs_per_cycle for name, config in CONFIGS.items()} == {
        "16x16x2": 512, "16x16x1": 256, "16x8x2": 256, "8x8x2": 128, "8x8x2-onchip": 128,
        "tiny": 32, "tiny-1px": 16, "tiny-sdram": 32}
