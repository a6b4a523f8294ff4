"""Channel shuffle: channel a*n + b, the b-th of group a, becomes channel b*groups + a, so every group meets every other."""

from __future__ import annotations

import numpy as np
from numba import prange

from npconv.geometry import Array
from npconv.kernels.jit import compiled, contiguous


def channel_shuffle(x: Array, groups: int) -> Array:
    """Whole planes are copied, one thread per plane."""
    return _transposed(x, groups)


def channel_unshuffle(x: Array, groups: int) -> Array:
    """The (n, groups) table transposed is the (groups, n) table: shuffling with n groups undoes shuffling with `groups`."""
    return _transposed(x, x.shape[1] // groups)


def _transposed(x: Array, groups: int) -> Array:
    y = np.empty(x.shape, x.dtype)
    _, channels, height, width = x.shape
    _copy_planes(contiguous(x).reshape(x.size), channels, height * width, groups, y.reshape(x.size))
    return y


@compiled
def _copy_planes(x, channels, pixels, groups, y):
    per_group = channels // groups
    for plane in prange(x.size // pixels):
        to = np.int64(plane)
        channel = to % channels
        source = to - channel + channel % groups * per_group + channel // groups
        # Unsigned indices need no test for counting from the end, which would keep this loop from being vectors.
        at, there = np.uint64(source * pixels), np.uint64(to * pixels)
        for i in range(np.uint64(pixels)):
            y[there + i] = x[at + i]
