"""Pictures of training, quantizers and results: each function returns a matplotlib Figure, `save` writes it.

The colours are those of Okabe and Ito, which colour-blind readers can tell apart.
"""
import io
import math
import os
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .errors import UserError

__all__ = ["curves", "weights", "accumulators", "figure1", "bits", "save", "refuse_unwritable"]

INK, GREY, PALE = "#222222", "#777777", "#d9d9d9"
BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9"
COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, INK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 8,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GREY,
    "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.linewidth": 0.7, "grid.color": PALE, "grid.linewidth": 0.6, "lines.linewidth": 1.4, "legend.frameon": False,
    "figure.dpi": 140, "savefig.dpi": 140, "svg.hashsalt": "uniqore",
}
HISTOGRAM = {"density": True, "histtype": "stepfilled", "color": SKY, "alpha": 0.6}
FORMATS = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}       # metadata that would change


def styled():
    return matplotlib.rc_context(STYLE)


def new_figure(width, height, title):
    """A Figure of that many inches, drawn without a display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.05)
    return figure


def refuse_unwritable(path):
    """Refuses, before anything is computed, a path that `save` could not write."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: a picture is a .png or .svg")
    if not path.parent.is_dir() or path.is_dir():
        raise UserError(f"{path}: not a file in an existing folder")


@styled()
def save(figure, path):
    """Writes .png or .svg; the same picture is the same bytes. path ends up as it was or as the complete new file."""
    suffix = Path(path).suffix.lower()
    picture = io.BytesIO()
    figure.savefig(picture, format=suffix[1:], metadata=FORMATS[suffix])
    temporary = Path(f"{path}.tmp")
    try:
        temporary.write_bytes(picture.getvalue())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


# Parts

def pairs(figure, count, columns):
    """`count` pairs of axes in a grid, row by row: a picture above, a strip with the shares of its codes below."""
    rows = math.ceil(count / columns)
    grid = figure.add_gridspec(rows, columns)
    for index in range(count):
        upper, lower = grid[divmod(index, columns)].subgridspec(2, 1, height_ratios=(2, 1))
        yield figure.add_subplot(upper), figure.add_subplot(lower)


