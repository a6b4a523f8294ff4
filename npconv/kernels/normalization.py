"""Batch normalisation: y[n,c,h,w] = gamma[c] * xhat + beta[c], where xhat = (x[n,c,h,w] - mean[c]) / sqrt(var[c] + eps)."""

from __future__ import annotations

import numpy as np
from numba import prange

from npconv.geometry import Array
from npconv.kernels.compiling import compiled, contiguous


def batch_statistics2d(x: Array) -> tuple[Array, Array]:
    """One thread per channel; two passes with sums in float64, so that a large mean costs no digits."""
    mean, var = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    _batch_statistics2d(contiguous(x), mean, var)
    return mean, var


@compiled
def _batch_statistics2d(x, mean, var):
    batch, channels, height, width = x.shape
    count = batch * height * width
    for c in prange(channels):
        total = 0.0
        for n in range(batch):
            for h in range(height):
                for v in range(width):
                    total += x[n, c, h, v]
        centre = total / count
        total = 0.0
        for n in range(batch):
            for h in range(height):
                for v in range(width):
                    total += (x[n, c, h, v] - centre) ** 2
        mean[c], var[c] = centre, total / count


def batch_norm2d(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float) -> Array:
    """The same formula for the batch's own statistics (training) and for fixed ones (evaluation)."""
    y = np.empty(x.shape, x.dtype)
    arrays = (contiguous(array) for array in (x, gamma, beta, mean, var))
    _batch_norm2d(*arrays, x.dtype.type(eps), y)
    return y


@compiled
def _batch_norm2d(x, gamma, beta, mean, var, eps, y):
    batch, channels, height, width = x.shape
    for plane in prange(batch * channels):
        n, c = np.int64(plane) // channels, np.int64(plane) % channels
        std = np.sqrt(var[c] + eps)
        for h in range(height):
            for v in range(width):
                y[n, c, h, v] = (x[n, c, h, v] - mean[c]) / std * gamma[c] + beta[c]


def batch_norm2d_batch_grad(
    dy: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """dx, dgamma, dbeta where mean and var are those of x itself, so that x moves them too."""
    dx, dgamma, dbeta = np.empty(x.shape, x.dtype), np.empty_like(gamma), np.empty_like(gamma)
    arrays = (contiguous(array) for array in (dy, x, gamma, mean, var))
    _batch_norm2d_grad(*arrays, x.dtype.type(eps), True, dx, dgamma, dbeta)
    return dx, dgamma, dbeta


def batch_norm2d_fixed_grad(
    dy: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array, Array, Array]:
    """dx, dgamma, dbeta, dmean, dvar where mean and var are constants of their own."""
    dx, dgamma, dbeta = np.empty(x.shape, x.dtype), np.empty_like(gamma), np.empty_like(gamma)
    arrays = (contiguous(array) for array in (dy, x, gamma, mean, var))
    _batch_norm2d_grad(*arrays, x.dtype.type(eps), False, dx, dgamma, dbeta)
    variance = var + x.dtype.type(eps)
    return dx, dgamma, dbeta, -gamma / np.sqrt(variance) * dbeta, -gamma * dgamma / (2 * variance)


@compiled
def _batch_norm2d_grad(dy, x, gamma, mean, var, eps, own_statistics, dx, dgamma, dbeta):
    batch, channels, height, width = x.shape
    count = batch * height * width
    for c in prange(channels):
        std = np.sqrt(var[c] + eps)
        sum_dy, sum_dy_xhat = 0.0, 0.0
        for n in range(batch):
            for h in range(height):
                for v in range(width):
                    sum_dy += dy[n, c, h, v]
                    sum_dy_xhat += dy[n, c, h, v] * ((x[n, c, h, v] - mean[c]) / std)
        dgamma[c], dbeta[c] = sum_dy_xhat, sum_dy
        along_one, along_xhat = 0.0, 0.0
        if own_statistics:
            along_one, along_xhat = sum_dy / count, sum_dy_xhat / count
        for n in range(batch):
            for h in range(height):
                for v in range(width):
                    xhat = (x[n, c, h, v] - mean[c]) / std
                    dx[n, c, h, v] = gamma[c] / std * (dy[n, c, h, v] - along_one - xhat * along_xhat)
