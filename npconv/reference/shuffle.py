"""Channel shuffle: channel a*n + b, the b-th of group a, becomes channel b*groups + a, so every group meets every other."""

from __future__ import annotations

from npconv.geometry import Array


def channel_shuffle(x: Array, groups: int) -> Array:
    """Channels as a (groups, n) table, transposed, and read again in rows. Its gradient is `channel_unshuffle`, its inverse."""
    batch, channels, height, width = x.shape
    table = x.reshape(batch, groups, channels // groups, height, width)
    return table.swapaxes(1, 2).reshape(x.shape).copy()


def channel_unshuffle(x: Array, groups: int) -> Array:
    """Channels as an (n, groups) table, transposed back. Its gradient is `channel_shuffle`."""
    batch, channels, height, width = x.shape
    table = x.reshape(batch, channels // groups, groups, height, width)
    return table.swapaxes(1, 2).reshape(x.shape).copy()
