"""What the device says of itself, from what is in it."""
from accel import link

__all__ = ["info_fields"]

PIXEL_BYTES = 3


def info_fields(config, image, *, clock_hz, baud):
    """Fields of `link.Info` of a device that has the net `image`."""
    net = link.net_fields(image)
    return link.info_of(config, clock_hz=clock_hz, baud=baud) | {
        "net": net["net"], "n_logits": net["n_logits"], "pixel_bytes": PIXEL_BYTES * net["pixels"], "loaded": 1,
        "batch": net["batch"], "window": net["batch"] + 1}