def bell(axes, mu, sigma, low, high, **style):
    """The density of N(mu, sigma) from low to high."""
    x = np.linspace(low, high, 400)
    y = np.exp(-0.5 * ((x - mu) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    return axes.plot(x, y, **style)[0]


def share_bars(axes, positions, shares, expected):
    """Bars in per cent and what is expected of each, `expected` (a number or one a bar)."""
    step = np.diff(positions).min()
    width = 0.8 * step if len(shares) <= 32 else step
    axes.bar(positions, 100 * shares, width=width, color=BLUE, linewidth=0)
    if np.ndim(expected):
        axes.hlines(100 * expected, positions - width / 2, positions + width / 2, color=INK, linewidth=1.2)
    else:
        axes.axhline(100 * expected, color=INK, linewidth=0.8, linestyle="--")
    axes.set_ylim(0, 108 * max(shares.max(), np.max(expected)))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def columns_for(count):
    """Three or four columns, whichever leaves fewer gaps; fewer panels are one row."""
    return count if count < 5 else min((4, 3), key=lambda columns: -count % columns)


def without_density_ticks(axes):
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def span(values, edges):
    """(low, high) that show nearly all values and all edges."""
    low, high = np.quantile(values, (0.0005, 0.9995))
    low, high = min([low, *edges]), max([high, *edges])
    return low - 0.04 * (high - low), high + 0.04 * (high - low)


def shown(edges, low, high):
    return edges[(edges > low) & (edges < high)]


def label_bins(axes, edges, names, size, inches):
    """The name of each bin above it where it fits in axes that wide; the outer bins end with the axes."""
    low, high = axes.get_xlim()
    ends = np.clip([low, *edges, high], low, high)
    character = 0.75 * size / 72 * (high - low) / inches
    for left, right, name in zip(ends[:-1], ends[1:], names, strict=True):
        if right - left > character * len(str(name)):
            axes.text((left + right) / 2, 1.01, name, transform=axes.get_xaxis_transform(), ha="center", va="bottom",
                      fontsize=size, color=GREY)


# Training

@styled()
def curves(logs):
    """Loss and accuracy by epoch of results.Logs; a dashed line where the float parent ended."""
    figure = new_figure(8.4, 3.6 + 0.2 * len(logs), logs[0].title if len(logs) == 1 else "Training")
    left, right = figure.subplots(1, 2)
    lines = []
    for at, log in enumerate(logs):
        colour = COLOURS[at % len(COLOURS)]
        style = {"color": colour, "marker": "o" if len(log.epochs) == 1 else None}
        left.plot(log.epochs, log.losses, **style)
        lines += right.plot(log.epochs, [100 * accuracy for accuracy in log.accuracies], **style,
                            label=f"{log.title}: {100 * log.accuracies[-1]:.2f} % after epoch {log.epochs[-1]}")
        if log.float_accuracy is not None:
            right.axhline(100 * log.float_accuracy, color=colour, linestyle=(at, (4, 3)), linewidth=1)
    if any(log.float_accuracy is not None for log in logs):
        lines.append(Line2D([], [], color=GREY, linestyle=(0, (4, 3)), linewidth=1, label="float parent"))
    left.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    right.set(xlabel="epoch", ylabel="accuracy on the test set (%)")
    for axes in left, right:
        axes.grid(True)
        axes.set_xlim(0, None)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(handles=lines, loc="outside lower center", ncols=1 if len(lines) > 2 else 2)
    return figure


# Weights

@styled()
def weights(name, bins):
    """Bins of a net, one panel a convolution: master weights between the bin edges where they are known, and shares."""
    large = len(bins) <= 2
    columns = columns_for(len(bins))
    rows = math.ceil(len(bins) / columns)
    if bins[0].values is None:
        return weight_shares(name, bins, rows, columns, large)
    size = (max(6.0, 5.0 * columns), 4.6) if large else (2.9 * columns, 2.5 * rows + 0.5)
    figure = new_figure(*size, f"{name}: weights as their quantizer sees them, and its bins")
    for at, (one, (upper, lower)) in enumerate(zip(bins, pairs(figure, len(bins), columns), strict=True)):
        values = one.values.ravel()
        low, high = span(values, one.edges[np.isfinite(one.edges)])
        upper.hist(values, bins=100 if large else 50, range=(low, high), **HISTOGRAM)
        bell(upper, values.mean(), values.std(), low, high, color=INK, linewidth=1, linestyle="--")
        for edge in shown(one.edges, low, high):
            upper.axvline(edge, color=VERMILLION, linewidth=0.9 if large else 0.7)
        upper.set_xlim(low, high)
        without_density_ticks(upper)
        upper.set_title(one.title, pad=16 if large else None)
        if large:
            label_bins(upper, one.edges, one.levels, 7, 4.5)
        share_bars(lower, one.levels, one.shares, 1 / len(one.levels))
        if large or at >= len(bins) - columns:
            lower.set_xlabel("integer level")
        if large:
            upper.set_xlabel("normalized weight")
        if large or at % columns == 0:
            lower.set_ylabel("share (%)")
    handles = [Line2D([], [], color=SKY, alpha=0.6, linewidth=6, label="weights"),
               Line2D([], [], color=INK, linewidth=1, linestyle="--", label="normal distribution; equal shares"),
               Line2D([], [], color=VERMILLION, linewidth=1, label="bin edges"),
               Line2D([], [], color=BLUE, linewidth=6, label="share of each code")]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def weight_shares(name, bins, rows, columns, large):
    size = (max(6.0, 4.5 * columns), 3.4) if large else (2.6 * columns, 1.7 * rows + 0.5)
    figure = new_figure(*size, f"{name}: share of each weight code")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for at, (one, axes) in enumerate(zip(bins, panels, strict=False)):
        share_bars(axes, one.levels, one.shares, 1 / len(one.levels))
        axes.set_title(one.title)
        if large or at >= len(bins) - columns:
            axes.set_xlabel("integer level")
        if large or at % columns == 0:
            axes.set_ylabel("share (%)")
    for axes in panels[len(bins):]:
        axes.remove()
    handles = [Line2D([], [], color=INK, linewidth=0.8, linestyle="--", label="equal shares")]
    figure.legend(handles=handles, loc="outside lower center")
    return figure


# Accumulators

def whole_bins(low, high, count):
    """Edges of about `count` histogram bins that each hold the same number of integers."""
    width = max(1, round((high - low) / count))
    return np.arange(math.floor(low), math.ceil(high) + width + 1, width) - 0.5


def accumulator_panel(upper, lower, one, expected, large):
    reached = (one.thresholds >= one.values.min()) & (one.thresholds <= one.values.max())
    low, high = span(one.values, one.thresholds[reached])
    upper.hist(one.values, bins=whole_bins(low, high, 120 if large else 50), **HISTOGRAM)
    bell(upper, one.mu, one.sigma, low, high, color=INK, linewidth=1)
    top = upper.get_ylim()[1]
    upper.vlines(shown(one.thresholds, low, high), 0, top, color=VERMILLION, linewidth=1.1 if large else 0.7)
    upper.vlines(shown(one.rule, low, high), 0, 0.55 * top, color=INK, linewidth=0.9 if large else 0.6, linestyle=":")
    upper.set(xlim=(low, high), ylim=(0, top))
    upper.xaxis.set_major_locator(MaxNLocator(8 if large else 4, integer=True))
    without_density_ticks(upper)
    share_bars(lower, np.arange(len(one.shares)), one.shares, expected)
    top = 1.25 * max(one.shares[1:].max(), expected[1:].max())
    if one.shares[0] > top:                         # half of a channel may be zeros; the other codes are the picture
        lower.set_ylim(0, 100 * top)
        lower.text(0.55, 97 * top, f"{100 * one.shares[0]:.1f} %", va="top", fontsize=8 if large else 7)


def accumulator_legend(figure, columns):
    figure.legend(loc="outside lower center", ncols=columns, handles=[
        Line2D([], [], color=SKY, alpha=0.6, linewidth=6, label="accumulators"),
        Line2D([], [], color=INK, linewidth=1, label=r"normal distribution of their $\mu$, $\sigma$"),
        Line2D([], [], color=VERMILLION, linewidth=1.1, label="the net's thresholds"),
        Line2D([], [], color=INK, linewidth=1, linestyle=":", label="thresholds of the paper's rule"),
        Line2D([], [], color=BLUE, linewidth=6, label="share of each code"),
        Line2D([], [], color=INK, linewidth=1.2, label="its share under the rule, if all were normal")])


def rule_shares(one):
    """What the paper's rule is made for: F0 for code 0, equal slices of the rest, two of them in the last code."""
    slices = 2 ** math.ceil(math.log2(len(one.shares)))
    below = 0.5 * math.erfc((one.mu - one.rule[0]) / (one.sigma * math.sqrt(2)))
    rest = np.full(len(one.shares) - 1, (1 - below) / slices)
    rest[-1] *= 2
    return np.concatenate([[below], rest])


@styled()
def accumulators(channels):
    """Channels of a net, one large or several small: accumulators, thresholds and those of the paper, shares."""
    large = len(channels) == 1
    first = channels[0]
    if large:
        figure = new_figure(7.6, 5.0, f"{first.net}: layer {first.layer}, channel {first.channel}")
        (upper, lower), = pairs(figure, 1, 1)
        accumulator_panel(upper, lower, first, rule_shares(first), large)
        label_bins(upper, first.thresholds, range(len(first.shares)), 7.5, 7.0)
        upper.set_xlabel(rf"integer accumulator ($\mu = {first.mu:.0f}$, $\sigma = {first.sigma:.0f}$, "
                         f"{len(first.values):,} values)")
        lower.set(xlabel="code", ylabel="share (%)")
        accumulator_legend(figure, 2)
        return figure
    columns = columns_for(len(channels))
    rows = math.ceil(len(channels) / columns)
    figure = new_figure(2.9 * columns, 2.4 * rows + 0.8, f"{first.net}: accumulators and thresholds, one channel a layer")
    for at, (one, (upper, lower)) in enumerate(zip(channels, pairs(figure, len(channels), columns), strict=True)):
        accumulator_panel(upper, lower, one, rule_shares(one), large)
        upper.set_title(f"{one.layer}, channel {one.channel}")
        if at >= len(channels) - columns:
            lower.set_xlabel("code")
        if at % columns == 0:
            lower.set_ylabel("share (%)")
    accumulator_legend(figure, 2 if columns < 4 else 3)
    return figure


@styled()
def figure1(thresholds, boundary, mu=900.0, sigma=900.0):
    """The paper's Figure 1 from its thresholds (2**bits - 1,) and the boundary that has no comparator."""
    codes = len(thresholds) + 1
    figure = new_figure(7.0, 3.6, rf"Figure 1 of arXiv 1811.10869: $\mu = \sigma = {mu:.0f}$, {codes.bit_length() - 1} bits")
    axes = figure.subplots()
    low, high = mu - 3 * sigma, mu + 3 * sigma
    edges = np.array([*thresholds, boundary]).round() + 0.0                 # no -0
    ends = np.array([low, *edges, high])
    above = [0.5 * math.erfc((end - mu) / (sigma * math.sqrt(2))) for end in (-math.inf, *edges, math.inf)]
    for at, (left, right) in enumerate(zip(ends[:-1], ends[1:], strict=True)):
        x = np.linspace(left, right, 100)
        y = np.exp(-0.5 * ((x - mu) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
        axes.fill_between(x, y, color=PALE if at == 0 else SKY, alpha=(0.7, 0.35)[at % 2], linewidth=0)
        axes.text(min((left + right) / 2, edges[-1] + 0.25 * sigma) if at else -0.35 * sigma, 0.04 / sigma,
                  f"{100 * (above[at] - above[at + 1]):.1f} %", rotation=90, ha="center", fontsize=7.5)
    bell(axes, mu, sigma, low, high, color=INK, linewidth=1.2)
    top = 1.08 * axes.get_ylim()[1]
    axes.vlines(thresholds, 0, top, color=VERMILLION, linewidth=1.1)
    axes.vlines([boundary], 0, np.exp(-0.5 * ((boundary - mu) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi)),
                color=GREY, linewidth=1, linestyle=":")
    axes.set(xlim=(low, high), ylim=(0, top), xlabel="accumulator")
    axes.set_xticks(edges, [f"{edge:.0f}" for edge in edges], rotation=45)
    without_density_ticks(axes)
    label_bins(axes, thresholds, [f"code {code}" if code in (0, codes - 1) else code for code in range(codes)], 8, 6.5)
    return figure


# Results

@styled()
def bits(lines):
    """Accuracy against bits of results.Lines, one panel a data set and architecture, the y axis shared in a data set."""
    panels = list(dict.fromkeys((line.dataset, line.arch) for line in lines))
    quantizers = sorted({line.quantizer for line in lines})
    looks = {name: {"color": COLOURS[at % len(COLOURS)], "marker": MARKERS[at % len(MARKERS)]}
             for at, name in enumerate(quantizers)}
    widths = sorted({width for line in lines for width, _ in line.points})
    columns = columns_for(len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(max(4.2, 2.7 * columns), 3.1 * rows + 0.5, "Accuracy against bits")
    first = {}                                                          # axes of each data set
    for at, (dataset, arch) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, at + 1, sharey=first.get(dataset))
        first.setdefault(dataset, axes)
        for line in lines:
            if (line.dataset, line.arch) == (dataset, arch):
                axes.plot([widths.index(width) for width, _ in line.points], [100 * share for _, share in line.points],
                          markersize=6, markeredgecolor="white", markeredgewidth=0.6, **looks[line.quantizer])
        for parent in sorted({parent for line in lines if (line.dataset, line.arch) == (dataset, arch)
                              for parent in line.parents}):
            axes.axhline(100 * parent, color=GREY, linestyle="--", linewidth=0.9)
            axes.annotate(f"float {100 * parent:.2f} %", (0.02, 100 * parent), (0, 2), color=GREY, fontsize=7,
                          xycoords=axes.get_yaxis_transform(), textcoords="offset points")
        axes.set(title=f"{arch}, {dataset}", xlim=(-0.5, len(widths) - 0.5))
        axes.set_xticks(range(len(widths)), [str(w) if w == a else f"{w} / {a}" for w, a in widths])
        axes.grid(True, axis="y")
        axes.margins(y=0.12)
        if at >= len(panels) - columns:
            axes.set_xlabel("bits (weights / activations)" if any(w != a for w, a in widths) else "bits")
        if at % columns == 0:
            axes.set_ylabel("test accuracy (%)")
    handles = [Line2D([], [], label=name, **look) for name, look in looks.items()]
    handles.append(Line2D([], [], color=GREY, linestyle="--", linewidth=0.9, label="float parent"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 2 * columns))
    return figure
