"""Depthwise convolution, one input channel per group: y[n,g,o,p,q] = sum over r, s of x[n,g, p*stride + r*dilation - pad, ...] * w[g,o,r,s].

Input channel g makes the output channels g*m .. g*m + m - 1, m being the channel multiplier.

There is little to compute, so what counts is how often a pixel is loaded, and from where. The common kernels read the planes
where they are, a vector of pixels at a time; all others are left to `channels`.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels import channels
from npconv.kernels.jit import compiled, contiguous, thread_count
from npconv.kernels.row_windows import sides, window_kind
from npconv.kernels.rows import images, stored
from npconv.kernels.simd import VECTOR_BITS
from npconv.kernels.slides import correlate_planes, filter_planes, spread_planes
from npconv.kernels.windows import input_taps, output_taps
from npconv.memory import empty


def _slides(geometry: Conv2dGeometry, dtype: np.dtype) -> bool:
    """Whether a 3x3 or 5x5 kernel slides over its plane in steps of 1 or 2: then a pixel that is loaded serves many taps.

    Against `channels`, eight images on two cores: 0.5 instead of 0.7 ms for 3x3 on 32 channels at 112x112, 0.10 instead of 0.31 ms on
    1024 at 7x7, and 0.6 instead of 1.2 ms for the input gradient at stride 2, 64 at 112x112.
    """
    g = geometry
    stands_alone = g.dilation_height == g.dilation_width == g.out_channels_per_group == 1
    square = g.kernel_height == g.kernel_width in sides(dtype.itemsize)
    return stands_alone and square and g.stride_height == g.stride_width <= 2


def _zeros(columns: int, stride: int, dtype: np.dtype) -> Array:
    """What a row outside of a plane is read from."""
    return np.zeros(columns * stride + 4 * VECTOR_BITS // (8 * dtype.itemsize), dtype)


def depthwise_conv2d(
    x: Array, w: Array, b: Array | None, geometry: Conv2dGeometry, out: Array | None = None, add: bool = False
) -> Array:
    """Each output pixel sums its taps. A missing bias is a bias of 0."""
    g = geometry
    bias = np.zeros(g.out_channels, x.dtype) if b is None else contiguous(b)
    w = contiguous(w)
    y = empty(g.y_shape, x.dtype) if out is None or add else out
    if _slides(g, x.dtype):
        _filter(x, w, 1, g.stride_height, -g.pad_top, -g.pad_left, bias, y)
        return stored(y, out, add)
    multiplier = g.out_channels_per_group
    for m in range(multiplier):
        channels.filter_planes(x, 1, 0, w, multiplier, m, bias, input_taps, g, y, multiplier, m)
    return stored(y, out, add)


def depthwise_conv2d_input_grad(
    dy: Array, w: Array, geometry: Conv2dGeometry, out: Array | None = None, add: bool = False
) -> Array:
    """Each input pixel gathers the outputs that read it, which at stride 1 is a convolution with the rotated kernel."""
    g = geometry
    zeros = np.zeros(g.out_channels, dy.dtype)
    w = contiguous(w)
    dx = empty(g.x_shape, dy.dtype) if out is None or add else out
    if _slides(g, dy.dtype) and g.stride_height == 1:
        _filter(dy, w, -1, 1, g.pad_top - g.kernel_height + 1, g.pad_left - g.kernel_width + 1, zeros, dx)
        return stored(dx, out, add)
    if _slides(g, dy.dtype):
        first, last = g.pad_left // 2, (g.pad_left + g.in_width - 1) // 2
        reach = g.kernel_width // 2
        kind = window_kind(first - reach, g.out_width, last - first + 1, reach + 1, 1, dy.dtype)
        _spread_planes(
            *images(dy), g.y_shape, w, 2 if kind == 2 else 0, g.pad_top, g.pad_left, _zeros(g.in_width, 1, dy.dtype),
            *images(dx), g.x_shape, thread_count(),
        )  # fmt: skip
        return stored(dx, out, add)
    multiplier = g.out_channels_per_group  # whose outputs add up
    channels.filter_planes(dy, multiplier, 0, w, multiplier, 0, zeros, output_taps, g, dx, 1, 0)
    for m in range(1, multiplier):
        part = empty(g.x_shape, dy.dtype)
        channels.filter_planes(dy, multiplier, m, w, multiplier, m, zeros, output_taps, g, part, 1, 0)
        dx += part
    return stored(dx, out, add)


def _filter(x: Array, w: Array, w_step: int, stride: int, row: int, column: int, bias: Array, y: Array) -> None:
    """y[n,c,i,j] = bias[c] + sum over r, s of w[c,0,r,s] * x[n,c, row + i*stride + r, column + j*stride + s]; w backwards for a step of -1."""
    kind = window_kind(column, x.shape[3], y.shape[3], w.shape[3], stride, x.dtype)
    _filter_planes(
        *images(x), x.shape, w, w_step, kind, stride, row, column, _zeros(y.shape[3], stride, x.dtype), bias, *images(y), y.shape,
        thread_count(),
    )  # fmt: skip


# Functions of their own: inside of the parallel loops LLVM keeps fewer numbers in registers, and 5x5/2 at 14x14 takes 1.3 times
# as long.


@njit
def _filter_range(*arguments):
    filter_planes(*arguments)


@njit
def _spread_range(*arguments):
    spread_planes(*arguments)


@njit
def _correlate_range(*arguments):
    correlate_planes(*arguments)


@compiled
def _filter_planes(
    x, x_image, x_shape, w, w_step, kind, stride, row, column, zeros, bias, y, y_image, y_shape, threads
):  # fmt: skip
    batch, channels, height, width = x_shape
    _, _, rows, columns = y_shape
    _, _, side, _ = w.shape
    flat_w, planes = w.reshape(w.size), batch * channels
    for thread in prange(threads):
        number = np.int64(thread)
        first, end = planes * number // threads, planes * (number + 1) // threads
        _filter_range(
            kind, side, stride, first, end, flat_w, 0 if w_step > 0 else side * side - 1, w_step, x, x_image, height, width,
            row, column, zeros, bias, y, y_image, channels, rows, columns,
        )  # fmt: skip


@compiled
def _spread_planes(dy, dy_image, dy_shape, w, kind, top, left, zeros, dx, dx_image, dx_shape, threads):
    batch, channels, rows, columns = dx_shape
    _, _, height, width = dy_shape
    _, _, side, _ = w.shape
    flat_w, planes = w.reshape(w.size), batch * channels
    for thread in prange(threads):
        number = np.int64(thread)
        first, end = planes * number // threads, planes * (number + 1) // threads
        _spread_range(
            kind, side, first, end, flat_w, dy, dy_image, height, width, top, left, zeros, dx, dx_image, channels, rows, columns
        )  # fmt: skip


def depthwise_conv2d_weight_grad(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
    """Each weight sums dy * x over its pixels."""
    g = geometry
    dw = np.empty(g.w_shape, dy.dtype)
    if _slides(g, x.dtype):
        kind = window_kind(-g.pad_left, g.in_width, g.out_width, g.kernel_width, g.stride_width, x.dtype)
        kind = 2 if kind == 2 else 0
        _correlate_planes(
            *images(dy), g.y_shape, *images(x), g.x_shape, kind, g.stride_height, -g.pad_top, -g.pad_left,
            _zeros(g.out_width, g.stride_width, x.dtype), dw, thread_count(),
        )  # fmt: skip
        return dw
    for m in range(g.out_channels_per_group):
        channels.correlate_planes(dy, g.out_channels_per_group, m, x, g, dw)
    return dw


@compiled
def _correlate_planes(
    dy, dy_image, dy_shape, x, x_image, x_shape, kind, stride, row, column, zeros, dw, threads
):  # fmt: skip
    batch, channels, height, width = x_shape
    _, _, rows, columns = dy_shape
    _, _, side, _ = dw.shape
    flat_dw = dw.reshape(dw.size)
    for thread in prange(threads):
        number = np.int64(thread)
        first, end = channels * number // threads, channels * (number + 1) // threads
        _correlate_range(
            kind, side, stride, first, end, batch, dy, dy_image, rows, columns, x, x_image, height, width, row, column, zeros, flat_dw
        )  # fmt: skip
