"""Ghost convolution: the order of the maps, the cut, and the cheap filter's padding."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import npconv

pytestmark = pytest.mark.usefixtures("backend")


def kernels(*numbers):
    return np.array(numbers, np.float64).reshape(-1, 1, 1, 1)


def test_all_primary_maps_come_first_then_the_ghosts_of_each():
    """Ratio 3: two primary maps, 1 and 2, with two ghosts each."""
    x = np.ones((1, 1, 1, 1))
    y = npconv.ghost_conv2d(x, kernels(1, 2), kernels(10, 100, 1000, 10000))
    assert_array_equal(y.ravel(), [1, 2, 10, 100, 2000, 20000])


def test_surplus_ghosts_are_cut_and_their_filters_get_no_gradient():
    x, w_primary, w_cheap = np.ones((1, 1, 1, 1)), kernels(1, 2), kernels(10, 100, 1000, 10000)
    y = npconv.ghost_conv2d(x, w_primary, w_cheap, out_channels=4)
    assert_array_equal(y.ravel(), [1, 2, 10, 100])
    _, dw_primary, dw_cheap = npconv.ghost_conv2d_backward(np.ones_like(y), x, w_primary, w_cheap, out_channels=4)
    assert_array_equal(dw_primary.ravel(), [111, 1])
    assert_array_equal(dw_cheap.ravel(), [1, 1, 0, 0])


@pytest.mark.parametrize("w_cheap", [(), (None,)])
def test_ratio_1_is_a_convolution(w_cheap):
    x, w = np.arange(9.0).reshape(1, 1, 3, 3), np.ones((2, 1, 2, 2))
    assert_array_equal(npconv.ghost_conv2d(x, w, *w_cheap, stride=2), npconv.conv2d(x, w, stride=2))


@pytest.mark.parametrize(("cheap", "expected"), [([100, 10, 1], [12, 123, 230]), ([10, 1], [12, 23, 30])])
def test_cheap_filters_keep_the_size(cheap, expected):
    """An odd filter is centred; an even one has its odd pixel of padding at the end."""
    x, w_cheap = (np.array(numbers, np.float64).reshape(1, 1, 1, -1) for numbers in ([1, 2, 3], cheap))
    assert_array_equal(npconv.ghost_conv2d(x, kernels(1), w_cheap)[0, 1, 0], expected)


@pytest.mark.parametrize("out_channels", [None, 7])
def test_the_outputs_maps_save_making_them_again_and_change_nothing(out_channels):
    rng = np.random.default_rng(0)
    x, w_primary, w_cheap, dy = (
        rng.integers(-4, 5, shape).astype(np.float64)
        for shape in ((2, 3, 6, 6), (4, 3, 3, 3), (4, 1, 3, 3), (2, out_channels or 8, 4, 4))
    )
    y = npconv.ghost_conv2d(x, w_primary, w_cheap, out_channels=out_channels)
    expected = npconv.ghost_conv2d_backward(dy, x, w_primary, w_cheap, out_channels=out_channels)
    room = importlib.import_module(f"{npconv.backends.BACKENDS[npconv.current_backend()]}.ghost")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "conv2d", lambda *_: pytest.fail("the primary maps were made again"))
        got = npconv.ghost_conv2d_backward(dy, x, w_primary, w_cheap, out_channels=out_channels, y=y)
    for a, b in zip(got, expected, strict=True):
        assert_array_equal(a, b)
    with pytest.raises(ValueError, match="y must have the shape"):
        npconv.ghost_conv2d_backward(dy, x, w_primary, w_cheap, out_channels=out_channels, y=y[:1])
