"""The kernels that read rows where they stand: depthwise ones, and those of maps with few channels, beside the reference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import npconv
from npconv import reference
from npconv.geometry import Conv2dGeometry
from npconv.kernels import depthwise_rows, kernel_rows, standard

rng = np.random.default_rng(0)

SHAPES = [(1, 3, 7, 7), (2, 17, 9, 11), (1, 32, 14, 5), (3, 40, 6, 23), (1, 8, 3, 4), (2, 16, 5, 6)]
PADDINGS = [0, 1, 2, ((0, 2), (3, 1)), "same", 4]


def whole(shape, dtype):
    return rng.integers(-4, 5, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_depthwise_rows_are_the_reference(kernel, stride, dtype):
    """Rows narrower and wider than a tile, channels that fill vectors and do not, padding on any side and beyond the kernel."""
    seen = 0
    for shape, padding in itertools.product(SHAPES, PADDINGS):
        x, w, b = whole(shape, dtype), whole((shape[1], 1, kernel, kernel), dtype), whole(shape[1:2], dtype)
        try:
            geometry = Conv2dGeometry.of_depthwise(shape, w.shape, stride=stride, padding=padding)
        except ValueError:  # the kernel is larger than the padded map
            continue
        assert depthwise_rows.pays(geometry, forward=True)
        assert_array_equal(
            standard.conv2d(x, w, b, None, geometry), reference.depthwise_conv2d(x, w, b, None, geometry)
        )
        dy = whole(geometry.y_shape, dtype)
        expected = reference.depthwise_conv2d_input_grad(dy, w, geometry)
        assert_array_equal(standard.conv2d_input_grad(dy, w, geometry), expected)
        expected = reference.depthwise_conv2d_weight_grad(dy, x, geometry)
        assert_array_equal(standard.conv2d_weight_grad(dy, x, geometry), expected)
        seen += 1
    assert seen > 20


@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
def test_depthwise_rows_read_and_write_slices_of_channels(activation):
    """The maps are slices of larger ones, which stay as they were beside them; the activation is applied as results are stored."""
    x, w, y = (npconv.channels_last(whole((2, 40, 9, 10), np.float32)) for _ in range(3))
    w = whole((21, 1, 3, 3), np.float32)
    geometry = Conv2dGeometry.of_depthwise((2, 21, 9, 10), w.shape, padding=1)
    before = y.copy()
    depthwise_rows.convolve_rows(x[:, 3:24], w, None, geometry, activation, True, y[:, 11:32])
    expected = reference.depthwise_conv2d(x[:, 3:24], w, None, None, geometry)
    if activation is not None:
        expected = getattr(reference, activation)(expected)
    assert_array_equal(y[:, 11:32], expected)
    dw = depthwise_rows.weight_grad_rows(y[:, 11:32], x[:, 3:24], geometry)
    assert_array_equal(dw, reference.depthwise_conv2d_weight_grad(expected, x[:, 3:24], geometry))
    assert_array_equal(y[:, :11], before[:, :11])
    assert_array_equal(y[:, 32:], before[:, 32:])


@pytest.mark.parametrize("size", [(7, 7), (4, 40)])
def test_an_output_has_the_bits_of_its_place_in_no_tile(size):
    """A row of outputs is the same numbers whether it is cut into tiles or read by addresses: at borders, and in a wider map."""
    x, w = rng.standard_normal((1, 24, *size)).astype(np.float32), rng.standard_normal((24, 1, 3, 3)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    alone = npconv.depthwise_conv2d(x, w, padding=1)
    assert_array_equal(npconv.depthwise_conv2d(padded, w), alone)  # where borders are pixels like others
    for column in range(size[1] - 1):  # and where tiles begin elsewhere, or are none
        assert_array_equal(
            npconv.depthwise_conv2d(padded[..., column : column + 4], w), alone[..., column : column + 2]
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_rows_of_a_kernel_as_channels_are_the_reference(channels, dtype):
    """Forward and weight gradient, of whole maps and of slices of channels."""
    large, narrow = npconv.channels_last(whole((2, 9, 11, 12), dtype)), whole((2, channels, 9, 1), dtype)
    for x in (large[:, :channels].copy(), large[:, 2 : 2 + channels], narrow):
        for kernel, stride, padding in itertools.product([(3, 3), (1, 2), (5, 4)], [1, (2, 3)], [0, ((0, 3), (2, 1))]):
            w, b = whole((6, channels, *kernel), dtype), whole((6,), dtype)
            try:
                geometry = Conv2dGeometry.of(x.shape, w.shape, stride=stride, padding=padding, dilation=(2, 1))
            except ValueError:  # the kernel is wider than the padded map
                continue
            assert kernel_rows.pays(geometry)
            assert_array_equal(standard.conv2d(x, w, b, None, geometry), reference.conv2d(x, w, b, None, geometry))
            dy = whole(geometry.y_shape, dtype)
            assert_array_equal(
                standard.conv2d_weight_grad(dy, x, geometry), reference.conv2d_weight_grad(dy, x, geometry)
            )
