"""Where each tensor lives in the activation memory."""
from dataclasses import dataclass

from model.errors import UserError

__all__ = ["DoesNotFit", "Tensor", "allocate"]


class DoesNotFit(UserError):
    """A net that this accelerator cannot run: which layer, what of it, how much it needs, how much there is."""

    def __init__(self, layer, what, need, limit):
        super().__init__(f"layer {layer}: {what}: needs {need}, the limit is {limit}")
        self.layer, self.what, self.need, self.limit = layer, what, need, limit


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """Codes (C, H, W) at bank row `base`; the image's base counts from the current image buffer.

    pitch: bank rows per picture row. largest: the largest code.
    """
    name: str
    shape: tuple
    pitch: int
    largest: int
    base: int = 0

    def plane(self):
        """Bank rows of one channel tile (of one digit plane of the image)."""
        return self.shape[1] * self.pitch


def allocate(sizes, readers, start, depth):
    """First bank row of each tensor: {name: base}.

    sizes: {name: bank rows} in the order in which the layers write them. readers: {name: index of the last layer that
    reads it}. A tensor's rows are free again once that layer is done, so a layer never writes over what it reads.
    """
    bases = {}
    for index, (name, size) in enumerate(sizes.items()):
        live = sorted((bases[n], bases[n] + sizes[n]) for n in bases if readers[n] >= index)
        base = start
        for low, high in live:
            if base + size <= low:
                break
            base = max(base, high)
        if base + size > depth:
            raise DoesNotFit(name, "bank rows of activation memory", base + size, depth)
        bases[name] = base
    return bases
