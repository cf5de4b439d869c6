# amaranth: UnusedElaboratable=no
"""Where a token's accumulators and codes are: whole passes over one picture and several, with gaps between tokens,
against their geometry."""
import numpy as np
import pytest

from accel import isa
from accel.config import TINY, TINY_1PX
from accel.rtl.activation.token_control import TokenControl
from tests.accel.simulate import run_cycles


@pytest.mark.parametrize("config", [TINY, TINY_1PX], ids=lambda config: config.name)
@pytest.mark.parametrize("final, logits", [(0, 0), (1, 0), (1, 1), (0, 1)])
def test_tokens_of_passes_one_after_the_other(config, final, logits):
    rng = np.random.default_rng(2 * final + logits)
    m, rows = config.pixels_per_cycle, config.activation_depth
    dut, inputs, expected = TokenControl(config), [], []
    for height, width, base, pictures, apart in (
            (3, 5, 10, 1, 0), (1, 1, 0, 1, 0), (1, 7, rows - 2, 1, 0), (4, 2, 100, 1, 0), (2, 8, 33, 1, 0),
            (5, 1, 7, 1, 0), (3, 5, 10, 2, 9), (1, 1, 3, 5, 1), (2, 3, 5, 3, -4), (1, 7, rows - 2, 4, 2),
            (2, 2, 9, 2, 700), (1, 3, 9, 1, 50), (1, 2, 1, 3, 0)):
        groups, pitch, part = -(-width // m), -(-width // config.banks) + int(rng.integers(2)), 0
        tile = {"base": base, "pitch": pitch, "width": width, "height": height, "groups": groups, "part": part}
        flags = {name: int(rng.integers(2)) for name in ("clear", "maximum")}
        shift = int(rng.integers(1 << isa.SHIFT_BITS))
        instruction = {**flags, "final": final, "logits": logits, "shift": shift}
        for k, y, g in np.ndindex(pictures, height, groups):
            while (k, y, g) != (0, 0, 0) and rng.random() < 0.3:
                idle = {"valid": 0, "first": 0, "row_end": int(rng.integers(2)), "map_end": int(rng.integers(2))}
                inputs.append((instruction, tile, apart, idle))
                expected.append(None)
            first, row_end = (k, y, g) == (0, 0, 0), g == groups - 1
            inputs.append((instruction, tile, apart, {
                "valid": 1, "first": first, "row_end": row_end, "map_end": row_end and y == height - 1}))
            inside = sum((m * g + j < width) << j for j in range(m))
            expected.append([1, first, (k * height + y) * groups + g, flags["clear"], final,
                             flags["maximum"], logits, shift, inside,
                             final and not logits, (base + k * apart + y * pitch + g // 2) % rows, g % 2, part])

    def stimulus(ctx, cycle):
        instruction, tile, apart, token = inputs[cycle]
        ctx.set(dut.apart, apart % (1 << isa.ROW_BITS))
        ctx.set(dut.instruction, instruction)
        ctx.set(dut.tile, tile)
        ctx.set(dut.token, token)

    def sample(ctx, cycle):
        control, place = ctx.get(dut.control), ctx.get(dut.code_place)
        return [*(getattr(control, name) for name in ("valid", "first", "index", "clear", "final", "maximum", "logits",
                                                      "shift", "inside")),
                ctx.get(dut.code_valid), place.row, place.half, place.part]

    seen = run_cycles(dut, stimulus, sample, len(inputs))
    for row, of_token in zip(seen, expected, strict=True):
        if of_token is None:
            assert not row[0] and not row[9]
        else:
            assert row.tolist() == of_token
