"""Channel shuffle: channel a*n + b, the b-th of group a, becomes channel b*groups + a, so every group meets every other."""

from __future__ import annotations

import numpy as np
from numba import prange

from npconv.geometry import Array
from npconv.kernels.compiling import compiled, contiguous


def channel_shuffle(x: Array, groups: int) -> Array:
    """Whole planes are copied, one thread per plane."""
    y = np.empty(x.shape, x.dtype)
    _transposed_channels(contiguous(x), groups, y)
    return y


def channel_unshuffle(x: Array, groups: int) -> Array:
    """The (n, groups) table transposed is the (groups, n) table: shuffling with n groups undoes shuffling with `groups`."""
    y = np.empty(x.shape, x.dtype)
    _transposed_channels(contiguous(x), x.shape[1] // groups, y)
    return y


@compiled
def _transposed_channels(x, groups, y):
    batch, channels, _, _ = x.shape
    per_group = channels // groups
    for plane in prange(batch * channels):
        n, channel = np.int64(plane) // channels, np.int64(plane) % channels
        a, b = channel // per_group, channel % per_group
        y[n, b * groups + a] = x[n, channel]
