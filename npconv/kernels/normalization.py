"""Batch normalisation: y[n,c,h,w] = gamma[c] * xhat + beta[c], where xhat = (x[n,c,h,w] - mean[c]) / sqrt(var[c] + eps).

`activation`, None, "relu" or "relu6", is applied to that y in the same sweep. The gradients make y again where they need
it, which costs less than reading it. The statistics are one sweep, y another; the gradients are two, the sums and dx.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numba import prange

from npconv.geometry import Array
from npconv.kernels.channel_sums import EIGHT, chunk_of, folded, gradient_sums, repeated
from npconv.kernels.jit import compiled
from npconv.kernels.orders import of_channels_last_maps
from npconv.memory import empty_channels_last

FIRST = 16  # pixels of a chunk whose mean is its centre


@of_channels_last_maps
def batch_statistics2d(x: Array) -> tuple[Array, Array]:
    """One sweep. Each chunk of pixels is summed about the mean of its first pixels, so that a large mean costs no digits.

    The mean of one of k equal parts is within sqrt(k) standard deviations of the mean of all, whatever x holds. The chunks'
    means and squares are put together about the first chunk's centre, in float64.
    """
    rows = folded(x, 1)[0]
    lanes = rows.shape[1]
    chunk = chunk_of(lanes)
    chunks = -(-len(rows) // chunk)
    centres, partial = np.empty((chunks, lanes), x.dtype), np.empty((chunks, 2, lanes))
    mean, var = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    _batch_statistics2d(rows, chunk, centres, partial, mean, var)
    return mean.astype(x.dtype), var.astype(x.dtype)


@compiled(terms=1)
def _batch_statistics2d(x, chunk, centres, partial, mean, var):
    """mean[c] = mean over m of x[m, c], var[c] = mean of (x[m, c] - mean[c])^2; partial: the sums about a chunk's centre."""
    pixels, lanes = x.shape
    chunks, channels = len(centres), len(mean)
    zero = x.dtype.type(0)
    for item in prange(chunks):
        first = np.int64(item) * chunk
        last = min(first + chunk, pixels)
        whole = first + (last - first) // EIGHT * EIGHT
        some = min(first + FIRST, last)
        for c in range(lanes):
            centres[item, c] = zero
            partial[item, 0, c] = 0.0
            partial[item, 1, c] = 0.0
        for m in range(first, some):
            for c in range(lanes):
                centres[item, c] += x[m, c]
        count = x.dtype.type(some - first)
        for c in range(lanes):
            centre = centres[item, c] / count
            # infinity less infinity is NaN, where the mean is infinite: then the centre is 0
            centres[item, c] = centre if centre - centre == zero else zero
        total, square = np.empty(lanes, x.dtype), np.empty(lanes, x.dtype)
        for m in range(np.uint64(first), np.uint64(whole), np.uint64(EIGHT)):
            for c in range(lanes):
                total[c], square[c] = zero, zero
            for k in range(np.uint64(EIGHT)):
                for c in range(lanes):
                    away = x[m + k, c] - centres[item, c]
                    total[c] += away
                    square[c] += away * away
            for c in range(lanes):
                partial[item, 0, c] += total[c]
                partial[item, 1, c] += square[c]
        for m in range(whole, last):
            for c in range(lanes):
                away = x[m, c] - centres[item, c]
                partial[item, 0, c] += away
                partial[item, 1, c] += away * away
    every = pixels * (lanes // channels)
    for item in range(chunks):
        count = np.float64(min(chunk, pixels - item * chunk))
        for beside in range(0, lanes, channels):
            for c in range(channels):
                lane = beside + c
                # from here on `partial` is the chunk's mean, less the first chunk's centre, and its squares about it
                away = partial[item, 0, lane] / count
                partial[item, 0, lane] = centres[item, lane] - np.float64(centres[0, c]) + away
                partial[item, 1, lane] -= away * away * count
                mean[c] += partial[item, 0, lane] * (count / every)
    for item in range(chunks):
        count = np.float64(min(chunk, pixels - item * chunk))
        for beside in range(0, lanes, channels):
            for c in range(channels):
                away = partial[item, 0, beside + c] - mean[c]
                var[c] += partial[item, 1, beside + c] + away * away * count
    for c in range(channels):
        mean[c] += centres[0, c]
        average = var[c] / every
        var[c] = 0.0 if average < 0 else average


@of_channels_last_maps
def batch_norm2d(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> Array:
    """The same formula for the batch's own statistics (training) and for fixed ones (evaluation)."""
    y = empty_channels_last(x.shape, x.dtype)
    scale = gamma / np.sqrt(var + x.dtype.type(eps))
    rows = folded(x, 1)[0]
    line = repeated(np.array([mean, scale, beta]), rows.shape[1])
    _batch_norm2d(rows, line, _limits(activation, x.dtype), folded(y, 1)[0])
    return y


@compiled(terms=1)
def _batch_norm2d(x, line, limits, y):
    """y[m, c] = (x[m, c] - mean[c]) * scale[c] + beta[c], but not beyond the limits."""
    pixels, lanes = x.shape
    low, high = limits[0], limits[1]
    for m in prange(pixels):
        for c in range(lanes):
            value = (x[m, c] - line[0, c]) * line[1, c] + line[2, c]
            y[m, c] = low if value <= low else high if value >= high else value


@of_channels_last_maps
def batch_norm2d_batch(
    x: Array, gamma: Array, beta: Array, eps: float, activation: str | None
) -> tuple[Array, Array, Array]:
    """y, and the batch's mean and biased var that it is made with: to the bit those of the two above."""
    mean, var = batch_statistics2d(x)
    return batch_norm2d(x, gamma, beta, mean, var, eps, activation), mean, var


@of_channels_last_maps
def batch_norm2d_batch_grad(
    dy: Array,
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    eps: float,
    activation: str | None,
) -> tuple[Array, Array, Array]:
    """dx, dgamma, dbeta where mean and var are those of x itself, so that x moves them too."""
    return _grad(dy, x, gamma, beta, mean, var + x.dtype.type(eps), activation, True)


@of_channels_last_maps
def batch_norm2d_fixed_grad(
    dy: Array,
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    eps: float,
    activation: str | None,
) -> tuple[Array, Array, Array, Array, Array]:
    """dx, dgamma, dbeta, dmean, dvar where mean and var are constants of their own."""
    variance = var + x.dtype.type(eps)
    dx, dgamma, dbeta = _grad(dy, x, gamma, beta, mean, variance, activation, False)
    return dx, dgamma, dbeta, -(gamma / np.sqrt(variance)) * dbeta, -gamma * dgamma / (2 * variance)


def _grad(
    dy: Array,
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    variance: Array,
    activation: str | None,
    from_batch: bool,
) -> tuple[Array, Array, Array]:
    """dx, dgamma, dbeta; `from_batch` where x moves the statistics."""
    dx, std = empty_channels_last(x.shape, x.dtype), np.sqrt(variance)
    line, limits = np.array([mean, gamma / std, beta]), _limits(activation, x.dtype)
    (dbeta,), (product,) = gradient_sums(dy, x, line, limits, 1)
    # a sum of nothing is 0, also where std is NaN
    dgamma = product / std if len(x) else product
    count = max(1, x.size // x.shape[1])
    along = np.array([dbeta / count, product / count / np.square(std, dtype=np.float64)])
    rows = folded(x, 1)[0]
    line, along = (repeated(v.astype(x.dtype, copy=False), rows.shape[1]) for v in (line, along))
    _batch_norm2d_grad(folded(dy, 1)[0], rows, line, limits, along, from_batch, folded(dx, 1)[0])
    return dx, dgamma.astype(x.dtype), dbeta.astype(x.dtype)


@compiled(terms=1)
def _batch_norm2d_grad(dy, x, line, limits, along, from_batch, dx):
    """dx[m, c] = scale[c] * (g[m, c] - along[0, c] - (x[m, c] - mean[c]) * along[1, c]), or without what is along."""
    pixels, lanes = x.shape
    low, high, zero = limits[0], limits[1], x.dtype.type(0)
    for m in prange(pixels):
        if from_batch:
            for c in range(lanes):
                away = x[m, c] - line[0, c]
                value = away * line[1, c] + line[2, c]
                number = dy[m, c]
                g = zero if (value <= low) | (value >= high) else number
                dx[m, c] = line[1, c] * (g - along[0, c] - away * along[1, c])
        else:
            for c in range(lanes):
                value = (x[m, c] - line[0, c]) * line[1, c] + line[2, c]
                number = dy[m, c]
                g = zero if (value <= low) | (value >= high) else number
                dx[m, c] = line[1, c] * g


@functools.lru_cache
def _limits(activation: str | None, dtype: np.dtype[Any]) -> Array:
    """Between which values the activation is the identity, of that dtype. Nothing compares with NaN, so that is no limit."""
    limits = {None: (math.nan, math.nan), "relu": (0.0, math.nan), "relu6": (0.0, 6.0)}
    return np.array(limits[activation], dtype)
