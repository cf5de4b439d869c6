"""What all pictures share: a figure without a display, one look, and files that are the same bytes every time.

The colours are those of Okabe and Ito, which colour-blind readers can tell apart.
"""
import io
import warnings
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from model.common import files
from model.common.errors import UserError

__all__ = ["INK", "GREY", "PALE", "SKY", "BLUE", "VERMILLION", "COLOURS", "MARKERS", "styled", "new_figure",
           "encoded", "refuse_unwritable", "save"]

INK, GREY, PALE = "#222222", "#777777", "#d9d9d9"
BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9"
COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, INK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DPI = 160
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 8,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GREY,
    "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.axisbelow": True, "axes.linewidth": 0.7, "grid.color": PALE, "grid.linewidth": 0.6, "lines.linewidth": 1.4,
    "legend.frameon": False, "figure.dpi": DPI, "svg.hashsalt": "uniqore",
}


def styled():
    """Decorator of functions that draw or write: matplotlib's settings are ours in it and the caller's outside."""
    return matplotlib.rc_context(STYLE)


def new_figure(width, height, title):
    """An empty Figure of that many inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.05, wspace=0.03)
    return figure


def refuse_unwritable(path):
    """Refuses, before anything is computed, a path that `save` could not write."""
    path = Path(path)
    if path.suffix not in (".png", ".svg"):
        raise UserError(f"{path}: a picture is a .png or .svg")
    files.refuse_unwritable(path)


@styled()
def encoded(figure, suffix):
    """The file, ".png" or ".svg", as bytes, without date and version; .png in 256 colours, a third of the bytes."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")     # of a class's name, say: a box is drawn
        if suffix == ".svg":
            figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
            return file.getvalue()
        figure.canvas.draw()
    pixels = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    palette = pixels.quantize(method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    palette.save(file, format="PNG", dpi=(DPI, DPI), optimize=True)
    return file.getvalue()


def save(figure, path):
    """Writes the .png or .svg; path ends up as it was or as the complete new file."""
    picture = encoded(figure, Path(path).suffix)
    with files.replacing(path) as file:
        file.write(picture)
