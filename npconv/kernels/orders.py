"""The two memory orders of a map: kernels compute in channels-last, and maps in C order are transposed for them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import prange
from numpy.lib.stride_tricks import as_strided

from npconv.geometry import Array
from npconv.kernels.jit import compiled
from npconv.kernels.vectors import LANES, Code, Int, Pointer, emitted
from npconv.memory import empty, empty_channels_last, is_channels_last, is_slice_of_channels, pixel_rows

MAPS = frozenset({"x", "dy", "y", "other", "more", "gate", "parts"})  # arguments of primitives that are maps
COMPUTED = np.dtype(np.float32), np.dtype(np.float64)  # float16 is only transposed on the way in and out
ROWS_TOGETHER = 64  # of a matrix that a thread transposes at a time
PIXELS = 1 << 10  # that a thread copies at a time

Primitive = TypeVar("Primitive", bound=Callable[..., Any])


def of_channels_last_maps(function: Primitive) -> Primitive:
    """Let a primitive have its maps channels-last, whatever they are; those that are cost 0.3 us to see."""
    names = list(inspect.signature(function).parameters)
    places = [place for place, name in enumerate(names) if name in MAPS]

    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        for place in places:
            if place < len(arguments):
                argument = arguments[place]
                ordered = _all_channels_last(argument) if isinstance(argument, tuple) else channels_last(argument)
                if ordered is not argument:
                    arguments = (*arguments[:place], ordered, *arguments[place + 1 :])
        return function(*arguments)

    return run  # type: ignore[return-value]  # of the same arguments


def of_maps_in_one_order(function: Primitive) -> Primitive:
    """Let a primitive that computes in either order have its maps in that of the first: C order where that is, else channels-last."""
    count = sum(name in MAPS for name in inspect.signature(function).parameters)  # its first arguments

    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        ordered = c_order if arguments[0].flags.c_contiguous else channels_last
        return function(*map(ordered, arguments[:count]), *arguments[count:])

    return run  # type: ignore[return-value]  # of the same arguments


def _all_channels_last(maps: Any) -> Any:
    ordered = [channels_last(x) for x in maps]
    return type(maps)(*ordered) if hasattr(maps, "_fields") else tuple(ordered)


def channels_last(x: Array) -> Array:
    """x itself where it is channels-last, or no map; else a channels-last copy."""
    if not isinstance(x, np.ndarray) or x.ndim != 4 or (is_channels_last(x) and x.flags.aligned):
        return x
    y = empty_channels_last(x.shape, x.dtype)
    batch, channels, height, width = x.shape
    if x.flags.c_contiguous and x.flags.aligned and x.dtype in COMPUTED:
        _transpose(x.reshape(batch, channels, height * width), pixel_rows(y).reshape(batch, height * width, channels))
    elif x.size and is_slice_of_channels(x) and x.flags.aligned and x.dtype in COMPUTED:
        _copy_pixels(pixels_from(x), pitch_of(x), pixel_rows(y))
    else:
        y[...] = x
    return y


def pitch_of(x: Array) -> int:
    """The distance of two pixels of a map, in numbers: its channels, or those of the map that it is a slice of."""
    return (
        x.strides[3] // x.itemsize
        if x.shape[3] > 1
        else x.strides[2] // x.itemsize
        if x.shape[2] > 1
        else x.strides[0] // x.itemsize
    )


def pixels_from(x: Array) -> Array:
    """The memory of a map, or of a slice of channels of one, from its first number to its last, as one run."""
    rows = x.transpose(0, 2, 3, 1)
    if rows.flags.c_contiguous:
        return rows.reshape(-1)
    last = sum((size - 1) * stride for size, stride in zip(x.shape, x.strides, strict=True))
    return as_strided(x, (last // x.itemsize + 1,), (x.itemsize,))


@compiled(terms=1)
def _copy_pixels(x, pitch, y):
    """y[m, c] = x[m * pitch + c]."""
    pixels, channels = y.shape
    flat = y.reshape(y.size)
    for item in prange(-(-pixels // PIXELS)):
        first = np.int64(item) * PIXELS
        copy_pixels(x[first * pitch :], pitch, min(PIXELS, pixels - first), channels, flat[first * channels :])


@emitted
def copy_pixels(code: Code, x: Pointer, pitch: Int, pixels: Int, channels: Int, y: Pointer) -> None:
    """y[m * channels + c] = x[m * pitch + c] for m < pixels and c < channels.

    Vectors are whole while they stay in y: what is beyond a pixel's channels is the next pixel's, and comes after it. (Without
    AVX-512 a masked store takes as long as twelve others.)
    """
    vectors = (channels + (code.lanes - 1)) // code.lanes
    masked = ((vectors * code.lanes) + (channels - 1)) // channels - 1  # of the last pixels
    masked = pixels.at_most(masked)
    with code.loop(pixels - masked) as m, code.loop(vectors) as j:
        (y + (m * channels + j * code.lanes)).store((x + (m * pitch + j * code.lanes)).vector())
    with code.loop(masked) as rest:
        m = pixels - masked + rest
        source, target = x + m * pitch, y + m * channels
        code.vectors(channels, lambda c, mask: (target + c).store(source.vector(c, mask), mask))


def c_order(x: Array) -> Array:
    """A copy in C order of a map that is not, else x itself."""
    if x.ndim != 4 or (x.flags.c_contiguous and x.flags.aligned):
        return x
    y = empty(x.shape, x.dtype)
    batch, channels, height, width = x.shape
    if is_channels_last(x) and x.flags.aligned and x.dtype in COMPUTED:
        _transpose(pixel_rows(x).reshape(batch, height * width, channels), y.reshape(batch, channels, height * width))
    else:
        y[...] = x
    return y


def _transpose(x: Array, y: Array) -> None:
    if x.size:
        _transpose_all(x, LANES[x.itemsize * 8], y)


@compiled(terms=1)
def _transpose_all(x, lanes, y):
    """y[n, j, i] = x[n, i, j], in blocks of as many rows and columns as a vector has lanes."""
    batch, rows, columns = x.shape
    flat_x, flat_y, size = x.reshape(x.size), y.reshape(y.size), rows * columns
    steps = -(-columns // ROWS_TOGETHER)
    for item in prange(batch * steps):
        n, first = np.int64(item) // steps, np.int64(item) % steps * ROWS_TOGETHER
        last = min(columns, first + ROWS_TOGETHER)
        for i in range(0, rows, lanes):
            for j in range(first, last, lanes):
                transpose_block(
                    flat_x[n * size + i * columns + j :], columns, min(lanes, rows - i), min(lanes, last - j),
                    flat_y[n * size + j * rows + i :], rows,
                )  # fmt: skip


@emitted
def transpose_block(
    code: Code, source: Pointer, pitch: Int, runs: Int, columns: Int, target: Pointer, target_pitch: Int
) -> None:
    """target[j * target_pitch + i] = source[i * pitch + j] for i < runs and j < columns, both at most code.lanes."""

    def whole() -> None:
        for j, column in enumerate(code.transposed([(source + pitch * i).vector() for i in range(code.lanes)])):
            (target + target_pitch * j).store(column)

    def some() -> None:
        masks = [code.first_lanes((runs - i >= 1).choose(columns, 0)) for i in range(code.lanes)]
        block = [(source + pitch * i).vector(0, mask) for i, mask in enumerate(masks)]
        mask = code.first_lanes(runs)
        for j, column in enumerate(code.transposed(block)):
            with code.when(columns - j >= 1):
                (target + target_pitch * j).store(column, mask)

    code.either(runs.at_most(columns) >= code.lanes, whole, some)
