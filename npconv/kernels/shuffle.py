"""Channel shuffle: channel a*n + b, the b-th of group a, becomes channel b*groups + a, in each pixel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import prange

from npconv.geometry import Array
from npconv.kernels.jit import compiled
from npconv.kernels.orders import of_channels_last_maps
from npconv.kernels.vectors import Code, Int, Pointer, Vector, emitted
from npconv.memory import empty_like, flat

KNOWN = 2, 3, 4, 8  # groups whose channels are dealt out by whole vectors: 3 of 80 channels a third of the time
RUN = 4096  # numbers that a thread moves at a time


@of_channels_last_maps
def channel_shuffle(x: Array, groups: int) -> Array:
    """Each pixel's channels as a (groups, n) table, transposed. Its gradient is `channel_unshuffle`, its inverse."""
    return _transposed(x, groups, True)


@of_channels_last_maps
def channel_unshuffle(x: Array, groups: int) -> Array:
    """Each pixel's channels as an (n, groups) table, transposed back. Its gradient is `channel_shuffle`."""
    return _transposed(x, groups, False)


def _transposed(x: Array, groups: int, deal: bool) -> Array:
    y = empty_like(x)
    _shuffle(flat(x), x.shape[1], groups, deal, flat(y))
    return y


@compiled
def _shuffle(x, channels, groups, deal, y):
    pixels, step = x.size // channels, max(1, RUN // channels)
    for item in prange(-(-pixels // step)):
        first = np.int64(item) * step
        start, count = first * channels, min(step, pixels - first)
        if deal:
            deal_rows(x[start:], count, groups, channels // groups, y[start:])
        else:
            gather_rows(x[start:], count, groups, channels // groups, y[start:])


@emitted
def deal_rows(code: Code, x: Pointer, rows: Int, groups: Int, size: Int, y: Pointer) -> None:
    """y[m, b * groups + a] = x[m, a * size + b] for m < rows, a < groups, b < size."""

    def whole(number: int, x_row: Pointer, y_row: Pointer, first: Int) -> None:
        parts = [(x_row + size * a).vector(first) for a in range(number)]
        for v in range(number):
            lanes = [divmod(v * code.lanes + lane, number) for lane in range(code.lanes)]
            vector = _picked(parts, [a * code.lanes + b for b, a in lanes])
            (y_row + (first * number + v * code.lanes)).store(vector)

    def one(x_row: Pointer, y_row: Pointer, a: Int, b: Int) -> None:
        (y_row + (b * groups + a)).put(x_row[a * size + b])

    _rows(code, x, rows, groups, size, y, whole, one)


@emitted
def gather_rows(code: Code, x: Pointer, rows: Int, groups: Int, size: Int, y: Pointer) -> None:
    """y[m, a * size + b] = x[m, b * groups + a] for m < rows, a < groups, b < size."""

    def whole(number: int, x_row: Pointer, y_row: Pointer, first: Int) -> None:
        parts = [x_row.vector(first * number + v * code.lanes) for v in range(number)]
        for a in range(number):
            vector = _picked(parts, [b * number + a for b in range(code.lanes)])
            (y_row + (size * a + first)).store(vector)

    def one(x_row: Pointer, y_row: Pointer, a: Int, b: Int) -> None:
        (y_row + (a * size + b)).put(x_row[b * groups + a])

    _rows(code, x, rows, groups, size, y, whole, one)


def _rows(
    code: Code,
    x: Pointer,
    rows: Int,
    groups: Int,
    size: Int,
    y: Pointer,
    whole: Callable[[int, Pointer, Pointer, Int], None],
    one: Callable[[Pointer, Pointer, Int, Int], None],
) -> None:
    """Each row by `whole` vectors of all groups where their number is known, and what is left number by number."""

    def all_rows(number: int) -> None:
        with code.loop(rows) as m:
            x_row, y_row, blocks = x + m * (groups * size), y + m * (groups * size), size // code.lanes
            if number:
                with code.loop(blocks) as block:
                    whole(number, x_row, y_row, block * code.lanes)
            done = blocks * code.lanes if number else blocks - blocks
            with code.loop(groups) as a, code.loop(size - done) as b:
                one(x_row, y_row, a, done + b)

    code.first_of([(groups.equals(number), number) for number in KNOWN], lambda: all_rows(0), all_rows)


def _picked(parts: list[Vector], places: list[int]) -> Vector:
    """The vector of the numbers at `places` of the parts, one after the other."""
    lanes = len(places)
    result = parts[0]
    for number, part in enumerate(parts):
        # A lane that belongs to this part is taken from it, the others stay.
        own = [place // lanes == number for place in places]
        if number == 0:
            result = part.lanes_of(
                part, [place % lanes if mine else 0 for place, mine in zip(places, own, strict=True)]
            )
        else:
            result = result.lanes_of(
                part,
                [
                    lanes + place % lanes if mine else lane
                    for lane, (place, mine) in enumerate(zip(places, own, strict=True))
                ],
            )
    return result
