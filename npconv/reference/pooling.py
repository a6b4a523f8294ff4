"""Average, maximum and global average pooling: one number for each window of each channel."""

from __future__ import annotations

import numpy as np

from npconv.geometry import Array, Pool2dGeometry
from npconv.reference.windows import windows


def avg_pool2d(x: Array, count_include_pad: bool, geometry: Pool2dGeometry) -> Array:
    """y[n,c,p,q] = (sum over the window of x) / (pixels in the window); `count_include_pad` counts padding as pixels."""
    total = _windows(x, 0.0, geometry).sum(axis=(4, 5))
    return total / _divisor(count_include_pad, geometry).astype(x.dtype)


def avg_pool2d_input_grad(dy: Array, count_include_pad: bool, geometry: Pool2dGeometry) -> Array:
    """Every pixel of a window gets an equal share of its dy; shares of overlapping windows add up."""
    share = dy / _divisor(count_include_pad, geometry).astype(dy.dtype)
    taps = (geometry.kernel_height, geometry.kernel_width)
    return _scatter(np.broadcast_to(share[..., None, None], (*share.shape, *taps)), geometry)


def max_pool2d(x: Array, geometry: Pool2dGeometry) -> Array:
    """y[n,c,p,q] = the largest x of the window; padding never wins, NaN always does."""
    return _windows(x, -np.inf, geometry).max(axis=(4, 5))


def max_pool2d_input_grad(dy: Array, x: Array, geometry: Pool2dGeometry) -> Array:
    """The window's first largest pixel, in row order, gets the whole dy: a small change of any other leaves y as it is.

    A pixel of -inf is as large as the padding, which still gets nothing; the first NaN is the largest.
    """
    x_windows, inside = _windows(x, -np.inf, geometry), _windows(np.ones(x.shape, np.bool_), False, geometry)
    largest = inside & ((x_windows == x_windows.max(axis=(4, 5), keepdims=True)) | np.isnan(x_windows))
    flat = largest.reshape(*geometry.y_shape, geometry.kernel_height * geometry.kernel_width)
    winner = flat.argmax(axis=-1)[..., None] == np.arange(flat.shape[-1])
    return _scatter(np.where(winner, dy[..., None], dy.dtype.type(0)).reshape(x_windows.shape), geometry)


def global_avg_pool2d(x: Array) -> Array:
    """y[n,c,0,0] = mean of the plane x[n,c]."""
    return x.mean(axis=(2, 3), keepdims=True, dtype=x.dtype)


def global_avg_pool2d_input_grad(dy: Array, height: int, width: int) -> Array:
    """Every pixel of a plane gets the same share, dy / (height * width)."""
    batch, channels = dy.shape[:2]
    share = dy / dy.dtype.type(height * width)
    return np.broadcast_to(share, (batch, channels, height, width)).copy()


def _extent(geometry: Pool2dGeometry) -> tuple[int, int]:
    """Rows and columns that the windows reach, the incomplete ones of ceil mode included, from the padded origin."""
    return (
        (geometry.out_height - 1) * geometry.stride_height + geometry.kernel_height,
        (geometry.out_width - 1) * geometry.stride_width + geometry.kernel_width,
    )


def _windows(x: Array, fill: float, geometry: Pool2dGeometry) -> Array:
    """The windows (N, C, P, Q, R, S) of x laid on a plane of `fill` as large as they reach."""
    height, width = _extent(geometry)
    rows = max(height, geometry.pad_top + geometry.in_height)
    columns = max(width, geometry.pad_left + geometry.in_width)
    plane = np.full((geometry.batch, geometry.channels, rows, columns), fill, x.dtype)
    _image(plane, geometry)[...] = x
    return windows(
        plane,
        (geometry.out_height, geometry.out_width),
        (geometry.kernel_height, geometry.kernel_width),
        (geometry.stride_height, geometry.stride_width),
    )


def _scatter(taps: Array, geometry: Pool2dGeometry) -> Array:
    """The adjoint of `_windows`: adds taps (N, C, P, Q, R, S) back where they were read, one kernel tap at a time."""
    height, width = _extent(geometry)
    rows = max(height, geometry.pad_top + geometry.in_height)
    columns = max(width, geometry.pad_left + geometry.in_width)
    plane = np.zeros((geometry.batch, geometry.channels, rows, columns), taps.dtype)
    for r in range(geometry.kernel_height):
        row_end = r + geometry.out_height * geometry.stride_height
        for s in range(geometry.kernel_width):
            column_end = s + geometry.out_width * geometry.stride_width
            plane[:, :, r : row_end : geometry.stride_height, s : column_end : geometry.stride_width] += taps[..., r, s]
    return _image(plane, geometry).copy()


def _image(plane: Array, geometry: Pool2dGeometry) -> Array:
    """The part of a padded plane that is the image, as a view."""
    bottom, right = geometry.pad_top + geometry.in_height, geometry.pad_left + geometry.in_width
    return plane[:, :, geometry.pad_top : bottom, geometry.pad_left : right]


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
