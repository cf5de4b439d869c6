"""Feature maps: the channels of a layer's codes, side by side."""
import math

import numpy as np
from matplotlib import colormaps

from .canvas import new_figure, styled

__all__ = ["feature_maps", "mosaic"]

LARGE = 32              # with so many codes the scale does not name each


def columns_for(channels):
    """A power of two, so that the number of a channel is easily found: at least as many columns as rows."""
    return 2 ** math.ceil(math.log2(channels) / 2)


def mosaic(tensor, columns):
    """Channels (C, H, W) row by row in a grid of that many columns, one empty pixel between neighbours.

    float64 (rows * (H + 1) - 1, columns * (W + 1) - 1), NaN where nothing is.
    """
    channels, height, width = tensor.shape
    rows = -(-channels // columns)
    grid = np.full((rows, height + 1, columns, width + 1), np.nan)
    for channel, values in enumerate(tensor):
        row, column = divmod(channel, columns)
        grid[row, :height, column, :width] = values
    return grid.reshape(rows * (height + 1), columns * (width + 1))[:-1, :-1]


@styled()
def feature_maps(layer, codes, largest, picture):
    """codes: uint8 (C, H, W) of that layer, each 0 .. largest. picture: uint8 (1 or 3, H, W), which they are of."""
    channels, height, width = codes.shape
    columns = columns_for(channels)
    grid = mosaic(codes, columns)
    figure = new_figure(8.4, 1.1 + 5.4 * min(1.6, max(0.25, grid.shape[0] / grid.shape[1])), "")
    figure.suptitle(f"{layer}: {channels} channels of {height} x {width}, codes 0 to {largest}", fontsize=11,
                    parse_math=False)
    left, right = figure.subplots(1, 2, width_ratios=(1, 4.2))
    left.imshow(picture.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    left.set(title="picture", xticks=[], yticks=[])
    few = largest < LARGE
    drawn = right.imshow(grid, cmap=colormaps["viridis"].resampled(largest + 1 if few else 256), vmin=-0.5,
                         vmax=largest + 0.5, interpolation="nearest")
    right.set(xlabel="channel, counted from its row's first", ylabel="first channel of the row")
    right.set_xticks(np.arange(columns) * (width + 1) + (width - 1) / 2, [f"+{k}" for k in range(columns)])
    rows = -(-channels // columns)
    right.set_yticks(np.arange(rows) * (height + 1) + (height - 1) / 2, [str(k * columns) for k in range(rows)])
    right.tick_params(length=0)
    right.spines[:].set_visible(False)
    figure.colorbar(drawn, ax=right, label="code", ticks=range(largest + 1) if few else None, shrink=0.8)
    return figure
