"""Sums of a map's numbers over its pixels; those of batch norm, over the same chunks, are in `normalization`.

A map is read as (parts, pixels, channels), a part being an image or the whole batch. The pixels of a part are cut into
chunks at places that depend on its sizes alone; a chunk adds eight pixels in the map's own dtype, one after the other (eight at
once are eight streams, at a third of the speed), and only what comes of them in float64, since converting each number would
be most of the work; the chunks' sums are added in order. So a sum has the
same bits on any number of threads, and an image's wherever it stands in the batch.

Where channels are few, neighbouring pixels count as more channels (`folded`), so that the innermost loop is long.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from npconv.geometry import Array
from npconv.kernels.jit import compiled

EIGHT = 8  # pixels that are added in the map's own dtype
INNERMOST = 64  # numbers that the innermost loop should have at least
CHUNK = 1 << 14  # numbers in a chunk, or at least
CHUNK_PIXELS = 64


def folded(x: Array, parts: int) -> Array:
    """A channels-last map (N, C, H, W) as (parts, pixels / f, f * C): f neighbouring pixels beside each other, a power of two."""
    channels, pixels = x.shape[1], x.size // max(1, x.shape[1] * parts)
    fold = 1
    while fold * channels < INNERMOST and pixels % (2 * fold) == 0 and pixels > 0:
        fold *= 2
    return x.transpose(0, 2, 3, 1).reshape(parts, pixels // fold, fold * channels)


def chunk_of(lanes: int) -> int:
    """How many pixels, each of so many numbers, are a chunk."""
    return max(CHUNK_PIXELS, CHUNK // lanes // EIGHT * EIGHT)


def sums_of_channels(x: Array, parts: int = 1) -> Array:
    """The sum of each channel of a channels-last map over all pixels, (C,), in float64; over those of each of `parts`, (parts, C)."""
    rows = folded(x, parts)
    chunk = chunk_of(rows.shape[2])
    chunks = -(-rows.shape[1] // chunk)
    partial = np.empty((parts * chunks, rows.shape[2]))
    total = np.zeros((parts, x.shape[1]))
    _sums_of_channels(rows, chunk, partial, total)
    return total[0] if parts == 1 else total


@compiled(terms=1)
def _sums_of_channels(x, chunk, partial, total):
    """total[s, c] = sum over m of x[s, m, c]; partial[s * chunks + k, c] is that of chunk k."""
    parts, pixels, lanes = x.shape
    channels = total.shape[1]
    chunks = -(-pixels // chunk)
    for item in prange(parts * chunks):
        s, first = np.int64(item) // chunks, np.int64(item) % chunks * chunk
        last = min(first + chunk, pixels)
        whole = first + (last - first) // EIGHT * EIGHT
        eight = np.empty(lanes, x.dtype)
        for c in range(lanes):
            partial[item, c] = 0.0
        for m in range(np.uint64(first), np.uint64(whole), np.uint64(EIGHT)):
            for c in range(lanes):
                eight[c] = x[s, m, c]
            for k in range(np.uint64(1), np.uint64(EIGHT)):
                for c in range(lanes):
                    eight[c] += x[s, m + k, c]
            for c in range(lanes):
                partial[item, c] += eight[c]
        for m in range(whole, last):
            for c in range(lanes):
                partial[item, c] += x[s, m, c]
    for s in range(parts):
        for item in range(s * chunks, (s + 1) * chunks):
            for beside in range(0, lanes, channels):
                for c in range(channels):
                    total[s, c] += partial[item, beside + c]
