"""Nearest-neighbour up-sampling: y[n,c,p,q] = x[n,c, p // scale_height, q // scale_width]."""

from __future__ import annotations

import functools

import numpy as np
from numba import prange

from npconv.geometry import Array, Pool2dGeometry, UpsampleGeometry
from npconv.kernels.blocks import fill_blocks, side_of, sum_blocks
from npconv.kernels.jit import compiled, scratch
from npconv.kernels.lanes import find_planes, lanes_of, pixels_in, pixels_out
from npconv.kernels.pooling import window_means
from npconv.kernels.rows import stacked, stored
from npconv.memory import empty

SCRATCH_BYTES = 1 << 16  # per thread, for the rows of x of a chunk


def upsample_nearest2d(x: Array, geometry: UpsampleGeometry, out: Array | None = None, add: bool = False) -> Array:
    """Planes are transposed into lanes a few rows at a time, and back from the pixel that each place of y shows."""
    if side := side_of(geometry):
        y = empty(geometry.y_shape, x.dtype) if out is None else out
        fill_blocks(x, side, 1.0, -0.0, y, add)
        return y
    y = empty(geometry.y_shape, x.dtype)
    chunk, places, shown = _chunk(geometry, x.itemsize)
    _upsample_nearest2d(
        stacked(x),
        geometry.scale_height,
        chunk,
        places,
        shown,
        stacked(y),
        scratch(x.dtype, places.size * lanes_of(x.itemsize)),
    )
    return stored(y, out, add)


@functools.lru_cache(maxsize=256)
def _chunk(g: UpsampleGeometry, itemsize: int) -> tuple[int, Array, Array]:
    """The rows of x in a chunk, where in scratch their pixels stand, and which of them each pixel of y shows."""
    lanes = lanes_of(itemsize)
    chunk = max(1, min(g.in_height, SCRATCH_BYTES // (g.in_width * lanes * itemsize)))
    row, column = np.arange(chunk * g.scale_height) // g.scale_height, np.arange(g.out_width) // g.scale_width
    shown = row[:, None] * g.in_width + column
    return chunk, np.arange(chunk * g.in_width) * lanes, shown.reshape(-1) * lanes


@compiled
def _upsample_nearest2d(x, scale_height, chunk, places, shown, y, memory):
    count, height, width = x.shape
    _, out_height, out_width = y.shape
    lanes = lanes_of(x.itemsize)
    chunks = -(-height // chunk)
    items, threads = -(-count // lanes) * chunks, len(memory)
    flat_x, flat_y = x.reshape(x.size), y.reshape(y.size)
    for thread in prange(threads):
        image = memory[thread]
        starts = np.empty(lanes, np.int64)
        number = np.int64(thread)
        for item in range(items * number // threads, items * (number + 1) // threads):
            first = item % chunks * chunk
            last = min(first + chunk, height)
            find_planes(starts, item // chunks * lanes, count, height * width)
            pixels_in(flat_x, starts, first * width, (last - first) * width, image, places)
            p_first, p_last = first * scale_height, min(last * scale_height, out_height)
            find_planes(starts, item // chunks * lanes, count, out_height * out_width)
            pixels_out(image, shown, flat_y, starts, p_first * out_width, (p_last - p_first) * out_width)


def upsample_nearest2d_input_grad(
    dy: Array, geometry: UpsampleGeometry, out: Array | None = None, add: bool = False
) -> Array:
    """Each pixel is a window of dy as large as the scale, the last ones cropped, whose sum is divided by 1."""
    if side := side_of(geometry):
        return sum_blocks(dy, side, 1.0, -0.0, out, add)
    g = geometry
    windows = Pool2dGeometry.of(dy.shape, (g.scale_height, g.scale_width), ceil_mode=True)
    return stored(window_means(dy, np.ones(g.in_height), np.ones(g.in_width), windows), out, add)
