"""A folder with the feature maps of one picture, a .png for each layer, and a page that shows them in order."""
import os
import re
from pathlib import Path

from model.common.errors import UserError
from model.common.extras import with_extra
from model.common.files import replacing, write_text
from model.integer.net import tensor_bounds

from .pages import bars, embedded, png_of, rendered

__all__ = ["refuse_folder", "write_feature_maps"]

INDEX = "index.html"
NAME = 40                   # characters of a layer's name in the name of its file


def refuse_folder(folder):
    """Refuses, before anything is computed, a folder in which `write_feature_maps` could not write; it may be missing
    where its parent is there."""
    folder = Path(folder)
    where = folder if folder.exists() else folder.absolute().parent
    if not where.is_dir():
        raise UserError(f"--plot {folder}: not a folder, nor one that can be made in an existing folder")
    if not os.access(where, os.W_OK):
        raise UserError(f"--plot {folder}: no permission to write there")
    with_extra("train", "model.plots.features")


def write_feature_maps(folder, net, picture, codes, *, title, place, class_name, logits, label):
    """Writes 01-LAYER.png, 02-..., and index.html with all of them in it; each whole or not at all.

    picture: uint8 (1 or 3, H, W). codes: {layer: uint8 (C, H, W)}, in order, read from the accelerator's trace. title:
    of the picture. place: what computed it. class_name: of a class's index. logits: of the picture; label: index of
    its class, or None.
    """
    features, canvas = with_extra("train", "model.plots.features"), with_extra("train", "model.plots.canvas")
    folder = Path(folder)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror}") from error
    layers, bounds = [], tensor_bounds(net)
    for number, (name, tensor) in enumerate(codes.items(), 1):
        file = f"{number:02}-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)[:NAME]}.png"
        png = canvas.encoded(features.feature_maps(name, tensor, bounds[name], picture), ".png")
        with replacing(folder / file) as opened:
            opened.write(png)
        layers.append({"name": name, "png": embedded(png, "png")})
    prediction = max(range(len(logits)), key=logits.__getitem__)
    write_text(folder / INDEX, rendered(
        "feature_maps.html", title=f"{net.name}: feature maps of {title}", place=place, layers=layers,
        png=embedded(png_of(picture), "png"), prediction=class_name(prediction),
        label=None if label is None else class_name(label), bars=bars(logits, class_name, label=label)))
