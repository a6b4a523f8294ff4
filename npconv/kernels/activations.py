"""The networks' activations, on arrays of any shape. At a kink the gradient is the flat side's; a NaN is on no flat side."""

from __future__ import annotations

from collections.abc import Callable

from numba import prange

from npconv.geometry import Array
from npconv.kernels.jit import compiled
from npconv.kernels.orders import of_maps_in_one_order
from npconv.memory import empty_like, flat


@of_maps_in_one_order
def relu(x: Array) -> Array:
    """max(x, 0)."""
    return _map(_relu, x)


@compiled(terms=1)
def _relu(x, y):
    zero = x.dtype.type(0)
    for i in prange(x.size):
        y[i] = zero if x[i] <= zero else x[i]


@of_maps_in_one_order
def relu_input_grad(dy: Array, x: Array) -> Array:
    """Slope 1 above 0, else 0."""
    return _map(_relu_input_grad, dy, x)


@compiled(terms=1)
def _relu_input_grad(dy, x, dx):
    zero = x.dtype.type(0)
    for i in prange(x.size):
        dx[i] = zero if x[i] <= zero else dy[i]


@of_maps_in_one_order
def relu6(x: Array) -> Array:
    """min(max(x, 0), 6)."""
    return _map(_relu6, x)


@compiled(terms=1)
def _relu6(x, y):
    zero, six = x.dtype.type(0), x.dtype.type(6)
    for i in prange(x.size):
        y[i] = zero if x[i] <= zero else six if x[i] >= six else x[i]


@of_maps_in_one_order
def relu6_input_grad(dy: Array, x: Array) -> Array:
    """Slope 1 between 0 and 6, else 0."""
    return _map(_relu6_input_grad, dy, x)


@compiled(terms=1)
def _relu6_input_grad(dy, x, dx):
    zero, six = x.dtype.type(0), x.dtype.type(6)
    for i in prange(x.size):
        dx[i] = zero if (x[i] <= zero) | (x[i] >= six) else dy[i]


@of_maps_in_one_order
def hard_sigmoid(x: Array) -> Array:
    """relu6(x + 3) / 6: 0 up to -3, 1 from 3 on, a straight line between."""
    return _map(_hard_sigmoid, x)


@compiled(terms=1)
def _hard_sigmoid(x, y):
    zero, one, three, six = x.dtype.type(0), x.dtype.type(1), x.dtype.type(3), x.dtype.type(6)
    for i in prange(x.size):
        y[i] = zero if x[i] <= -three else one if x[i] >= three else (x[i] + three) / six


@of_maps_in_one_order
def hard_sigmoid_input_grad(dy: Array, x: Array) -> Array:
    """Slope 1/6 between -3 and 3, else 0."""
    return _map(_hard_sigmoid_input_grad, dy, x)


@compiled(terms=1)
def _hard_sigmoid_input_grad(dy, x, dx):
    zero, three, six = x.dtype.type(0), x.dtype.type(3), x.dtype.type(6)
    for i in prange(x.size):
        dx[i] = zero if (x[i] <= -three) | (x[i] >= three) else dy[i] / six


@of_maps_in_one_order
def hard_swish(x: Array) -> Array:
    """x * relu6(x + 3) / 6: 0 up to -3, x from 3 on."""
    return _map(_hard_swish, x)


@compiled(terms=1)
def _hard_swish(x, y):
    zero, one, three, six = x.dtype.type(0), x.dtype.type(1), x.dtype.type(3), x.dtype.type(6)
    for i in prange(x.size):
        y[i] = x[i] * (zero if x[i] <= -three else one if x[i] >= three else (x[i] + three) / six)


@of_maps_in_one_order
def hard_swish_input_grad(dy: Array, x: Array) -> Array:
    """Slope 0 up to -3, 1 from 3 on, and (2x + 3) / 6 between: the derivative of x * (x + 3) / 6."""
    return _map(_hard_swish_input_grad, dy, x)


@compiled(terms=1)
def _hard_swish_input_grad(dy, x, dx):
    zero, two, three, six = x.dtype.type(0), x.dtype.type(2), x.dtype.type(3), x.dtype.type(6)
    for i in prange(x.size):
        between = dy[i] * ((two * x[i] + three) / six)
        dx[i] = zero if x[i] <= -three else dy[i] if x[i] >= three else between


def _map(loop: Callable[..., None], *arrays: Array) -> Array:
    """Run an element-by-element loop over arrays of one shape and memory order, each seen as one long row."""
    result = empty_like(arrays[0])
    loop(*(flat(array) for array in arrays), flat(result))
    return result
