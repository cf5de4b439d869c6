"""Pictures of training, quantizers and results; each function takes numbers and returns a matplotlib Figure."""
import math

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .canvas import BLUE, COLOURS, GREY, INK, MARKERS, PALE, SKY, VERMILLION, new_figure, styled

__all__ = ["curves", "weights", "accumulators", "figure1", "bits", "confusion", "layer_cycles",
           "whole_bins"]

DASH = 3.5               # points; a parent that two neighbours share is dashed in both their colours
HISTOGRAM = {"density": True, "histtype": "stepfilled", "color": SKY, "alpha": 0.6}


# Parts

def sample(label, **style):
    """An entry of a legend."""
    return Line2D([], [], label=label, **style)


def columns_for(count):
    """Three or four columns, whichever leaves fewer gaps; fewer panels are one row."""
    return count if count < 5 else min((4, 3), key=lambda columns: -count % columns)


def outer_labels(panels, columns, xlabel, ylabel):
    """Labels of the outermost axes of a grid, row by row, alone."""
    for at, axes in enumerate(panels):
        if at >= len(panels) - columns:
            axes.set_xlabel(xlabel)
        if at % columns == 0:
            axes.set_ylabel(ylabel)


def pairs(figure, count, columns):
    """`count` pairs of axes in a grid, row by row: a picture above, a strip with the shares of its codes below."""
    rows = math.ceil(count / columns)
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=(2, 1) * rows)
    places = [divmod(at, columns) for at in range(count)]
    return [(figure.add_subplot(grid[2 * row, column]), figure.add_subplot(grid[2 * row + 1, column]))
            for row, column in places]


def density(x, mu, sigma):
    return np.exp(-0.5 * ((x - mu) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))


def bell(axes, mu, sigma, low, high, **style):
    x = np.linspace(low, high, 400)
    axes.plot(x, density(x, mu, sigma), color=INK, **style)


def span(values, edges):
    """(low, high) that show nearly all values and all edges."""
    low, high = np.quantile(values, (0.001, 0.999))
    low, high = min([low, *edges]), max([high, *edges])
    return low - 0.04 * (high - low), high + 0.04 * (high - low)


def whole_bins(low, high, count):
    """Edges of about `count` histogram bins from low to high, all with the same number of integers in them."""
    width = max(1, round((high - low) / count))
    return np.arange(math.floor(low), math.ceil(high) + 1 + width, width) - 0.5


def without_y(axes):
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def share_bars(axes, positions, shares, expected):
    """Bars in per cent and what is expected of each, `expected` (a number or one a bar)."""
    width = 0.8 * np.diff(np.unique(positions)).min(initial=np.ptp(positions) or 1)
    if len(shares) <= 32:
        axes.bar(positions, 100 * shares, width=width, color=BLUE, linewidth=0)
    else:
        axes.fill_between(positions, 100 * shares, step="mid", color=BLUE, linewidth=0)
    if np.ndim(expected):
        axes.hlines(100 * expected, positions - width / 2, positions + width / 2, color=INK, linewidth=1.2)
    else:
        axes.axhline(100 * expected, color=INK, linewidth=0.8, linestyle="--")
    axes.set_ylim(0, 108 * max(shares.max(), np.max(expected)))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def name_bins(axes, edges, names, inches, size=7.5):
    """The name of each bin above it, where it fits in axes that wide; none if one of the inner bins has no room."""
    low, high = axes.get_xlim()
    ends = np.clip([low, *edges, high], low, high)
    room = np.diff(ends) * inches * 72 / (high - low)                   # points
    fits = room > [0.7 * size * len(name) for name in names]
    inner = (ends[:-1] > low) & (ends[1:] < high)
    if fits[inner].all():
        for at in np.flatnonzero(fits):
            axes.text((ends[at] + ends[at + 1]) / 2, 1.01, names[at], transform=axes.get_xaxis_transform(),
                      ha="center", va="bottom", fontsize=size, color=GREY)


def code_names(count):
    return ["code 0", *map(str, range(1, count))]


# Training

