"""The networks' activations, on arrays of any shape. At a kink the gradient is the flat side's; a NaN is on no flat side."""

from __future__ import annotations

import numpy as np

from npconv.geometry import Array


def relu(x: Array) -> Array:
    """max(x, 0)."""
    return np.where(x <= 0, x.dtype.type(0), x)


def relu_input_grad(dy: Array, x: Array) -> Array:
    """Slope 1 above 0, else 0."""
    return np.where(x <= 0, dy.dtype.type(0), dy)


def relu6(x: Array) -> Array:
    """min(max(x, 0), 6)."""
    return np.where(x <= 0, x.dtype.type(0), np.where(x >= 6, x.dtype.type(6), x))


def relu6_input_grad(dy: Array, x: Array) -> Array:
    """Slope 1 between 0 and 6, else 0."""
    return np.where((x <= 0) | (x >= 6), dy.dtype.type(0), dy)


def hard_sigmoid(x: Array) -> Array:
    """relu6(x + 3) / 6: 0 up to -3, 1 from 3 on, a straight line between."""
    return relu6(x + x.dtype.type(3)) / x.dtype.type(6)


def hard_sigmoid_input_grad(dy: Array, x: Array) -> Array:
    """Slope 1/6 between -3 and 3, else 0."""
    return np.where((x <= -3) | (x >= 3), dy.dtype.type(0), dy / dy.dtype.type(6))


def hard_swish(x: Array) -> Array:
    """x * relu6(x + 3) / 6: 0 up to -3, x from 3 on."""
    return x * hard_sigmoid(x)


def hard_swish_input_grad(dy: Array, x: Array) -> Array:
    """Slope 0 up to -3, 1 from 3 on, and (2x + 3) / 6 between: the derivative of x * (x + 3) / 6."""
    between = (2 * x + x.dtype.type(3)) / x.dtype.type(6)
    return np.where(x <= -3, dy.dtype.type(0), np.where(x >= 3, dy, dy * between))


def activated(y: Array, activation: str | None) -> Array:
    """What is applied to a result in the same sweep: "relu", "relu6", or None for nothing."""
    match activation:
        case "relu":
            return relu(y)
        case "relu6":
            return relu6(y)
    return y


def activated_input_grad(dy: Array, seen: Array, activation: str | None) -> Array:
    """dy at the result before its activation, which is seen in the result before it or after it: it is flat at the same places."""
    match activation:
        case "relu":
            return relu_input_grad(dy, seen)
        case "relu6":
            return relu6_input_grad(dy, seen)
    return dy
