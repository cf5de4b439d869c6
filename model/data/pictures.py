"""Picture files as pictures of a net."""
import warnings

import numpy as np

from model.common.errors import UserError
from model.common.nearest import similar_file

__all__ = ["is_picture", "load_pictures"]

MODES = {1: "L", 3: "RGB"}              # Pillow's, by the channels of a net
SIXTEEN_BITS = ("PNG", "PPM")           # formats that Pillow may give as mode I, with 0 .. 65535 in it
WHITE = (255, 255, 255, 255)


def is_picture(path):
    """Whether Pillow knows the beginning of that file. Not a file: False."""
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path):
            return True
    except Exception:                           # whatever Pillow makes of a foreign file
        return False


def load_pictures(paths, shape):
    """Picture files of any size as uint8 (N, C, H, W), (C, H, W) being `shape`, that of a net's pictures: of each the
    middle that has the proportions of W x H, resampled; grey where C is 1. A file of several frames gives the first.

    Pixels of 16 bits are scaled to 8. What is transparent is put on white. UserError for what is no picture, for pixels
    whose range the file does not say (32-bit integers and floats), for more pixels than Pillow decodes, and for
    another C than 1 and 3.
    """
    channels, height, width = shape
    if channels not in MODES:
        raise UserError(f"picture files give 1 or 3 channels, the net takes {channels}")
    pictures = [_fitted(_opaque(path), MODES[channels], (width, height)) for path in paths]
    return np.stack(pictures) if pictures else np.empty((0, *shape), np.uint8)


def _opaque(path):
    """The picture of that file, upright, in a mode of 8 bits without transparency."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        # of Pillow's warnings none is for the user: a palette's transparency, more pixels than is usual, broken EXIF
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            upright = _eight_bits(ImageOps.exif_transpose(image), image.format)
            if upright.has_transparency_data:
                upright = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", upright.size, WHITE), upright)
            return upright.convert("L" if upright.mode == "L" else "RGB")
    except UnidentifiedImageError:
        raise UserError(f"{path}: not a picture file") from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file{similar_file(path)}") from None
    except Image.DecompressionBombError:
        raise UserError(f"{path}: more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels; make it smaller first") from None
    except _UnknownRange as error:
        raise UserError(f"{path}: its pixels are {error}, and the file does not say what white is; save it with 8 bits "
                        "a colour") from None
    except Exception as error:              # whatever Pillow makes of a damaged file
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error or 'damaged'}") from None


class _UnknownRange(Exception):
    """What the pixels are."""


def _eight_bits(image, form):
    """An image of Pillow's modes I;16, I and F, which `convert` would clip to 0 .. 255, in mode L; others as they are.
    form: the format of its file."""
    from PIL import Image

    if image.mode == "F" or image.mode == "I" and form not in SIXTEEN_BITS:
        raise _UnknownRange({"F": "32-bit floats (mode F)", "I": "32-bit integers (mode I)"}[image.mode])
    if not image.mode.startswith("I"):
        clear = image.info.get("transparency")
        if image.mode == "RGB" and clear and max(clear) > 255:      # of a PNG of 16 bits, whose upper bytes are here
            image.info["transparency"] = tuple(sample >> 8 for sample in clear)
        return image
    values = np.asarray(image).astype(np.int64)
    grey = ((values + 128) // 257).astype(np.uint8)
    if "transparency" in image.info:                    # of 16 bits, too
        grey[values == image.info["transparency"]] = WHITE[0]
    return Image.fromarray(grey)


def _fitted(image, mode, size):
    """uint8 (C, H, W) of an image, size (W, H)."""
    from PIL import Image, ImageOps

    image = image.convert(mode)
    if image.size != size:
        image = ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
