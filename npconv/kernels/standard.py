"""Standard and group convolution: the sums of pixels, or Winograd's transforms, or several groups in the lanes of a vector."""

from __future__ import annotations

import numpy as np

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels import depthwise_rows, kernel_rows, lane_sums, winograd
from npconv.kernels.channel_sums import sums_of_channels
from npconv.kernels.orders import of_channels_last_maps
from npconv.kernels.outer_products import weight_grad
from npconv.kernels.sums import convolve, convolve_back
from npconv.kernels.vectors import LANES
from npconv.memory import empty_channels_last


@of_channels_last_maps
def conv2d(x: Array, w: Array, b: Array | None, geometry: Conv2dGeometry) -> Array:
    """Each group's output channels see that group's input channels only; with one group this is the standard convolution."""
    y = empty_channels_last(geometry.y_shape, x.dtype)
    conv2d_into(x, w, b, geometry, y)
    return y


def conv2d_into(x: Array, w: Array, b: Array | None, geometry: Conv2dGeometry, y: Array) -> None:
    """The convolution of x, written to y. Both may be slices of channels of channels-last maps."""
    if depthwise_rows.pays(geometry, forward=True):
        depthwise_rows.convolve_rows(x, w, b, geometry, None, True, y)
    elif _lanes_pay(x, geometry, forward=True):
        lane_sums.convolve_lanes(x, w, b, geometry, None, y)
    elif kernel_rows.pays(geometry):
        rows, wide = kernel_rows.rows_as_channels(x, geometry)
        convolve(rows, kernel_rows.weights_as_channels(w), b, wide, None, y)
    elif not (winograd.pays(geometry) and winograd.convolve(x, w, b, geometry, None, y)):
        convolve(x, w, b, geometry, None, y)


@of_channels_last_maps
def conv2d_input_grad(dy: Array, w: Array, geometry: Conv2dGeometry) -> Array:
    """dx as a sum of dy's pixels, for each phase of the stride."""
    dx = empty_channels_last(geometry.x_shape, dy.dtype)
    conv2d_input_grad_into(dy, w, geometry, dx)
    return dx


def conv2d_input_grad_into(dy: Array, w: Array, geometry: Conv2dGeometry, dx: Array) -> None:
    """The input gradient, written to dx. Both may be slices of channels of channels-last maps."""
    if depthwise_rows.pays(geometry, forward=False) and np.isfinite(w).all():  # padding is multiplied: 0 times infinity
        depthwise_rows.convolve_rows(dy, w, None, geometry, None, False, dx)
    elif _lanes_pay(dy, geometry, forward=False):
        lane_sums.convolve_lanes_back(dy, w, geometry, dx)
    elif not (winograd.pays_back(geometry) and winograd.convolve_back(dy, w, geometry, dx)):
        convolve_back(dy, w, geometry, dx)


@of_channels_last_maps
def conv2d_weight_grad(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
    """dw as outer products of pixels, or of Winograd's transforms of them."""
    if depthwise_rows.pays(geometry, forward=True):
        return depthwise_rows.weight_grad_rows(dy, x, geometry)
    if _lanes_pay(x, geometry, forward=True):
        return lane_sums.weight_grad_lanes(dy, x, geometry)
    if kernel_rows.pays(geometry):
        rows, wide = kernel_rows.rows_as_channels(x, geometry)
        return kernel_rows.weights_from_channels(weight_grad(dy, rows, wide), geometry)
    dw = winograd.weight_grad(dy, x, geometry) if winograd.pays_for_weights(geometry) else None
    return weight_grad(dy, x, geometry) if dw is None else dw


@of_channels_last_maps
def conv2d_bias_grad(dy: Array) -> Array:
    """db[o] = the sum over all pixels of dy[n,o,p,q]."""
    return sums_of_channels(dy).astype(dy.dtype)


def _lanes_pay(x: Array, geometry: Conv2dGeometry, forward: bool) -> bool:
    return lane_sums.pays(geometry, forward, LANES[x.itemsize * 8])
