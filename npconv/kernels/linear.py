"""The fully connected layer: y[n,o] = sum over c of x[n,c] * w[o,c], plus b[o].

Each number of w is used once for each image, of which there may be one: so w is read as it lies, and never packed. The forward
is dot products of rows. Both gradients are sums of rows, of w and of x, times single numbers.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from npconv.geometry import Array
from npconv.kernels.channel_sums import sums_of_channels
from npconv.kernels.jit import MANY, compiled, contiguous
from npconv.kernels.vectors import LANES, REGISTERS, Code, Int, Mask, Pointer, Registers, emitted, fma
from npconv.memory import empty

FEATURES = 32  # that a thread takes at a time
DOTS = 4 if REGISTERS == 32 else 3  # rows on either side of a tile of dot products
ROWS, VECTORS = (6, 4) if REGISTERS == 32 else (4, 3)  # of a tile of products
# Rows of a batch that are added one after another: of a million, errors are a tenth of those without a cut.
TOGETHER = 1024
IMAGES = 64  # that go through the same rows of w


def linear(x: Array, w: Array, b: Array | None) -> Array:
    """Dot products of rows: a lane of a vector adds up every so many of the products, and then the lanes are added."""
    y = empty((len(x), len(w)), x.dtype)
    bias = np.zeros(len(w), x.dtype) if b is None else contiguous(b)
    _linear(contiguous(x), contiguous(w), bias, y)
    return y


@compiled(terms=MANY)
def _linear(x, w, b, y):
    (features, length), batch = w.shape, len(x)
    flat_x, flat_w, flat_y = x.reshape(x.size), w.reshape(w.size), y.reshape(y.size)
    for block in prange(-(-features // FEATURES)):
        first = FEATURES * np.int64(block)
        last = min(first + FEATURES, features)
        for image in range(0, batch, IMAGES):
            images = min(IMAGES, batch - image)
            for o in range(first, last, DOTS):
                count = min(DOTS, last - o)
                dot_tiles(
                    flat_x[image * length :], images, flat_w[o * length :], count, length, b[o:],
                    flat_y[image * features + o :], features,
                )  # fmt: skip


def linear_input_grad(dy: Array, w: Array) -> Array:
    """dx[n,c] = sum over o of dy[n,o] * w[o,c]."""
    batch, features = dy.shape
    dx = empty((batch, w.shape[1]), dy.dtype)
    _products(contiguous(dy).reshape(-1), features, 1, features, contiguous(w), dx, LANES[dx.itemsize * 8] * VECTORS)
    return dx


def linear_weight_grad(dy: Array, x: Array) -> Array:
    """dw[o,c] = sum over n of dy[n,o] * x[n,c]."""
    batch, features = dy.shape
    dw, dy, x = empty((features, x.shape[1]), dy.dtype), contiguous(dy), contiguous(x)
    for start in range(0, max(batch, 1), TOGETHER):
        some = slice(start, min(start + TOGETHER, batch))
        part = dw if start == 0 else empty(dw.shape, dw.dtype)
        flat = dy[some].reshape(-1)
        _products(flat, 1, features, len(dy[some]), x[some], part, LANES[dw.itemsize * 8] * VECTORS)
        if start:
            dw += part
    return dw


@compiled(terms=MANY)
def _products(left, row_pitch, pitch, depth, right, product, width):
    """product[i, j] = sum over k < depth of left[i * row_pitch + k * pitch] * right[k, j]."""
    rows, columns = product.shape
    flat_right, flat_product = right.reshape(right.size), product.reshape(product.size)
    wide, high = -(-columns // width), -(-rows // IMAGES)
    for item in prange(wide * high):
        j, i = np.int64(item) // high * width, np.int64(item) % high * IMAGES
        product_tiles(
            left[i * row_pitch :], min(IMAGES, rows - i), row_pitch, pitch, depth, flat_right[j:], columns,
            flat_product[i * columns + j :], min(width, columns - j),
        )  # fmt: skip


def linear_bias_grad(dy: Array) -> Array:
    """db[o] = sum over n of dy[n,o]."""
    return sums_of_channels(contiguous(dy)[:, :, None, None]).astype(dy.dtype)


@emitted
def dot_tiles(
    code: Code, x: Pointer, images: Int, w: Pointer, features: Int, length: Int, b: Pointer, y: Pointer, pitch: Int
) -> None:
    """y[n * pitch + o] = b[o] + sum over c < length of x[n * length + c] * w[o * length + c], for n < images, o < features <= DOTS."""
    outs = [(features - 1).at_most(j) for j in range(DOTS)]
    w_rows = [w + out * length for out in outs]
    with code.loop((images + (DOTS - 1)) // DOTS) as number:
        first, total = number * DOTS, Registers(code)
        # The last tile may have fewer images, or features: it computes the last one again and again.
        rows = [first + (images - first - 1).at_most(i) for i in range(DOTS)]
        x_rows = [x + row * length for row in rows]
        for i in range(DOTS):
            for j in range(DOTS):
                total[i, j] = code.zero

        def add(c: Int, mask: Mask | None) -> None:
            columns = [row.vector(c, mask) for row in w_rows]
            for i, row in enumerate(x_rows):
                numbers = row.vector(c, mask)
                for j, column in enumerate(columns):
                    total[i, j] = fma(numbers, column, total[i, j])

        code.vectors(length, add)
        for i, row in enumerate(rows):
            for j, out in enumerate(outs):
                (y + (row * pitch + out)).put(total[i, j].sum() + b[out])


@emitted
def product_tiles(
    code: Code,
    left: Pointer,
    rows: Int,
    row_pitch: Int,
    pitch: Int,
    depth: Int,
    right: Pointer,
    columns: Int,
    product: Pointer,
    count: Int,
) -> None:
    """product[i * columns + j] = sum over k < depth of left[i * row_pitch + k * pitch] * right[k * columns + j].

    For i < rows and j < count, at most VECTORS vectors.
    """
    none = count - count
    masks = [
        code.first_lanes((count - j * code.lanes >= 1).choose(count - j * code.lanes, none)) for j in range(VECTORS)
    ]
    with code.loop((rows + (ROWS - 1)) // ROWS) as number:
        first, total = number * ROWS, Registers(code)
        own = [first + (rows - first - 1).at_most(i) for i in range(ROWS)]
        for i in range(ROWS):
            for j in range(VECTORS):
                total[i, j] = code.zero
        with code.loop(depth) as k:
            numbers = [(right + k * columns).vector(j * code.lanes, masks[j]) for j in range(VECTORS)]
            for i in range(ROWS):
                factor = left[own[i] * row_pitch + k * pitch].splat()
                for j in range(VECTORS):
                    total[i, j] = fma(factor, numbers[j], total[i, j])
        for i in range(ROWS):
            for j in range(VECTORS):
                (product + (own[i] * columns + j * code.lanes)).store(total[i, j], masks[j])
