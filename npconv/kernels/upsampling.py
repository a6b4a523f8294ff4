"""Nearest-neighbour up-sampling: y[n,c,p,q] = x[n,c, p // scale_height, q // scale_width]."""

from __future__ import annotations

import numpy as np
from numba import prange

from npconv.geometry import Array, UpsampleGeometry
from npconv.kernels.compiling import compiled, contiguous


def upsample_nearest2d(x: Array, geometry: UpsampleGeometry) -> Array:
    """One thread per plane."""
    y = np.empty(geometry.y_shape, x.dtype)
    _upsample_nearest2d(contiguous(x), geometry, y)
    return y


@compiled
def _upsample_nearest2d(x, geometry, y):
    batch, channels, out_height, out_width = y.shape
    scale_height, scale_width = geometry.scale_height, geometry.scale_width
    for plane in prange(batch * channels):
        n, c = np.int64(plane) // channels, np.int64(plane) % channels
        for p in range(out_height):
            for q in range(out_width):
                y[n, c, p, q] = x[n, c, p // scale_height, q // scale_width]


def upsample_nearest2d_input_grad(dy: Array, geometry: UpsampleGeometry) -> Array:
    """One thread per plane."""
    dx = np.zeros(geometry.x_shape, dy.dtype)
    _upsample_nearest2d_input_grad(contiguous(dy), geometry, dx)
    return dx


@compiled
def _upsample_nearest2d_input_grad(dy, geometry, dx):
    batch, channels, out_height, out_width = dy.shape
    scale_height, scale_width = geometry.scale_height, geometry.scale_width
    for plane in prange(batch * channels):
        n, c = np.int64(plane) // channels, np.int64(plane) % channels
        for p in range(out_height):
            for q in range(out_width):
                dx[n, c, p // scale_height, q // scale_width] += dy[n, c, p, q]
