"""Channel shuffle: channel a*n + b, the b-th of group a, becomes channel b*groups + a, so every group meets every other."""

from __future__ import annotations

import numpy as np
from numba import prange

from npconv.geometry import Array
from npconv.kernels.compiling import compiled
from npconv.kernels.rows import planes


def channel_shuffle(x: Array, groups: int) -> Array:
    """Whole planes are copied, one thread per plane."""
    y = np.empty(x.shape, x.dtype)
    _transposed_channels(planes(x), groups, planes(y))
    return y


def channel_unshuffle(x: Array, groups: int) -> Array:
    """The (n, groups) table transposed is the (groups, n) table: shuffling with n groups undoes shuffling with `groups`."""
    y = np.empty(x.shape, x.dtype)
    _transposed_channels(planes(x), x.shape[1] // groups, planes(y))
    return y


@compiled
def _transposed_channels(x, groups, y):
    batch, channels, pixels = x.shape
    per_group = channels // groups
    for plane in prange(batch * channels):
        n, channel = np.int64(plane) // channels, np.int64(plane) % channels
        source = channel % groups * per_group + channel // groups
        for i in range(pixels):
            y[n, channel, i] = x[n, source, i]
