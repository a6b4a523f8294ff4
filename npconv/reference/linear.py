"""The fully connected layer: y[n,o] = sum over c of x[n,c] * w[o,c], plus b[o]."""

from __future__ import annotations

from npconv.geometry import Array
from npconv.reference.sums import channel_sums


def linear(x: Array, w: Array, b: Array | None) -> Array:
    """One matrix product."""
    y = x @ w.T
    return y if b is None else y + b


def linear_input_grad(dy: Array, w: Array) -> Array:
    """dx[n,c] = sum over o of dy[n,o] * w[o,c]."""
    return dy @ w


def linear_weight_grad(dy: Array, x: Array) -> Array:
    """dw[o,c] = sum over n of dy[n,o] * x[n,c]."""
    return dy.T @ x


def linear_bias_grad(dy: Array) -> Array:
    """db[o] = sum over n of dy[n,o]."""
    return channel_sums(dy)
