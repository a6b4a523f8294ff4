"""Blocks of 2 x 2 pixels, summed or filled where they stand: pooling and up-sampling by 2, which octave convolutions are full of.

Transposing planes into lanes, as `pooling` does for any window, took 3 to 6 times as long. Blocks of 4 x 4 are blocks of blocks,
and blocks of a single pixel are how maps get into an array, or are added to one, beside others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from npconv.geometry import Array, Pool2dGeometry, UpsampleGeometry
from npconv.kernels.jit import compiled
from npconv.kernels.rows import images
from npconv.kernels.simd import INT, Vectors, data_of
from npconv.memory import empty


def side_of(g: Pool2dGeometry | UpsampleGeometry) -> int:
    """1, 2 or 4 where the windows, or what pixels become, are squares of that side which tile the larger plane; else 0."""
    if isinstance(g, UpsampleGeometry):
        sides = {g.scale_height, g.scale_width}
        small, large = (g.in_height, g.in_width), (g.out_height, g.out_width)
    else:
        sides = {g.kernel_height, g.kernel_width, g.stride_height, g.stride_width}
        small, large = (g.out_height, g.out_width), (g.in_height, g.in_width)
        if g.pad_top or g.pad_left:
            return 0
    side = sides.pop()
    return side if not sides and side in (1, 2, 4) and large == (side * small[0], side * small[1]) else 0


def sum_blocks(x: Array, side: int, factor: float, zero: float, out: Array | None = None, add: bool = False) -> Array:
    """Each block's sum times `factor`, plus `zero`: 0.0, or -0.0, which leaves a sum of negative zeros negative.

    The result is `out` where that is given, a slice of channels of a larger array perhaps, or is added to it.
    """
    if side == 4:
        x, side = sum_blocks(x, 2, 1.0, -0.0), 2
    batch, channels, height, width = x.shape
    shape, number = (batch, channels, height // side, width // side), x.dtype.type
    y = empty(shape, x.dtype) if out is None else out
    _sum_blocks(*images(x), side, number(factor), number(zero), *images(y), shape, add)
    return y


@compiled
def _sum_blocks(x, x_image, side, factor, zero, y, y_image, shape, add):
    batch, channels, rows, columns = shape
    width = side * columns
    for plane in prange(batch * channels):
        n, c = np.int64(plane) // channels, np.int64(plane) % channels
        at, to = n * x_image + c * side * rows * width, n * y_image + c * rows * columns
        if side == 1:
            move_pixels(1, x, at, factor, zero, y, to, to, rows * columns, add)
            continue
        for p in range(rows):
            sum_pairs(x, at + 2 * p * width, at + (2 * p + 1) * width, factor, zero, y, to + p * columns, columns, add)


def fill_blocks(x: Array, side: int, factor: float, zero: float, y: Array, add: bool = False) -> None:
    """Each pixel times `factor`, plus `zero` as above, fills a block of y, or is added to all of it; y may be such a slice."""
    if side == 4:
        batch, channels, height, width = x.shape
        half = empty((batch, channels, 2 * height, 2 * width), x.dtype)
        fill_blocks(x, 2, factor, zero, half)
        x, side, factor, zero = half, 2, 1.0, -0.0
    number = x.dtype.type
    _fill_blocks(*images(x), side, number(factor), number(zero), *images(y), x.shape, add)


# Of pixels that stay where they are: NumPy is done with few of them before the other cores are awake. Adding 3.6 MB took two
# cores 0.14 ms, NumPy 0.25.
FEW = 1 << 17


def accumulate(total: Array, part: Array) -> None:
    """total += part, on all cores."""
    if total.size < FEW:
        total += part
    else:
        fill_blocks(part, 1, 1.0, -0.0, total, add=True)


def place(part: Array, target: Array) -> None:
    """Copy `part` to `target`, on all cores."""
    if part.size < FEW:
        target[...] = part
    else:
        fill_blocks(part, 1, 1.0, -0.0, target)


@compiled
def _fill_blocks(x, x_image, side, factor, zero, y, y_image, shape, add):
    batch, channels, rows, columns = shape
    width = side * columns
    for plane in prange(batch * channels):
        n, c = np.int64(plane) // channels, np.int64(plane) % channels
        at, to = n * x_image + c * rows * columns, n * y_image + c * side * rows * width
        if side == 1:
            move_pixels(1, x, at, factor, zero, y, to, to, rows * columns, add)
            continue
        for i in range(rows):
            h = rows - 1 - i if add else i  # upwards, because a load waits for a masked store that reaches over it
            row = to + 2 * h * width
            move_pixels(2, x, at + h * columns, factor, zero, y, row, row + width, columns, add)


# Rows are seldom a whole number of vectors. With masks the last vector of a row is one more; what LLVM makes of such a loop
# is up to 15 single numbers, and takes 1.5 to 3 times as long on rows of 14 and 28.


@intrinsic
def sum_pairs(typing_context, source, upper, lower, factor, zero, target, start, count, add):
    """target[start + q] (+)= factor * (the sum of source[upper + 2*q], [upper + 2*q + 1] and as many from `lower` on) + zero, q < count."""
    index, number = types.intp, source.dtype

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, upper, lower, factor, zero, target, start, count, add = arguments
        v = Vectors(context, builder, number)
        x, y = (data_of(context, builder, signature.args[place], array) for place, array in ((0, source), (5, target)))
        scale, offset = v.splat(factor), v.splat(zero)
        adding = builder.icmp_unsigned("!=", add, add.type(0))
        with cgutils.for_range(builder, _vectors(v, count), intp=INT) as over:
            done = builder.mul(over.index, INT(v.lanes))
            left, twice = builder.sub(count, done), builder.add(done, done)
            pixels = builder.add(left, left)
            masks = [v.first_lanes(pixels), v.first_lanes(builder.sub(pixels, INT(v.lanes)))]
            total = None
            for row in (upper, lower):
                first = v.at(x, builder.add(row, twice))
                parts = [v.masked_load(v.at(first, i * v.lanes), mask, v.zero) for i, mask in enumerate(masks)]
                for phase in range(2):
                    term = v.shuffle(parts[0], parts[1], list(range(phase, 2 * v.lanes, 2)))
                    total = term if total is None else builder.fadd(total, term)
            _put(v, adding, v.fma(total, scale, offset), v.at(y, builder.add(start, done)), v.first_lanes(left))
        return context.get_dummy_value()

    return types.void(source, index, index, number, number, target, index, index, types.boolean), generate


@intrinsic(prefer_literal=True)
def move_pixels(typing_context, side, source, start, factor, zero, target, upper, lower, count, add):
    """target[upper + side*q + i] (+)= factor * source[start + q] + zero, q < count, i < side, a literal 1 or 2; if 2, from `lower` on too."""
    index, number, times = types.intp, source.dtype, side.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, source, start, factor, zero, target, upper, lower, count, add = arguments
        v = Vectors(context, builder, number)
        x, y = (data_of(context, builder, signature.args[place], array) for place, array in ((1, source), (5, target)))
        scale, offset = v.splat(factor), v.splat(zero)
        adding = builder.icmp_unsigned("!=", add, add.type(0))
        with cgutils.for_range(builder, _vectors(v, count), intp=INT) as over:
            done = builder.mul(over.index, INT(v.lanes))
            left = builder.sub(count, done)
            pixels = v.masked_load(v.at(x, builder.add(start, done)), v.first_lanes(left), v.zero)
            value = v.fma(pixels, scale, offset)
            for part in range(times):
                spread = v.shuffle(value, value, [(part * v.lanes + i) // times for i in range(v.lanes)])
                mask = v.first_lanes(builder.sub(builder.mul(left, INT(times)), INT(part * v.lanes)))
                for row in (upper, lower)[:times]:
                    place = builder.add(row, builder.add(builder.mul(done, INT(times)), INT(part * v.lanes)))
                    _put(v, adding, spread, v.at(y, place), mask)
        return context.get_dummy_value()

    signature = types.void(side, source, index, number, number, target, index, index, index, types.boolean)
    return signature, generate


def _vectors(v: Vectors, count: Any) -> Any:
    """How many vectors hold `count` numbers."""
    return v.builder.sdiv(v.builder.add(count, INT(v.lanes - 1)), INT(v.lanes))


def _put(v: Vectors, adding: Any, value: Any, pointer: Any, mask: Any) -> None:
    """Store the lanes of `mask`, or add them to what is there."""
    with v.builder.if_else(adding) as (then, otherwise):
        with then:
            v.masked_store(v.builder.fadd(v.masked_load(pointer, mask, v.zero), value), pointer, mask)
        with otherwise:
            v.masked_store(value, pointer, mask)
