"""Drawings of a run: every number at its place, names as they are."""
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from model.plots import canvas, drawings  # noqa: E402

FOREIGN = r"$\frac{", "<b>&amp;", "猫"


def names(count):
    return [FOREIGN[k] if k < len(FOREIGN) else f"class {k}" for k in range(count)]


@pytest.mark.parametrize("count", [2, 10, 20, 21, 100])
def test_a_confusion_matrix_names_its_rows_and_columns(count):
    matrix = np.random.default_rng(count).integers(0, 3, (count, count))
    figure = drawings.confusion(matrix, names(count))
    [axes] = figure.axes
    np.testing.assert_array_equal(axes.images[0].get_array(), matrix)
    for labels in axes.get_xticklabels(), axes.get_yticklabels():
        assert [label.get_text() for label in labels] == names(count) * (1 if count <= 20 else 2)      # on both sides
    written = {tuple(map(round, text.get_position()[::-1])): int(text.get_text()) for text in axes.texts}
    nonzero = {(row, column): matrix[row, column] for row, column in np.argwhere(matrix)}
    assert written == (nonzero if count <= 20 else {})
    assert b"</svg>" in canvas.encoded(figure, ".svg") and canvas.encoded(figure, ".png").startswith(b"\x89PNG")


def test_all_labels_of_a_hundred_classes_have_room():
    figure = drawings.confusion(np.eye(100, dtype=int), [f"class {k}" for k in range(100)])
    figure.canvas.draw()
    [axes] = figure.axes
    for labels, side in (axes.get_xticklabels(), "width"), (axes.get_yticklabels(), "height"):
        sizes = [getattr(label.get_window_extent(), side) for label in labels]
        room = getattr(axes.get_window_extent(), side) / 100
        assert max(sizes) <= 1.2 * room      # the ascenders of one may stand beside descenders


def test_an_empty_matrix_is_white():
    [axes] = drawings.confusion(np.zeros((3, 3), int), names(3)).axes
    image = axes.images[0]
    assert np.all(image.cmap(image.norm(image.get_array()))[..., :3] > 0.95)


@pytest.mark.parametrize("skips", [(0, 0, 0), (0, 25, 0)])
def test_bars_are_as_long_as_their_layers_cycles(skips):
    waits = {}, {"barrier": 20}, {"bandwidth": 300, "logits": 100}
    layers = [SimpleNamespace(name=name, passes=passes, batch=passes, cycles=cycles, skip_cycles=skip, waits=wait,
                              utilization=share, bound="bandwidth" if passes == 3 else "multipliers")
              for name, passes, cycles, skip, wait, share in zip(
                  FOREIGN, (1, 2, 3), (100, 250, 1000), skips, waits, (1, 0.5, 0), strict=True)]
    figure = drawings.layer_cycles(layers)
    [axes] = figure.axes
    ends = {}
    for bar in axes.patches:
        row = round(bar.get_y() + bar.get_height() / 2)
        ends[row] = max(ends.get(row, 0), bar.get_x() + bar.get_width())
    assert ends == {0: 100, 1: 250, 2: 1000} and axes.yaxis_inverted()
    assert sum(bar.get_width() for bar in axes.patches[3:]) == sum(skips) + 420
    assert [label.get_text() for label in axes.get_yticklabels()] == list(FOREIGN)
    assert [text.get_text() for text in axes.texts] == [
        "100: 1 pass, 100.0% used", "250: 2 passes of 2 pictures, 50.0% used",
        "1,000: 3 passes of 3 pictures, bandwidth"]
    canvas.encoded(figure, ".svg")
    assert all(text.get_window_extent().x1 <= figure.bbox.x1 for text in axes.texts)
