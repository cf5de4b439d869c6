"""Layer-by-layer compare of what an engine wrote with what the golden model says."""
from dataclasses import dataclass

import numpy as np

__all__ = ["Mismatch", "first_mismatch"]


@dataclass(frozen=True)
class Mismatch:
    """The first code that differs. Where the tensor itself is missing or of another shape, channel, y and x are None,
    and expected and got say what the tensors are."""
    layer: str
    channel: int | None = None
    y: int | None = None
    x: int | None = None
    expected: object = None
    got: object = None

    def __str__(self):
        if self.channel is None:
            return f"layer {self.layer}: expected a tensor of {self.expected}, got {self.got}"
        return (f"layer {self.layer}, channel {self.channel}, y {self.y}, x {self.x}: "
                f"expected {self.expected}, got {self.got}")


def first_mismatch(expected, got):
    """First `Mismatch` between two dicts layer name -> codes uint8 (C, H, W), in the order of `expected`; None where
    all of `expected` is in `got`, bit for bit."""
    for layer, codes in expected.items():
        if layer not in got:
            return Mismatch(layer, expected=codes.shape, got="nothing")
        if got[layer].shape != codes.shape:
            return Mismatch(layer, expected=codes.shape, got=got[layer].shape)
        different = np.argwhere(got[layer] != codes)
        if len(different):
            channel, y, x = (int(i) for i in different[0])
            return Mismatch(layer, channel, y, x, int(codes[channel, y, x]), int(got[layer][channel, y, x]))
    return None
