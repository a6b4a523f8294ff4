"""Every convolution is a sum of shifted planes: out[m] = sum over taps of w[tap] * source[m + shift], stride by stride.

A chunk of source rows is copied once into scratch with its zero border, split by stride phase, so that each tap of any
stride and dilation is a contiguous run at a constant offset, row ends included (what is computed there is not stored).
Then `simd.multiply` does the rest: no im2col in memory. The forward and the input gradient are the same sum with other
shifts; the weight gradient is a product over pixels, for which the runs are transposed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numba
import numpy as np
from numba import njit, prange

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.compiling import compiled, scratch
from npconv.kernels.simd import ROWS, VECTOR_BITS, VECTORS, multiply, transpose_block
from npconv.kernels.windows import Taps, input_taps

SCRATCH_BYTES = 1 << 20  # per thread; half of a common L2 cache or less


class Shifts(NamedTuple):
    """The taps of one output phase as shifted planes, for Numba: output m reads plane pixel m + (row, column)."""

    w_taps: Array  # offset of each tap in its kernel plane
    tap_phase: Array  # which phase plane of the source it reads,
    tap_row: Array  # from which row
    tap_column: Array  # and column on
    phase_row: Array  # the source row and column where each phase plane's origin lies
    phase_column: Array
    source_stride: tuple[int, int]
    span: tuple[int, int]  # rows and columns that the taps reach beyond the outputs
    out_stride: tuple[int, int]
    out_phase: tuple[int, int]


def _shifts(taps: Taps) -> Iterator[Shifts]:
    """Each output phase by itself: source pixel m * stride + u is pixel m + u // stride of the phase plane u % stride."""
    for phase in range(len(taps.phase_row)):
        own = slice(taps.first_tap[phase], taps.first_tap[phase + 1])
        row, row_phase = np.divmod(taps.row[own], taps.source_stride[0])
        column, column_phase = np.divmod(taps.column[own], taps.source_stride[1])
        if not len(row):
            continue  # no tap reads for this phase
        top, left = int(row.min()), int(column.min())
        planes, tap_phase = np.unique(np.stack([row_phase, column_phase]), axis=1, return_inverse=True)
        yield Shifts(
            taps.tap[own],
            tap_phase.reshape(len(row)),
            row - top,
            column - left,
            np.ascontiguousarray(planes[0]) + top * taps.source_stride[0],
            np.ascontiguousarray(planes[1]) + left * taps.source_stride[1],
            taps.source_stride,
            (int(row.max()) - top, int(column.max()) - left),
            taps.out_stride,
            (int(taps.phase_row[phase]), int(taps.phase_column[phase])),
        )


class _Work(NamedTuple):
    """How `shifted_product` is cut into items that share nothing but what they read."""

    chunk: int  # tiles of output pixels in one item
    chunks: int
    plane: int  # elements of one phase plane in scratch
    block: int  # source channels that are in scratch at a time
    parts: int  # of the output channels, where there are not enough chunks for all threads
    part: int


