"""Standard and group convolution: which kernel takes which geometry, and the kernels themselves are files beside this one."""

from __future__ import annotations

import functools

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
def conv2d(x: Array, w: Array, b: Array | None, activation: str | None, geometry: Conv2dGeometry) -> Array:
    """Each group's output channels see that group's input channels only; with one group this is the standard convolution."""
    y = empty_channels_last(geometry.y_shape, x.dtype)
    conv2d_into(x, w, b, activation, geometry, y)
    return y


def conv2d_into(
    x: Array, w: Array, b: Array | None, activation: str | None, geometry: Conv2dGeometry, y: Array
) -> None:
    """The activation of the convolution of x, written to y. Both may be slices of channels of channels-last maps."""
    way = _way(geometry, "forward", LANES[x.itemsize * 8], winograd.chosen.get())
    if way == "rows":
        depthwise_rows.convolve_rows(x, w, b, geometry, activation, True, y)
    elif way == "lanes":
        lane_sums.convolve_lanes(x, w, b, geometry, activation, y)
    elif way == "kernel rows":
        rows, wide = kernel_rows.rows_as_channels(x, geometry)
        convolve(rows, kernel_rows.weights_as_channels(w), b, wide, activation, y)
    elif way == "sums" or not winograd.convolve(x, w, b, geometry, activation, y):
        convolve(x, w, b, geometry, activation, y)


@of_channels_last_maps
def conv2d_input_grad(dy: Array, w: Array, geometry: Conv2dGeometry) -> Array:
    """dx as a sum of dy's pixels, for each phase of the stride."""
    dx = empty_channels_last(geometry.x_shape, dy.dtype)
    conv2d_input_grad_into(dy, w, geometry, dx)
    return dx


def conv2d_input_grad_into(dy: Array, w: Array, geometry: Conv2dGeometry, dx: Array) -> None:
    """The input gradient, written to dx. Both may be slices of channels of channels-last maps."""
    way = _way(geometry, "input_grad", LANES[dy.itemsize * 8], winograd.chosen.get())
    if way == "rows" and np.isfinite(w).all():  # padding is multiplied: 0 times infinity
        depthwise_rows.convolve_rows(dy, w, None, geometry, None, False, dx)
    elif way in ("rows", "lanes"):
        lane_sums.convolve_lanes_back(dy, w, geometry, dx)
    elif way == "sums" or not winograd.convolve_back(dy, w, geometry, dx):
        convolve_back(dy, w, geometry, dx)


@of_channels_last_maps
def conv2d_weight_grad(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
    """dw as outer products of pixels, or of Winograd's transforms of them."""
    way = _way(geometry, "weight_grad", LANES[x.itemsize * 8], winograd.chosen.get())
    if way == "rows":
        return depthwise_rows.weight_grad_rows(dy, x, geometry)
    if way == "lanes":
        return lane_sums.weight_grad_lanes(dy, x, geometry)
    if way == "kernel rows":
        rows, wide = kernel_rows.rows_as_channels(x, geometry)
        return kernel_rows.weights_from_channels(weight_grad(dy, rows, wide), geometry)
    dw = winograd.weight_grad(dy, x, geometry) if way == "winograd" else None
    return weight_grad(dy, x, geometry) if dw is None else dw


@of_channels_last_maps
def conv2d_bias_grad(dy: Array) -> Array:
    """db[o] = the sum over all pixels of dy[n,o,p,q]."""
    return sums_of_channels(dy).astype(dy.dtype)


@functools.lru_cache(maxsize=4096)
def _way(geometry: Conv2dGeometry, direction: str, lanes: int, tiles: str) -> str:
    """The kernel for a geometry: sizes alone decide, and not the batch, so that an image has the same bits in any."""
    forward = direction != "input_grad"
    if depthwise_rows.pays(geometry, forward):
        return "rows"
    if lane_sums.pays(geometry, forward, lanes):
        return "lanes"
    if forward and kernel_rows.pays(geometry):
        return "kernel rows"
    return "winograd" if tiles != "off" and winograd.pays(geometry, forward) else "sums"
