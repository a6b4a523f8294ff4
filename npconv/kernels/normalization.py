"""Batch normalisation: y[n,c,h,w] = gamma[c] * xhat + beta[c], where xhat = (x[n,c,h,w] - mean[c]) / sqrt(var[c] + eps).

`activation`, None, "relu" or "relu6", is applied to that y in the same sweep. The gradients make y again where they need
it, which costs less than reading it.

One thread per channel, and plane after plane: what one sweep over a channel has read, the next often finds in the cache. The
planes of a channel lie far apart, where no processor looks ahead by itself; asking for the next stretch before each one takes a
third off a forward whose numbers come from memory (64 x 32 maps of 32 x 32, 2 threads: 0.84 ms for 1.18).
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numba import njit, prange

from npconv.geometry import Array
from npconv.kernels.jit import compiled, contiguous
from npconv.kernels.moments import gradient_sums, line_gradient_run, line_run, sums_about
from npconv.kernels.rows import images, planes, row_sum
from npconv.kernels.simd import prefetch_run
from npconv.memory import empty

STRETCH = 1024  # numbers of a plane at a time: what is asked for ahead has to stay in the first cache


def batch_statistics2d(x: Array) -> tuple[Array, Array]:
    """One sweep, with sums in float64 about the mean of the channel's first plane, so that a large mean costs no digits.

    The mean of one of N planes is within sqrt(N) standard deviations of the mean of all, whatever x holds: taking it off
    the squares afterwards costs at most a factor of N + 1 in the rounding error.
    """
    mean, var = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    _batch_statistics2d(planes(x), mean, var)
    return mean, var


@compiled
def _batch_statistics2d(x, mean, var):
    for c in prange(x.shape[1]):
        mean[c], var[c] = _statistics(x, c)


def batch_norm2d(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> Array:
    """The same formula for the batch's own statistics (training) and for fixed ones (evaluation)."""
    y = empty(x.shape, x.dtype)
    scale = gamma / np.sqrt(var + x.dtype.type(eps))
    _batch_norm2d(planes(x), contiguous(mean), scale, contiguous(beta), _limits(activation, x.dtype), planes(y))
    return y


@compiled
def _batch_norm2d(x, mean, scale, beta, limits, y):
    batch, channels, pixels = x.shape
    flat_x, flat_y = x.reshape(x.size), y.reshape(y.size)
    for plane in prange(batch * channels):
        at, c = np.int64(plane) * pixels, np.int64(plane) % channels
        line_run(flat_x, at, pixels, mean[c], scale[c], beta[c], limits[0], limits[1], flat_y)


def batch_norm2d_batch(
    x: Array, gamma: Array, beta: Array, eps: float, activation: str | None
) -> tuple[Array, Array, Array]:
    """y, and the batch's mean and biased var that it is made with, to the bit those of the two above in one go over memory."""
    y = empty(x.shape, x.dtype)
    mean, var = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    line = contiguous(gamma), contiguous(beta), np.asarray([eps], x.dtype), _limits(activation, x.dtype)
    _batch_norm2d_batch(planes(x), *line, planes(y), mean, var)
    return y, mean, var


@compiled
def _batch_norm2d_batch(x, gamma, beta, eps, limits, y, mean, var):
    batch, channels, pixels = x.shape
    image = channels * pixels
    flat_x, flat_y = x.reshape(x.size), y.reshape(y.size)
    for c in prange(channels):
        mean[c], var[c] = _statistics(x, c)
        scale = gamma[c] / np.sqrt(var[c] + eps[0])
        for n in range(batch):
            for first in range(0, pixels, STRETCH):
                last = min(first + STRETCH, pixels)
                _ask_for_next(flat_x, image, n, c, last, x.shape)
                _ask_for_next(flat_y, image, n, c, last, x.shape)
                at = (n * channels + c) * pixels + first
                line_run(flat_x, at, last - first, mean[c], scale, beta[c], limits[0], limits[1], flat_y)


