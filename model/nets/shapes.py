"""The one definition of how large what a layer gives is."""

__all__ = ["convolved", "pooled"]


def convolved(side, kernel, stride, padding):
    """Pixels of a convolution's output along a side of its input: where the kernel fits, `stride` pixels apart, with
    `padding` zeros at either end."""
    return (side + 2 * padding - kernel) // stride + 1


def pooled(side):
    """Pixels of a 2x2 max-pool's output along a side of its input; an odd last pixel is left out."""
    return side // 2
