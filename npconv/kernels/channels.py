"""Every channel filtered by itself, plane by plane: depthwise convolution of any kernel, stride, dilation and direction.

There is little to compute, so what counts is how often a pixel is moved. A chunk of rows is copied once into scratch that stays
in the L1 cache, with its zero border and its columns split by stride. There no tap needs a mask, and any stride and dilation is
a constant offset.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.filters import TILE_ROWS, correlate_rows, filter_rows, split_rows, store_sums, weave_rows
from npconv.kernels.jit import compiled, scratch
from npconv.kernels.rows import images
from npconv.kernels.simd import VECTOR_BITS, clear_run
from npconv.kernels.windows import Taps, input_taps
from npconv.memory import CACHE_LINE

SCRATCH_BYTES = 24 << 10  # per thread, half of an L1 cache


class _Rows(NamedTuple):
    """How planes are cut into chunks of rows, and where their pixels stand in scratch."""

    group: int  # planes at a time
    chunk: int  # output rows of one phase at a time
    rows: int  # source rows that they read,
    slot: int  # taking up so much of scratch,
    top: int  # from this one on,
    parts: int  # each split into so many parts
    pitch: int  # of so many pixels,
    border: int  # the first one so far behind the start
    x_row: int  # how far the rows that one tap reads are apart
    x_taps: Array  # where each tap reads


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _aligned_scratch(dtype: Any, size: int) -> tuple[Array, int]:
    """Scratch for each thread, and from where on it fills cache lines."""
    line = CACHE_LINE // np.dtype(dtype).itemsize
    memory = scratch(dtype, _up(size + line, line))
    return memory, -(memory.ctypes.data // memory.itemsize) % line


@functools.lru_cache(maxsize=1024)
def _rows_plan(
    taps_of: Callable[[Conv2dGeometry], Taps], geometry: Conv2dGeometry, itemsize: int
) -> tuple[Taps, _Rows]:
    """The taps and the cut of one depthwise convolution; kept, because making them takes longer than a small one."""
    g, taps = geometry, taps_of(geometry)
    forward = taps_of is input_taps
    width = g.in_width if forward else g.out_width
    out_height, out_width = (g.out_height, g.out_width) if forward else (g.in_height, g.in_width)
    lanes = VECTOR_BITS // (8 * itemsize)
    row_stride, parts = taps.source_stride
    shift, part = np.divmod(taps.column, parts)
    rows, columns = -(-out_height // taps.out_stride[0]), -(-out_width // taps.out_stride[1])
    left = max(0, -int(shift.min()))
    # the border on the left of a row is the end of the one before it, behind what any tap reads there
    pitch = _up(max(columns + int(shift.max()), -(-width // parts) + left), lanes)
    top = int(taps.row.min())
    x_taps = ((taps.row - top) * parts + part) * pitch + shift
    span = int(taps.row.max()) - top + 1
    row_bytes = parts * pitch * itemsize
    fit = (SCRATCH_BYTES // row_bytes - span) // row_stride + 1
    chunk = min(_up(rows, TILE_ROWS), max(TILE_ROWS, fit // TILE_ROWS * TILE_ROWS))
    source_rows = (chunk - 1) * row_stride + span
    border = _up(left, lanes)
    slot = border + source_rows * parts * pitch + 2 * lanes
    planes = g.batch * g.groups
    group = max(1, min(SCRATCH_BYTES // (slot * itemsize), planes // 16)) if chunk >= rows else 1
    return taps, _Rows(
        group, chunk, source_rows, slot, top, parts, pitch, border, row_stride * parts * pitch, x_taps
    )  # fmt: skip


def filter_planes(
    source: Array, source_step: int, source_first: int, w: Array, w_step: int, w_first: int, bias: Array,
    taps_of: Callable[[Conv2dGeometry], Taps], geometry: Conv2dGeometry, out: Array, out_step: int, out_first: int,
) -> None:  # fmt: skip
    """For each channel c: out plane c*out_step + out_first = w[c*w_step + w_first] on source plane c*source_step + source_first."""
    taps, rows = _rows_plan(taps_of, geometry, source.itemsize)
    lanes = VECTOR_BITS // (8 * source.itemsize)
    columns = _up(-(-out.shape[3] // taps.out_stride[1]), lanes)
    stage = rows.chunk * taps.out_stride[1] * columns if taps.out_stride[1] > 1 else 0
    memory, first = _aligned_scratch(source.dtype, rows.group * rows.slot + stage)
    _filter(
        *images(source), source.shape, source_step, source_first, w.reshape(w.size), w.shape[2] * w.shape[3], w_step, w_first, bias,
        taps.phase_row, taps.phase_column, taps.first_tap, taps.tap, taps.source_stride[0], taps.out_stride, *rows,
        *images(out), out.shape, out_step, out_first, memory, first,
    )  # fmt: skip


@compiled
def _filter(
    source, source_image, source_shape, source_step, source_first, w, kernel, w_step, w_first, bias,
    phase_row, phase_column, first_tap, w_taps, row_stride, out_stride,
    group, chunk, source_rows, slot, top, parts, pitch, border, x_row, x_taps,
    out, out_image, out_shape, out_step, out_first, memory, memory_start,
):  # fmt: skip
    batch, _, height, width = source_shape
    _, out_channels, out_height, out_width = out_shape
    channels = out_channels // out_step
    lanes = VECTOR_BITS // (8 * source.itemsize)
    out_row_stride, out_column_stride = out_stride
    rows, columns = -(-out_height // out_row_stride), -(-out_width // out_column_stride)
    stage_pitch = -(-columns // lanes) * lanes
    planes = batch * channels
    groups, chunks, threads = -(-planes // group), -(-rows // chunk), len(memory)
    items = groups * chunks
    for thread in prange(threads):
        thread_number = np.int64(thread)
        mine = memory[thread]
        stage = memory_start + group * slot
        for item in range(items * thread_number // threads, items * (thread_number + 1) // threads):
            first_row = item % chunks * chunk
            first = item // chunks * group
            count = min(group, planes - first)
            for k in range(count):
                n, c = (first + k) // channels, (first + k) % channels
                start = n * source_image + (c * source_step + source_first) * height * width
                _rows_in(
                    source, start, height, width, first_row * row_stride + top, mine, memory_start + k * slot + border, border, source_rows,
                    parts, pitch,
                )  # fmt: skip
            for k in range(count):
                n, c = (first + k) // channels, (first + k) % channels
                o = c * out_step + out_first
                plane = n * out_image + o * out_height * out_width
                w_start = (c * w_step + w_first) * kernel
                for phase in range(len(phase_row)):
                    row, column = phase_row[phase], phase_column[phase]
                    end = min(chunk, -(-(out_height - row) // out_row_stride) - first_row)
                    out_row = first_row * out_row_stride + row
                    if out_column_stride == 1:
                        _filter_rows(
                            w, w_start, w_taps, mine, memory_start + k * slot + border, x_row, x_taps,
                            first_tap[phase], first_tap[phase + 1], bias[o],
                            out, plane + out_row * out_width, out_row_stride * out_width, end, out_width,
                        )  # fmt: skip
                        continue
                    _filter_rows(
                        w, w_start, w_taps, mine, memory_start + k * slot + border, x_row, x_taps,
                        first_tap[phase], first_tap[phase + 1], bias[o],
                        mine, stage + column * stage_pitch, out_column_stride * stage_pitch, end, stage_pitch,
                    )  # fmt: skip
                    if column == out_column_stride - 1:
                        _rows_out(
                            mine, stage, out_column_stride, stage_pitch, end, out_width,
                            out, plane + out_row * out_width, out_row_stride * out_width,
                        )  # fmt: skip


@njit
def _rows_in(source, start, height, width, first_row, target, at, border, rows, parts, pitch):
    """`split_rows` for any number of parts, and from any row on: rows outside of the plane are 0."""
    top = min(rows, max(0, -first_row))
    bottom = max(top, min(rows, height - first_row))
    row = parts * pitch
    clear_run(target, at - border, border + top * row)
    clear_run(target, at + bottom * row, (rows - bottom) * row)
    first = start + (first_row + top) * width
    if parts == 1:
        split_rows(1, source, first, width, bottom - top, target, at + top * row, pitch)
    elif parts == 2:
        split_rows(2, source, first, width, bottom - top, target, at + top * row, pitch)
    else:
        clear_run(target, at + top * row, (bottom - top) * row)
        for m in range(bottom - top):
            for q in range(width):
                target[at + ((top + m) * parts + q % parts) * pitch + q // parts] = source[first + m * width + q]


@njit
def _rows_out(source, start, parts, pitch, rows, columns, target, target_start, target_row):
    """`weave_rows` for any number of parts."""
    if parts == 2:
        weave_rows(source, start, pitch, rows, columns, target, target_start, target_row)
        return
    for m in range(rows):
        for q in range(columns):
            target[target_start + m * target_row + q] = source[start + (m * parts + q % parts) * pitch + q // parts]


@njit
def _filter_rows(
    w, w_start, w_taps, x, x_start, x_row, x_taps, first_tap, end_tap, bias, y, y_start, y_row, rows, columns
):  # fmt: skip
    """`filter_rows` for any number of rows."""
    for i in range(0, rows, TILE_ROWS):
        filter_rows(
            w, w_start, w_taps, x, x_start + i * x_row, x_row, x_taps, first_tap, end_tap, bias,
            y, y_start + i * y_row, y_row, rows - i, columns,
        )  # fmt: skip


def correlate_planes(dy: Array, multiplier: int, m: int, x: Array, geometry: Conv2dGeometry, dw: Array) -> None:
    """dw of output channel c*multiplier + m for each input channel c; one thread sums each weight."""
    taps, rows = _rows_plan(input_taps, geometry, x.itemsize)
    kernel = dw.shape[2] * dw.shape[3]
    lanes = VECTOR_BITS // (8 * x.itemsize)
    memory, first = _aligned_scratch(x.dtype, rows.group * rows.slot + kernel * lanes)
    _correlate(
        *images(dy), dy.shape, multiplier, m, *images(x), x.shape, taps.source_stride[0], *rows, kernel, dw.reshape(dw.size), memory,
        first,
    )  # fmt: skip


@compiled
def _correlate(
    dy, dy_image, dy_shape, multiplier, m, x, x_image, x_shape, row_stride,
    group, chunk, source_rows, slot, top, parts, pitch, border, x_row, x_taps,
    kernel, dw, memory, memory_start,
):  # fmt: skip
    batch, channels, height, width = x_shape
    _, _, rows, columns = dy_shape
    lanes = VECTOR_BITS // (8 * x.itemsize)
    chunks, threads = -(-rows // chunk), len(memory)
    if batch == 0:
        dw[:] = 0

    for thread in prange(threads):
        thread_number = np.int64(thread)
        mine = memory[thread]
        sums = mine[memory_start + group * slot : memory_start + group * slot + kernel * lanes]
        sums[:] = 0
        # the planes of a channel one after the other
        first, end = channels * thread_number // threads * batch, channels * (thread_number + 1) // threads * batch
        for item in range(-(-(end - first) // group) * chunks):
            first_plane, first_row = first + item // chunks * group, item % chunks * chunk
            count = min(group, end - first_plane)
            for k in range(count):
                c, n = (first_plane + k) // batch, (first_plane + k) % batch
                _rows_in(
                    x, n * x_image + c * height * width, height, width, first_row * row_stride + top,
                    mine, memory_start + k * slot + border, border, source_rows, parts, pitch,
                )  # fmt: skip
            for k in range(count):
                c, n = (first_plane + k) // batch, (first_plane + k) % batch
                o = c * multiplier + m
                _correlate_rows(
                    dy, n * dy_image + (o * rows + first_row) * columns, min(chunk, rows - first_row), columns,
                    mine, memory_start + k * slot + border, x_row, x_taps, sums,
                )  # fmt: skip
                if n == batch - 1 and first_row + chunk >= rows:
                    store_sums(sums, kernel, dw, o * kernel)
                    sums[:] = 0


@njit
def _correlate_rows(dy, dy_start, rows, columns, x, x_start, x_row, x_taps, sums):
    """`correlate_rows` for any number of taps."""
    t, taps = 0, len(x_taps)
    while taps - t >= 5:
        correlate_rows(5, dy, dy_start, rows, columns, x, x_start, x_row, x_taps, t, sums)
        t += 5
    while taps > t:
        correlate_rows(1, dy, dy_start, rows, columns, x, x_start, x_row, x_taps, t, sums)
        t += 1
