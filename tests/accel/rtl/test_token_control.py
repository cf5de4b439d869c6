# amaranth: UnusedElaboratable=no
"""Where a token's accumulators and codes are: whole passes with gaps between tokens, against their geometry."""
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
    for height, width, base in ((3, 5, 10), (1, 1, 0), (1, 7, rows - 2), (4, 2, 100), (2, 8, 33), (5, 1, 7)):
        groups, pitch, part = -(-width // m), -(-width // config.banks) + int(rng.integers(2)), 0
        tile = {"base": base, "pitch": pitch, "width": width, "height": height, "groups": groups, "part": part}
        flags = {name: int(rng.integers(2)) for name in ("clear", "maximum")}
        shift = int(rng.integers(1 << isa.SHIFT_BITS))
        instruction = {**flags, "final": final, "logits": logits, "shift": shift}
        for y, g in np.ndindex(height, groups):
            while (y, g) != (0, 0) and rng.random() < 0.3:
                inputs.append((instruction, tile, {"valid": 0, "first": 0, "row_end": int(rng.integers(2))}))
                expected.append(None)
            first = (y, g) == (0, 0)
            inputs.append((instruction, tile, {"valid": 1, "first": first, "row_end": g == groups - 1}))
            inside = sum((m * g + j < width) << j for j in range(m))
            expected.append([1, first, y * groups + g, flags["clear"], final, flags["maximum"], logits, shift, inside,
                             final and not logits, (base + y * pitch + g // 2) % rows, g % 2, part])

    def stimulus(ctx, cycle):
        instruction, tile, token = inputs[cycle]
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
