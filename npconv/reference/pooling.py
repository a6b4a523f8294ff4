"""Average, maximum and global average pooling: one number for each window of each channel."""

from __future__ import annotations

import numpy as np

from npconv.geometry import Array, Pool2dGeometry
from npconv.reference.windows import input_windows, scatter_windows


def avg_pool2d(x: Array, count_include_pad: bool, geometry: Pool2dGeometry) -> Array:
    """y[n,c,p,q] = (sum over the window of x) / (pixels in the window); `count_include_pad` counts padding as pixels."""
    total = input_windows(x, geometry.axes).sum(axis=(4, 5))
    return total / _divisor(count_include_pad, geometry).astype(x.dtype)


def avg_pool2d_input_grad(dy: Array, count_include_pad: bool, geometry: Pool2dGeometry) -> Array:
    """Every pixel of a window gets an equal share of its dy; shares of overlapping windows add up."""
    share = dy / _divisor(count_include_pad, geometry).astype(dy.dtype)
    taps = [axis.kernel for axis in geometry.axes]
    return scatter_windows(np.broadcast_to(share[..., None, None], (*share.shape, *taps)), geometry.axes)


def max_pool2d(x: Array, geometry: Pool2dGeometry) -> Array:
    """y[n,c,p,q] = the largest x of the window; padding never wins, NaN always does."""
    return input_windows(x, geometry.axes, -np.inf).max(axis=(4, 5))


def max_pool2d_input_grad(dy: Array, x: Array, geometry: Pool2dGeometry) -> Array:
    """The window's first largest pixel, in row order, gets the whole dy: a small change of any other leaves y as it is.

    A pixel of -inf is as large as the padding, which still gets nothing; the first NaN is the largest.
    """
    y, (rows, columns) = max_pool2d(x, geometry), geometry.axes
    dx, given = np.zeros_like(x), np.zeros(y.shape, np.bool_)
    for r in range(rows.kernel):
        p, h = rows.pixels_of(r)
        for s in range(columns.kernel):
            q, w = columns.pixels_of(s)
            pixel = x[:, :, h, w]
            wins = ((pixel == y[:, :, p, q]) | np.isnan(pixel)) & ~given[:, :, p, q]
            dx[:, :, h, w] += np.where(wins, dy[:, :, p, q], dy.dtype.type(0))
            given[:, :, p, q] |= wins
    return dx


def global_avg_pool2d(x: Array) -> Array:
    """y[n,c,0,0] = mean of the plane x[n,c]."""
    return x.mean(axis=(2, 3), keepdims=True, dtype=x.dtype)


def global_avg_pool2d_input_grad(dy: Array, height: int, width: int) -> Array:
    """Every pixel of a plane gets the same share, dy / (height * width)."""
    batch, channels = dy.shape[:2]
    share = dy / dy.dtype.type(height * width)
    return np.broadcast_to(share, (batch, channels, height, width)).copy()


def _divisor(count_include_pad: bool, geometry: Pool2dGeometry) -> Array:
    """Pixels in each window, (P, Q). Ceil mode's overhang beyond the padding never counts; padding does only if asked."""
    before = (geometry.pad_top, geometry.pad_left) if count_include_pad else (0, 0)
    after = (geometry.pad_bottom, geometry.pad_right) if count_include_pad else (0, 0)
    counts = []
    for out, stride, kernel, pad, size, low, high in zip(
        (geometry.out_height, geometry.out_width),
        (geometry.stride_height, geometry.stride_width),
        (geometry.kernel_height, geometry.kernel_width),
        (geometry.pad_top, geometry.pad_left),
        (geometry.in_height, geometry.in_width),
        before,
        after,
        strict=True,
    ):
        start = np.arange(out) * stride - pad
        counts.append(np.minimum(start + kernel, size + high) - np.maximum(start, -low))
    return np.multiply.outer(counts[0], counts[1])
