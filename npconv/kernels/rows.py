"""How a loop over planes sees an array, and the sum of a row."""

from __future__ import annotations

from numba import njit

from npconv.geometry import Array
from npconv.kernels.compiling import contiguous


def planes(array: Array) -> Array:
    """(N, C, H, W) as (N, C, H * W), a view of `array` where that is C-contiguous."""
    batch, channels, height, width = array.shape
    return contiguous(array).reshape(batch, channels, height * width)


def stacked(array: Array) -> Array:
    """(N, C, H, W) as (N * C, H, W), likewise, for loops to which all planes are alike."""
    batch, channels, height, width = array.shape
    return contiguous(array).reshape(batch * channels, height, width)


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
