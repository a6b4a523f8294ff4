"""How a loop over planes sees an array, and the sum of a row."""

from __future__ import annotations

import math

from numba import njit
from numpy.lib.stride_tricks import as_strided

from npconv.geometry import Array
from npconv.kernels.jit import contiguous


def planes(array: Array) -> Array:
    """(N, C, H, W) as (N, C, H * W), a view of `array` where that is C-contiguous."""
    batch, channels, height, width = array.shape
    return contiguous(array).reshape(batch, channels, height * width)


def stacked(array: Array) -> Array:
    """(N, C, H, W) as (N * C, H, W), likewise, for loops to which all planes are alike."""
    batch, channels, height, width = array.shape
    return contiguous(array).reshape(batch * channels, height, width)


def images(array: Array) -> tuple[Array, int]:
    """(N, C, H, W), or any other axes behind N, as a flat array, and how far its images are apart there.

    A slice of channels needs no copy.
    """
    size = math.prod(array.shape[1:])
    if array.flags.carray or not _has_whole_images(array):
        array = contiguous(array)
        return array.reshape(array.size), size
    step, itemsize = array.strides[0], array.itemsize
    return as_strided(array, ((len(array) - 1) * step // itemsize + size,), (itemsize,)), step // itemsize


def _has_whole_images(array: Array) -> bool:
    """Whether `array` has one image after another, each without gaps, in memory that kernels may use as it is."""
    step, flags = array.strides[0], array.flags
    return (
        len(array) > 0
        and array[0].flags.c_contiguous
        and step >= array[0].nbytes
        and step % array.itemsize == 0
        and flags.aligned
        and flags.writeable
    )


def stored(result: Array, out: Array | None, add: bool) -> Array:
    """`result` itself, or `out` once the result is there, or added to what is there."""
    if out is None or out is result:
        return result
    if add:
        out += result
    else:
        out[...] = result
    return out


# "reassoc" lets a sum run in vector lanes, in an order that the compiled code fixes. A NaN or an infinity is in a sum
# whatever its order, so no value is assumed away, as the other flags of fastmath would.
summing = njit(error_model="numpy", fastmath={"reassoc"})


@summing
def row_sum(row):
    """The sum in float64."""
    total = 0.0
    for i in range(row.size):
        total += row[i]
    return total
