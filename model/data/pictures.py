"""Picture files as pictures of a net."""
import numpy as np

from model.common.errors import UserError

from .cifar import SIDE

__all__ = ["load_pictures"]


def load_pictures(paths):
    """Picture files of any size as uint8 (N, 3, 32, 32): the middle square, resampled."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    pictures = []
    for path in paths:
        try:
            with Image.open(path) as image:
                rgb = ImageOps.exif_transpose(image).convert("RGB")
        except UnidentifiedImageError:
            raise UserError(f"{path}: not a picture file") from None
        except Exception as error:              # whatever Pillow makes of a damaged file
            raise UserError(f"{path}: {getattr(error, 'strerror', None) or error or 'damaged'}") from None
        if rgb.size != (SIDE, SIDE):
            rgb = ImageOps.fit(rgb, (SIDE, SIDE), Image.Resampling.LANCZOS)
        pictures.append(np.asarray(rgb).transpose(2, 0, 1))
    return np.stack(pictures) if pictures else np.empty((0, 3, SIDE, SIDE), np.uint8)
