"""Nearest-neighbour up-sampling: y[n,c,p,q] = x[n,c, p // scale_height, q // scale_width], pixel by pixel."""

from __future__ import annotations

import numpy as np
from numba import prange

from npconv.geometry import Array, UpsampleGeometry
from npconv.kernels.jit import compiled
from npconv.kernels.orders import of_channels_last_maps
from npconv.memory import empty_channels_last, pixel_rows


@of_channels_last_maps
def upsample_nearest2d(x: Array, geometry: UpsampleGeometry) -> Array:
    """Each pixel becomes a block of scale_height x scale_width; the last blocks may be cropped to the wanted size."""
    y = empty_channels_last(geometry.y_shape, x.dtype)
    _upsample_nearest2d(pixel_rows(x), geometry, pixel_rows(y))
    return y


@compiled
def _upsample_nearest2d(x, geometry, y):
    g = geometry
    channels = x.shape[1]
    height, width, scale_height, scale_width = g.out_height, g.out_width, g.scale_height, g.scale_width
    in_height, in_width = g.in_height, g.in_width
    for item in prange(g.batch * height):
        row = np.int64(item)
        n, p = row // height, row % height
        for q in range(width):
            m = (n * in_height + p // scale_height) * in_width + q // scale_width
            for c in range(channels):
                y[row * width + q, c] = x[m, c]


@of_channels_last_maps
def upsample_nearest2d_input_grad(dy: Array, geometry: UpsampleGeometry) -> Array:
    """dx[n,c,h,w] = sum of dy over the block that pixel (h, w) became; what was cropped from the block adds nothing."""
    dx = empty_channels_last(geometry.x_shape, dy.dtype)
    _upsample_nearest2d_input_grad(pixel_rows(dy), geometry, pixel_rows(dx))
    return dx


@compiled
def _upsample_nearest2d_input_grad(dy, geometry, dx):
    g = geometry
    channels = dx.shape[1]
    height, width, scale_height, scale_width = g.in_height, g.in_width, g.scale_height, g.scale_width
    out_height, out_width = g.out_height, g.out_width
    for item in prange(g.batch * height):
        row = np.int64(item)
        n, h = row // height, row % height
        for w in range(width):
            m = row * width + w
            for c in range(channels):
                dx[m, c] = 0
            for p in range(h * scale_height, min((h + 1) * scale_height, out_height)):
                for q in range(w * scale_width, min((w + 1) * scale_width, out_width)):
                    for c in range(channels):
                        dx[m, c] += dy[(n * out_height + p) * out_width + q, c]
