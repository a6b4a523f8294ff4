"""Strided windows: how a sliding kernel becomes an array with named axes, so that one contraction is left to do."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from npconv.geometry import Array, Conv2dGeometry, effective_kernel


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
    """The input pixels under each kernel tap, x[n, c, p * stride + r * dilation - pad, ...], as (N, C, P, Q, R, S)."""
    rows, columns = (geometry.pad_top, geometry.pad_bottom), (geometry.pad_left, geometry.pad_right)
    return windows(
        np.pad(x, ((0, 0), (0, 0), rows, columns)),
        (geometry.out_height, geometry.out_width),
        (geometry.kernel_height, geometry.kernel_width),
        (geometry.stride_height, geometry.stride_width),
        (geometry.dilation_height, geometry.dilation_width),
    )


def output_windows(dy: Array, geometry: Conv2dGeometry) -> Array:
    """The output gradients that each input pixel fed, as (N, O, H, W, R, S), to be met by the *rotated* kernel.

    Input row h fed output row p through kernel row r where h = p * stride + r * dilation - pad, which is
    p * stride = h + pad - r * dilation. So dy is spread out, `stride` apart with zeros between (row p moves to
    p * stride), and read backwards in r. Reading it forwards in r' = R - 1 - r makes it a plain window of dilation
    `dilation` that starts at h + pad - (R - 1) * dilation, for which as many zeros go before; the kernel is rotated
    instead. Input rows that no output read (the floor case) find only zeros.
    """
    batch, channels = dy.shape[:2]
    reach_height = effective_kernel(geometry.kernel_height, geometry.dilation_height) - 1
    reach_width = effective_kernel(geometry.kernel_width, geometry.dilation_width) - 1
    padded_height = geometry.in_height + geometry.pad_top + geometry.pad_bottom
    padded_width = geometry.in_width + geometry.pad_left + geometry.pad_right
    spread = np.zeros((batch, channels, padded_height + reach_height, padded_width + reach_width), dy.dtype)
    rows = slice(reach_height, reach_height + geometry.out_height * geometry.stride_height, geometry.stride_height)
    columns = slice(reach_width, reach_width + geometry.out_width * geometry.stride_width, geometry.stride_width)
    spread[:, :, rows, columns] = dy
    return windows(
        spread[:, :, geometry.pad_top :, geometry.pad_left :],
        (geometry.in_height, geometry.in_width),
        (geometry.kernel_height, geometry.kernel_width),
        dilation=(geometry.dilation_height, geometry.dilation_width),
    )
