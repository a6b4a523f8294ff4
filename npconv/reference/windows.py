"""Strided windows: how a sliding kernel becomes an array with named axes, so that one contraction is left to do."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from npconv.geometry import Array, Conv2dGeometry


def windows(
    padded: Array,
    count: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
) -> Array:
    """A read-only view (N, C, P, Q, R, S) of `padded`: element [n, c, p, q, r, s] is pixel (p * stride + r * dilation, ...).

    No copy is made. The callers' geometry guarantees that the last tap of the last window is inside `padded`.
    """
    batch, channels = padded.shape[:2]
    along_n, along_c, along_h, along_w = padded.strides
    return as_strided(
        padded,
        shape=(batch, channels, *count, *kernel),
        strides=(
            along_n,
            along_c,
            along_h * stride[0],
            along_w * stride[1],
            along_h * dilation[0],
            along_w * dilation[1],
        ),
        writeable=False,
    )


def input_windows(x: Array, geometry: Conv2dGeometry) -> Array:
    """The input pixels under each kernel tap, x[n, c, p * stride + r * dilation - pad, ...], as (N, C, P, Q, R, S).

    Padding is pixels that are 0, and multiplied like other pixels: by an infinite weight it makes NaN.
    """
    rows, columns = (geometry.pad_top, geometry.pad_bottom), (geometry.pad_left, geometry.pad_right)
    return windows(
        np.pad(x, ((0, 0), (0, 0), rows, columns)),
        (geometry.out_height, geometry.out_width),
        (geometry.kernel_height, geometry.kernel_width),
        (geometry.stride_height, geometry.stride_width),
        (geometry.dilation_height, geometry.dilation_width),
    )


def scatter_windows(taps: Array, geometry: Conv2dGeometry) -> Array:
    """The adjoint of `input_windows`: adds (N, C, P, Q, R, S) back to the pixels that they stand for, (N, C, H, W).

    One kernel tap at a time, at which no two windows meet. What falls on the padding is dropped; pixels that no window
    reads (the floor case) get 0.
    """
    batch, channels, out_height, out_width, kernel_height, kernel_width = taps.shape
    bottom, right = geometry.pad_top + geometry.in_height, geometry.pad_left + geometry.in_width
    padded = np.zeros((batch, channels, bottom + geometry.pad_bottom, right + geometry.pad_right), taps.dtype)
    for r in range(kernel_height):
        top = r * geometry.dilation_height
        rows = slice(top, top + (out_height - 1) * geometry.stride_height + 1, geometry.stride_height)
        for s in range(kernel_width):
            left = s * geometry.dilation_width
            columns = slice(left, left + (out_width - 1) * geometry.stride_width + 1, geometry.stride_width)
            padded[:, :, rows, columns] += taps[..., r, s]
    return np.ascontiguousarray(padded[:, :, geometry.pad_top : bottom, geometry.pad_left : right])
