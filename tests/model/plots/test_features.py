"""Feature maps: every channel at its place, every code in its colour."""
import numpy as np
import pytest

pytest.importorskip("matplotlib")
from model.plots import canvas, features  # noqa: E402


def test_a_mosaic_has_every_channel_at_its_place_and_nothing_between():
    tensor = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
    nothing = np.nan
    np.testing.assert_array_equal(features.mosaic(tensor, 2), [
        [0, 1, 2, nothing, 6, 7, 8],
        [3, 4, 5, nothing, 9, 10, 11],
        7 * [nothing],
        [12, 13, 14, nothing, 18, 19, 20],
        [15, 16, 17, nothing, 21, 22, 23],
        7 * [nothing],
        [24, 25, 26, *4 * [nothing]],
        [27, 28, 29, *4 * [nothing]]])


@pytest.mark.parametrize("channels, columns", [(1, 1), (2, 2), (3, 2), (10, 4), (16, 4), (32, 8), (64, 8), (512, 32)])
def test_what_is_drawn_is_the_mosaic_of_the_codes(channels, columns):
    rng = np.random.default_rng(channels)
    codes = rng.integers(0, 16, (channels, 4, 6), dtype=np.uint8)
    picture = rng.integers(0, 256, (3, 8, 12), dtype=np.uint8)
    left, right, scale = features.feature_maps("conv$1", codes, 15, picture).axes
    np.testing.assert_array_equal(left.images[0].get_array(), picture.transpose(1, 2, 0))
    np.testing.assert_array_equal(right.images[0].get_array().filled(np.nan), features.mosaic(codes, columns))
    assert [text.get_text() for text in right.get_xticklabels()] == [f"+{k}" for k in range(columns)]
    assert [int(text.get_text()) for text in right.get_yticklabels()] == list(range(0, channels, columns))
    image = right.images[0]
    colours = image.cmap(image.norm(np.arange(16)))
    assert len(np.unique(colours, axis=0)) == 16 == len(scale.get_yticks())


def test_a_grey_picture_and_many_codes_are_drawn(tmp_path):
    codes = np.array([[[0, 255]]], np.uint8)
    figure = features.feature_maps("a" * 60, codes, 255, np.full((1, 4, 4), 9, np.uint8))
    canvas.save(figure, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
