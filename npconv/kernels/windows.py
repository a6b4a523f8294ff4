"""Which pixels meet at which kernel tap, as tables: what a sliding window is to a compiled loop."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from npconv.geometry import Array, Conv2dGeometry


class Taps(NamedTuple):
    """Which source pixels an output pixel reads, as arrays and ints that Numba can take.

    Output (m * out_stride + phase) reads, for each tap of its phase, source m * source_stride + row or column.
    """

    phase_row: Array
    phase_column: Array
    first_tap: Array  # of each phase, and the end
    tap: Array
    row: Array
    column: Array
    source_stride: tuple[int, int]
    out_stride: tuple[int, int]


@functools.lru_cache(maxsize=1024)
def input_taps(g: Conv2dGeometry) -> Taps:
    """What the forward reads: output p reads input p * stride + r * dilation - pad at kernel row r."""
    rows = [(r, r * g.dilation_height - g.pad_top) for r in range(g.kernel_height)]
    columns = [(s, s * g.dilation_width - g.pad_left) for s in range(g.kernel_width)]
    return _taps(g, [(0, rows)], [(0, columns)], (g.stride_height, g.stride_width), (1, 1))


@functools.lru_cache(maxsize=1024)
def output_taps(g: Conv2dGeometry) -> Taps:
    """What the input gradient reads: input m * stride + phase was read by output p at kernel row r where
    p * stride = m * stride + phase + pad - r * dilation, if there is such a p.
    """
    rows = _reading(g.kernel_height, g.stride_height, g.dilation_height, g.pad_top)
    columns = _reading(g.kernel_width, g.stride_width, g.dilation_width, g.pad_left)
    return _taps(g, rows, columns, (1, 1), (g.stride_height, g.stride_width))


_Axis = list[tuple[int, list[tuple[int, int]]]]  # (phase, [(kernel row, source row), ...]) for each phase


def _reading(kernel: int, stride: int, dilation: int, pad: int) -> _Axis:
    distances = [[(r, phase + pad - r * dilation) for r in range(kernel)] for phase in range(stride)]
    return [(phase, [(r, d // stride) for r, d in distances[phase] if d % stride == 0]) for phase in range(stride)]


def _taps(
    g: Conv2dGeometry, rows: _Axis, columns: _Axis, source_stride: tuple[int, int], out_stride: tuple[int, int]
) -> Taps:
    phases = [(row, column) for row in rows for column in columns]
    reads = [[(r * g.kernel_width + s, u, v) for r, u in row[1] for s, v in column[1]] for row, column in phases]
    flat = [read for phase in reads for read in phase] or [(0, 0, 0)]
    return Taps(
        _table(row[0] for row, _ in phases),
        _table(column[0] for _, column in phases),
        np.cumsum([0, *map(len, reads)]),
        _table(tap for tap, _, _ in flat),
        _table(u for _, u, _ in flat),
        _table(v for _, _, v in flat),
        source_stride,
        out_stride,
    )


def _table(values: Iterator[int]) -> Array:
    return np.fromiter(values, np.int64)
