"""Channel shuffle: channel a*n + b, the b-th of group a, becomes channel b*groups + a: in each pixel, or plane by plane in C order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import prange

from npconv.geometry import Array
from npconv.kernels.jit import compiled
from npconv.kernels.orders import of_maps_in_one_order
from npconv.kernels.vectors import Code, Int, Pointer, Vector, emitted
from npconv.memory import empty_like, flat, is_channels_last

KNOWN = 2, 3, 4, 8  # groups whose channels are dealt out by whole vectors: 3 of 80 channels a third of the time
RUN = 4096  # numbers that a thread moves at a time


@of_maps_in_one_order
def channel_shuffle(x: Array, groups: int) -> Array:
    """Each pixel's channels as a (groups, n) table, transposed. Its gradient is `channel_unshuffle`, its inverse."""
    return _transposed(x, groups, True)


@of_maps_in_one_order
def channel_unshuffle(x: Array, groups: int) -> Array:
    """Each pixel's channels as an (n, groups) table, transposed back. Its gradient is `channel_shuffle`."""
    return _transposed(x, groups, False)


def _transposed(x: Array, groups: int, deal: bool) -> Array:
    y = empty_like(x)
    if not is_channels_last(x):
        planes = len(x), *((groups, -1) if deal else (-1, groups)), x.shape[2] * x.shape[3]
        _swap_planes(x.reshape(planes), y.reshape(-1, planes[-1]))
        return y
    _shuffle(flat(x), x.shape[1], groups, deal, flat(y))
    return y


@compiled(terms=1)
def _swap_planes(x, y):
    """y[(n * B + b) * A + a] = x[n, a, b], the planes of a table of (A, B) in each image."""
    rows, columns = x.shape[1], x.shape[2]
    for item in prange(len(y)):
        n, rest = np.int64(item) // (rows * columns), np.int64(item) % (rows * columns)
        y[item] = x[n, rest % rows, rest // rows]


@compiled(terms=1)
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
        dealt = _dealt([(x_row + size * a).vector(first) for a in range(number)])
        for v, vector in enumerate(dealt):
            (y_row + (first * number + v * code.lanes)).store(vector)

    def one(x_row: Pointer, y_row: Pointer, a: Int, b: Int) -> None:
        (y_row + (b * groups + a)).put(x_row[a * size + b])

    _rows(code, x, rows, groups, size, y, whole, one)


@emitted
def gather_rows(code: Code, x: Pointer, rows: Int, groups: Int, size: Int, y: Pointer) -> None:
    """y[m, a * size + b] = x[m, b * groups + a] for m < rows, a < groups, b < size."""

    def whole(number: int, x_row: Pointer, y_row: Pointer, first: Int) -> None:
        gathered = _gathered([x_row.vector(first * number + v * code.lanes) for v in range(number)])
        for a, vector in enumerate(gathered):
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
    """Each row by `whole` vectors of all groups where their number is known and they are long enough, else number by number."""

    def in_vectors(number: int) -> None:
        with code.loop(rows) as m:
            x_row, y_row = x + m * (groups * size), y + m * (groups * size)
            with code.loop((size + (code.lanes - 1)) // code.lanes) as block:
                # The last vectors may move some numbers again.
                whole(number, x_row, y_row, (size - code.lanes).at_most(block * code.lanes))

    def in_numbers() -> None:
        with code.loop(rows) as m, code.loop(groups) as a, code.loop(size) as b:
            one(x + m * (groups * size), y + m * (groups * size), a, b)

    long = size >= code.lanes
    code.first_of([(groups.equals(number).both(long), number) for number in KNOWN], in_numbers, in_vectors)


def _dealt(parts: list[Vector]) -> list[Vector]:
    """The numbers of all parts in turns: first the first number of each, then the second."""
    if len(parts) % 2:
        return _picked(parts, [divmod(place, len(parts))[::-1] for place in range(len(parts) * parts[0].code.lanes)])
    lanes = parts[0].code.lanes
    if len(parts) > 2:
        pairs = list(zip(_dealt(parts[::2]), _dealt(parts[1::2]), strict=True))
    else:
        pairs = [(parts[0], parts[1])]
    in_turns = [place // 2 + place % 2 * lanes for place in range(2 * lanes)]
    halves = in_turns[:lanes], in_turns[lanes:]
    return [even.lanes_of(odd, half) for even, odd in pairs for half in halves]


def _gathered(vectors: list[Vector]) -> list[Vector]:
    """The parts that `_dealt` gave these vectors for."""
    count, lanes = len(vectors), vectors[0].code.lanes
    if count % 2:
        return _picked(vectors, [divmod(b * count + a, lanes) for a in range(count) for b in range(lanes)])
    even, odd = (
        [
            one.lanes_of(other, list(range(first, 2 * lanes, 2)))
            for one, other in zip(vectors[::2], vectors[1::2], strict=True)
        ]
        for first in (0, 1)
    )
    if count > 2:
        even, odd = _gathered(even), _gathered(odd)
    return [part for pair in zip(even, odd, strict=True) for part in pair]


def _picked(parts: list[Vector], places: list[tuple[int, int]]) -> list[Vector]:
    """Vectors of the numbers at `places`, (part, lane), one after the other."""
    lanes, result = parts[0].code.lanes, []
    for begin in range(0, len(places), lanes):
        wanted = places[begin : begin + lanes]
        vector = parts[0].lanes_of(parts[0], [lane if part == 0 else 0 for part, lane in wanted])
        for number, source in enumerate(parts[1:], 1):
            # A lane that belongs to this part is taken from it, the others stay.
            chosen = [lanes + lane if part == number else own for own, (part, lane) in enumerate(wanted)]
            vector = vector.lanes_of(source, chosen)
        result.append(vector)
    return result
