"""The fully connected layer: y[n,o] = sum over c of x[n,c] * w[o,c], plus b[o].

Each of its three matrix products is what a pointwise convolution of one image does, with the larger matrix read as it is.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import prange

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.compiling import compiled, contiguous
from npconv.kernels.pointwise import pointwise_conv2d, pointwise_conv2d_weight_grad


def linear(x: Array, w: Array, b: Array | None) -> Array:
    """Sums along the rows of both, as the weight gradient's along the pixels: x is dy, with an image to a channel."""
    y = _along_rows(x, w)
    if b is not None:
        y += b
    return y


def linear_input_grad(dy: Array, w: Array) -> Array:
    """dx[n,c] = sum over o of dy[n,o] * w[o,c]: w is the image, a channel to a row, and dy the weights."""
    return _along_columns(dy, w)


def linear_weight_grad(dy: Array, x: Array) -> Array:
    """dw[o,c] = sum over n of dy[n,o] * x[n,c]: x is the image, a channel to a row, and dy, transposed, the weights."""
    return _along_columns(np.ascontiguousarray(dy.T), x)


def _along_rows(left: Array, right: Array) -> Array:
    """left @ right.T."""
    (rows, length), columns = left.shape, len(right)
    if not left.size:  # an empty batch
        return np.zeros((rows, columns), left.dtype)
    geometry = _product(columns, length, rows)
    dw = pointwise_conv2d_weight_grad(left.reshape(1, rows, length, 1), right.reshape(1, columns, length, 1), geometry)
    return dw.reshape(rows, columns)


def _along_columns(left: Array, right: Array) -> Array:
    """left @ right."""
    (rows, length), columns = left.shape, right.shape[1]
    if not left.size:
        return np.zeros((rows, columns), left.dtype)
    geometry = _product(length, columns, rows)
    y = pointwise_conv2d(right.reshape(1, length, columns, 1), left.reshape(rows, length, 1, 1), None, geometry)
    return y.reshape(rows, columns)


@functools.lru_cache(maxsize=256)
def _product(channels: int, pixels: int, out_channels: int) -> Conv2dGeometry:
    return Conv2dGeometry.of((1, channels, pixels, 1), (out_channels, channels, 1, 1))


def linear_bias_grad(dy: Array) -> Array:
    """db[o] = sum over n of dy[n,o], in float64, row by row. One thread per block of output features."""
    db = np.empty(dy.shape[1], dy.dtype)
    _linear_bias_grad(contiguous(dy), np.zeros(dy.shape[1]), db)
    return db


@compiled
def _linear_bias_grad(dy, total, db):
    batch, features = dy.shape
    for block in prange(-(-features // 64)):
        first = 64 * np.int64(block)
        last = min(first + 64, features)
        for n in range(batch):
            for o in range(first, last):
                total[o] += dy[n, o]
        for o in range(first, last):
            db[o] = total[o]