@styled()
def curves(logs):
    """Loss and accuracy by epoch of results.Logs; a dashed line where the float parent ended."""
    figure = new_figure(8.4, 3.6 + 0.2 * len(logs), logs[0].title if len(logs) == 1 else "Training")
    left, right = figure.subplots(1, 2)
    lines = []
    for at, log in enumerate(logs):
        style = {"color": COLOURS[at % len(COLOURS)], "marker": "o" if len(log.epochs) == 1 else None}
        left.plot(log.epochs, log.losses, **style)
        lines += right.plot(log.epochs, [100 * accuracy for accuracy in log.accuracies], **style,
                            label=f"{log.title}: {100 * log.accuracies[-1]:.2f} % after epoch {log.epochs[-1]}")
        if log.float_accuracy is not None:
            right.axhline(100 * log.float_accuracy, color=style["color"], linewidth=1,
                          linestyle=(DASH * (at % 2), (DASH, DASH)))
    if any(log.float_accuracy is not None for log in logs):
        lines.append(sample("float parent", color=GREY, linewidth=1, linestyle=(0, (DASH, DASH))))
    left.set(ylabel="training loss", ylim=(0, None))
    right.set(ylabel="accuracy on the test set (%)")
    for axes in left, right:
        axes.grid(True)
        axes.set(xlabel="epoch", xlim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(handles=lines, loc="outside lower center", ncols=1 if len(lines) > 2 else 2)
    return figure


# Weights

@styled()
def weights(name, bins):
    """Bins of the net of that name, a panel a convolution: its weights between the bin edges, shares of the codes."""
    large = len(bins) <= 2
    columns = 1 if large else columns_for(len(bins))
    if bins[0].values is None:
        return weight_shares(name, bins, columns, large)
    rows = math.ceil(len(bins) / columns)
    size = (7.6, 4.0 * rows + 0.5) if large else (2.9 * columns, 2.5 * rows + 0.5)
    figure = new_figure(*size, f"{name}: weights as their quantizer sees them, and its bins")
    panels = pairs(figure, len(bins), columns)
    for one, (upper, lower) in zip(bins, panels, strict=True):
        low, high = span(one.values, one.edges[np.isfinite(one.edges)])
        upper.hist(one.values.ravel(), bins=100 if large else 50, range=(low, high), **HISTOGRAM)
        bell(upper, one.values.mean(), one.values.std(), low, high, linewidth=1, linestyle="--")
        for edge in one.edges[np.isfinite(one.edges)]:
            upper.axvline(edge, color=VERMILLION, linewidth=0.9 if large else 0.7)
        upper.set_xlim(low, high)
        without_y(upper)
        upper.set_title(one.title, pad=16 if large else None)
        share_bars(lower, one.levels, one.shares, 1 / len(one.levels))
        if large:
            name_bins(upper, one.edges, [f"{level}".replace("-", "\N{MINUS SIGN}") for level in one.levels], 7.2)
            upper.set_xlabel("normalized weight")
    outer_labels([lower for _, lower in panels], columns, "integer level", "share (%)")
    figure.legend(loc="outside lower center", ncols=4, handles=[
        sample("weights", color=SKY, alpha=0.6, linewidth=6),
        sample("normal distribution; equal shares", color=INK, linewidth=1, linestyle="--"),
        sample("bin edges", color=VERMILLION, linewidth=1),
        sample("share of each code", color=BLUE, linewidth=6)])
    return figure


def weight_shares(name, bins, columns, large):
    rows = math.ceil(len(bins) / columns)
    figure = new_figure(*((7.6, 2.4 * rows + 0.5) if large else (2.6 * columns, 1.7 * rows + 0.5)),
                        f"{name}: share of each weight code")
    panels = [figure.add_subplot(rows, columns, at + 1) for at in range(len(bins))]
    for one, axes in zip(bins, panels, strict=True):
        share_bars(axes, one.levels, one.shares, 1 / len(one.levels))
        axes.set_title(one.title)
    outer_labels(panels, columns, "integer level", "share (%)")
    figure.legend(loc="outside lower center",
                  handles=[sample("equal shares", color=INK, linewidth=0.8, linestyle="--")])
    return figure


# Accumulators

def accumulator_panel(upper, lower, one, large):
    reached = (one.thresholds >= one.values.min()) & (one.thresholds <= one.values.max())
    low, high = span(one.values, one.thresholds[reached])
    upper.hist(one.values, bins=whole_bins(low, high, 120 if large else 50), **HISTOGRAM)
    bell(upper, one.mu, one.sigma, low, high, linewidth=1)
    top = upper.get_ylim()[1]
    upper.vlines(one.thresholds, 0, top, color=VERMILLION, linewidth=1.1 if large else 0.7)
    upper.vlines(one.rule, 0, 0.55 * top, color=INK, linewidth=0.9 if large else 0.6, linestyle=":")
    upper.set(xlim=(low, high), ylim=(0, top))
    upper.xaxis.set_major_locator(MaxNLocator(8 if large else 4, integer=True))
    without_y(upper)
    share_bars(lower, np.arange(len(one.shares)), one.shares, one.rule_shares)
    top = 1.25 * max(one.shares[1:].max(), one.rule_shares[1:].max())
    if one.shares[0] > top:                         # half of a channel may be zeros; the other codes are the picture
        lower.set_ylim(0, 100 * top)
        lower.text(0.55, 97 * top, f"{100 * one.shares[0]:.1f} %", va="top", fontsize=8 if large else 7)


@styled()
def accumulators(channels):
    """Channels of a net, one large or several small: accumulators, thresholds and those of the paper, shares."""
    first, large = channels[0], len(channels) == 1
    columns = columns_for(len(channels))
    if large:
        figure = new_figure(7.6, 5.0, f"{first.net}: layer {first.layer}, channel {first.channel}")
    else:
        figure = new_figure(2.9 * columns, 2.4 * math.ceil(len(channels) / columns) + 0.8,
                            f"{first.net}: accumulators, one channel a layer")
    panels = pairs(figure, len(channels), columns)
    for one, (upper, lower) in zip(channels, panels, strict=True):
        accumulator_panel(upper, lower, one, large)
        if large:
            name_bins(upper, one.thresholds, code_names(len(one.shares)), 7.2)
            upper.set_xlabel(rf"integer accumulator ($\mu = {one.mu:.0f}$, $\sigma = {one.sigma:.0f}$, "
                             f"{len(one.values):,} values)")
        else:
            upper.set_title(f"{one.layer}, channel {one.channel}")
    outer_labels([lower for _, lower in panels], columns, "code", "share (%)")
    figure.legend(loc="outside lower center", ncols=2 if columns < 4 else 3, handles=[
        sample("accumulators", color=SKY, alpha=0.6, linewidth=6),
        sample(r"normal distribution of their $\mu$, $\sigma$", color=INK, linewidth=1),
        sample("the net's thresholds", color=VERMILLION, linewidth=1.1),
        sample("thresholds of the paper's rule", color=INK, linewidth=1, linestyle=":"),
        sample("share of each code", color=BLUE, linewidth=6),
        sample("its share under the rule, if all were normal", color=INK, linewidth=1.2)])
    return figure


@styled()
def figure1(figure_1):
    """distributions.Published as the paper draws it."""
    mu, sigma, thresholds = figure_1.mu, figure_1.sigma, figure_1.thresholds
    codes = len(thresholds) + 1
    width = codes.bit_length() - 1
    figure = new_figure(7.0, 3.6, rf"Figure 1 of arXiv 1811.10869: $\mu = \sigma = {mu:.0f}$, {width} bits")
    axes = figure.subplots()
    low, high = mu - 3 * sigma, mu + 3 * sigma
    edges = np.array([*thresholds, figure_1.boundary]).round() + 0.0    # no -0
    middles = [edges[0] - 0.35 * sigma, *(edges[:-1] + edges[1:]) / 2, edges[-1] + 0.25 * sigma]
    for at, (left, right) in enumerate(zip([low, *edges], [*edges, high], strict=True)):
        x = np.linspace(left, right, 100)
        axes.fill_between(x, density(x, mu, sigma), color=SKY if at else PALE, alpha=(0.7, 0.35)[at % 2], linewidth=0)
        axes.text(middles[at], 0.04 / sigma, f"{100 * figure_1.shares[at]:.1f} %", rotation=90, ha="center",
                  fontsize=7.5)
    bell(axes, mu, sigma, low, high, linewidth=1.2)
    top = 1.08 * axes.get_ylim()[1]
    axes.vlines(thresholds, 0, top, color=VERMILLION, linewidth=1.1)
    axes.vlines(edges[-1], 0, density(edges[-1], mu, sigma), color=GREY, linewidth=1, linestyle=":")
    axes.set(xlim=(low, high), ylim=(0, top), xlabel="accumulator")
    axes.set_xticks(edges, [f"{edge:.0f}" for edge in edges], rotation=45)
    without_y(axes)
    name_bins(axes, thresholds, code_names(codes), 6.6)
    return figure


# Results

@styled()
def bits(lines):
    """Accuracy against bits of results.Lines, one panel a data set and architecture; a data set shares its y axis."""
    places = list(dict.fromkeys((line.dataset, line.arch) for line in lines))
    def name_of(line):
        return line.quantizer + (f", {line.residual_bits}-bit residuals" if line.residual_bits else "")

    names = sorted(set(map(name_of, lines)))
    looks = {name: {"color": COLOURS[at % len(COLOURS)], "marker": MARKERS[at % len(MARKERS)]}
             for at, name in enumerate(names)}
    aside = {name: 0.1 * (at - (len(names) - 1) / 2) for at, name in enumerate(names)}     # equal ones stay visible
    widths = sorted({width for line in lines for width, _ in line.points})
    columns = columns_for(len(places))
    rows = math.ceil(len(places) / columns)
    figure = new_figure(max(4.2, 2.7 * columns), 3.1 * rows + 0.5, "Accuracy against bits")
    panels = {}
    for at, (dataset, arch) in enumerate(places):
        shared = next((axes for (other, _), axes in panels.items() if other == dataset), None)
        panels[dataset, arch] = axes = figure.add_subplot(rows, columns, at + 1, sharey=shared)
        here = [line for line in lines if (line.dataset, line.arch) == (dataset, arch)]
        for line in here:
            axes.plot([widths.index(width) + aside[name_of(line)] for width, _ in line.points],
                      [100 * share for _, share in line.points],
                      markersize=6, markeredgecolor="white", markeredgewidth=0.6, **looks[name_of(line)])
        parents = sorted({100 * parent for line in here for parent in line.parents})
        for parent in parents:
            axes.axhline(parent, color=GREY, linestyle="--", linewidth=0.9)
        if parents:                                         # all in one label: parents may lie close together
            axes.annotate(f"float {', '.join(f'{parent:.2f}' for parent in parents)} %", (0.02, parents[-1]), (0, 2),
                          color=GREY, fontsize=7, xycoords=axes.get_yaxis_transform(), textcoords="offset points")
        axes.set(title=f"{arch}, {dataset}", xlim=(-0.5, len(widths) - 0.5))
        axes.set_xticks(range(len(widths)), [str(w) if w == a else f"{w} / {a}" for w, a in widths])
        axes.grid(True, axis="y")
        axes.margins(y=0.12)
    outer_labels(list(panels.values()), columns,
                 "bits (weights / activations)" if any(w != a for w, a in widths) else "bits", "test accuracy (%)")
    handles = [sample(name, **look) for name, look in looks.items()]
    handles.append(sample("float parent", color=GREY, linestyle="--", linewidth=0.9))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 2 * columns))
    return figure


