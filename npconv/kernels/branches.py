"""How branches of a network come together, and part: maps added or concatenated, then activated, and channels times a gate.

None of it is a primitive; `npconv.backends.join` runs it. All is memory-bound: what counts is that an activation is no sweep of
its own and that all cores move numbers (8 x 512 maps of 28 x 28 added and activated, 2 threads: 0.7 ms; in two sweeps 1.2, the sum NumPy's 2.1).
Slices of channels are read and written where they are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange, types
from numba.extending import intrinsic

from npconv.geometry import Array
from npconv.kernels.jit import compiled, contiguous
from npconv.kernels.moments import gradient_sums, map_run
from npconv.kernels.rows import images
from npconv.kernels.simd import Vectors
from npconv.memory import empty

RUN = 4096  # numbers that a thread moves at a time

# Between which values an activation is the identity. Nothing compares with NaN, so that is no limit.
LIMITS = {None: (math.nan, math.nan), "relu": (0.0, math.nan), "relu6": (0.0, 6.0)}


def add(x: Array, other: Array, activation: str | None) -> Array:
    """Two maps of one shape added."""
    y = empty(x.shape, x.dtype)
    if y.size:
        limits = np.array(LIMITS[activation], x.dtype)
        _add(*images(x), *images(other), limits, *images(y), y.size // len(y), len(y))
    return y


@compiled
def _add(x, x_image, other, other_image, limits, y, y_image, size, batch):
    runs = -(-size // RUN)
    for item in prange(batch * runs):
        n, first = np.int64(item) // runs, np.int64(item) % runs * RUN
        add_run(
            x, n * x_image + first, other, n * other_image + first, min(RUN, size - first),
            limits[0], limits[1], y, n * y_image + first,
        )  # fmt: skip


def concatenate(parts: tuple[Array, ...], activation: str | None) -> Array:
    """An image's share of a part is one run."""
    batch, _, *sizes = parts[0].shape
    y = empty((batch, sum(part.shape[1] for part in parts), *sizes), parts[0].dtype)
    first = 0
    for part in parts:
        last = first + part.shape[1]
        limit(part, part, activation, LIMITS[activation], y[:, first:last])
        first = last
    return y


def part_grad(dy: Array, y: Array, first: int, last: int, activation: str | None) -> Array:
    """Channels are copied out of dy where y is between the limits, elsewhere they are 0."""
    part = empty((len(dy), last - first, *dy.shape[2:]), dy.dtype)
    limit(dy[:, first:last], y[:, first:last], activation, (0.0, 0.0), part)
    return part


def limit(x: Array, by: Array, activation: str | None, beyond: tuple[float, float], y: Array) -> None:
    """y = x where `by` is between the activation's limits, else one of `beyond`; each may be a slice of channels."""
    if not x.size:
        return
    limits = np.array(LIMITS[activation] + beyond, x.dtype)
    size = x.size // len(x)
    _limit(*images(x), *images(by), limits, *images(y), size, len(x))


@compiled
def _limit(x, x_image, by, by_image, limits, y, y_image, size, batch):
    runs = -(-size // RUN)
    for item in prange(batch * runs):
        n, first = np.int64(item) // runs, np.int64(item) % runs * RUN
        limit_run(
            x, n * x_image + first, by, n * by_image + first, min(RUN, size - first),
            limits[0], limits[1], limits[2], limits[3], y, n * y_image + first,
        )  # fmt: skip


def scale(x: Array, gate: Array, more: Array | None = None) -> Array:
    """Each plane times its number. One thread per plane."""
    y = empty(x.shape, x.dtype)
    _scale(_flat(x), _flat(gate), _flat(x if more is None else more), more is not None, y.reshape(y.size))
    return y


@compiled
def _scale(x, gate, more, adds, y):
    planes = gate.size
    pixels = x.size // max(planes, 1)
    for plane in prange(planes):
        scale_run(x, more, np.int64(plane) * pixels, pixels, gate[plane], adds, y)


def gate_grad(dy: Array, x: Array) -> Array:
    """Of each plane the sum of products, kept in float64. One thread per plane."""
    dgate = empty((*x.shape[:2], 1, 1), x.dtype)
    _gate_grad(_flat(dy), _flat(x), dgate.reshape(dgate.size))
    return dgate


@compiled
def _gate_grad(dy, x, dgate):
    zero, one, none = x.dtype.type(0), x.dtype.type(1), x.dtype.type(np.nan)
    planes = dgate.size
    pixels = x.size // max(planes, 1)
    for plane in prange(planes):
        at = np.int64(plane) * pixels
        dgate[plane] = gradient_sums(dy, at, x, at, pixels, zero, one, zero, none, none)[1]


def _flat(array: Array) -> Array:
    return contiguous(array).reshape(array.size)


@intrinsic
def add_run(typing_context, x, x_start, other, other_start, count, low, high, y, y_start):
    """y[i] = x[i] + other[i], not beyond the limits, each from its start on, for i < count."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, x_start, other, other_start, count, low, high, y, y_start = arguments
        kinds = signature.args
        v = Vectors(context, builder, kinds[0].dtype)
        low, high = v.splat(low), v.splat(high)

        def limited(x: Any, other: Any) -> Any:
            total = builder.fadd(x, other)
            return _limited(v, total, total, low, high, low, high)

        arrays = [(kinds[0], x, x_start), (kinds[2], other, other_start), (kinds[7], y, y_start)]
        map_run(context, v, arrays, count, limited)
        return context.get_dummy_value()

    index, number = types.intp, x.dtype
    return types.void(x, index, other, index, index, number, number, y, index), generate


@intrinsic
def limit_run(typing_context, x, x_start, by, by_start, count, low, high, below, above, y, y_start):
    """y[i] = below where by[i] <= low, above where by[i] >= high, else x[i], each from its start on, for i < count."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, x_start, by, by_start, count, *limits, y, y_start = arguments
        kinds = signature.args
        v = Vectors(context, builder, kinds[0].dtype)
        limits = [v.splat(value) for value in limits]
        arrays = [(kinds[0], x, x_start), (kinds[2], by, by_start), (kinds[9], y, y_start)]
        map_run(context, v, arrays, count, lambda x, by: _limited(v, x, by, *limits))
        return context.get_dummy_value()

    index, number = types.intp, x.dtype
    return types.void(x, index, by, index, index, number, number, number, number, y, index), generate


@intrinsic
def scale_run(typing_context, x, more, start, count, factor, adds, y):
    """y[start + i] = factor * x[start + i], plus more[start + i] where `adds`, for i < count."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, more, start, count, factor, adds, y = arguments
        kinds = signature.args
        v = Vectors(context, builder, kinds[0].dtype)
        factor = v.splat(factor)
        source, addend, target = (kinds[0], x, start), (kinds[1], more, start), (kinds[6], y, start)
        with builder.if_else(builder.icmp_unsigned("!=", adds, adds.type(0))) as (then, otherwise):
            with then:
                map_run(context, v, [source, addend, target], count, lambda x, more: v.fma(factor, x, more))
            with otherwise:
                map_run(context, v, [source, target], count, lambda x: builder.fmul(factor, x))
        return context.get_dummy_value()

    return types.void(x, more, types.intp, types.intp, x.dtype, types.boolean, y), generate


def _limited(v: Vectors, x: Any, by: Any, low: Any, high: Any, below: Any, above: Any) -> Any:
    builder = v.builder
    not_above = builder.select(builder.fcmp_ordered(">=", by, high), above, x)
    return builder.select(builder.fcmp_ordered("<=", by, low), below, not_above)
