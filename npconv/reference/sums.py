"""Sums over images and pixels, which may be a million: added in pairs, so that their error grows with the logarithm of that."""

from __future__ import annotations

import numpy as np

from npconv.geometry import Array


def channel_sums(x: Array) -> Array:
    """The sum over n and all pixels of x[n,c,...], for each c.

    NumPy adds in pairs along the innermost axis only, and one after another along the others: so the channels come first.
    """
    return np.ascontiguousarray(x.swapaxes(0, 1)).reshape(x.shape[1], -1).sum(axis=1)


def channel_means(x: Array) -> Array:
    """Their mean."""
    return channel_sums(x) / x.dtype.type(x.size // x.shape[1])
