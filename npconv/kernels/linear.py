"""The fully connected layer: y[n,o] = sum over c of x[n,c] * w[o,c], plus b[o].

Each of its three matrix products is what a pointwise convolution of one image does. Of few images each number of w is used so few
times that the work is to read w once, as it lies, with everything else in registers or the first cache: 8 images by 1000 x 1024
numbers take 2 threads 0.10 ms forward, and took 0.24 as convolutions, which packs what it multiplies. That pays for 64 images.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.jit import compiled, contiguous, thread_count
from npconv.kernels.pointwise import pointwise_conv2d, pointwise_conv2d_weight_grad
from npconv.kernels.simd import INT, Vectors, clear_run, data_of, prefetch_run
from npconv.memory import CACHE_LINE, empty

FEW = 16  # images,
SMALL = 1 << 14  # or numbers in w

TILE = 4  # rows on either side of a tile of sums: 16 vectors of them, and 8 to multiply, fit the registers of AVX-512
ROWS = 32  # of w that a thread takes at a time,
COLUMNS = 512  # or columns of a product,
DEPTH = 64  # and how many rows of the right matrix go through all rows of the left one before the next


def linear(x: Array, w: Array, b: Array | None) -> Array:
    """Dot products of rows; for a large batch as the weight gradient of a pointwise convolution: x is dy, with an image to a channel."""
    batch, (features, length) = len(x), w.shape
    if not _few(batch, w.size):
        geometry = _product_geometry(features, length, batch)
        images, maps = x.reshape(1, batch, length, 1), w.reshape(1, features, length, 1)
        y = pointwise_conv2d_weight_grad(images, maps, geometry).reshape(batch, features)
        return y if b is None else y + b
    y = empty((batch, features), x.dtype)
    bias = np.zeros(features, x.dtype) if b is None else contiguous(b)
    _linear(contiguous(w), contiguous(x), bias, b is not None, y)
    return y


def _few(batch: int, numbers: int) -> bool:
    """Whether the images are few, or everything is small."""
    return batch <= FEW or numbers <= SMALL


@compiled
def _linear(w, x, b, biased, y):
    (features, length), batch = w.shape, len(x)
    flat_x, flat_w, flat_y = x.reshape(x.size), w.reshape(w.size), y.reshape(y.size)
    for block in prange(-(-features // ROWS)):
        first = ROWS * np.int64(block)
        last = min(first + ROWS, features)
        for o in range(first, last, TILE):
            for n in range(0, batch, TILE):
                dot_products(flat_x, n, batch, flat_w, o, last, length, flat_y, features)
        if biased:
            for n in range(batch):
                for o in range(first, last):
                    y[n, o] += b[o]


def linear_input_grad(dy: Array, w: Array) -> Array:
    """dx[n,c] = sum over o of dy[n,o] * w[o,c]."""
    return _product(dy, w, _few(len(dy), w.size))


def linear_weight_grad(dy: Array, x: Array) -> Array:
    """dw[o,c] = sum over n of dy[n,o] * x[n,c]."""
    return _product(np.ascontiguousarray(dy.T), x, _few(len(x), dy.shape[1] * x.shape[1]))


def _product(left: Array, right: Array, few: bool) -> Array:
    """left @ right; for a large batch as a pointwise convolution of one image, whose channels are the rows of `right`."""
    (rows, depth), columns = left.shape, right.shape[1]
    if not few:
        geometry = _product_geometry(depth, columns, rows)
        image, weights = right.reshape(1, depth, columns, 1), left.reshape(rows, depth, 1, 1)
        return pointwise_conv2d(image, weights, None, geometry).reshape(rows, columns)
    product = empty((rows, columns), left.dtype)
    # As many blocks for each thread, where they are blocks of columns; that changes no sum.
    blocks = -(-columns // (thread_count() * COLUMNS)) * thread_count() if rows <= ROWS else -(-columns // COLUMNS)
    width = -(-columns // (blocks * CACHE_LINE)) * CACHE_LINE
    _rows_times(contiguous(right), contiguous(left), width, product)
    return product


@functools.lru_cache(maxsize=256)
def _product_geometry(channels: int, pixels: int, out_channels: int) -> Conv2dGeometry:
    return Conv2dGeometry.of((1, channels, pixels, 1), (out_channels, channels, 1, 1))


@compiled
def _rows_times(right, left, width, product):
    (rows, depth), columns = left.shape, right.shape[1]
    flat_left, flat_right, flat = left.reshape(left.size), right.reshape(right.size), product.reshape(product.size)
    wide = -(-columns // width)
    for block in prange(-(-rows // ROWS) * wide):
        top, first = np.int64(block) // wide * ROWS, np.int64(block) % wide * width
        bottom, count = min(top + ROWS, rows), min(width, columns - first)
        for begin in range(0, max(depth, 1), DEPTH):
            end = min(begin + DEPTH, depth)
            whole = begin + (end - begin) // TILE * TILE
            for i in range(top, bottom, TILE):
                if begin == 0:
                    for row in range(i, min(i + TILE, bottom)):
                        clear_run(flat, row * columns + first, count)
                for k in range(begin, whole, TILE):
                    if i == top:
                        for row in range(k + TILE, k + 2 * TILE):
                            prefetch_run(flat_right, row * columns + first, count)
                    add_products(TILE, flat_left, i, bottom, depth, k, flat_right, columns, first, count, flat)
                for k in range(whole, end):
                    add_products(1, flat_left, i, bottom, depth, k, flat_right, columns, first, count, flat)


def linear_bias_grad(dy: Array) -> Array:
    """db[o] = sum over n of dy[n,o], in float64, row by row. One thread per block of output features."""
    db = np.empty(dy.shape[1], dy.dtype)
    _linear_bias_grad(contiguous(dy), np.zeros(dy.shape[1]), db)
    return db


@compiled
def _linear_bias_grad(dy, total, db):
    batch, features = dy.shape
    for block in prange(-(-features // 64)):
        first = 64 * np.int64(block)
        last = min(first + 64, features)
        for n in range(batch):
            for o in range(first, last):
                total[o] += dy[n, o]
        for o in range(first, last):
            db[o] = total[o]


@intrinsic
def dot_products(typing_context, x, n, batch, w, o, features, length, y, pitch):
    """y[i * pitch + j] = the sum of x[i * length + c] * w[j * length + c] over c < length, for `TILE` i from n and j from o on.

    Only those with i < batch and j < features are stored; for the others the last row is read once more.
    """
    index = types.intp

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, n, batch, w, o, features, length, y, pitch = arguments
        kinds = signature.args
        v = Vectors(context, builder, kinds[0].dtype)
        x_data, w_data, y_data = (
            data_of(context, builder, kinds[place], array) for place, array in ((0, x), (3, w), (7, y))
        )
        images = [_clamped(v, n, i, batch) for i in range(TILE)]
        outs = [_clamped(v, o, j, features) for j in range(TILE)]
        x_rows = [v.at(x_data, builder.mul(row, length)) for row in images]
        w_rows = [v.at(w_data, builder.mul(row, length)) for row in outs]
        # mem2reg turns these slots into registers: their address is never taken
        sums = [[cgutils.alloca_once_value(builder, v.zero) for _ in outs] for _ in images]
        for slots in sums:
            for slot in slots:
                builder.store(v.zero, slot)

        def add(place: Any, mask: Any) -> None:
            columns = [v.masked_load(v.at(row, place), mask, v.zero) for row in w_rows]
            for row, slots in zip(x_rows, sums, strict=True):
                number = v.masked_load(v.at(row, place), mask, v.zero)
                for column, slot in zip(columns, slots, strict=True):
                    builder.store(v.fma(number, column, builder.load(slot)), slot)

        v.for_each(length, add)
        for i, slots in enumerate(sums):
            image = builder.add(n, INT(i))
            for j, slot in enumerate(slots):
                out = builder.add(o, INT(j))
                inside = builder.and_(builder.icmp_signed("<", image, batch), builder.icmp_signed("<", out, features))
                with builder.if_then(inside):
                    place = builder.add(builder.mul(image, pitch), out)
                    builder.store(v.sum(builder.load(slot)), v.at(y_data, place))
        return context.get_dummy_value()

    return types.void(x, index, index, w, index, index, index, y, index), generate


@intrinsic(prefer_literal=True)
def add_products(typing_context, taken, left, row, rows, depth, k, right, columns, first, count, product):
    """product[i * columns + c] += the sum of left[i * depth + k + j] * right[(k + j) * columns + c] over j < taken, a literal.

    For `TILE` i from `row` on but below `rows`, and c from `first` on, `count` of them.
    """
    index, taken_rows = types.intp, taken.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, left, row, rows, depth, k, right, columns, first, count, product = arguments
        kinds = signature.args
        v = Vectors(context, builder, kinds[1].dtype)
        left_data, right_data, product_data = (
            data_of(context, builder, kinds[place], array) for place, array in ((1, left), (6, right), (10, product))
        )

        def add_to(outs: list[Any]) -> None:
            factors = [
                [
                    v.splat(builder.load(v.at(left_data, builder.add(builder.mul(out, depth), builder.add(k, INT(j))))))
                    for j in range(taken_rows)
                ]
                for out in outs
            ]
            right_rows = [
                v.at(right_data, builder.add(builder.mul(builder.add(k, INT(j)), columns), first))
                for j in range(taken_rows)
            ]
            product_rows = [v.at(product_data, builder.add(builder.mul(out, columns), first)) for out in outs]

            def add(place: Any, mask: Any) -> None:
                numbers = [v.masked_load(v.at(right_row, place), mask, v.zero) for right_row in right_rows]
                for product_row, row_factors in zip(product_rows, factors, strict=True):
                    pointer = v.at(product_row, place)
                    total = v.masked_load(pointer, mask, v.zero)
                    for number, factor in zip(numbers, row_factors, strict=True):
                        total = v.fma(number, factor, total)
                    v.masked_store(total, pointer, mask)

            v.for_each(count, add)

        with builder.if_else(builder.icmp_signed("<=", builder.add(row, INT(TILE)), rows)) as (whole, some):
            with whole:
                add_to([builder.add(row, INT(i)) for i in range(TILE)])
            with some, cgutils.for_range(builder, builder.sub(rows, row), intp=INT) as over:
                add_to([builder.add(row, over.index)])
        return context.get_dummy_value()

    arguments = taken, left, index, index, index, index, right, index, index, index, product
    return types.void(*arguments), generate


def _clamped(v: Vectors, first: Any, i: int, end: Any) -> Any:
    """Row first + i, or the last before `end`."""
    row, last = v.builder.add(first, INT(i)), v.builder.sub(end, INT(1))
    return v.builder.select(v.builder.icmp_signed("<", row, last), row, last)
