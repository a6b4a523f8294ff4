"""Strided windows: how a sliding kernel becomes an array with named axes, so that one contraction is left to do."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from npconv.geometry import Array, Axis


def input_windows(x: Array, axes: tuple[Axis, Axis], padding: float = 0.0) -> Array:
    """The input pixels under each kernel tap, x[n, c, p * stride + r * dilation - pad, ...], as (N, C, P, Q, R, S), read-only.

    Padding is pixels of that value, and multiplied like other pixels: 0 times an infinite weight makes NaN.
    """
    rows, columns = axes
    row_of, stride_height, dilation_height = rows.laid_out()
    column_of, stride_width, dilation_width = columns.laid_out()
    with_padding = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=padding)  # the last row and column
    plane = with_padding.take(row_of, axis=2).take(column_of, axis=3)
    along_n, along_c, along_h, along_w = plane.strides
    return as_strided(
        plane,
        shape=(*x.shape[:2], rows.out, columns.out, rows.kernel, columns.kernel),
        strides=(
            along_n,
            along_c,
            along_h * stride_height,
            along_w * stride_width,
            along_h * dilation_height,
            along_w * dilation_width,
        ),
        writeable=False,
    )


def scatter_windows(taps: Array, axes: tuple[Axis, Axis]) -> Array:
    """The adjoint of `input_windows`: adds (N, C, P, Q, R, S) back to the pixels that they stand for, (N, C, H, W).

    One kernel tap at a time, at which no two windows meet. What falls on the padding is dropped; pixels that no window
    reads (the floor case) get 0.
    """
    rows, columns = axes
    x = np.zeros((*taps.shape[:2], rows.size, columns.size), taps.dtype)
    for r in range(rows.kernel):
        p, h = rows.pixels_of(r)
        for s in range(columns.kernel):
            q, w = columns.pixels_of(s)
            x[:, :, h, w] += taps[:, :, p, q, r, s]
    return x
