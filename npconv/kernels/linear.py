"""The fully connected layer: y[n,o] = sum over c of x[n,c] * w[o,c], plus b[o]."""

from __future__ import annotations

import numpy as np
from numba import prange

from npconv.geometry import Array
from npconv.kernels.compiling import compiled, contiguous


def linear(x: Array, w: Array, b: Array | None) -> Array:
    """One thread per output feature. A missing bias is a bias of 0."""
    y = np.empty((len(x), len(w)), x.dtype)
    _linear(contiguous(x), contiguous(w), contiguous(np.zeros(len(w), x.dtype) if b is None else b), y)
    return y


@compiled
def _linear(x, w, b, y):
    batch, in_features = x.shape
    for o in prange(len(w)):
        for n in range(batch):
            total = 0.0
            for c in range(in_features):
                total += x[n, c] * w[o, c]
            y[n, o] = total + b[o]


def linear_input_grad(dy: Array, w: Array) -> Array:
    """dx[n,c] = sum over o of dy[n,o] * w[o,c]. One thread per image."""
    dx = np.zeros((len(dy), w.shape[1]), dy.dtype)
    _sum_of_outer_products(contiguous(dy), contiguous(w), dx)
    return dx


def linear_weight_grad(dy: Array, x: Array) -> Array:
    """dw[o,c] = sum over n of dy[n,o] * x[n,c]. One thread per output feature."""
    dw = np.zeros((dy.shape[1], x.shape[1]), dy.dtype)
    _sum_of_outer_products(contiguous(dy.T), contiguous(x), dw)
    return dw


@compiled
def _sum_of_outer_products(left, right, total):
    for i in prange(len(left)):
        for k in range(len(right)):
            for j in range(right.shape[1]):
                total[i, j] += left[i, k] * right[k, j]


def linear_bias_grad(dy: Array) -> Array:
    """db[o] = sum over n of dy[n,o]. One thread per output feature."""
    db = np.empty(dy.shape[1], dy.dtype)
    _linear_bias_grad(contiguous(dy), db)
    return db


@compiled
def _linear_bias_grad(dy, db):
    for o in prange(len(db)):
        total = 0.0
        for n in range(len(dy)):
            total += dy[n, o]
        db[o] = total