def batch_norm2d_batch_grad(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> tuple[Array, Array, Array]:
    """dx, dgamma, dbeta where mean and var are those of x itself, so that x moves them too."""
    return _grad(dy, x, gamma, beta, mean, var + x.dtype.type(eps), activation, True)


def batch_norm2d_fixed_grad(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
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
    dx, dgamma, dbeta = empty(x.shape, x.dtype), np.empty_like(gamma), np.empty_like(gamma)
    std = np.sqrt(variance)
    line = contiguous(mean), gamma / std, contiguous(beta)
    limits = _limits(activation, x.dtype)
    _batch_norm2d_grad(*images(dy), planes(x), *line, limits, std, from_batch, planes(dx), dgamma, dbeta)
    return dx, dgamma, dbeta


@compiled
def _batch_norm2d_grad(dy, dy_image, x, mean, scale, beta, limits, std, from_batch, dx, dgamma, dbeta):
    batch, channels, pixels = x.shape
    count = batch * pixels
    image = channels * pixels
    flat_x, flat_dx = x.reshape(x.size), dx.reshape(dx.size)
    for c in prange(channels):
        centre, slope, shift, low, high = mean[c], scale[c], beta[c], limits[0], limits[1]
        zero = x.dtype.type(0)
        sum_dy, sum_product = 0.0, 0.0
        for n in range(batch):
            for first in range(0, pixels, STRETCH):
                last = min(first + STRETCH, pixels)
                _ask_for_next(dy, dy_image, n, c, last, x.shape)
                _ask_for_next(flat_x, image, n, c, last, x.shape)
                at, dy_at = n * image + c * pixels + first, n * dy_image + c * pixels + first
                part, product = gradient_sums(dy, dy_at, flat_x, at, last - first, centre, slope, shift, low, high)
                sum_dy += part
                sum_product += product
        dbeta[c], dgamma[c] = sum_dy, sum_product / std[c] if batch else 0.0  # a sum of nothing, also where std is NaN
        along_one = x.dtype.type(sum_dy / count)
        along_x = x.dtype.type(sum_product / count / (np.float64(std[c]) * std[c]))
        for n in range(batch):
            for first in range(0, pixels, STRETCH):
                last = min(first + STRETCH, pixels)
                _ask_for_next(dy, dy_image, n, c, last, x.shape)
                _ask_for_next(flat_x, image, n, c, last, x.shape)
                _ask_for_next(flat_dx, image, n, c, last, x.shape)
                at, dy_at, size = n * image + c * pixels + first, n * dy_image + c * pixels + first, last - first
                line = centre, slope, shift, low, high
                if from_batch:
                    line_gradient_run(dy, dy_at, flat_x, at, size, *line, along_one, along_x, flat_dx)
                else:
                    for i in range(size):
                        value = (flat_x[at + i] - centre) * slope + shift
                        flat_dx[at + i] = slope * (zero if (value <= low) | (value >= high) else dy[dy_at + i])


@functools.lru_cache
def _limits(activation: str | None, dtype: np.dtype[Any]) -> Array:
    """Between which values the activation is the identity, of that dtype. Nothing compares with NaN, so that is no limit."""
    limits = {None: (math.nan, math.nan), "relu": (0.0, math.nan), "relu6": (0.0, 6.0)}
    return np.array(limits[activation], dtype)


@njit(error_model="numpy")
def _statistics(x, c):
    """The mean and biased variance of a channel."""
    batch, channels, pixels = x.shape
    count, image = batch * pixels, channels * pixels
    flat = x.reshape(x.size)
    centre = x.dtype.type(row_sum(x[0, c]) / pixels)
    if not np.isfinite(centre):  # infinity less infinity is NaN, where the mean is infinite
        centre = x.dtype.type(0)
    deviation, square = 0.0, 0.0
    for n in range(batch):
        for first in range(0, pixels, STRETCH):
            last = min(first + STRETCH, pixels)
            _ask_for_next(flat, image, n, c, last, x.shape)
            part, part_square = sums_about(flat, (n * channels + c) * pixels + first, last - first, centre)
            deviation += part
            square += part_square
    return centre + deviation / count, max(square / count - (deviation / count) ** 2, 0.0)


@njit(error_model="numpy")
def _ask_for_next(array, image, n, c, last, shape):
    """Ask for the stretch of the channel that comes after pixel `last` of image n, maybe that of the next image."""
    _, _, pixels = shape
    if last == pixels:
        n, last = n + 1, 0
    prefetch_run(array, n * image + c * pixels + last, min(STRETCH, pixels - last))
