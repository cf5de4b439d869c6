"""Weights on the grid that is found for them are the weights that were asked for."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.common.errors import UserError
from model.integer.grids import MAX_BITS, grid_of
from model.integer.net import Convolution


def convolution(weights):
    return Convolution(source="x", **grid_of(weights))


@given(st.lists(st.integers(-2000, 2000), min_size=1, max_size=60), st.integers(0, 9), st.integers(1, 40))
def test_every_weight_comes_back(values, shift, repeats):
    weights = np.tile(np.array(values, np.int64) << shift, repeats)
    term = convolution(weights)
    np.testing.assert_array_equal(term.weights(), weights)
    assert 1 <= term.w_bits <= MAX_BITS and term.codes.dtype == np.uint8 and term.codes.max() < 1 << term.w_bits
    assert term.alpha in (1, 2) and (term.levels is None or len(term.levels) == 1 << term.w_bits)


@pytest.mark.parametrize("values, expected", [
    (range(-15, 16, 2), (4, 2, -15, 0)),                # the index grid
    ([-13, 3, 5], (4, 2, -15, 0)),                      # part of it
    ([-60, 20, 52], (4, 2, -15, 2)),                    # a factor of four that all share
    (range(-128, 128), (8, 1, -128, 0)),                # the last layer's
    ([-100, 27], (7, 1, -100, 0)),                      # not centred
    ([0], (1, 1, -1, 0)), ([-1, 1], (1, 2, -1, 0)), ([7], (1, 2, 7, 0))])
def test_even_grids(values, expected):
    term = convolution(np.array(values, np.int64))
    assert term.levels is None and (term.w_bits, term.alpha, term.beta, term.shift) == expected


def test_a_table_only_where_it_pays():
    assert convolution(np.array([-31, 0, 9, 30])).levels is None
    term = convolution(np.tile([-31, 0, 9, 30], 100))
    assert term.w_bits == 2 and term.levels.tolist() == [0, 9, 30, -31]


def test_what_no_byte_can_name_is_refused():
    with pytest.raises(UserError, match="257 different weights in 0 .. 256 need codes of 9 bits"):
        grid_of(np.arange(257))
    assert convolution(np.arange(0, 512, 2)).shift == 1
