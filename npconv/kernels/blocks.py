"""Blocks of 2 x 2 pixels, summed or filled where they stand: pooling and up-sampling by 2, which octave convolutions are full of.

Transposing planes into lanes, as `pooling` does for any window, took 3 to 6 times as long. Blocks of 4 x 4 are blocks of blocks.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from npconv.geometry import Array, Pool2dGeometry, UpsampleGeometry
from npconv.kernels.compiling import compiled
from npconv.kernels.rows import stacked


def side_of(g: Pool2dGeometry | UpsampleGeometry) -> int:
    """2 or 4 where the windows, or what pixels become, are squares of that side which tile the larger plane; else 0."""
    if isinstance(g, UpsampleGeometry):
        sides = {g.scale_height, g.scale_width}
        small, large = (g.in_height, g.in_width), (g.out_height, g.out_width)
    else:
        sides = {g.kernel_height, g.kernel_width, g.stride_height, g.stride_width}
        small, large = (g.out_height, g.out_width), (g.in_height, g.in_width)
        if g.pad_top or g.pad_left:
            return 0
    side = sides.pop()
    return side if not sides and side in (2, 4) and large == (side * small[0], side * small[1]) else 0


def sum_blocks(x: Array, side: int, factor: float, zero: float) -> Array:
    """Each block's sum times `factor`, plus `zero`: 0.0, or -0.0, which leaves a sum of negative zeros negative."""
    if side == 4:
        return sum_blocks(sum_blocks(x, 2, 1.0, -0.0), 2, factor, zero)
    batch, channels, height, width = x.shape
    y = np.empty((batch, channels, height // 2, width // 2), x.dtype)
    number = x.dtype.type
    _sum_blocks(stacked(x), number(factor), number(zero), stacked(y))
    return y


@compiled
def _sum_blocks(x, factor, zero, y):
    count, height, width = x.shape
    _, rows, columns = y.shape
    flat_x, flat_y = x.reshape(x.size), y.reshape(y.size)
    for plane in prange(count):
        for p in range(rows):
            first = (np.int64(plane) * height + 2 * p) * width
            to = (np.int64(plane) * rows + p) * columns
            _sum_pairs(flat_x, first, first + width, factor, zero, flat_y, to, columns)


def fill_blocks(x: Array, side: int, factor: float, zero: float, y: Array, add: bool = False) -> None:
    """Each pixel times `factor`, plus `zero` as above, fills a block of y, or is added to all of it; y is contiguous."""
    if side == 4:
        batch, channels, height, width = x.shape
        half = np.empty((batch, channels, 2 * height, 2 * width), x.dtype)
        fill_blocks(x, 2, factor, zero, half)
        x, factor, zero = half, 1.0, -0.0
    number = x.dtype.type
    _fill_blocks(stacked(x), number(factor), number(zero), stacked(y), add)


@compiled
def _fill_blocks(x, factor, zero, y, add):
    count, height, width = x.shape
    flat_x, flat_y = x.reshape(x.size), y.reshape(y.size)
    for plane in prange(count):
        for h in range(height):
            at, to = (np.int64(plane) * height + h) * width, (np.int64(plane) * height + h) * 4 * width
            if add:
                _add_pairs(flat_x, at, factor, zero, flat_y, to, to + 2 * width, width)
            else:
                _repeat_pixels(flat_x, at, factor, zero, flat_y, to, to + 2 * width, width)


# Unsigned indices need no test for counting from the end, which would keep these loops from being vectors.


@njit
def _sum_pairs(x, upper, lower, factor, zero, y, start, count):
    above, below, to = np.uint64(upper), np.uint64(lower), np.uint64(start)
    one, two = np.uint64(1), np.uint64(2)
    for q in range(np.uint64(count)):
        top, bottom = above + two * q, below + two * q
        y[to + q] = (x[top] + x[top + one] + x[bottom] + x[bottom + one]) * factor + zero


@njit
def _repeat_pixels(x, start, factor, zero, y, upper, lower, count):
    at, above, below = np.uint64(start), np.uint64(upper), np.uint64(lower)
    one, two = np.uint64(1), np.uint64(2)
    for q in range(np.uint64(count)):
        value = x[at + q] * factor + zero
        y[above + two * q] = value
        y[above + two * q + one] = value
    for q in range(np.uint64(count)):
        value = x[at + q] * factor + zero
        y[below + two * q] = value
        y[below + two * q + one] = value


@njit
def _add_pairs(x, start, factor, zero, y, upper, lower, count):
    at, above, below = np.uint64(start), np.uint64(upper), np.uint64(lower)
    one, two = np.uint64(1), np.uint64(2)
    for q in range(np.uint64(count)):
        value = x[at + q] * factor + zero
        y[above + two * q] += value
        y[above + two * q + one] += value
    for q in range(np.uint64(count)):
        value = x[at + q] * factor + zero
        y[below + two * q] += value
        y[below + two * q + one] += value
