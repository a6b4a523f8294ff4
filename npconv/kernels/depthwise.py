"""Depthwise convolution, one input channel per group: y[n,g,o,p,q] = sum over r, s of x[n,g, p*stride + r*dilation - pad, ...] * w[g,o,r,s].

Input channel g makes the output channels g*m .. g*m + m - 1, m being the channel multiplier.

There is little to compute, so what counts is how often a pixel is loaded, and from where. The common kernels at stride 1 read
the planes where they are, a vector of pixels at a time; all others are left to `channels`.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels import channels
from npconv.kernels.compiling import compiled, contiguous
from npconv.kernels.filters import correlate_planes, filter_tile
from npconv.kernels.rows import images, stored
from npconv.kernels.simd import VECTOR_BITS
from npconv.kernels.windows import input_taps, output_taps


def _slides(geometry: Conv2dGeometry) -> bool:
    """Whether a 3- or 5-row kernel slides over its plane in steps of 1 or 2: then a load of pixels serves several of its rows.

    Against `channels` that is 1.0 instead of 2.4 cycles per pixel forward and 0.7 instead of 2.5 for the weights, at 56 x 56.
    """
    g = geometry
    stands_alone = g.dilation_height == g.out_channels_per_group == 1
    return stands_alone and g.stride_height == g.stride_width <= 2 and g.kernel_height in (3, 5)


def depthwise_conv2d(
    x: Array, w: Array, b: Array | None, geometry: Conv2dGeometry, out: Array | None = None, add: bool = False
) -> Array:
    """Each output pixel sums its taps. A missing bias is a bias of 0."""
    g = geometry
    bias = np.zeros(g.out_channels, x.dtype) if b is None else contiguous(b)
    w = contiguous(w)
    if _slides(g):
        y = np.empty(g.y_shape, x.dtype) if out is None or add else out
        _slide(
            *images(x), g.x_shape, w, g.stride_height, g.dilation_width, -g.pad_top, -g.pad_left, bias,
            *images(y), g.y_shape,
        )  # fmt: skip
        return stored(y, out, add)
    x, y = contiguous(x), np.empty(g.y_shape, x.dtype)
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
    if _slides(g) and g.stride_height == 1:
        dx = np.empty(g.x_shape, dy.dtype) if out is None or add else out
        row, column = g.pad_top - (g.kernel_height - 1), g.pad_left - (g.kernel_width - 1) * g.dilation_width
        _slide(
            *images(dy), g.y_shape, contiguous(w[:, :, ::-1, ::-1]), 1, g.dilation_width, row, column, zeros,
            *images(dx), g.x_shape,
        )  # fmt: skip
        return stored(dx, out, add)
    dy, w, dx = contiguous(dy), contiguous(w), np.empty(g.x_shape, dy.dtype)
    multiplier = g.out_channels_per_group  # whose outputs add up
    channels.filter_planes(dy, multiplier, 0, w, multiplier, 0, zeros, output_taps, g, dx, 1, 0)
    for m in range(1, multiplier):
        part = np.empty(g.x_shape, dy.dtype)
        channels.filter_planes(dy, multiplier, m, w, multiplier, m, zeros, output_taps, g, part, 1, 0)
        dx += part
    return stored(dx, out, add)


@compiled
def _slide(
    source, source_image, source_shape, w, stride, step, row, column, bias, out, out_image, out_shape
):  # fmt: skip
    """out[n,c,i,j] = bias[c] + sum over r, s of w[c,0,r,s] * source[n,c, row + i*stride + r, column + j*stride + s*step]."""
    batch, channels, height, width = source_shape
    _, _, rows, columns = out_shape
    _, _, kernel_rows, kernel_columns = w.shape
    lanes = VECTOR_BITS // (8 * source.itemsize)
    flat_w = w.reshape(w.size)
    zeros = np.zeros(3 * lanes, source.dtype)
    for plane in prange(batch * channels):
        nc = np.int64(plane)
        n, c = nc // channels, nc % channels
        w_at = c * kernel_rows * kernel_columns
        x_at, y_at = n * source_image + c * height * width, n * out_image + c * rows * columns
        for i in range(0, rows, 8 // stride):
            for j in range(0, columns, lanes):
                _filter_tile(
                    stride, flat_w, w_at, kernel_rows, kernel_columns,
                    source, x_at, height, width, row + i * stride, column + j * stride, step, zeros,
                    out, y_at + i * columns + j, columns, rows - i, columns - j, bias[c],
                )  # fmt: skip


@njit
def _filter_tile(
    stride, w, w_start, kernel_rows, kernel_columns, x, x_start, height, width, row, column, step, zeros,
    y, y_start, y_row, rows, columns, bias,
):  # fmt: skip
    """`filter_tile` for the strides and kernels of `_slides`."""
    if kernel_rows == 3 and stride == 2:
        filter_tile(
            4, 3, 2, w, w_start, kernel_columns, x, x_start, height, width, row, column, step, zeros,
            y, y_start, y_row, rows, columns, bias,
        )  # fmt: skip
    elif kernel_rows == 3 and rows > 4:
        filter_tile(
            8, 3, 1, w, w_start, kernel_columns, x, x_start, height, width, row, column, step, zeros,
            y, y_start, y_row, rows, columns, bias,
        )  # fmt: skip
    elif kernel_rows == 3:
        filter_tile(
            4, 3, 1, w, w_start, kernel_columns, x, x_start, height, width, row, column, step, zeros,
            y, y_start, y_row, rows, columns, bias,
        )  # fmt: skip
    elif stride == 2:
        filter_tile(
            4, 5, 2, w, w_start, kernel_columns, x, x_start, height, width, row, column, step, zeros,
            y, y_start, y_row, rows, columns, bias,
        )  # fmt: skip
    elif rows > 4:
        filter_tile(
            8, 5, 1, w, w_start, kernel_columns, x, x_start, height, width, row, column, step, zeros,
            y, y_start, y_row, rows, columns, bias,
        )  # fmt: skip
    else:
        filter_tile(
            4, 5, 1, w, w_start, kernel_columns, x, x_start, height, width, row, column, step, zeros,
            y, y_start, y_row, rows, columns, bias,
        )  # fmt: skip


def depthwise_conv2d_weight_grad(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
    """Each weight sums dy * x over its pixels."""
    g = geometry
    if _slides(g) and g.kernel_width == g.kernel_height:
        dw = np.empty(g.w_shape, dy.dtype)
        _slide_grad(
            *images(dy), g.y_shape, *images(x), g.x_shape, g.stride_height, g.dilation_width, -g.pad_top, -g.pad_left, dw
        )  # fmt: skip
        return dw
    return channels.correlate_planes(contiguous(dy), contiguous(x), g)


@compiled
def _slide_grad(dy, dy_image, dy_shape, x, x_image, x_shape, stride, step, row, column, dw):
    """dw[c,0,r,s] = sum over n, i, j of dy[n,c,i,j] * x[n,c, row + i*stride + r, column + j*stride + s*step]."""
    batch, channels, height, width = x_shape
    _, _, rows, columns = dy_shape
    _, _, kernel, _ = dw.shape
    lanes = VECTOR_BITS // (8 * x.itemsize)
    flat_dw = dw.reshape(dw.size)
    zeros = np.zeros(3 * lanes, x.dtype)
    for channel in prange(channels):
        c = np.int64(channel)
        sums = np.zeros(kernel * kernel * lanes, x.dtype)
        for n in range(batch):
            dy_at, x_at = n * dy_image + c * rows * columns, n * x_image + c * height * width
            if kernel == 3 and stride == 1:
                correlate_planes(
                    3, 3, 1, dy, dy_at, rows, columns,
                    x, x_at, height, width, row, column, step, zeros, sums,
                )  # fmt: skip
            elif kernel == 3:
                correlate_planes(
                    3, 3, 2, dy, dy_at, rows, columns,
                    x, x_at, height, width, row, column, step, zeros, sums,
                )  # fmt: skip
            elif stride == 1:
                correlate_planes(
                    5, 5, 1, dy, dy_at, rows, columns,
                    x, x_at, height, width, row, column, step, zeros, sums,
                )  # fmt: skip
            else:
                correlate_planes(
                    5, 5, 2, dy, dy_at, rows, columns,
                    x, x_at, height, width, row, column, step, zeros, sums,
                )  # fmt: skip
        for weight in range(kernel * kernel):
            half = lanes // 2
            lane_sums = sums[weight * lanes : (weight + 1) * lanes]
            while half > 0:
                for lane in range(half):
                    lane_sums[lane] += lane_sums[half + lane]
                half //= 2
            flat_dw[c * kernel * kernel + weight] = lane_sums[0]
