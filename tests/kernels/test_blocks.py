"""Blocks of 2 x 2 and 4 x 4 pixels: when pooling and up-sampling are made of them, and that the results are the reference's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from npconv import kernels, reference
from npconv.geometry import Pool2dGeometry, UpsampleGeometry
from npconv.kernels.blocks import side_of

SHAPES = [(2, 3, 4, 4), (1, 1, 8, 68), (3, 5, 28, 12), (1, 2, 4, 32), (0, 2, 4, 8)]
rng = np.random.default_rng(0)


def whole(shape, dtype):
    return rng.integers(-64, 65, shape).astype(dtype)


@pytest.mark.parametrize(
    ("size", "kernel", "options", "side"),
    [
        ((4, 8), 2, {}, 2),
        ((4, 8), 4, {}, 4),
        ((5, 7), 1, {}, 1),
        ((3, 3), 3, {}, 0),
        ((4, 4), (2, 4), {}, 0),
        ((4, 4), 2, {"stride": 1}, 0),
        ((5, 4), 2, {}, 0),
        ((5, 4), 2, {"ceil_mode": True}, 0),
        ((4, 4), 2, {"padding": ((1, 1), (0, 0))}, 0),
        ((4, 4), 2, {"padding": ((0, 0), (0, 1))}, 2),  # whose last column is padding that no window reads
    ],
)
def test_windows_are_blocks_where_they_tile_the_plane(size, kernel, options, side):
    assert side_of(Pool2dGeometry.of((1, 1, *size), kernel, **options)) == side


@pytest.mark.parametrize(
    ("scale", "size", "side"),
    [(1, None, 1), (2, None, 2), (4, None, 4), (3, None, 0), ((2, 4), None, 0), (2, (5, 6), 0)],
)
def test_pixels_become_blocks_where_none_is_cropped(scale, size, side):
    assert side_of(UpsampleGeometry.of((1, 1, 3, 3), scale, size)) == side


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("side", [1, 2, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_results_are_the_references(shape, side, dtype):
    large, small = whole(shape, dtype), whole((*shape[:2], shape[2] // side, shape[3] // side), dtype)
    pooling = Pool2dGeometry.of(shape, side)
    upsampling = UpsampleGeometry.of(small.shape, side)
    for name, arguments in {
        "avg_pool2d": (large, False, pooling),
        "avg_pool2d_input_grad": (small, False, pooling),
        "upsample_nearest2d": (small, upsampling),
        "upsample_nearest2d_input_grad": (large, upsampling),
    }.items():
        assert_array_equal(getattr(kernels, name)(*arguments), getattr(reference, name)(*arguments), err_msg=name)


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (3, 9, 70, 80)])  # added by NumPy, and by all cores
@pytest.mark.parametrize("accumulate", [reference.accumulate, kernels.accumulate])
def test_a_slice_of_channels_is_added_to_a_map(accumulate, shape):
    batch, channels, *size = shape
    total, larger = whole(shape, np.float32), whole((batch, channels + 2, *size), np.float32)
    expected = total + larger[:, 1:-1]
    accumulate(total, larger[:, 1:-1])
    assert_array_equal(total, expected)


@pytest.mark.parametrize("number", [np.nan, np.inf, -0.0])
@pytest.mark.parametrize("side", [1, 2])
def test_special_numbers_come_out_as_in_the_reference(number, side):
    x = np.full((1, 1, 2 * side, 2 * side), number)
    pooling, upsampling = Pool2dGeometry.of(x.shape, side), UpsampleGeometry.of((1, 1, 2, 2), side)
    for name, arguments in {
        "avg_pool2d": (x, False, pooling),
        "avg_pool2d_input_grad": (x[:, :, :2, :2], False, pooling),
        "upsample_nearest2d": (x[:, :, :2, :2], upsampling),
        "upsample_nearest2d_input_grad": (x, upsampling),
    }.items():
        got, expected = getattr(kernels, name)(*arguments), getattr(reference, name)(*arguments)
        assert_array_equal(got, expected, err_msg=name)
        assert_array_equal(np.signbit(got), np.signbit(expected), err_msg=name)
