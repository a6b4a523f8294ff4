"""Average, maximum and global average pooling: one number for each window of each channel.

Windows slide over planes in lanes: a vector's worth of planes and a chunk of rows at a time are transposed into scratch, the
columns of a row sorted by stride phase, so that what a tap reads for all windows of a row is one run.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from npconv.geometry import Array, Pool2dGeometry
from npconv.kernels.blocks import fill_blocks, side_of, sum_blocks
from npconv.kernels.jit import compiled, scratch
from npconv.kernels.lanes import find_planes, lanes_of, pixels_in, pixels_out
from npconv.kernels.largest import hand_to_largest
from npconv.kernels.moments import sums_about
from npconv.kernels.rows import planes, stacked, stored
from npconv.memory import empty

# For the image rows of a chunk: where they stay in the first cache, 32 x 32 maps took 25 % less time than with 2^18.
SCRATCH_BYTES = 1 << 15
CHUNK = 4  # rows of windows at least, because the rows where chunks meet are read twice


class _Windows(NamedTuple):
    """The windows of one pooling, for Numba, and how its rows are cut."""

    kernel_height: int
    stride_height: int
    pad_top: int
    chunk: int  # rows of windows at a time, or `chunk * stride_height` rows of the image
    pitch: int  # numbers in a row of the image in scratch,
    run: int  # and in a row of windows
    taps: Array  # where in a row of the image each tap column begins
    image_places: Array  # where in scratch the pixels of a chunk stand,
    window_places: Array  # and its windows
    image_size: int
    window_size: int


@functools.lru_cache(maxsize=256)
def _windows(g: Pool2dGeometry, itemsize: int) -> _Windows:
    """Kept, because making it takes longer than a small pooling."""
    lanes, stride = lanes_of(itemsize), g.stride_width
    tap, column = np.arange(g.kernel_width), np.arange(g.in_width) + g.pad_left
    phase = max(g.out_width + (g.kernel_width - 1) // stride, (g.in_width + g.pad_left - 1) // stride + 1)
    pitch, run = stride * phase * lanes, g.out_width * lanes
    chunk = min(g.out_height, max(CHUNK, SCRATCH_BYTES // (pitch * itemsize * g.stride_height)))
    window_rows = min(g.out_height, (chunk * g.stride_height + g.kernel_height - 2) // g.stride_height + 1)
    rows = min(g.in_height, max(chunk * g.stride_height, (window_rows - 1) * g.stride_height + g.kernel_height))
    places = np.arange(rows)[:, None] * pitch + (column % stride * phase + column // stride) * lanes
    return _Windows(
        g.kernel_height, g.stride_height, g.pad_top, chunk, pitch, run, (tap % stride * phase + tap // stride) * lanes,
        places.reshape(-1), np.arange(window_rows * g.out_width) * lanes, rows * pitch, window_rows * run,
    )  # fmt: skip


@njit
def _image_rows(first_window, last_window, windows, height):
    """The first and last (excluded) row of the image that rows of windows read."""
    first, last = first_window * windows.stride_height, (last_window - 1) * windows.stride_height
    return max(0, first - windows.pad_top), min(height, last - windows.pad_top + windows.kernel_height)


@njit
def _window_rows(first_row, last_row, windows, out_height):
    """The first and last (excluded) row of windows that read rows of the image."""
    first = -((windows.kernel_height - 1 - windows.pad_top - first_row) // windows.stride_height)
    return max(0, first), min(out_height, (last_row - 1 + windows.pad_top) // windows.stride_height + 1)


def avg_pool2d(
    x: Array, count_include_pad: bool, geometry: Pool2dGeometry, out: Array | None = None, add: bool = False
) -> Array:
    """The sum of each window over its count."""
    if side := side_of(geometry):
        return sum_blocks(x, side, 1 / side**2, 0.0, out, add)
    return stored(window_means(x, *_counts(count_include_pad, geometry), geometry), out, add)


def window_means(x: Array, row_counts: Array, column_counts: Array, geometry: Pool2dGeometry) -> Array:
    """Each window (p, q) adds its pixels, tap by tap in row order, and is divided by row_counts[p] * column_counts[q]."""
    y = empty(geometry.y_shape, x.dtype)
    windows = _windows(geometry, x.itemsize)
    memory = scratch(x.dtype, windows.image_size + windows.window_size)
    counts = _divisors(row_counts, column_counts, x)
    _window_means(stacked(x), windows, *counts, stacked(y), memory)
    return y


@compiled
def _window_means(x, windows, row_counts, column_counts, y, memory):
    count, height, width = x.shape
    _, out_height, out_width = y.shape
    lanes, chunk, run, taps = lanes_of(x.itemsize), windows.chunk, windows.run, windows.taps
    chunks = -(-out_height // chunk)
    items, threads = -(-count // lanes) * chunks, len(memory)
    flat_x, flat_y = x.reshape(x.size), y.reshape(y.size)
    for thread in prange(threads):
        image, totals = memory[thread, : windows.image_size], memory[thread, windows.image_size :]
        image[:] = 0  # the borders stay 0
        starts = np.empty(lanes, np.int64)
        number = np.int64(thread)
        for item in range(items * number // threads, items * (number + 1) // threads):
            p_first = item % chunks * chunk
            p_last = min(p_first + chunk, out_height)
            first, last = _image_rows(p_first, p_last, windows, height)
            find_planes(starts, item // chunks * lanes, count, height * width)
            pixels_in(flat_x, starts, first * width, (last - first) * width, image, windows.image_places)
            totals[: (p_last - p_first) * run] = 0
            for p in range(p_first, p_last):
                total = (p - p_first) * run
                top, bottom = _image_rows(p, p + 1, windows, height)
                for h in range(top, bottom):
                    for t in range(len(taps)):
                        _add(totals, total, image, (h - first) * windows.pitch + taps[t], run)
                _divide(totals, total, row_counts[p], column_counts)
            find_planes(starts, item // chunks * lanes, count, out_height * out_width)
            pixels_out(
                totals, windows.window_places, flat_y, starts, p_first * out_width, (p_last - p_first) * out_width
            )


def avg_pool2d_input_grad(
    dy: Array, count_include_pad: bool, geometry: Pool2dGeometry, out: Array | None = None, add: bool = False
) -> Array:
    """Each pixel adds its shares of the windows that hold it."""
    if side := side_of(geometry):
        dx = empty(geometry.x_shape, dy.dtype) if out is None else out
        fill_blocks(dy, side, 1 / side**2, 0.0, dx, add)
        return dx
    dx = empty(geometry.x_shape, dy.dtype)
    windows = _windows(geometry, dy.itemsize)
    memory = scratch(dy.dtype, windows.image_size + windows.window_size)
    counts = _divisors(*_counts(count_include_pad, geometry), dy)
    _avg_pool2d_input_grad(stacked(dy), windows, *counts, stacked(dx), memory)
    return stored(dx, out, add)


@compiled
def _avg_pool2d_input_grad(dy, windows, row_counts, column_counts, dx, memory):
    count, height, width = dx.shape
    _, out_height, out_width = dy.shape
    lanes, run, pitch, taps = lanes_of(dy.itemsize), windows.run, windows.pitch, windows.taps
    chunk = windows.chunk * windows.stride_height
    chunks = -(-height // chunk)
    items, threads = -(-count // lanes) * chunks, len(memory)
    flat_dy, flat_dx = dy.reshape(dy.size), dx.reshape(dx.size)
    for thread in prange(threads):
        image, shares = memory[thread, : windows.image_size], memory[thread, windows.image_size :]
        starts = np.empty(lanes, np.int64)
        number = np.int64(thread)
        for item in range(items * number // threads, items * (number + 1) // threads):
            first = item % chunks * chunk
            last = min(first + chunk, height)
            p_first, p_last = _window_rows(first, last, windows, out_height)
            find_planes(starts, item // chunks * lanes, count, out_height * out_width)
            pixels_in(
                flat_dy, starts, p_first * out_width, (p_last - p_first) * out_width, shares, windows.window_places
            )
            for p in range(p_first, p_last):
                _divide(shares, (p - p_first) * run, row_counts[p], column_counts)
            image[: (last - first) * pitch] = 0
            for h in range(first, last):
                top, bottom = _window_rows(h, h + 1, windows, out_height)
                for p in range(top, bottom):
                    for t in range(len(taps)):
                        _add(image, (h - first) * pitch + taps[t], shares, (p - p_first) * run, run)
            find_planes(starts, item // chunks * lanes, count, height * width)
            pixels_out(image, windows.image_places, flat_dx, starts, first * width, (last - first) * width)


def max_pool2d(x: Array, geometry: Pool2dGeometry) -> Array:
    """Each window keeps the larger, tap by tap in row order."""
    y = empty(geometry.y_shape, x.dtype)
    windows = _windows(geometry, x.itemsize)
    _max_pool2d(stacked(x), windows, stacked(y), scratch(x.dtype, windows.image_size + windows.window_size))
    return y


@compiled
def _max_pool2d(x, windows, y, memory):
    count, height, width = x.shape
    _, out_height, out_width = y.shape
    lanes, chunk, run, taps = lanes_of(x.itemsize), windows.chunk, windows.run, windows.taps
    chunks = -(-out_height // chunk)
    items, threads = -(-count // lanes) * chunks, len(memory)
    flat_x, flat_y = x.reshape(x.size), y.reshape(y.size)
    for thread in prange(threads):
        image, largest = memory[thread, : windows.image_size], memory[thread, windows.image_size :]
        image[:] = -np.inf  # the borders stay -inf
        starts = np.empty(lanes, np.int64)
        number = np.int64(thread)
        for item in range(items * number // threads, items * (number + 1) // threads):
            p_first = item % chunks * chunk
            p_last = min(p_first + chunk, out_height)
            first, last = _image_rows(p_first, p_last, windows, height)
            find_planes(starts, item // chunks * lanes, count, height * width)
            pixels_in(flat_x, starts, first * width, (last - first) * width, image, windows.image_places)
            largest[: (p_last - p_first) * run] = -np.inf
            for p in range(p_first, p_last):
                top, bottom = _image_rows(p, p + 1, windows, height)
                for h in range(top, bottom):
                    for t in range(len(taps)):
                        _keep_larger(largest, (p - p_first) * run, image, (h - first) * windows.pitch + taps[t], run)
            find_planes(starts, item // chunks * lanes, count, out_height * out_width)
            pixels_out(
                largest, windows.window_places, flat_y, starts, p_first * out_width, (p_last - p_first) * out_width
            )


def max_pool2d_input_grad(dy: Array, x: Array, geometry: Pool2dGeometry) -> Array:
    """Each window finds its first largest pixel again, and hands its dy to it."""
    dx = empty(geometry.x_shape, dy.dtype)
    windows = _windows(geometry, dy.itemsize)
    first_column = np.maximum(0, geometry.pad_left - np.arange(geometry.out_width) * geometry.stride_width)
    memory = scratch(dy.dtype, 2 * windows.image_size + windows.window_size)
    _max_pool2d_input_grad(stacked(dy), stacked(x), windows, first_column, stacked(dx), memory)
    return dx


@compiled
def _max_pool2d_input_grad(dy, x, windows, first_column, dx, memory):
    count, height, width = x.shape
    _, out_height, out_width = dy.shape
    lanes, run, pitch, size = lanes_of(dy.itemsize), windows.run, windows.pitch, windows.image_size
    chunk = windows.chunk * windows.stride_height
    chunks = -(-height // chunk)
    items, threads = -(-count // lanes) * chunks, len(memory)
    flat_dy, flat_x, flat_dx = dy.reshape(dy.size), x.reshape(x.size), dx.reshape(dx.size)
    for thread in prange(threads):
        image, gradient, shares = memory[thread, :size], memory[thread, size : 2 * size], memory[thread, 2 * size :]
        image[:] = -np.inf  # the borders stay -inf
        starts = np.empty(lanes, np.int64)
        number = np.int64(thread)
        for item in range(items * number // threads, items * (number + 1) // threads):
            first = item % chunks * chunk
            last = min(first + chunk, height)
            p_first, p_last = _window_rows(first, last, windows, out_height)
            image_first, image_last = _image_rows(p_first, p_last, windows, height)
            find_planes(starts, item // chunks * lanes, count, height * width)
            pixels_in(
                flat_x, starts, image_first * width, (image_last - image_first) * width, image, windows.image_places
            )
            find_planes(starts, item // chunks * lanes, count, out_height * out_width)
            pixels_in(
                flat_dy, starts, p_first * out_width, (p_last - p_first) * out_width, shares, windows.window_places
            )
            gradient[: (last - first) * pitch] = 0
            for p in range(p_first, p_last):
                top, bottom = _image_rows(p, p + 1, windows, height)
                hand_to_largest(
                    shares, (p - p_first) * run, image, (top - image_first) * pitch, gradient, (top - first) * pitch,
                    pitch, bottom - top, first - top, last - top, windows.taps, first_column,
                )  # fmt: skip
            find_planes(starts, item // chunks * lanes, count, height * width)
            pixels_out(gradient, windows.image_places, flat_dx, starts, first * width, (last - first) * width)


def global_avg_pool2d(x: Array) -> Array:
    """One thread per plane; the sum is kept as those of batch norm."""
    y = empty((*x.shape[:2], 1, 1), x.dtype)
    _global_avg_pool2d(stacked(x), y.reshape(y.size))
    return y


@compiled
def _global_avg_pool2d(x, y):
    count, height, width = x.shape
    flat, pixels, zero = x.reshape(x.size), height * width, x.dtype.type(0)
    for plane in prange(count):
        y[plane] = sums_about(flat, np.int64(plane) * pixels, pixels, zero)[0] / pixels


def global_avg_pool2d_input_grad(dy: Array, height: int, width: int) -> Array:
    """One thread per plane."""
    dx = empty((*dy.shape[:2], height, width), dy.dtype)
    share = dy / dy.dtype.type(height * width)
    _fill_planes(planes(dx), share.reshape(share.shape[:2]))
    return dx


@compiled
def _fill_planes(dx, share):
    batch, channels, pixels = dx.shape
    for plane in prange(batch * channels):
        n, c = np.int64(plane) // channels, np.int64(plane) % channels
        for i in range(pixels):
            dx[n, c, i] = share[n, c]


@functools.lru_cache(maxsize=256)  # as `_windows`: 8 us of a small pooling of 20
def _counts(count_include_pad: bool, g: Pool2dGeometry) -> tuple[Array, Array]:
    """A window at (p, q) divides by rows[p] * columns[q]: its pixels, with its padding if asked, never what ceil mode overhangs."""

    def along(out: int, stride: int, kernel: int, before: int, after: int, size: int) -> Array:
        first, last = (-before, size + after) if count_include_pad else (0, size)
        start = np.arange(out) * stride - before
        return np.minimum(start + kernel, last) - np.maximum(start, first)

    return (
        along(g.out_height, g.stride_height, g.kernel_height, g.pad_top, g.pad_bottom, g.in_height),
        along(g.out_width, g.stride_width, g.kernel_width, g.pad_left, g.pad_right, g.in_width),
    )


def _divisors(row_counts: Array, column_counts: Array, like: Array) -> tuple[Array, Array]:
    """The counts in the dtype of an array, those of the columns once for each lane."""
    return row_counts.astype(like.dtype), column_counts.astype(like.dtype).repeat(lanes_of(like.itemsize))


# Unsigned indices need no test for counting from the end, which would keep these loops from being vectors.


@njit
def _add(total, total_start, source, source_start, count):
    to, at = np.uint64(total_start), np.uint64(source_start)
    for i in range(np.uint64(count)):
        total[to + i] += source[at + i]


@njit(error_model="numpy")
def _divide(total, start, rows, columns):
    to = np.uint64(start)
    for i in range(np.uint64(columns.size)):
        total[to + i] /= rows * columns[i]


@njit
def _keep_larger(largest, largest_start, source, source_start, count):
    """The larger of two numbers, the first of equals; NaN of a NaN and any other."""
    to, at = np.uint64(largest_start), np.uint64(source_start)
    for i in range(np.uint64(count)):
        old, new = largest[to + i], source[at + i]
        largest[to + i] = new if (new > old) | (new != new) else old
