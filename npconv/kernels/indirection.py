"""The indirection: geometry as tables of which pixel each pixel of a result reads at each tap of the kernel.

An axis is a table ``reads[i, k]``: the row (or column) of the map that is read for the i-th row of the result at kernel row
`k`; a row outside of the map is padding. A pixel's table is the combination of its row's and its column's. With it the loops know
nothing of stride, dilation, padding or borders: they add products of pixels and weights, tap by tap.

A forward reads padding, as zeros that are multiplied. An input gradient must not: an infinite weight would make 0 * inf of a
product that is in no sum. So its rows are sorted into `Class`es of rows that read at the same taps, and nothing else is read;
these are the phases of a stride, and the borders.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from npconv.geometry import Array, Conv2dGeometry


class Class(NamedTuple):
    """Rows (or columns) of the result that read at the same taps."""

    places: Array  # (count,): which rows of the result
    taps: Array  # (taps,): which rows of the kernel
    reads: Array  # (count, taps): the row that is read; one outside of the map is padding


def forward_axis(out: int, size: int, kernel: int, stride: int, dilation: int, pad: int) -> list[Class]:
    """reads[p, r] = p * stride + r * dilation - pad.

    >>> forward_axis(out=3, size=5, kernel=3, stride=2, dilation=1, pad=1)[0].reads.tolist()
    [[-1, 0, 1], [1, 2, 3], [3, 4, 5]]
    """
    reads = np.arange(out)[:, None] * stride + np.arange(kernel) * dilation - pad
    return [Class(np.arange(out), np.arange(kernel), reads)]


def input_grad_axis(
    out: int, size: int, kernel: int, stride: int, dilation: int, pad: int, padded: bool = False
) -> list[Class]:
    """reads[h, r] = the p with p * stride + r * dilation - pad = h, where there is one: h is read by that output.

    If `padded`, also where p would be before the first output or after the last: then borders make no classes.

    >>> for rows in input_grad_axis(out=3, size=5, kernel=3, stride=2, dilation=1, pad=1):
    ...     print(rows.places.tolist(), rows.taps.tolist(), rows.reads.tolist())
    [0, 2, 4] [1] [[0], [1], [2]]
    [1, 3] [0, 2] [[1, 0], [2, 1]]
    """
    steps = np.arange(size)[:, None] - np.arange(kernel) * dilation + pad
    reads, meets = steps // stride, steps % stride == 0
    if not padded:
        meets &= (reads >= 0) & (reads < out)
    patterns, classes = np.unique(meets, axis=0, return_inverse=True)
    found = []
    for number, pattern in enumerate(patterns):
        places, taps = np.flatnonzero(classes.reshape(-1) == number), np.flatnonzero(pattern)
        found.append(Class(places, taps, reads[np.ix_(places, taps)]))
    return found


def blocks_of(channels: int, lanes: int, largest: int) -> list[tuple[int, int, int]]:
    """(first, vectors, lanes of the last vector) of blocks of at most `largest` vectors, as even as they can be.

    >>> blocks_of(72, lanes=16, largest=4)  # three and two vectors, and not five
    [(0, 3, 16), (48, 2, 8)]
    """
    vectors = -(-channels // lanes)
    count = -(-vectors // largest)
    sizes = [vectors // count + (number < vectors % count) for number in range(count)] if count else []
    firsts = np.cumsum([0, *sizes])[:-1] * lanes
    return [
        (int(first), size, min(lanes, channels - int(first) - (size - 1) * lanes))
        for first, size in zip(firsts, sizes, strict=True)
    ]


def forward_axes(geometry: Conv2dGeometry) -> tuple[list[Class], list[Class]]:
    """The classes of the result's rows, and of its columns, which are all in one."""
    return _axes(forward_axis, geometry)


def input_grad_axes(geometry: Conv2dGeometry, padded: bool = False) -> tuple[list[Class], list[Class]]:
    """The classes of the rows of the input's gradient, and of its columns."""
    return _axes(functools.partial(input_grad_axis, padded=padded), geometry)


def _axes(axis: Callable[..., list[Class]], g: Conv2dGeometry) -> tuple[list[Class], list[Class]]:
    return (
        axis(g.out_height, g.in_height, g.kernel_height, g.stride_height, g.dilation_height, g.pad_top),
        axis(g.out_width, g.in_width, g.kernel_width, g.stride_width, g.dilation_width, g.pad_left),
    )


def shares(work: Array, threads: int) -> Array:
    """Where each thread's items begin and end, (threads + 1,), so that all have the same amount of `work`."""
    done = np.concatenate(([0], np.cumsum(work)))
    return np.searchsorted(done, done[-1] * np.arange(threads + 1) / threads, side="left")