@styled()
def confusion(matrix, classes):
    """Counts of pictures, row: label, column: prediction; written into the cells of up to 20 classes."""
    few = len(classes) <= 20
    side = 6 if few else 2 + 0.13 * len(classes)
    figure = new_figure(side, side, "Confusion")
    axes = figure.subplots()
    axes.imshow(matrix, cmap="Blues", vmin=0)
    axes.set(xlabel="prediction", ylabel="label", xticks=range(len(classes)), yticks=range(len(classes)))
    # names are whatever their net says, dollars included
    axes.set_xticklabels(classes, rotation=90, parse_math=False)
    axes.set_yticklabels(classes, parse_math=False)
    if not few:
        axes.tick_params(right=True, top=True, labelright=True, labeltop=True)
        axes.set_xticks(np.arange(len(classes)) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(classes)) - 0.5, minor=True)
        axes.grid(True, which="minor", linewidth=0.4)
        axes.tick_params(which="minor", length=0)
    most = np.max(matrix)
    for row, counts in enumerate(matrix):
        for column, count in enumerate(counts):
            if count and few:
                axes.text(column, row, count, ha="center", va="center", color="white" if 2 * count > most else INK)
    return figure


@styled()
def layer_cycles(layers):
    """Cycles of every layer (objects with name, batch, passes, cycles, skip_cycles, utilization, waits and bound, as
    accel.cycles.LayerCycles), those apart that add an identity residual and those in which the array waits; passes,
    utilization, and what bounds a layer if not the multipliers, are written beside the bars."""
    figure = new_figure(6.8, 1.3 + 0.26 * len(layers), "Cycles by layer")
    axes = figure.subplots()
    rows = range(len(layers))
    waits = [min(sum(layer.waits.values()), layer.cycles - layer.skip_cycles) for layer in layers]
    parts = {"convolutions and pools": (BLUE, [layer.cycles - layer.skip_cycles - wait
                                               for layer, wait in zip(layers, waits, strict=True)]),
             "identity residuals": (SKY, [layer.skip_cycles for layer in layers]), "waits": (PALE, waits)}
    done = [0] * len(layers)
    for label, (colour, widths) in parts.items():
        if any(widths):
            axes.barh(rows, widths, left=done, color=colour, label=label)
        done = [left + width for left, width in zip(done, widths, strict=True)]
    for row, layer in enumerate(layers):
        used = f", {layer.utilization:.1%} used" if layer.utilization else ""
        passes = "1 pass" if layer.passes == 1 else f"{layer.passes} passes"
        batch = f" of {layer.batch} pictures" if layer.batch > 1 else ""
        bound = "" if layer.bound == "multipliers" else f", {layer.bound}"
        axes.annotate(f"{layer.cycles:,}: {passes}{batch}{used}{bound}", (layer.cycles, row), (4, 0), va="center",
                      textcoords="offset points", fontsize=8)
    axes.set_yticks(rows, [layer.name for layer in layers], parse_math=False)
    axes.set(ylim=(len(layers) - 0.4, -0.6), xlim=(0, 1.55 * max(layer.cycles for layer in layers)), xlabel="cycles")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    figure.legend(loc="outside lower center", ncols=3)
    return figure
