"""Batch normalisation: y[n,c,h,w] = gamma[c] * xhat + beta[c], where xhat = (x[n,c,h,w] - mean[c]) / sqrt(var[c] + eps).

`activation`, None, "relu" or "relu6", is applied to that y. The gradients take theirs at y, which x gives again.
"""

from __future__ import annotations

import numpy as np

from npconv.geometry import Array
from npconv.reference.activations import activated, activated_input_grad
from npconv.reference.sums import channel_means, channel_sums


def batch_statistics2d(x: Array) -> tuple[Array, Array]:
    """mean[c] and biased var[c] = mean of (x - mean)^2 over n, h, w: two passes, so that a large mean costs no digits."""
    mean = channel_means(x)
    centred = x - mean[:, None, None]
    return mean, channel_means(np.square(centred))


def batch_norm2d(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> Array:
    """The same formula for the batch's own statistics (training) and for fixed ones (evaluation)."""
    return activated(_xhat(x, mean, var, eps) * gamma[:, None, None] + beta[:, None, None], activation)


def batch_norm2d_batch(
    x: Array, gamma: Array, beta: Array, eps: float, activation: str | None
) -> tuple[Array, Array, Array]:
    """y, and the batch's mean and biased var that it is made with."""
    mean, var = batch_statistics2d(x)
    return batch_norm2d(x, gamma, beta, mean, var, eps, activation), mean, var


def batch_norm2d_batch_grad(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> tuple[Array, Array, Array]:
    """dx, dgamma, dbeta where mean and var are those of x itself, so that x moves them too.

    xhat is x made to have mean 0 and variance 1 per channel: moving x along 1 or along xhat cannot change it. So dx is
    (gamma / std) * dy less its parts along those two: dy - mean(dy) - xhat * mean(dy * xhat), means over n, h, w.
    """
    xhat = _xhat(x, mean, var, eps)
    dy = activated_input_grad(dy, xhat * gamma[:, None, None] + beta[:, None, None], activation)
    dgamma = channel_sums(dy * xhat)
    dbeta = channel_sums(dy)
    count = x.dtype.type(x.size // x.shape[1])
    scale = gamma / np.sqrt(var + x.dtype.type(eps))
    along = (dbeta / count)[:, None, None] + xhat * (dgamma / count)[:, None, None]
    return scale[:, None, None] * (dy - along), dgamma, dbeta


def batch_norm2d_fixed_grad(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> tuple[Array, Array, Array, Array, Array]:
    """dx, dgamma, dbeta, dmean, dvar where mean and var are constants of their own.

    With scale = gamma / sqrt(var + eps): y moves by scale per x, by -scale per mean, and, since
    d(var + eps)^(-1/2) = -(var + eps)^(-3/2) / 2, by -gamma * xhat / (2 * (var + eps)) per var.
    """
    xhat = _xhat(x, mean, var, eps)
    dy = activated_input_grad(dy, xhat * gamma[:, None, None] + beta[:, None, None], activation)
    dgamma = channel_sums(dy * xhat)
    dbeta = channel_sums(dy)
    variance = var + x.dtype.type(eps)
    scale = gamma / np.sqrt(variance)
    return scale[:, None, None] * dy, dgamma, dbeta, -scale * dbeta, -gamma * dgamma / (2 * variance)


def _xhat(x: Array, mean: Array, var: Array, eps: float) -> Array:
    std = np.sqrt(var + x.dtype.type(eps))
    return (x - mean[:, None, None]) / std[:, None, None]
