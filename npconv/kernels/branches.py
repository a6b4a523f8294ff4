"""How branches of a network come together, and part: maps added or concatenated, then activated, and channels times a gate.

All is memory-bound: what counts is that an activation is no sweep of its own and that all cores move numbers. Slices of
channels are read and written where they are.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numba import prange

from npconv.geometry import Array
from npconv.kernels.jit import compiled
from npconv.kernels.orders import of_channels_last_maps, of_maps_in_one_order, pitch_of, pixels_from
from npconv.kernels.sums import LIMITS, limits_of
from npconv.kernels.vectors import Code, Int, Mask, Pointer, emitted
from npconv.memory import empty_channels_last, empty_like, flat, is_channels_last, pixel_rows

RUN = 4096  # numbers that a thread moves at a time


@of_maps_in_one_order
def add(x: Array, other: Array, activation: str | None) -> Array:
    """The activation of the sum of two maps of one shape and memory order."""
    y = empty_like(x)
    _add(flat(x), flat(other), limits_of(activation, x.dtype), flat(y))
    return y


@compiled(terms=1)
def _add(x, other, limits, y):
    """y[i] = x[i] + other[i], cut at the limits."""
    low, high = limits[0], limits[1]
    for i in prange(x.size):
        total = x[i] + other[i]
        y[i] = low if total <= low else high if total >= high else total


@of_channels_last_maps
def concatenate(parts: tuple[Array, ...], activation: str | None) -> Array:
    """The activation of the parts, side by side in each pixel."""
    batch, _, *sizes = parts[0].shape
    channels = sum(part.shape[1] for part in parts)
    if len(sizes) != 2:
        return concatenate(tuple(map(as_map, parts)), activation).reshape(batch, channels, *sizes)
    y = empty_channels_last((batch, channels, *sizes), parts[0].dtype)
    first = 0
    for part in parts:
        last = first + part.shape[1]
        _limit(part, part, activation, LIMITS[activation], y[:, first:last])
        first = last
    return y


@of_channels_last_maps
def concatenate_input_grad(dy: Array, y: Array, first: int, last: int, activation: str | None) -> Array:
    """Channels are copied out of dy where y is between the limits, elsewhere they are 0."""
    if dy.ndim != 4:
        part = concatenate_input_grad(as_map(dy), as_map(y), first, last, activation)
        return part.reshape(len(dy), last - first, *dy.shape[2:])
    part = empty_channels_last((len(dy), last - first, *dy.shape[2:]), dy.dtype)
    _limit(dy[:, first:last], y[:, first:last], activation, (0.0, 0.0), part)
    return part


def as_map(x: Array) -> Array:
    """x (N, C, ...) as a map (N, C, P, 1), where P is the size of all axes after the second."""
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]), 1)


def place(part: Array, target: Array) -> None:
    """Copy a map to `target`, maybe a slice of channels of a larger one."""
    _limit(part, part, None, (0.0, 0.0), target)


def accumulate(total: Array, part: Array) -> None:
    """total += part; both may be slices of channels."""
    if is_channels_last(total) and is_channels_last(part):
        numbers = flat(total)
        _add(numbers, flat(part), limits_of(None, total.dtype), numbers)
    elif total.size:
        _accumulate(
            pixels_from(total), pixels_from(part), (pitch_of(total), pitch_of(part)), total.shape[1], total.size
        )


@compiled(terms=1)
def _accumulate(total, part, pitches, channels, size):
    """total[m, c] += part[m, c]."""
    for item in prange(size // channels):
        m = np.int64(item)
        target, source = total[m * pitches[0] :], part[m * pitches[1] :]
        for c in range(channels):
            target[c] += source[c]


def _limit(x: Array, by: Array, activation: str | None, beyond: tuple[float, float], y: Array) -> None:
    """y = x where `by` is between the activation's limits, else one of `beyond`; each may be a slice of channels."""
    if not x.size:
        return
    pitches = (pitch_of(x), pitch_of(by), pitch_of(y))
    rows, channels = x.size // x.shape[1], x.shape[1]
    if pitches == (channels,) * 3:  # whole maps: longer rows fill the vectors better
        rows, channels = -(-x.size // RUN), RUN
    limits = _limits(activation, beyond, x.dtype)
    _limit_rows(pixels_from(x), pixels_from(by), pixels_from(y), pitches, limits, rows, channels, x.size)


@functools.lru_cache
def _limits(activation: str | None, beyond: tuple[float, float], dtype: np.dtype[Any]) -> Array:
    return np.array([*LIMITS[activation], *beyond], dtype)


@compiled(terms=1)
def _limit_rows(x, by, y, pitches, limits, rows, channels, size):
    """y[m, c] = x[m, c] where by[m, c] is between two limits, else one of two numbers."""
    whole = channels == RUN and rows == -(-size // RUN)
    step = 1 if whole else max(1, RUN // channels)
    for item in prange(-(-rows // step)):
        m = np.int64(item) * step
        if whole:
            start = m * RUN
            limit_rows(x[start:], 0, by[start:], 0, y[start:], 0, 1, min(RUN, size - start), limits)
        else:
            limit_rows(
                x[m * pitches[0] :], pitches[0], by[m * pitches[1] :], pitches[1], y[m * pitches[2] :], pitches[2],
                min(step, rows - m), channels, limits,
            )  # fmt: skip


@emitted
def limit_rows(
    code: Code,
    x: Pointer,
    x_pitch: Int,
    by: Pointer,
    by_pitch: Int,
    y: Pointer,
    y_pitch: Int,
    rows: Int,
    channels: Int,
    limits: Pointer,
) -> None:
    """y[m, c] = limits[2] where by[m, c] <= limits[0], limits[3] where by[m, c] >= limits[1], else x[m, c]."""
    low, high, below, above = (limits[i].splat() for i in range(4))
    with code.loop(rows) as m:
        x_row, by_row, y_row = x + m * x_pitch, by + m * by_pitch, y + m * y_pitch

        def limit(c: Int, mask: Mask | None) -> None:
            number, reason = x_row.vector(c, mask), by_row.vector(c, mask)
            (y_row + c).store(number.replaced(reason, low, below, high, above), mask)

        code.vectors(channels, limit)


@of_channels_last_maps
def scale(x: Array, gate: Array, more: Array | None = None) -> Array:
    """Each pixel times its image's gate, channel by channel."""
    y = empty_like(x)
    gates = gate.reshape(gate.shape[:2])
    _scale(
        pixel_rows(x),
        np.ascontiguousarray(gates),
        pixel_rows(x if more is None else more),
        more is not None,
        pixel_rows(y),
    )
    return y


@compiled(terms=1)
def _scale(x, gate, more, adds, y):
    """y[m, c] = x[m, c] * gate[n, c], plus more[m, c] where `adds`, for the pixels m of image n."""
    rows, channels = x.shape
    pixels = rows // max(1, len(gate))
    for m in prange(rows):
        n = np.int64(m) // pixels
        if adds:
            for c in range(channels):
                y[m, c] = x[m, c] * gate[n, c] + more[m, c]
        else:
            for c in range(channels):
                y[m, c] = x[m, c] * gate[n, c]


@of_channels_last_maps
def scale_gate_grad(dy: Array, x: Array) -> Array:
    """Of each plane the sum of products, kept in float64."""
    batch, channels = x.shape[:2]
    sums = np.zeros((batch, channels))
    _scale_gate_grad(pixel_rows(dy), pixel_rows(x), sums)
    return sums.astype(x.dtype).reshape(batch, channels, 1, 1)


@compiled(terms=1)
def _scale_gate_grad(dy, x, sums):
    """sums[n, c] = the sum of dy[m, c] * x[m, c] over the pixels m of image n."""
    batch, channels = sums.shape
    pixels = len(x) // max(1, batch)
    for n in prange(batch):
        first = np.int64(n) * pixels
        for m in range(first, first + pixels):
            for c in range(channels):
                sums[n, c] += np.float64(dy[m, c]) * x[m, c]
