"""Pooling: what a window divides by, who wins a tie, and what a border window holds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import npconv

pytestmark = pytest.mark.usefixtures("backend")


def row(*numbers):
    return np.array(numbers, np.float64).reshape(1, 1, 1, -1)


def test_average_does_not_count_padding_unless_asked():
    x, options = row(2, 4, 6), {"stride": 1, "padding": (0, 1)}
    assert_array_equal(npconv.avg_pool2d(x, (1, 3), **options), row(3, 4, 5))
    assert_array_equal(npconv.avg_pool2d(x, (1, 3), **options, count_include_pad=True), row(2, 4, 10 / 3))


def test_what_ceil_mode_overhangs_is_never_counted():
    """Windows of 3 on 4 pixels with 1 of padding at each end: the second has 2 pixels, 1 of padding, and nothing beyond."""
    x, options = row(1, 2, 3, 5), {"stride": 3, "padding": (0, 1), "ceil_mode": True}
    assert_array_equal(npconv.avg_pool2d(x, (1, 3), **options), row(1.5, 4))
    assert_array_equal(npconv.avg_pool2d(x, (1, 3), **options, count_include_pad=True), row(1, 8 / 3))
    assert_array_equal(
        npconv.avg_pool2d(row(1, 2, 3, 5, 7), (1, 2), ceil_mode=True, count_include_pad=True), row(1.5, 4, 7)
    )


def test_the_stride_is_the_kernel_where_not_given():
    x = np.arange(24.0).reshape(1, 1, 4, 6)
    assert npconv.avg_pool2d(x, (2, 3)).shape == (1, 1, 2, 2)
    assert_array_equal(npconv.max_pool2d(x, (2, 3)), npconv.max_pool2d(x, (2, 3), stride=(2, 3)))


def test_ceil_mode_drops_a_window_that_starts_in_the_padding():
    """Windows of 2, 2 apart, on 3 pixels with 1 of padding at each end: a third would start at the end of the image."""
    assert_array_equal(npconv.max_pool2d(row(1, 2, 3), (1, 2), padding=(0, 1), ceil_mode=True), row(1, 3))


def test_padding_never_wins():
    assert_array_equal(npconv.max_pool2d(row(-5, -3), (1, 3), stride=1, padding=(0, 1)), row(-3, -3))


def test_nan_wins():
    x = row(1, np.nan, 3, 4)
    assert_array_equal(npconv.max_pool2d(x, (1, 2)), row(np.nan, 4))
    assert_array_equal(npconv.max_pool2d_backward(row(5, 7), x, (1, 2)), row(0, 5, 0, 7))


def test_the_first_of_equals_gets_the_gradient():
    x = np.zeros((1, 1, 2, 2))
    dx = npconv.max_pool2d_backward(np.full((1, 1, 1, 1), 5.0), x, 2)
    assert_array_equal(dx[0, 0], [[5, 0], [0, 0]])


def test_gradients_of_overlapping_windows_add_up():
    x, dy = row(1, 9, 2), row(10, 100)
    assert_array_equal(npconv.max_pool2d_backward(dy, x, (1, 2), stride=1), row(0, 110, 0))
    assert_array_equal(npconv.avg_pool2d_backward(dy, x, (1, 2), stride=1), row(5, 55, 50))


def test_an_infinite_gradient_goes_to_the_winner_alone():
    assert_array_equal(npconv.max_pool2d_backward(row(np.inf), row(1, 2), (1, 2)), row(0, np.inf))


def test_global_average():
    x = np.arange(12.0).reshape(1, 2, 2, 3)
    assert_array_equal(npconv.global_avg_pool2d(x).ravel(), [2.5, 8.5])
    dx = npconv.global_avg_pool2d_backward(np.array([6.0, 12.0]).reshape(1, 2, 1, 1), x)
    assert_array_equal(np.unique(dx[0, 0]), [1])
    assert_array_equal(np.unique(dx[0, 1]), [2])
