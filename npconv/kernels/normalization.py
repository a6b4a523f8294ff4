"""Batch normalisation: y[n,c,h,w] = gamma[c] * xhat + beta[c], where xhat = (x[n,c,h,w] - mean[c]) / sqrt(var[c] + eps).

`activation`, None, "relu" or "relu6", is applied to that y in the same sweep. The gradients make y again where they need
it, which costs less than reading it. The statistics are one sweep, y another; the gradients are two, the sums and dx.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numba import njit, prange

from npconv.geometry import Array
from npconv.kernels.channel_sums import EIGHT, chunk_of, folded
from npconv.kernels.jit import compiled, contiguous
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
    mean, var = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    _batch_statistics2d(rows, chunk_of(rows.shape[1]), mean, var)
    return mean, var


@compiled(terms=1)
def _batch_statistics2d(x, chunk, narrow_mean, narrow_var):
    """mean[c] = mean over m of x[m, c], var[c] = mean of (x[m, c] - mean[c])^2; partial: the sums about a chunk's centre."""
    pixels, lanes = x.shape
    channels, chunks = len(narrow_mean), -(-pixels // chunk)
    zero = x.dtype.type(0)
    centres, partial = np.empty((chunks, lanes), x.dtype), np.empty((chunks, 2, lanes))
    mean, var = np.zeros(channels), np.zeros(channels)
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
        average = var[c] / every
        narrow_mean[c] = mean[c] + centres[0, c]
        narrow_var[c] = 0.0 if average < 0 else average


@of_channels_last_maps
def batch_norm2d(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> Array:
    """The same formula for the batch's own statistics (training) and for fixed ones (evaluation)."""
    y = empty_channels_last(x.shape, x.dtype)
    statistics = contiguous(mean), contiguous(var), x.dtype.type(eps)
    _batch_norm2d(
        folded(x, 1)[0], contiguous(gamma), contiguous(beta), *statistics, _limits(activation, x.dtype), folded(y, 1)[0]
    )
    return y


@compiled(terms=1)
def _batch_norm2d(x, gamma, beta, mean, var, eps, limits, y):
    """y[m, c] = (x[m, c] - mean[c]) * scale[c] + beta[c], but not beyond the limits."""
    pixels, lanes = x.shape
    low, high = limits[0], limits[1]
    line = _line(gamma, beta, mean, var, eps, lanes)
    for m in prange(pixels):
        for c in range(lanes):
            value = (x[m, c] - line[0, c]) * line[1, c] + line[2, c]
            y[m, c] = low if value <= low else high if value >= high else value


@njit
def _line(gamma, beta, mean, var, eps, lanes):
    """(3, lanes): mean, slope and beta of y = (x - mean) * slope + beta, of each channel as often as `folded` has it."""
    channels = len(gamma)
    line = np.empty((3, lanes), gamma.dtype)
    for beside in range(0, lanes, channels):
        for c in range(channels):
            line[0, beside + c] = mean[c]
            line[1, beside + c] = gamma[c] / np.sqrt(var[c] + eps)
            line[2, beside + c] = beta[c]
    return line


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
    return _grad(dy, x, gamma, beta, mean, var, eps, activation, True)


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
    dx, dgamma, dbeta = _grad(dy, x, gamma, beta, mean, var, eps, activation, False)
    return dx, dgamma, dbeta, -(gamma / np.sqrt(variance)) * dbeta, -gamma * dgamma / (2 * variance)


def _grad(
    dy: Array,
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    eps: float,
    activation: str | None,
    from_batch: bool,
) -> tuple[Array, Array, Array]:
    """dx, dgamma, dbeta; `from_batch` where x moves the statistics."""
    dx, dgamma, dbeta = (
        empty_channels_last(x.shape, x.dtype), np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    )  # fmt: skip
    given, rows = folded(dy, 1)[0], folded(x, 1)[0]
    parameters = contiguous(gamma), contiguous(beta), contiguous(mean), contiguous(var), x.dtype.type(eps)
    limits, sums = _limits(activation, x.dtype), np.empty((2, x.shape[1]))
    _gradient_sums(given, rows, *parameters, limits, chunk_of(rows.shape[1]), sums)
    _batch_norm2d_grad(given, rows, *parameters, limits, sums, from_batch, folded(dx, 1)[0], dgamma, dbeta)
    return dx, dgamma, dbeta


@compiled(terms=1)
def _gradient_sums(dy, x, gamma, beta, mean, var, eps, limits, chunk, sums):
    """sums[0, c] = sum over m of g[m, c], sums[1, c] = sum over m of g[m, c] * (x[m, c] - mean[c]).

    g is dy, but 0 where y is at one of the limits or beyond, which are NaN where there are none.
    """
    pixels, lanes = x.shape
    channels, chunks = len(gamma), -(-pixels // chunk)
    low, high, zero = limits[0], limits[1], x.dtype.type(0)
    line, partial = _line(gamma, beta, mean, var, eps, lanes), np.empty((chunks, 2, lanes))
    for item in prange(chunks):
        first = np.int64(item) * chunk
        last = min(first + chunk, pixels)
        whole = first + (last - first) // EIGHT * EIGHT
        sum_g, product = np.empty(lanes, x.dtype), np.empty(lanes, x.dtype)
        for c in range(lanes):
            partial[item, 0, c] = 0.0
            partial[item, 1, c] = 0.0
        for m in range(np.uint64(first), np.uint64(whole), np.uint64(EIGHT)):
            for c in range(lanes):
                sum_g[c], product[c] = zero, zero
            for k in range(np.uint64(EIGHT)):
                for c in range(lanes):
                    away, number = x[m + k, c] - line[0, c], dy[m + k, c]
                    value = away * line[1, c] + line[2, c]
                    g = zero if (value <= low) | (value >= high) else number
                    sum_g[c] += g
                    product[c] += g * away
            for c in range(lanes):
                partial[item, 0, c] += sum_g[c]
                partial[item, 1, c] += product[c]
        for m in range(whole, last):
            for c in range(lanes):
                away = x[m, c] - line[0, c]
                value = away * line[1, c] + line[2, c]
                g = zero if (value <= low) | (value >= high) else dy[m, c]
                partial[item, 0, c] += g
                partial[item, 1, c] += g * away
    sums[:] = 0.0
    for item in range(chunks):
        for beside in range(0, lanes, channels):
            for c in range(channels):
                sums[0, c] += partial[item, 0, beside + c]
                sums[1, c] += partial[item, 1, beside + c]


@compiled(terms=1)
def _batch_norm2d_grad(dy, x, gamma, beta, mean, var, eps, limits, sums, from_batch, dx, dgamma, dbeta):
    """dx[m, c] = scale[c] * (g[m, c] - along[0, c] - (x[m, c] - mean[c]) * along[1, c]), or without what is along."""
    pixels, lanes = x.shape
    low, high, zero = limits[0], limits[1], x.dtype.type(0)
    channels, line = len(gamma), _line(gamma, beta, mean, var, eps, lanes)
    along, count = np.empty((2, lanes), x.dtype), np.float64(max(1, pixels * (lanes // channels)))
    for c in range(channels):
        std = np.sqrt(var[c] + eps)
        dbeta[c] = sums[0, c]
        dgamma[c] = sums[1, c] / std if pixels > 0 else 0.0  # a sum of nothing is 0, also where std is NaN
        for beside in range(c, lanes, channels):
            along[0, beside] = sums[0, c] / count
            along[1, beside] = sums[1, c] / count / (np.float64(std) * np.float64(std))
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