def _work(
    batch: int, groups: int, sources: int, outs: int, rows: int, pitch: int, phases: int, span: int, itemsize: int
) -> _Work:
    threads, width = numba.get_num_threads(), VECTORS * VECTOR_BITS // (8 * itemsize)
    tiles = -(-rows * pitch // width)

    def plane(chunk: int) -> int:
        return (min(rows, (chunk * width + pitch - 2) // pitch + 1) + span) * pitch

    chunk = tiles
    while chunk > 1 and sources * phases * plane(chunk) * itemsize > SCRATCH_BYTES:
        chunk = -(-chunk // 2)
    while chunk > 4 and batch * groups * -(-tiles // chunk) < 4 * threads:
        chunk = -(-chunk // 2)
    chunks = -(-tiles // chunk)
    chunk = -(-tiles // chunks)
    parts = 1
    while batch * groups * chunks * parts < 2 * threads and 2 * parts * ROWS <= outs:
        parts += 1
    block = max(1, min(sources, SCRATCH_BYTES // (itemsize * phases * plane(chunk))))
    part = -(-outs // (parts * ROWS)) * ROWS
    return _Work(chunk, chunks, plane(chunk), block, -(-outs // part), part)


@functools.lru_cache(maxsize=1024)
def _product_plan(
    taps_of: Callable[[Conv2dGeometry], Taps],
    geometry: Conv2dGeometry,
    sources: int,
    outs: int,
    itemsize: int,
    threads: int,
) -> list[tuple[Shifts, _Work]]:
    """The shifts of each output phase with their work; kept, because making them takes longer than a small convolution."""
    g, plans = geometry, []
    out_height, out_width = (g.out_height, g.out_width) if taps_of is input_taps else (g.in_height, g.in_width)
    for shifts in _shifts(taps_of(g)):
        rows = -(-(out_height - shifts.out_phase[0]) // shifts.out_stride[0])
        columns = -(-(out_width - shifts.out_phase[1]) // shifts.out_stride[1])
        if rows > 0 and columns > 0:
            pitch, phases = columns + shifts.span[1], len(shifts.phase_row)
            work = _work(g.batch, g.groups, sources, outs, rows, pitch, phases, shifts.span[0], itemsize)
            plans.append((shifts, work))
    return plans


def shifted_product(
    source: Array,
    w: Array,
    strides: tuple[int, int, int],
    bias: Array,
    taps_of: Callable[[Conv2dGeometry], Taps],
    geometry: Conv2dGeometry,
    out: Array,
) -> None:
    """out[n, g, i, m] = bias[g, i] + sum over k and taps of w[g, i, k, tap] * source[n, g, k, the pixel that the tap reads].

    `strides` are those of w, as a flat array, along g, i and k; `taps_of` is `input_taps` or `output_taps`. All arrays are
    C-contiguous. Pixels of `out` for which no tap reads are left as they are.
    """
    groups, itemsize = geometry.groups, source.itemsize
    sources, outs = source.shape[1] // groups, out.shape[1] // groups
    width = VECTORS * VECTOR_BITS // (8 * itemsize)
    for shifts, work in _product_plan(taps_of, geometry, sources, outs, itemsize, numba.get_num_threads()):
        size = work.block * len(shifts.phase_row) * work.plane + (2 + 8 * ROWS) * width
        memory = scratch(source.dtype, size)
        _shifted_product(source, w.reshape(w.size), *strides, bias, groups, *shifts, *work, out, memory)


@compiled
def _shifted_product(
    source, w, w_group, w_row, w_outer, bias, groups, w_taps, tap_phase, tap_row, tap_column,
    phase_row, phase_column, source_stride, span, out_stride, out_phase,
    chunk, chunks, plane, block, parts, part, out, memory,
):  # fmt: skip
    batch, all_sources, height, width = source.shape
    _, all_outs, out_height, out_width = out.shape
    sources, outs = all_sources // groups, all_outs // groups
    phases = len(phase_row)
    rows = -(-(out_height - out_phase[0]) // out_stride[0])
    columns = -(-(out_width - out_phase[1]) // out_stride[1])
    pitch = columns + span[1]
    tile_width = VECTORS * VECTOR_BITS // (8 * source.itemsize)
    items = batch * groups * chunks * parts
    direct = pitch == columns and out_stride == (1, 1)
    x_taps = tap_phase * plane + tap_row * pitch + tap_column
    flat_source, flat_out = source.reshape(source.size), out.reshape(out.size)
    threads, scratch_size = len(memory), block * phases * plane + 2 * tile_width

    for thread in prange(threads):
        planes, tile = memory[thread, :scratch_size], memory[thread, scratch_size:]
        thread_number = np.int64(thread)
        for item in range(items * thread_number // threads, items * (thread_number + 1) // threads):
            first_out = item % parts * part
            last_out = min(outs, first_out + part)
            first_pixel = item // parts % chunks * chunk * tile_width
            last_pixel = min(rows * pitch, first_pixel + chunk * tile_width)
            ng = item // (parts * chunks)  # image and group in one: their planes are next to each other
            group = ng % groups
            top = first_pixel // pitch
            plane_rows = (last_pixel - 1) // pitch + 1 - top + span[0]
            for first in range(0, sources, block):
                count = min(block, sources - first)
                for k in range(count):
                    start = (ng * sources + first + k) * height * width
                    for phase in range(phases):
                        _copy_plane(
                            flat_source, start, height, width,
                            top * source_stride[0] + phase_row[phase], phase_column[phase], source_stride,
                            planes, (k * phases + phase) * plane, plane_rows, pitch,
                        )  # fmt: skip
                w_block = group * w_group + first * w_outer
                for j in range(first_pixel, last_pixel, tile_width):
                    length, at = min(tile_width, last_pixel - j), j - top * pitch
                    if direct:
                        multiply(
                            w, w_block + first_out * w_row, w_row, w_outer, w_taps,
                            planes, at, phases * plane, x_taps, count,
                            flat_out, (ng * outs + first_out) * out_height * out_width + j, out_height * out_width,
                            last_out - first_out, length, first == 0, bias, group * outs + first_out,
                        )  # fmt: skip
                        continue
                    for o in range(first_out, last_out, 8 * ROWS):
                        o_count = min(8 * ROWS, last_out - o)
                        if first > 0:
                            for i in range(o_count):
                                _move_run(
                                    False, tile, i * tile_width, length, j, pitch, columns,
                                    flat_out, (ng * outs + o + i) * out_height * out_width, out_width, out_stride, out_phase,
                                )  # fmt: skip
                        multiply(
                            w, w_block + o * w_row, w_row, w_outer, w_taps,
                            planes, at, phases * plane, x_taps, count,
                            tile, 0, tile_width, o_count, length, first == 0, bias, group * outs + o,
                        )  # fmt: skip
                        for i in range(o_count):
                            _move_run(
                                True, tile, i * tile_width, length, j, pitch, columns,
                                flat_out, (ng * outs + o + i) * out_height * out_width, out_width, out_stride, out_phase,
                            )  # fmt: skip


class _PixelWork(NamedTuple):
    """How `pixel_product` is cut into items that share nothing but what they read."""

    chunk: int  # rows of output pixels that are transposed at a time
    plane: int  # elements of one phase plane in scratch
    channels: int  # source channels that one tile of weights can touch
    parts: int  # of the output channels, where there are not enough tiles for all threads
    part: int


@functools.lru_cache(maxsize=1024)
def _pixel_plan(geometry: Conv2dGeometry, itemsize: int, threads: int) -> tuple[Shifts, _PixelWork]:
    g = geometry
    (shifts,) = _shifts(input_taps(g))
    sources, outs = g.in_channels_per_group, g.out_channels_per_group
    pitch, taps = g.out_width + shifts.span[1], len(shifts.w_taps)
    width = VECTORS * VECTOR_BITS // (8 * itemsize)
    tiles = -(-sources * taps // width)
    parts = 1  # each part transposes the pixels again, so no more of them than share the tiles out evenly
    while g.groups * tiles * parts < 8 * threads and g.groups * tiles * parts % threads and 2 * parts * ROWS <= outs:
        parts += 1
    part = -(-outs // (parts * ROWS)) * ROWS
    chunk = max(1, min(g.out_height, SCRATCH_BYTES // (4 * itemsize * width * pitch)))
    plane = (chunk + shifts.span[0]) * pitch
    return shifts, _PixelWork(chunk, plane, min(sources, (width - 1) // taps + 2), -(-outs // part), part)


def pixel_product(dy: Array, source: Array, geometry: Conv2dGeometry, dw: Array) -> None:
    """dw[g, i, k, tap] = sum over n, m of dy[n, g, i, m] * source[n, g, k, the pixel that the tap reads for m].

    All arrays are C-contiguous; the batch is not empty.
    """
    shifts, work = _pixel_plan(geometry, source.itemsize, numba.get_num_threads())
    lanes = VECTOR_BITS // (8 * source.itemsize)
    planes = work.channels * len(shifts.phase_row) * work.plane + 2 * lanes
    panel = (work.chunk * (geometry.out_width + shifts.span[1]) + lanes) * VECTORS * lanes
    memory = scratch(source.dtype, planes + panel)
    _pixel_product(dy, source, geometry.groups, *shifts[1:8], *work, dw.reshape(dw.size), memory)


@compiled
def _pixel_product(
    dy, source, groups, tap_phase, tap_row, tap_column, phase_row, phase_column, source_stride, span,
    chunk, plane, channels, parts, part, dw, memory,
):  # fmt: skip
    batch, all_sources, height, width = source.shape
    _, all_outs, rows, columns = dy.shape
    sources, outs = all_sources // groups, all_outs // groups
    taps, phases = len(tap_phase), len(phase_row)
    pitch = columns + span[1]
    lanes = VECTOR_BITS // (8 * source.itemsize)
    tile_width = VECTORS * lanes
    weights = sources * taps  # of one output channel, in one row of dw
    tiles = -(-weights // tile_width)
    # One item is a tile of weights for some output channels: all the products that end in them, so nobody else writes there.
    items = groups * tiles * parts
    threads, planes_size = len(memory), channels * phases * plane + 2 * lanes
    w_taps = np.arange(columns)
    x_taps = w_taps * tile_width
    panel_rows_at = np.arange(lanes) * tile_width
    zeros = np.zeros(outs, source.dtype)
    flat_source, flat_dy = source.reshape(source.size), dy.reshape(dy.size)

    for thread in prange(threads):
        planes, panel = memory[thread, :planes_size], memory[thread, planes_size:]
        starts = np.empty(tile_width, np.int64)
        thread_number = np.int64(thread)
        for item in range(items * thread_number // threads, items * (thread_number + 1) // threads):
            first_out = item % parts * part
            last_out = min(outs, first_out + part)
            first = item // parts % tiles * tile_width
            group = item // (parts * tiles)
            last = min(weights, first + tile_width)
            low, high = first // taps, (last - 1) // taps + 1
            for j in range(tile_width):
                k, tap = min(first + j, last - 1) // taps - low, min(first + j, last - 1) % taps
                starts[j] = (k * phases + tap_phase[tap]) * plane + tap_row[tap] * pitch + tap_column[tap]
            for n in range(batch):
                ng = n * groups + group
                for first_row in range(0, rows, chunk):
                    chunk_rows = min(chunk, rows - first_row)
                    for k in range(low, high):
                        for phase in range(phases):
                            _copy_plane(
                                flat_source, (ng * sources + k) * height * width, height, width,
                                first_row * source_stride[0] + phase_row[phase], phase_column[phase], source_stride,
                                planes, ((k - low) * phases + phase) * plane, chunk_rows + span[0], pitch,
                            )  # fmt: skip
                    for pixel in range(0, chunk_rows * pitch, lanes):
                        for j in range(0, last - first, lanes):
                            transpose_block(planes, starts, j, pixel, panel, panel_rows_at, 0, pixel * tile_width + j)
                    multiply(
                        flat_dy, ((ng * outs + first_out) * rows + first_row) * columns, rows * columns, columns, w_taps,
                        panel, 0, pitch * tile_width, x_taps, chunk_rows,
                        dw, (group * outs + first_out) * weights + first, weights, last_out - first_out, last - first,
                        n == 0 and first_row == 0, zeros, 0,
                    )  # fmt: skip


@njit(cache=True)
def _copy_plane(source, start, height, width, first_row, first_column, stride, target, target_start, rows, pitch):
    """Rows x pitch pixels of one source plane, `stride` apart from (first_row, first_column) on; 0 outside the plane."""
    row_stride, column_stride = stride
    left = min(pitch, max(0, -(first_column // column_stride)))
    right = max(left, min(pitch, (width - 1 - first_column) // column_stride + 1))
    if pitch == width and stride == (1, 1) and left == 0 and right == pitch:  # whole rows, one after the other
        top, bottom = min(rows, max(0, -first_row)), max(0, min(rows, height - first_row))
        to = target[target_start : target_start + rows * pitch]
        to[: top * pitch] = 0
        to[bottom * pitch :] = 0
        count = (bottom - top) * pitch
        at = start + (first_row + top) * width
        kept, inner = source[at : at + count], to[top * pitch : bottom * pitch]
        for q in range(len(inner)):
            inner[q] = kept[q]
        return
    for m in range(rows):
        row = first_row + m * row_stride
        to = target[target_start + m * pitch : target_start + (m + 1) * pitch]
        if row < 0 or row >= height or left == right:
            to[:] = 0
            continue
        to[:left] = 0
        to[right:] = 0
        run = start + row * width + first_column + left * column_stride
        if column_stride == 1:
            kept, inner = source[run : run + right - left], to[left:right]
            for q in range(len(inner)):
                inner[q] = kept[q]
        else:
            for q in range(left, right):
                to[q] = source[run]
                run += column_stride


@njit(cache=True)
def _move_run(store, tile, start, length, j, pitch, columns, out, plane, out_width, out_stride, out_phase):
    """`length` pixels of a run from its pixel j on, between a row of the tile and its output plane, less the row ends."""
    row_stride, column_stride = out_stride
    done = 0
    while done < length:
        m, q = (j + done) // pitch, (j + done) % pitch
        segment = min(pitch - q, length - done)
        kept = min(segment, columns - q)
        if kept > 0:
            at = plane + (m * row_stride + out_phase[0]) * out_width + q * column_stride + out_phase[1]
            here = tile[start + done : start + done + kept]
            if column_stride == 1:
                there = out[at : at + kept]
                if store:
                    for i in range(kept):
                        there[i] = here[i]
                else:
                    for i in range(kept):
                        here[i] = there[i]
            else:
                for i in range(kept):
                    if store:
                        out[at] = here[i]
                    else:
                        here[i] = out[at]
                    at += column_stride
        done += segment
