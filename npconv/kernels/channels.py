"""Planes filtered with channels in the lanes of a vector, for depthwise convolution of any stride, dilation and kernel.

A few rows of `lanes` planes are transposed into scratch, pixel by pixel, with their zero border. There any stride, dilation
and kernel is a plain offset, every load is aligned, no sum crosses lanes, and maps of 7 x 7 cost no more per pixel than large
ones. What comes out is transposed back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np
from numba import njit, prange

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.compiling import compiled, scratch
from npconv.kernels.filters import filter_pixels, filter_weights
from npconv.kernels.lanes import pixels_in, pixels_out
from npconv.kernels.simd import VECTOR_BITS
from npconv.kernels.windows import Taps, input_taps

SCRATCH_BYTES = 1 << 17  # per thread, for the rows of a chunk: they are read once for each tap
PARTIAL_SUMS = 8  # of each weight gradient: work for that many threads even where few channels make one block of lanes


class _Rows(NamedTuple):
    """How the rows of a plane are cut, and where its pixels stand in scratch."""

    chunk: int  # output rows of one phase at a time
    rows: int  # source rows that they read,
    pitch: int  # each so many pixels wide,
    top: int  # from this one on, and
    left: int  # from this column on
    targets: Array  # where each pixel of the source rows goes in scratch; those that no tap reads behind its end
    x_taps: Array  # where each tap reads


@functools.lru_cache(maxsize=1024)
def _rows_plan(
    taps_of: Callable[[Conv2dGeometry], Taps], geometry: Conv2dGeometry, itemsize: int, threads: int
) -> tuple[Taps, _Rows]:
    """The taps and the cut of one depthwise convolution; kept, because making them takes longer than a small one."""
    g, taps = geometry, taps_of(geometry)
    forward = taps_of is input_taps
    width = g.in_width if forward else g.out_width
    out_height, out_width = (g.out_height, g.out_width) if forward else (g.in_height, g.in_width)
    lanes = VECTOR_BITS // (8 * itemsize)
    top, left = int(taps.row.min()), int(taps.column.min())
    rows, columns = -(-out_height // taps.out_stride[0]), -(-out_width // taps.out_stride[1])
    pitch = (columns - 1) * taps.source_stride[1] + int(taps.column.max()) - left + 1
    chunk = max(1, min(rows, SCRATCH_BYTES // (itemsize * lanes * pitch * taps.source_stride[0])))
    while chunk > 8 and g.batch * -(-g.groups // lanes) * -(-rows // chunk) < 4 * threads:
        chunk = -(-chunk // 2)
    source_rows = (chunk - 1) * taps.source_stride[0] + int(taps.row.max()) - top + 1
    column = np.arange(width) - left
    inside = (column >= 0) & (column < pitch)
    row = np.arange(source_rows)[:, None]
    targets = np.where(inside, row * pitch + column, source_rows * pitch).reshape(-1) * lanes
    x_taps = ((taps.row - top) * pitch + taps.column - left) * lanes
    return taps, _Rows(chunk, source_rows, pitch, top, left, targets, x_taps)


def filter_planes(
    source: Array, source_step: int, source_first: int, w: Array, w_step: int, w_first: int, bias: Array,
    taps_of: Callable[[Conv2dGeometry], Taps], geometry: Conv2dGeometry, out: Array, out_step: int, out_first: int,
) -> None:  # fmt: skip
    """For each channel c: out plane c*out_step + out_first = w[c*w_step + w_first] on source plane c*source_step + source_first."""
    taps, rows = _rows_plan(taps_of, geometry, source.itemsize, numba.get_num_threads())
    lanes = VECTOR_BITS // (8 * source.itemsize)
    made = rows.chunk * taps.out_stride[0] * out.shape[3]
    kernel = w.shape[2] * w.shape[3]
    memory = scratch(source.dtype, (rows.rows * rows.pitch + 1 + made + kernel + 1) * lanes)
    _filter(
        source, source_step, source_first, w, w_step, w_first, bias, taps.phase_row, taps.phase_column, taps.first_tap,
        taps.tap * lanes, taps.source_stride, taps.out_stride, *rows, out, out_step, out_first, memory,
    )  # fmt: skip


@compiled
def _filter(
    source, source_step, source_first, w, w_step, w_first, bias, phase_row, phase_column, first_tap,
    w_taps, source_stride, out_stride, chunk, source_rows, pitch, top, left, targets, x_taps,
    out, out_step, out_first, memory,
):  # fmt: skip
    batch, source_channels, height, width = source.shape
    _, out_channels, out_height, out_width = out.shape
    channels = out_channels // out_step
    kernel = w.shape[2] * w.shape[3]
    lanes = VECTOR_BITS // (8 * source.itemsize)
    row_stride, column_stride = source_stride
    out_row_stride, out_column_stride = out_stride
    rows = -(-out_height // out_row_stride)
    blocks, chunks = -(-channels // lanes), -(-rows // chunk)
    items, threads = batch * blocks * chunks, len(memory)
    flat_source, flat_w, flat_out = source.reshape(source.size), w.reshape(w.size), out.reshape(out.size)
    pixels_at = np.arange(chunk * out_row_stride * out_width) * lanes
    scratch_size, made_size = (source_rows * pitch + 1) * lanes, chunk * out_row_stride * out_width * lanes

    for thread in prange(threads):
        scratch, made = memory[thread, :scratch_size], memory[thread, scratch_size : scratch_size + made_size]
        w_block = memory[thread, scratch_size + made_size : scratch_size + made_size + kernel * lanes]
        bias_block = memory[thread, scratch_size + made_size + kernel * lanes :]
        scratch[:] = 0  # the borders stay 0
        source_starts, out_starts = np.empty(lanes, np.int64), np.empty(lanes, np.int64)
        thread_number = np.int64(thread)
        for item in range(items * thread_number // threads, items * (thread_number + 1) // threads):
            first_row = item % chunks * chunk
            first = item // chunks % blocks * lanes
            n = item // (chunks * blocks)
            for lane in range(lanes):  # lanes without a channel repeat the last one
                c = min(first + lane, channels - 1)
                source_starts[lane] = (n * source_channels + c * source_step + source_first) * height * width
                out_starts[lane] = (n * out_channels + c * out_step + out_first) * out_height * out_width
                bias_block[lane] = bias[c * out_step + out_first]
                for t in range(kernel):
                    w_block[t * lanes + lane] = flat_w[(c * w_step + w_first) * kernel + t]
            _rows_in(
                flat_source, source_starts, height, width, first_row * row_stride + top, scratch, targets, source_rows, pitch, lanes
            )  # fmt: skip
            out_rows = min(chunk * out_row_stride, out_height - first_row * out_row_stride)
            for phase in range(len(phase_row)):
                taps = slice(first_tap[phase], first_tap[phase + 1])
                for m in range(-(-(out_rows - phase_row[phase]) // out_row_stride)):
                    row = m * out_row_stride + phase_row[phase]
                    _filter_row(
                        w_block, w_taps[taps], scratch, m * row_stride * pitch * lanes, column_stride * lanes, x_taps[taps],
                        bias_block, made, (row * out_width + phase_column[phase]) * lanes, out_column_stride * lanes,
                        -(-(out_width - phase_column[phase]) // out_column_stride),
                    )  # fmt: skip
            pixels_out(
                made, pixels_at, flat_out, out_starts, first_row * out_row_stride * out_width, out_rows * out_width
            )


def correlate_planes(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
    """dw of a depthwise convolution: a fixed number of partial sums for each weight, added in a fixed order."""
    partial = np.empty((PARTIAL_SUMS, *geometry.w_shape), dy.dtype)
    taps, rows = _rows_plan(input_taps, geometry, x.itemsize, PARTIAL_SUMS)
    lanes = VECTOR_BITS // (8 * x.itemsize)
    size = rows.rows * rows.pitch + 1 + rows.chunk * geometry.out_width + len(taps.tap)
    memory = scratch(x.dtype, size * lanes)
    for m in range(geometry.out_channels_per_group):
        _filter_grad(dy, geometry.out_channels_per_group, m, x, taps.source_stride, *rows, partial, memory)
    return partial.sum(axis=0)


@compiled
def _filter_grad(
    dy, multiplier, m, x, stride, chunk, source_rows, pitch, top, left, targets, x_taps, partial, memory
):  # fmt: skip
    batch, channels, height, width = x.shape
    _, out_channels, out_height, out_width = dy.shape
    kernel = len(x_taps)
    lanes = VECTOR_BITS // (8 * x.itemsize)
    row_stride, column_stride = stride
    pixels_at = np.arange(chunk * out_width) * lanes
    chunks, blocks, parts = -(-out_height // chunk), -(-channels // lanes), len(partial)
    items, threads = blocks * parts, len(memory)
    flat_dy, flat_x, flat_partial = dy.reshape(dy.size), x.reshape(x.size), partial.reshape(partial.size)
    scratch_size, dy_size = (source_rows * pitch + 1) * lanes, chunk * out_width * lanes

    for thread in prange(threads):
        scratch, gradients = memory[thread, :scratch_size], memory[thread, scratch_size : scratch_size + dy_size]
        dw = memory[thread, scratch_size + dy_size :]
        scratch[:] = 0  # the borders stay 0
        x_starts, dy_starts = np.empty(lanes, np.int64), np.empty(lanes, np.int64)
        thread_number = np.int64(thread)
        for item in range(items * thread_number // threads, items * (thread_number + 1) // threads):
            part, first = item % parts, item // parts * lanes
            dw[:] = 0
            for piece in range(batch * chunks * part // parts, batch * chunks * (part + 1) // parts):
                n, first_row = piece // chunks, piece % chunks * chunk
                count = min(chunk, out_height - first_row)
                for lane in range(lanes):
                    c = min(first + lane, channels - 1)
                    x_starts[lane] = (n * channels + c) * height * width
                    dy_starts[lane] = (n * out_channels + c * multiplier + m) * out_height * out_width
                _rows_in(
                    flat_x, x_starts, height, width, first_row * row_stride + top, scratch, targets, source_rows, pitch, lanes
                )  # fmt: skip
                pixels_in(flat_dy, dy_starts, first_row * out_width, count * out_width, gradients, pixels_at)
                for p in range(count):
                    _grad_row(
                        gradients, p * out_width * lanes, scratch, p * row_stride * pitch * lanes, column_stride * lanes, x_taps,
                        out_width, dw,
                    )  # fmt: skip
            for lane in range(min(lanes, channels - first)):
                o = (first + lane) * multiplier + m
                for t in range(kernel):
                    flat_partial[(part * out_channels + o) * kernel + t] = dw[t * lanes + lane]


@njit
def _rows_in(source, starts, height, width, first_row, scratch, targets, rows, pitch, lanes):
    """Transpose the source rows from `first_row` on into scratch; rows outside the planes become 0, columns outside are."""
    top, bottom = min(rows, max(0, -first_row)), max(0, min(rows, height - first_row))
    scratch[: top * pitch * lanes] = 0
    scratch[max(top, bottom) * pitch * lanes : rows * pitch * lanes] = 0
    if bottom > top:
        first_pixel = (first_row + top) * width
        pixels_in(source, starts, first_pixel, (bottom - top) * width, scratch, targets[top * width :])


@njit
def _filter_row(w, w_taps, x, x_start, x_step, x_taps, bias, y, y_start, y_step, pixels):
    """`filter_pixels` along a row of any length."""
    i = 0
    while pixels - i >= 8:
        filter_pixels(
            8, w, w_taps, x, x_start + i * x_step, x_step, x_taps, len(x_taps), bias, y, y_start + i * y_step, y_step
        )
        i += 8
    while pixels - i >= 2:
        filter_pixels(
            2, w, w_taps, x, x_start + i * x_step, x_step, x_taps, len(x_taps), bias, y, y_start + i * y_step, y_step
        )
        i += 2
    if pixels > i:
        filter_pixels(
            1, w, w_taps, x, x_start + i * x_step, x_step, x_taps, len(x_taps), bias, y, y_start + i * y_step, y_step
        )


@njit
def _grad_row(dy, dy_start, x, x_start, x_step, x_taps, pixels, dw):
    """`filter_weights` for any number of taps: 9 and 5 at a time keep a 3 x 3 and a 5 x 5 kernel in registers."""
    tap, taps = 0, len(x_taps)
    while taps - tap >= 9:
        filter_weights(9, dy, dy_start, x, x_start, x_step, x_taps, tap, pixels, dw)
        tap += 9
    while taps - tap >= 5:
        filter_weights(5, dy, dy_start, x, x_start, x_step, x_taps, tap, pixels, dw)
        tap += 5
    while taps > tap:
        filter_weights(1, dy, dy_start, x, x_start, x_step, x_taps, tap, pixels, dw)
        tap += 1
