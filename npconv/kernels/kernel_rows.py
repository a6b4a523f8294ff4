"""Convolution of maps with very few channels, images above all: a row of the kernel is one run of numbers.

In channels-last order the pixels that a kernel row reads lie beside each other. So a map that has its padding in memory is read as
one of ``kernel_width * channels`` channels, whose pixels overlap, by a kernel of one column: a third of the taps and addresses for
a 3x3 kernel, and runs that are long enough for a tile. Sums have the order that they have otherwise.
"""

from __future__ import annotations

import numpy as np
from numba import prange
from numpy.lib.stride_tricks import as_strided

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.jit import compiled
from npconv.kernels.orders import pitch_of, pixels_from
from npconv.memory import empty

FEW = 4  # channels
SMALL = 1024  # pixels of padding that are laid out beside any map


def pays(geometry: Conv2dGeometry) -> bool:
    """Whether a kernel row is one run, and a pixel too short by itself."""
    g = geometry
    padded = (g.in_height + g.pad_top + g.pad_bottom) * (g.in_width + g.pad_left + g.pad_right)
    small = padded <= 2 * g.in_height * g.in_width + SMALL  # the padding is laid out in memory
    return small and g.groups == 1 and g.in_channels_per_group <= FEW and g.kernel_width > 1 and g.dilation_width == 1


def rows_as_channels(x: Array, geometry: Conv2dGeometry) -> tuple[Array, Conv2dGeometry]:
    """A copy of x with its padding, read as (N, kernel_width * C, height, width), and the geometry of the same outputs."""
    g = geometry
    height, width = g.in_height + g.pad_top + g.pad_bottom, g.in_width + g.pad_left + g.pad_right
    channels, size = g.kernel_width * g.in_channels_per_group, x.itemsize
    rows, row = g.batch * height, width * g.in_channels_per_group
    padded = empty(
        (rows * row + channels,), x.dtype
    )  # the last pixels of the last row have channels beyond it, which nobody reads
    _pad(pixels_from(x), pitch_of(x), g, padded[: rows * row].reshape(rows, row))
    strides = height * row * size, size, row * size, g.in_channels_per_group * size
    view = as_strided(padded, (g.batch, channels, height, width), strides)
    wide = g._replace(
        in_channels_per_group=channels, in_height=height, in_width=width, kernel_width=1, pad_top=0, pad_bottom=0, pad_left=0,
        pad_right=0,
    )  # fmt: skip
    return view, wide


def weights_as_channels(w: Array) -> Array:
    """w (O, C, R, S) as (O, S * C, R, 1)."""
    out_channels, channels, height, width = w.shape
    return np.ascontiguousarray(w.transpose(0, 3, 1, 2)).reshape(out_channels, width * channels, height, 1)


def weights_from_channels(w: Array, geometry: Conv2dGeometry) -> Array:
    """The inverse of `weights_as_channels`."""
    out_channels, channels, height, width = geometry.w_shape
    return np.ascontiguousarray(w.reshape(out_channels, width, channels, height).transpose(0, 2, 3, 1))


@compiled(terms=1)
def _pad(x, pitch, geometry, padded):
    """padded[n, i, j, c] = x[n, i - top, j - left, c], and 0 around it."""
    g = geometry
    channels, height, width = g.in_channels_per_group, g.in_height, g.in_width
    top, rows, left = g.pad_top, g.in_height + g.pad_top + g.pad_bottom, g.pad_left * g.in_channels_per_group
    for item in prange(len(padded)):
        row = np.int64(item)
        n, i, target = row // rows, row % rows - top, padded[row]
        if i < 0 or i >= height:
            target[:] = 0
            continue
        target[:left] = 0
        target[left + width * channels :] = 0
        first = (n * height + i) * width * pitch
        if pitch == channels:
            target[left : left + width * channels] = x[first : first + width * channels]
        else:
            for j in range(width):
                for c in range(channels):
                    target[left + j * channels + c] = x[first + j * pitch + c]
