"""Batch normalisation: y[n,c,h,w] = gamma[c] * xhat + beta[c], where xhat = (x[n,c,h,w] - mean[c]) / sqrt(var[c] + eps).

`activation`, None, "relu" or "relu6", is applied to that y in the same sweep. The gradients make y again where they need
it, which costs less than reading it.

One thread per channel, and plane after plane: what one sweep over a channel has read, the next often finds in the cache.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from npconv.geometry import Array
from npconv.kernels.compiling import compiled, contiguous
from npconv.kernels.rows import planes, row_sum, summing


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
    batch, channels, pixels = x.shape
    count = batch * pixels
    for c in prange(channels):
        centre = row_sum(x[0, c]) / pixels
        total, total_deviation, total_square = 0.0, 0.0, 0.0
        for n in range(batch):
            plane, deviation, square = _sums_about(x[n, c], centre)
            total += plane
            total_deviation += deviation
            total_square += square
        mean[c], var[c] = total / count, max(total_square / count - (total_deviation / count) ** 2, 0.0)


def batch_norm2d(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> Array:
    """The same formula for the batch's own statistics (training) and for fixed ones (evaluation)."""
    y = np.empty(x.shape, x.dtype)
    scale = gamma / np.sqrt(var + x.dtype.type(eps))
    _batch_norm2d(planes(x), contiguous(mean), scale, contiguous(beta), _limits(activation, x), planes(y))
    return y


@compiled
def _batch_norm2d(x, mean, scale, beta, limits, y):
    batch, channels, pixels = x.shape
    for plane in prange(batch * channels):
        n, c = np.int64(plane) // channels, np.int64(plane) % channels
        centre, slope, start, low, high = mean[c], scale[c], beta[c], limits[0], limits[1]
        for i in range(pixels):
            value = _line(x[n, c, i], centre, slope, start)
            y[n, c, i] = low if value <= low else high if value >= high else value


def batch_norm2d_batch_grad(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> tuple[Array, Array, Array]:
    """dx, dgamma, dbeta where mean and var are those of x itself, so that x moves them too."""
    dx, dgamma, dbeta = np.empty(x.shape, x.dtype), np.empty_like(gamma), np.empty_like(gamma)
    std = np.sqrt(var + x.dtype.type(eps))
    line = contiguous(mean), gamma / std, contiguous(beta)
    _batch_norm2d_batch_grad(planes(dy), planes(x), *line, _limits(activation, x), std, planes(dx), dgamma, dbeta)
    return dx, dgamma, dbeta


@compiled
def _batch_norm2d_batch_grad(dy, x, mean, scale, beta, limits, std, dx, dgamma, dbeta):
    batch, channels, pixels = x.shape
    count = batch * pixels
    for c in prange(channels):
        centre, slope, start, low, high = mean[c], scale[c], beta[c], limits[0], limits[1]
        sum_dy, sum_product = 0.0, 0.0
        for n in range(batch):
            _before_activation(dy[n, c], x[n, c], centre, slope, start, low, high, dx[n, c])
            plane, product = _gradient_sums(dx[n, c], x[n, c], centre)
            sum_dy += plane
            sum_product += product
        dbeta[c], dgamma[c] = sum_dy, sum_product / std[c]
        along_one = x.dtype.type(sum_dy / count)
        along_x = x.dtype.type(sum_product / count / (np.float64(std[c]) * std[c]))
        for n in range(batch):
            for i in range(pixels):
                dx[n, c, i] = slope * (dx[n, c, i] - along_one - (x[n, c, i] - centre) * along_x)


def batch_norm2d_fixed_grad(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> tuple[Array, Array, Array, Array, Array]:
    """dx, dgamma, dbeta, dmean, dvar where mean and var are constants of their own."""
    dx, dgamma, dbeta = np.empty(x.shape, x.dtype), np.empty_like(gamma), np.empty_like(gamma)
    variance = var + x.dtype.type(eps)
    std = np.sqrt(variance)
    scale = gamma / std
    line = contiguous(mean), scale, contiguous(beta)
    _batch_norm2d_fixed_grad(planes(dy), planes(x), *line, _limits(activation, x), std, planes(dx), dgamma, dbeta)
    return dx, dgamma, dbeta, -scale * dbeta, -gamma * dgamma / (2 * variance)


@compiled
def _batch_norm2d_fixed_grad(dy, x, mean, scale, beta, limits, std, dx, dgamma, dbeta):
    batch, channels, pixels = x.shape
    for c in prange(channels):
        centre, slope, start, low, high = mean[c], scale[c], beta[c], limits[0], limits[1]
        sum_dy, sum_product = 0.0, 0.0
        for n in range(batch):
            _before_activation(dy[n, c], x[n, c], centre, slope, start, low, high, dx[n, c])
            plane, product = _gradient_sums(dx[n, c], x[n, c], centre)
            sum_dy += plane
            sum_product += product
            for i in range(pixels):
                dx[n, c, i] *= slope
        dbeta[c], dgamma[c] = sum_dy, sum_product / std[c] if batch else 0.0  # a sum of nothing, also where std is NaN


def _limits(activation: str | None, x: Array) -> Array:
    """Between which values the activation is the identity, of x's dtype. Nothing compares with NaN, so that is no limit."""
    limits = {None: (math.nan, math.nan), "relu": (0.0, math.nan), "relu6": (0.0, 6.0)}
    return np.array(limits[activation], x.dtype)


@njit(error_model="numpy")
def _line(x, centre, slope, start):
    """The y of one x before the activation: forward and gradient agree to the last bit on which side of a limit it is."""
    return (x - centre) * slope + start


@njit(error_model="numpy")
def _before_activation(dy, x, centre, slope, start, low, high, before):
    """The gradient before the activation over one plane, dy being that behind it."""
    zero = dy.dtype.type(0)
    for i in range(x.size):
        value = _line(x[i], centre, slope, start)
        before[i] = zero if (value <= low) | (value >= high) else dy[i]


@summing
def _sums_about(plane, centre):
    """The sums of x, x - centre and (x - centre)^2 over one plane."""
    total, deviation, square = 0.0, 0.0, 0.0
    for i in range(plane.size):
        value = np.float64(plane[i])
        total += value
        deviation += value - centre
        square += (value - centre) * (value - centre)
    return total, deviation, square


@summing
def _gradient_sums(dy, x, centre):
    """The sums of dy and dy * (x - centre) over one plane."""
    total, product = 0.0, 0.0
    for i in range(dy.size):
        total += dy[i]
        product += np.float64(dy[i]) * np.float64(x[i] - centre)
    return total, product
