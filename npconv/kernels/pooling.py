"""Average, maximum and global average pooling: one number for each window of each channel. Lanes are channels."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from npconv.geometry import Array, Pool2dGeometry, UpsampleGeometry
from npconv.kernels.jit import MANY, compiled, scratch
from npconv.kernels.orders import of_channels_last_maps
from npconv.kernels.upsampling import fill_blocks, sum_blocks
from npconv.memory import empty_channels_last, pixel_rows


@of_channels_last_maps
def avg_pool2d(x: Array, count_include_pad: bool, geometry: Pool2dGeometry) -> Array:
    """Pixels of a window are added up tap by tap, all channels at a time."""
    y = empty_channels_last(geometry.y_shape, x.dtype)
    tiling = tiling_of(geometry)
    if tiling is not None:
        sum_blocks(x, tiling.scale_height * tiling.scale_width, tiling, y)
    else:
        _avg_pool2d(pixel_rows(x), count_include_pad, geometry, pixel_rows(y))
    return y


def tiling_of(g: Pool2dGeometry) -> UpsampleGeometry | None:
    """Where windows lie side by side and cover the map, as in octaves: the up-sampling whose gradient sums them, in half the time."""
    kernel = g.kernel_height, g.kernel_width
    covered = g.out_height * g.kernel_height, g.out_width * g.kernel_width
    if (g.stride_height, g.stride_width) != kernel or covered != (g.in_height, g.in_width) or any(_pads(g)):
        return None
    return UpsampleGeometry(g.batch, g.channels, g.out_height, g.out_width, *covered, *kernel)


def _pads(g: Pool2dGeometry) -> tuple[int, ...]:
    return g.pad_top, g.pad_bottom, g.pad_left, g.pad_right


@compiled(terms=MANY)
def _avg_pool2d(x, count_include_pad, geometry, y):
    """y[m, c] = the sum of x over the window of m, divided by how many pixels it has."""
    g = geometry
    channels, zero = x.shape[1], x.dtype.type(0)
    out_height, out_width, in_height, in_width = g.out_height, g.out_width, g.in_height, g.in_width
    for item in prange(g.batch * out_height):
        row = np.int64(item)
        n, p = row // out_height, row % out_height
        top, bottom = _window(p, g.stride_height, g.pad_top, g.kernel_height, in_height)
        height = _counted(p, g.stride_height, g.pad_top, g.pad_bottom, g.kernel_height, in_height, count_include_pad)
        for q in range(out_width):
            left, right = _window(q, g.stride_width, g.pad_left, g.kernel_width, in_width)
            width = _counted(q, g.stride_width, g.pad_left, g.pad_right, g.kernel_width, in_width, count_include_pad)
            m, count = row * out_width + q, x.dtype.type(height * width)
            for c in range(channels):
                y[m, c] = zero
            for h in range(top, bottom):
                for w in range(left, right):
                    for c in range(channels):
                        y[m, c] += x[(n * in_height + h) * in_width + w, c]
            for c in range(channels):
                y[m, c] /= count


@njit
def _window(p, stride, pad, kernel, size):
    """The first pixel of window p along an axis, and the one after its last."""
    first = p * stride - pad
    return max(first, 0), min(first + kernel, size)


@njit
def _counted(p, stride, before, after, kernel, size, count_include_pad):
    """How many pixels of window p count along an axis; what hangs over the padding never does."""
    first = p * stride - before
    if count_include_pad:
        return min(first + kernel, size + after) - max(first, -before)
    return min(first + kernel, size) - max(first, 0)


@of_channels_last_maps
def avg_pool2d_input_grad(dy: Array, count_include_pad: bool, geometry: Pool2dGeometry) -> Array:
    """Each pixel collects its share from the windows that it is in."""
    dx = empty_channels_last(geometry.x_shape, dy.dtype)
    tiling = tiling_of(geometry)
    if tiling is not None:
        fill_blocks(dy, tiling.scale_height * tiling.scale_width, False, tiling, dx)
    else:
        _avg_pool2d_input_grad(pixel_rows(dy), count_include_pad, geometry, pixel_rows(dx))
    return dx


@compiled(terms=MANY)
def _avg_pool2d_input_grad(dy, count_include_pad, geometry, dx):
    """dx[m, c] = the sum over the windows that pixel m is in of dy / (how many pixels the window has)."""
    g = geometry
    channels, zero = dx.shape[1], dx.dtype.type(0)
    out_height, out_width, in_height, in_width = g.out_height, g.out_width, g.in_height, g.in_width
    for item in prange(g.batch * in_height):
        row = np.int64(item)
        n, h = row // in_height, row % in_height
        first, last = _windows_of(h, g.stride_height, g.pad_top, g.kernel_height, out_height)
        for w in range(in_width):
            left, right = _windows_of(w, g.stride_width, g.pad_left, g.kernel_width, out_width)
            m = row * in_width + w
            for c in range(channels):
                dx[m, c] = zero
            for p in range(first, last):
                height = _counted(
                    p, g.stride_height, g.pad_top, g.pad_bottom, g.kernel_height, in_height, count_include_pad
                )
                for q in range(left, right):
                    width = _counted(
                        q, g.stride_width, g.pad_left, g.pad_right, g.kernel_width, in_width, count_include_pad
                    )
                    count = dx.dtype.type(height * width)
                    for c in range(channels):
                        dx[m, c] += dy[(n * out_height + p) * out_width + q, c] / count


@njit
def _windows_of(h, stride, pad, kernel, out):
    """The first window that pixel h is in along an axis, and the one after the last."""
    first = h + pad - kernel + 1
    return max(0, -(-first // stride)), min(out, (h + pad) // stride + 1)


@of_channels_last_maps
def max_pool2d(x: Array, geometry: Pool2dGeometry) -> Array:
    """The largest pixel of each window, tap by tap, all channels at a time."""
    y = empty_channels_last(geometry.y_shape, x.dtype)
    _max_pool2d(pixel_rows(x), geometry, pixel_rows(y))
    return y


@compiled(terms=MANY)
def _max_pool2d(x, geometry, y):
    """y[m, c] = the largest x of the window of m, or NaN if one is."""
    g = geometry
    channels, lowest = x.shape[1], x.dtype.type(-np.inf)
    out_height, out_width, in_height, in_width = g.out_height, g.out_width, g.in_height, g.in_width
    for item in prange(g.batch * out_height):
        row = np.int64(item)
        n, p = row // out_height, row % out_height
        top, bottom = _window(p, g.stride_height, g.pad_top, g.kernel_height, in_height)
        for q in range(out_width):
            left, right = _window(q, g.stride_width, g.pad_left, g.kernel_width, in_width)
            m = row * out_width + q
            for c in range(channels):
                y[m, c] = lowest
            for h in range(top, bottom):
                for w in range(left, right):
                    for c in range(channels):
                        value, best = x[(n * in_height + h) * in_width + w, c], y[m, c]
                        y[m, c] = value if (value > best) | (value != value) else best


@of_channels_last_maps
def max_pool2d_input_grad(dy: Array, x: Array, geometry: Pool2dGeometry) -> Array:
    """Each window notes where its first largest pixel is; then each pixel collects dy from the windows that chose it."""
    dx = empty_channels_last(geometry.x_shape, dy.dtype)
    chosen = np.empty(pixel_rows(dy).shape, np.int32 if len(pixel_rows(x)) < 2**31 else np.int64)
    _choose_largest(pixel_rows(x), geometry, scratch(x.dtype, x.shape[1]), chosen)
    _max_pool2d_input_grad(pixel_rows(dy), chosen, geometry, pixel_rows(dx))
    return dx


@compiled(terms=MANY)
def _choose_largest(x, geometry, spaces, chosen):
    """chosen[m, c] = the number of the first largest pixel in the window of m, in its image row by row; the first NaN is the largest."""
    g = geometry
    channels, threads = x.shape[1], len(spaces)
    out_height, out_width, in_height, in_width = g.out_height, g.out_width, g.in_height, g.in_width
    rows = g.batch * out_height
    for thread in prange(threads):
        largest = spaces[thread, :channels]
        for row in range(rows * np.int64(thread) // threads, rows * (np.int64(thread) + 1) // threads):
            n, p = row // out_height, row % out_height
            top, bottom = _window(p, g.stride_height, g.pad_top, g.kernel_height, in_height)
            for q in range(out_width):
                left, right = _window(q, g.stride_width, g.pad_left, g.kernel_width, in_width)
                m = row * out_width + q
                first = chosen.dtype.type(top * in_width + left)
                for c in range(channels):
                    largest[c] = x[(n * in_height + top) * in_width + left, c]
                    chosen[m, c] = first
                for h in range(top, bottom):
                    for w in range(left, right):
                        pixel = chosen.dtype.type(h * in_width + w)
                        for c in range(channels):
                            value, best = x[(n * in_height + h) * in_width + w, c], largest[c]
                            better = (value > best) | ((value != value) & (best == best))
                            largest[c] = value if better else best
                            chosen[m, c] = pixel if better else chosen[m, c]


@compiled(terms=1)
def _max_pool2d_input_grad(dy, chosen, geometry, dx):
    """dx[m, c] = the sum of dy over the windows that chose pixel m."""
    g = geometry
    channels, zero = dx.shape[1], dx.dtype.type(0)
    out_height, out_width, in_height, in_width = g.out_height, g.out_width, g.in_height, g.in_width
    for item in prange(g.batch * in_height):
        row = np.int64(item)
        n, h = row // in_height, row % in_height
        first, last = _windows_of(h, g.stride_height, g.pad_top, g.kernel_height, out_height)
        for w in range(in_width):
            left, right = _windows_of(w, g.stride_width, g.pad_left, g.kernel_width, out_width)
            m, pixel = row * in_width + w, chosen.dtype.type(h * in_width + w)
            for c in range(channels):
                dx[m, c] = zero
            for p in range(first, last):
                for q in range(left, right):
                    k = (n * out_height + p) * out_width + q
                    for c in range(channels):
                        dx[m, c] += dy[k, c] if chosen[k, c] == pixel else zero


@of_channels_last_maps
def global_avg_pool2d(x: Array) -> Array:
    """The mean of each plane, kept in float64."""
    batch, channels = x.shape[:2]
    sums = np.zeros((batch, channels))
    _global_sums(pixel_rows(x), sums)
    return (sums / max(1, x.shape[2] * x.shape[3])).astype(x.dtype).reshape(batch, channels, 1, 1)


@compiled(terms=1)
def _global_sums(x, sums):
    """sums[n, c] = the sum of x[m, c] over the pixels m of image n."""
    batch, channels = sums.shape
    pixels = len(x) // max(1, batch)
    for n in prange(batch):
        first = np.int64(n) * pixels
        for m in range(first, first + pixels):
            for c in range(channels):
                sums[n, c] += x[m, c]


@of_channels_last_maps
def global_avg_pool2d_input_grad(dy: Array, height: int, width: int) -> Array:
    """Every pixel of a plane gets the same share, dy / (height * width)."""
    batch, channels = dy.shape[:2]
    dx = empty_channels_last((batch, channels, height, width), dy.dtype)
    share = dy.reshape(batch, channels) / dy.dtype.type(height * width)
    _spread(share, pixel_rows(dx))
    return dx


@compiled(terms=1)
def _spread(share, dx):
    """dx[m, c] = share[n, c] for the pixels m of image n."""
    rows, channels = dx.shape
    pixels = rows // max(1, len(share))
    for m in prange(rows):
        n = np.int64(m) // pixels
        for c in range(channels):
            dx[m, c] = share[n, c]
