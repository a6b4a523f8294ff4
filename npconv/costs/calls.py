"""The cost of one call of a primitive, as `npconv.backends.record` lists it; and zeros that have the form of its result."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from npconv.costs import convolutions, maps
from npconv.costs.composites import convolution_call, ghost_calls, octave_calls, separable_calls
from npconv.costs.cost import GRADIENTS, CallCost, Cost, Direction, map_cost, traffic
from npconv.geometry import Array, GhostGeometry, OctaveGeometry, OctaveMap, OctaveWeight, SeparableGeometry

LARGEST_MAP = 2**56  # numbers: NumPy counts bytes in 63 bits


def call_cost(primitive: str, arguments: Sequence[Any], *, count_padding: bool = True) -> CallCost:
    """The cost of one call of a primitive, as `npconv.backends.record` lists it: forward or gradient, any primitive.

    Parameters
    ----------
    primitive : str
    arguments : sequence
        What it is called with: arrays, whose numbers are not looked at, and its geometry or options.
    count_padding : bool
        See the top of `npconv.costs`.

    Returns
    -------
    CallCost

    Raises
    ------
    ValueError
        There is no such primitive.

    Examples
    --------
    >>> x = np.zeros((1, 8, 4, 4), np.float32)
    >>> call_cost("relu", (x,))[:4]
    ('relu', 'activation', (1, 8, 4, 4), (1, 8, 4, 4))
    """
    first, geometry, groups = _first_array(arguments), arguments[-1], 1
    itemsize = first.itemsize
    operation, direction = _split(primitive)
    forward = direction == "forward"
    match operation:
        case "conv2d" | "depthwise_conv2d" | "pointwise_conv2d":
            bias = forward and arguments[2] is not None
            return convolution_call(operation, geometry, bias, direction, count_padding, itemsize)
        case "separable_conv2d" | "ghost_conv2d" | "octave_conv2d":
            kind, out_shape, groups, cost = _whole(primitive, arguments, count_padding)
        case "separable_conv2d_grad" | "ghost_conv2d_grad" | "octave_conv2d_grad":
            kind, out_shape, groups, cost = _whole(primitive, arguments, count_padding)
        case "linear":
            bias = forward and arguments[2] is not None
            in_features = arguments[1].shape[1]
            out_features = arguments[1].shape[0] if forward else first.shape[1]
            x_shape, w_shape = (first.shape[0], in_features), (out_features, in_features)
            results = {"forward": (first.shape[0], out_features), "input_grad": x_shape, "weight_grad": w_shape}
            kind, out_shape = "linear", results[direction]
            cost = convolutions.linear(x_shape, w_shape, bias=bias, direction=direction, itemsize=itemsize)
        case "conv2d_bias_grad" | "linear_bias_grad":
            kind, out_shape = "bias", (first.shape[1],)
            cost = traffic(first.size, 0, first.shape[1], itemsize)
        case "avg_pool2d" | "max_pool2d" | "upsample_nearest2d":
            kind = "upsample" if operation == "upsample_nearest2d" else "pool"
            out_shape = geometry.y_shape if forward else geometry.x_shape
            reads_x = operation == "max_pool2d"
            cost = map_cost(geometry.x_shape, geometry.y_shape, direction, itemsize, grad_reads_x=reads_x)
        case "global_avg_pool2d":
            x_shape = first.shape if forward else (*first.shape[:2], *arguments[1:])
            kind, out_shape = "pool", (*x_shape[:2], 1, 1) if forward else x_shape
            cost = maps.global_avg_pool2d(x_shape, direction=direction, itemsize=itemsize)
        case "channel_shuffle" | "channel_unshuffle":
            kind, out_shape = "shuffle", first.shape
            cost = maps.channel_shuffle(out_shape, arguments[1], itemsize=itemsize)
        case "relu" | "relu6" | "hard_sigmoid" | "hard_swish":
            kind, out_shape = "activation", first.shape
            cost = maps.activation(out_shape, direction=direction, itemsize=itemsize)
        case "batch_norm2d" | "batch_norm2d_batch":
            kind, out_shape = "batch norm", first.shape
            cost = maps.batch_norm2d(out_shape, itemsize=itemsize)
        case "batch_statistics2d":
            kind, out_shape = "batch norm", (first.shape[1],)
            cost = traffic(first.size, 0, 2 * first.shape[1], itemsize)
        case "batch_norm2d_batch_grad" | "batch_norm2d_fixed_grad":
            kind, out_shape, from_batch = "batch norm", first.shape, operation == "batch_norm2d_batch_grad"
            dx, dw = (
                maps.batch_norm2d(out_shape, batch_statistics=from_batch, direction=part, itemsize=itemsize)
                for part in GRADIENTS
            )
            beta = traffic(0, 0, first.shape[1], itemsize)  # for the activation's mask
            cost = dx + dw + beta
        case "add":
            kind, out_shape, cost = "add", first.shape, maps.add(first.shape, itemsize=itemsize)
        case "concatenate" if forward:
            kind, out_shape = "concatenate", _joined_shape(arguments[0])
            size = sum(part.size for part in arguments[0])
            cost = traffic(size, size, 0, itemsize)
        case "concatenate":
            _, _, begin, end, activation = arguments
            kind, out_shape = "concatenate", (first.shape[0], end - begin, *first.shape[2:])
            size = first.size // first.shape[1] * (end - begin)
            cost = traffic(size if activation is None else 2 * size, size, 0, itemsize)
        case "scale":
            kind, out_shape = "scale", first.shape
            summands = 1 if len(arguments) < 3 or arguments[2] is None else 2
            cost = traffic(summands * first.size, first.size, arguments[1].size, itemsize)
        case "scale_gate_grad":
            kind, out_shape = "scale", (*first.shape[:2], 1, 1)
            cost = traffic(2 * first.size, first.shape[0] * first.shape[1], 0, itemsize)
        case "sgd_update" | "adam_update":
            kind, out_shape = "update", first.shape
            moved = [array for array in arguments if isinstance(array, np.ndarray)]
            written = sum(array.size for array in moved) - arguments[1].size  # all but the gradient are moved on
            cost = traffic(0, 0, written + sum(array.size for array in moved), itemsize)
        case "softmax_cross_entropy":
            logits, labels = arguments[0 if forward else 1], arguments[1 if forward else 2]
            kind, out_shape = "loss", () if forward else logits.shape
            cost = map_cost(logits.shape, (), direction, itemsize, grad_reads_x=True) + Cost(bytes_moved=labels.nbytes)
        case _:
            raise ValueError(f"primitive must be one that npconv.backends records, got {primitive!r}")
    return CallCost(primitive, kind, first.shape, out_shape, groups, cost)


def calls_of(primitive: str, arguments: Sequence[Any], *, count_padding: bool = True) -> list[CallCost]:
    """The cost of one call of a primitive, part by part where it is a composite: of its convolutions, its pooling, its sums.

    Parameters
    ----------
    primitive, arguments, count_padding
        As in `call_cost`.

    Returns
    -------
    list of CallCost
        One, where the primitive is no composite.

    Raises
    ------
    ValueError
        There is no such primitive.

    Examples
    --------
    >>> x = np.zeros((1, 8, 4, 4), np.float32)
    >>> [call.kind for call in calls_of("relu", (x,))]
    ['activation']
    """
    geometry, itemsize = arguments[-1] if arguments else None, _first_array(arguments).itemsize
    directions: tuple[Direction, ...] = GRADIENTS if primitive.endswith("_grad") else ("forward",)
    has_bias = isinstance(geometry, SeparableGeometry | OctaveGeometry) and directions == ("forward",)
    bias = has_bias and arguments[-2] is not None
    match geometry:
        case SeparableGeometry():
            parts = [separable_calls(geometry, bias, part, count_padding, itemsize) for part in directions]
        case GhostGeometry():
            parts = [ghost_calls(geometry, part, count_padding, itemsize) for part in directions]
        case OctaveGeometry():
            parts = [octave_calls(geometry, bias, part, count_padding, itemsize) for part in directions]
        case _:
            return [call_cost(primitive, arguments, count_padding=count_padding)]
    return [call for part in parts for call in part]


def unread(shape: tuple[int, ...], dtype: Any) -> Array:
    """A map of zeros that nobody reads or writes, so it takes no memory; NumPy has a limit for those too."""
    if prod(shape) > LARGEST_MAP:
        raise ValueError(f"input_shape must give maps of at most {LARGEST_MAP} numbers, got one of the shape {shape}")
    return np.zeros(shape, dtype)


def zeros_of(primitive: str, *arguments: Any) -> Any:
    """Zeros of the form of the primitive's result, for whoever stands in for a backend and computes nothing.

    Parameters
    ----------
    primitive : str
    *arguments
        What it is called with.

    Returns
    -------
    array, or tuple or named tuple of arrays
        Of the dtype of the first array; None for an optimiser's update.

    Raises
    ------
    ValueError
        There is no such primitive, or its result would have more numbers than NumPy can count.

    Examples
    --------
    >>> zeros_of("relu", np.ones((1, 8, 4, 4), np.float32)).shape
    (1, 8, 4, 4)
    """
    first, geometry = _first_array(arguments), arguments[-1]
    dtype = first.dtype

    def zeros(shape: tuple[int, ...]) -> Array:
        return unread(shape, dtype)

    def like(array: Array | None) -> Array | None:
        return None if array is None else zeros(array.shape)

    match primitive:
        case "octave_conv2d":
            return OctaveMap(*(zeros(y_shape) if y_shape else None for y_shape in geometry.y_shapes))
        case "octave_conv2d_grad":
            return OctaveMap(*map(like, arguments[1])), OctaveWeight(*map(like, arguments[2]))
        case "ghost_conv2d_grad":
            return tuple(map(like, arguments[1:4]))
        case "separable_conv2d_grad":
            return tuple(map(like, arguments[1:4]))
        case "sgd_update" | "adam_update":
            return None
    shapes = [call_cost(primitive, arguments).out_shape]
    shapes += [first.shape[1:2]] * _MORE_RESULTS.get(primitive, 0)
    results = tuple(map(zeros, shapes))
    return results if len(results) > 1 else results[0]


# Primitives that return more than one array: so many more, one number per channel each.
_MORE_RESULTS = {
    "batch_statistics2d": 1,
    "batch_norm2d_batch": 2,
    "batch_norm2d_batch_grad": 2,
    "batch_norm2d_fixed_grad": 4,
}


def _first_array(arguments: Sequence[Any]) -> Array:
    """The first array of a call: of a pair of maps, the first that is there."""
    first = arguments[0]
    array: Array = next(leaf for leaf in first if leaf is not None) if isinstance(first, tuple) else first
    return array


def _joined_shape(parts: Sequence[Array]) -> tuple[int, ...]:
    batch, _, *sizes = parts[0].shape
    return batch, sum(part.shape[1] for part in parts), *sizes


def _whole(primitive: str, arguments: Sequence[Any], count_padding: bool) -> tuple[str, tuple[int, ...], int, Cost]:
    """(kind, shape of the first result, groups, cost) of a composite: kind and groups are those of its first convolution."""
    parts = calls_of(primitive, arguments, count_padding=count_padding)
    first = next(part for part in parts if "conv2d" in part.primitive)
    geometry = arguments[-1]
    if primitive.endswith("_grad"):
        out_shape = _first_array(arguments[1:]).shape
    elif isinstance(geometry, OctaveGeometry):
        out_shape = next(filter(None, geometry.y_shapes))
    else:
        out_shape = (geometry.pointwise if isinstance(geometry, SeparableGeometry) else geometry).y_shape
    return first.kind, out_shape, first.groups, sum((part.cost for part in parts), Cost())


def _split(primitive: str) -> tuple[str, Direction]:
    """A primitive's operator and direction: "linear_input_grad" is "linear" and "input_grad"."""
    for direction in GRADIENTS:
        if primitive.endswith(f"_{direction}"):
            return primitive.removesuffix(f"_{direction}"), direction
    return primitive, "forward"
