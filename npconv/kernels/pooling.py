"""Average, maximum and global average pooling: one number for each window of each channel."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from npconv.geometry import Array, Pool2dGeometry
from npconv.kernels.compiling import compiled, contiguous


def avg_pool2d(x: Array, count_include_pad: bool, geometry: Pool2dGeometry) -> Array:
    """One thread per plane; each window is clipped to the image, its sum kept in float64."""
    y = np.empty(geometry.y_shape, x.dtype)
    _avg_pool2d(contiguous(x), count_include_pad, geometry, y)
    return y


@compiled
def _avg_pool2d(x, count_include_pad, geometry, y):
    batch, channels, out_height, out_width = y.shape
    for plane in prange(batch * channels):
        n, c = np.int64(plane) // channels, np.int64(plane) % channels
        for p in range(out_height):
            for q in range(out_width):
                top, bottom, left, right, divisor = _window(p, q, count_include_pad, geometry)
                total = 0.0
                for h in range(top, bottom):
                    for v in range(left, right):
                        total += x[n, c, h, v]
                y[n, c, p, q] = total / divisor


def avg_pool2d_input_grad(dy: Array, count_include_pad: bool, geometry: Pool2dGeometry) -> Array:
    """One thread per plane: every window hands its share to the pixels that it holds."""
    dx = np.zeros(geometry.x_shape, dy.dtype)
    _avg_pool2d_input_grad(contiguous(dy), count_include_pad, geometry, dx)
    return dx


@compiled
def _avg_pool2d_input_grad(dy, count_include_pad, geometry, dx):
    batch, channels, out_height, out_width = dy.shape
    for plane in prange(batch * channels):
        n, c = np.int64(plane) // channels, np.int64(plane) % channels
        for p in range(out_height):
            for q in range(out_width):
                top, bottom, left, right, divisor = _window(p, q, count_include_pad, geometry)
                share = dy[n, c, p, q] / dy.dtype.type(divisor)
                for h in range(top, bottom):
                    for v in range(left, right):
                        dx[n, c, h, v] += share


def max_pool2d(x: Array, geometry: Pool2dGeometry) -> Array:
    """One thread per plane."""
    y = np.empty(geometry.y_shape, x.dtype)
    _max_pool2d(contiguous(x), geometry, y)
    return y


@compiled
def _max_pool2d(x, geometry, y):
    batch, channels, out_height, out_width = y.shape
    for plane in prange(batch * channels):
        n, c = np.int64(plane) // channels, np.int64(plane) % channels
        for p in range(out_height):
            for q in range(out_width):
                h, v = _largest(x[n, c], p, q, geometry)
                y[n, c, p, q] = x[n, c, h, v]


def max_pool2d_input_grad(dy: Array, x: Array, geometry: Pool2dGeometry) -> Array:
    """One thread per plane: every window hands its dy to its first largest pixel."""
    dx = np.zeros(geometry.x_shape, dy.dtype)
    _max_pool2d_input_grad(contiguous(dy), contiguous(x), geometry, dx)
    return dx


@compiled
def _max_pool2d_input_grad(dy, x, geometry, dx):
    batch, channels, out_height, out_width = dy.shape
    for plane in prange(batch * channels):
        n, c = np.int64(plane) // channels, np.int64(plane) % channels
        for p in range(out_height):
            for q in range(out_width):
                h, v = _largest(x[n, c], p, q, geometry)
                dx[n, c, h, v] += dy[n, c, p, q]


def global_avg_pool2d(x: Array) -> Array:
    """One thread per plane; the sum is kept in float64."""
    y = np.empty((*x.shape[:2], 1, 1), x.dtype)
    _global_avg_pool2d(contiguous(x), y)
    return y


@compiled
def _global_avg_pool2d(x, y):
    batch, channels, height, width = x.shape
    for plane in prange(batch * channels):
        n, c = np.int64(plane) // channels, np.int64(plane) % channels
        total = 0.0
        for h in range(height):
            for v in range(width):
                total += x[n, c, h, v]
        y[n, c, 0, 0] = total / (height * width)


def global_avg_pool2d_input_grad(dy: Array, height: int, width: int) -> Array:
    """One thread per plane."""
    dx = np.empty((*dy.shape[:2], height, width), dy.dtype)
    _global_avg_pool2d_input_grad(contiguous(dy), dx)
    return dx


@compiled
def _global_avg_pool2d_input_grad(dy, dx):
    batch, channels, height, width = dx.shape
    for plane in prange(batch * channels):
        n, c = np.int64(plane) // channels, np.int64(plane) % channels
        dx[n, c] = dy[n, c, 0, 0] / dy.dtype.type(height * width)


@njit(cache=True, error_model="numpy")
def _clipped(index, stride, kernel, pad, size):
    """First and last (excluded) pixel of a window along one axis, and where it starts with its padding counted."""
    start = index * stride - pad
    return max(start, 0), min(start + kernel, size), start


@njit(cache=True, error_model="numpy")
def _window(p, q, count_include_pad, geometry):
    """The pixels (top, bottom, left, right) of window (p, q), and the number that its sum is divided by."""
    kernel_height, kernel_width = geometry.kernel_height, geometry.kernel_width
    in_height, in_width = geometry.in_height, geometry.in_width
    top, bottom, start_row = _clipped(p, geometry.stride_height, kernel_height, geometry.pad_top, in_height)
    left, right, start_column = _clipped(q, geometry.stride_width, kernel_width, geometry.pad_left, in_width)
    if count_include_pad:  # what ceil mode overhangs beyond the padding is not counted
        rows = min(start_row + kernel_height, in_height + geometry.pad_bottom) - start_row
        columns = min(start_column + kernel_width, in_width + geometry.pad_right) - start_column
    else:
        rows, columns = bottom - top, right - left
    return top, bottom, left, right, rows * columns


@njit(cache=True, error_model="numpy")
def _largest(plane, p, q, geometry):
    """Row and column of the first largest pixel of window (p, q), in row order; the first NaN, where there is one."""
    top, bottom, left, right, _ = _window(p, q, False, geometry)
    row, column = top, left
    best = plane[top, left]
    for h in range(top, bottom):
        for v in range(left, right):
            value = plane[h, v]
            if value > best or (np.isnan(value) and not np.isnan(best)):
                row, column, best = h, v, value
    return row, column
