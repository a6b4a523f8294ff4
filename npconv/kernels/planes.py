"""Every convolution is a sum of shifted planes: out[m] = sum over taps of w[tap] * source[m + shift], stride by stride.

A chunk of source rows is copied once into scratch with its zero border, split by stride phase, so that each tap of any
stride and dilation is a contiguous run at a constant offset, row ends included (what is computed there is not stored).
Then `tiles.multiply` does the rest: no im2col in memory. The forward and the input gradient are the same sum with other
shifts; `dots` and `pixels` read the same planes for weight gradients.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import njit, prange

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.compiling import compiled, scratch
from npconv.kernels.shifts import Maps, Shifts, plane_shifts
from npconv.kernels.simd import (
    VECTOR_BITS,
    clear_run,
    copy_run,
    gather_every_second,
    prefetch_run,
    scatter_every_second,
    transpose_block,
)
from npconv.kernels.tiles import VECTORS, fill_runs, multiply
from npconv.kernels.windows import Taps, input_taps
from npconv.memory import empty

SCRATCH_BYTES = 1 << 19  # per thread, for planes, which most taps find in the L2 cache
PANEL_BYTES = 1 << 18  # for panels, which no second tap comes back to
WEIGHT_BYTES = 1 << 18  # of the weights that are in use at a time, beside their part of the planes


class _Work(NamedTuple):
    """How the product of one output phase is cut into items that share nothing but what they read."""

    rows: int  # of the output phase,
    columns: int  # its pixels,
    pitch: int  # and the distance of its rows in scratch
    chunk: int  # tiles of output pixels in one item
    chunks: int
    images: int  # in one item
    parts: int  # of the output channels
    part: int  # of them in one item, a multiple of the lanes, so of the panels' rows
    block: int  # source channels that are in scratch at a time
    plane: int  # elements of one phase plane in scratch
    panels: bool  # whether scratch holds, tile by tile, a panel of all channels instead of planes
    x_offsets: Array  # of each source channel of a block and tap, in scratch
    tile_step: int  # from one tile to the next in scratch; 0 for planes, where rows say it
    packed: bool  # whether the weights are packed
    run_size: int  # of a tile's table of runs, see `fill_runs`


def _work(shifts: Shifts, g: Conv2dGeometry, forward: bool, itemsize: int, threads: int) -> _Work | None:
    """The cut for one output phase, or None where it has no pixels.

    A block's weights and planes stay in the L2 cache from one tile to the next. Sums go on in `out` from block to block,
    in the same order and precision as in a register, so that no result depends on the cut.
    """
    source_size = (g.in_height, g.in_width) if forward else (g.out_height, g.out_width)
    out_size = (g.out_height, g.out_width) if forward else (g.in_height, g.in_width)
    sources, outs = g.in_channels_per_group, g.out_channels_per_group
    if not forward:
        sources, outs = outs, sources
    rows = -(-(out_size[0] - shifts.out_phase[0]) // shifts.out_stride[0])
    columns = -(-(out_size[1] - shifts.out_phase[1]) // shifts.out_stride[1])
    if rows <= 0 or columns <= 0:
        return None
    lanes = VECTOR_BITS // (8 * itemsize)
    width = VECTORS * lanes
    phases, taps = len(shifts.phase_row), len(shifts.w_taps)
    panels = (
        taps == 1
        and shifts.source_stride == (1, 1)
        and source_size == (rows, columns)
        and shifts.phase_row[0] == shifts.phase_column[0] == 0
    )
    pitch = columns if panels else columns + shifts.span[1] - _shared_border(shifts, source_size[1], columns)
    tiles = -(-rows * pitch // width)

    def plane(chunk: int) -> int:
        """An odd number of cache lines, or the planes would compete for the same few places in the cache."""
        if panels:
            return chunk * width
        size = (min(rows, (chunk * width + pitch - 2) // pitch + 1) + shifts.span[0]) * pitch + shifts.span[1]
        return -(-size // 32) * 32 + 16

    block = sources
    if g.batch * tiles > 2:  # otherwise nobody comes back to the weights
        block = min(sources, max(1, WEIGHT_BYTES // (taps * min(outs, 512) * itemsize), 256 if panels else 0))
    # One item is a chunk of tiles for a part of the output channels. The cut that is done first is the best, where a tile
    # takes a multiply-add of each of its vectors in half a cycle, and copying an element half of one.
    steps, rows_of_tiles, best = sources * taps, -(-outs // lanes), (np.inf, 1, 1)
    room = PANEL_BYTES if panels else SCRATCH_BYTES
    longest = next((c for c in range(tiles, 4, -1) if block * phases * plane(c) * itemsize <= room), 4)
    fewest = -(-tiles // longest)
    for parts in range(1, min(rows_of_tiles, 2 * threads) + 1):
        for chunks in range(fewest, min(tiles, fewest + 16 * threads) + 1):
            chunk, part = -(-tiles // chunks), -(-rows_of_tiles // parts)
            turns = -(-g.batch * g.groups * chunks * parts // threads)
            cycles = turns * (chunk * part * steps * lanes * VECTORS / 2 + sources * phases * plane(chunk) / 2)
            best = min(best, (cycles, parts, chunks))
    _, parts, chunks = best
    chunk, part = -(-tiles // chunks), -(-rows_of_tiles // parts) * lanes
    chunks, parts = -(-tiles // chunk), -(-outs // part)
    block = max(1, min(block, room // (itemsize * phases * plane(chunk))))
    block = -(-sources // -(-sources // block))
    images = max(1, g.batch * g.groups * chunks * parts // (2 * threads)) if block < sources else 1
    images = min(images, max(1, g.batch))
    if panels:
        x_offsets = np.arange(block) * width
    else:
        tap_offsets = shifts.tap_phase * plane(chunk) + shifts.tap_row * pitch + shifts.tap_column
        x_offsets = (np.arange(block)[:, None] * (phases * plane(chunk)) + tap_offsets).reshape(-1)
    packed = not forward or g.batch * tiles > 8
    return _Work(
        rows, columns, pitch, chunk, chunks, images, parts, part, block, plane(chunk), panels, x_offsets,
        block * width if panels else 0, packed, 3 * VECTORS * ((lanes + pitch - 2) // pitch + 1),
    )  # fmt: skip


def _shared_border(shifts: Shifts, width: int, columns: int) -> int:
    """Columns of zeros that both ends of every row have: the ones behind a row are the ones before the next."""
    stride = shifts.source_stride[1]
    pitch = columns + shifts.span[1]
    before = [-(first // stride) for first in shifts.phase_column.tolist()]
    behind = [pitch - ((width - 1 - first) // stride + 1) for first in shifts.phase_column.tolist()]
    return max(0, min(*before, *behind, shifts.span[1]))


class _Packing(NamedTuple):
    """How weights are put into panels of `lanes` rows, (groups, panels, sources * taps + 1, lanes), the last of which is junk.

    Runs of weights that stand next to each other are turned across, block by block: each source channel's kernel or, where
    source channels follow each other with all their taps, all of them.
    """

    shape: tuple[int, int, int, int]
    rows: int  # of weights; the last one fills the last panel
    runs: int
    run: int  # weights in one
    targets: Array  # where each goes in its panel
    step: int  # from one run to the next in a panel

    @classmethod
    def of(cls, shifts: Shifts, w_outer: int, groups: int, rows: int, sources: int, lanes: int) -> _Packing:
        taps = len(shifts.w_taps)
        shape = groups, -(-rows // lanes), sources * taps + 1, lanes
        if w_outer == taps:
            runs, run, step, places = 1, sources * taps, sources * taps, np.arange(sources * taps)
        else:
            runs, run, step, places = sources, int(shifts.w_taps.max()) + 1, taps, shifts.w_taps
        # other phases' weights go where the next channel starts, before it does
        targets = np.full(max(run, lanes), step)
        targets[places] = np.arange(step)
        return cls(shape, rows, runs, run, targets * lanes, step * lanes)


class _Product(NamedTuple):
    """All that is known of one output phase before there are arrays."""

    packing: _Packing | None
    w_strides: tuple[int, int, int]  # of the weights as they are multiplied: groups, rows or panels, source channels
    scratch_size: int
    sizes: tuple[Any, ...]  # arguments of the loop
    cut: tuple[Any, ...]  # and more of them


@functools.lru_cache(maxsize=1024)
def _product_plan(
    taps_of: Callable[[Conv2dGeometry], Taps],
    geometry: Conv2dGeometry,
    strides: tuple[int, int, int],
    itemsize: int,
    threads: int,
) -> list[_Product]:
    """The products of a convolution's output phases; kept, because making them takes longer than a small convolution."""
    g, forward = geometry, taps_of is input_taps
    sources, outs = g.in_channels_per_group, g.out_channels_per_group
    height, width = g.in_height, g.in_width
    if not forward:
        sources, outs, height, width = outs, sources, g.out_height, g.out_width
    lanes = VECTOR_BITS // (8 * itemsize)
    products = []
    for shifts in plane_shifts(taps_of(geometry)):
        work = _work(shifts, geometry, forward, itemsize, threads)
        if not work:
            continue
        packing, w_strides, taps = None, strides, len(shifts.w_taps)
        if work.packed:
            packing = _Packing.of(shifts, strides[2], g.groups, outs, sources, lanes)
            _, panels, steps, _ = packing.shape
            w_strides = panels * steps * lanes, steps * lanes, lanes * taps
        scratch_size = work.block * len(shifts.phase_row) * work.plane + (2 + lanes) * VECTORS * lanes
        sizes = (g.batch, g.groups, sources, outs, taps, height, width)
        products.append(_Product(packing, w_strides, scratch_size, sizes, (*shifts[4:], *work)))
    return products


def shifted_product(
    source: Maps,
    w: Array,
    strides: tuple[int, int, int],
    bias: Array,
    taps_of: Callable[[Conv2dGeometry], Taps],
    geometry: Conv2dGeometry,
    out: Maps,
    add: bool,
) -> None:
    """out[n, g, i, m] = bias[g, i] + sum over k and taps of w[g, i, k, tap] * source[n, g, k, the pixel that the tap reads].

    Where `add`, a sum starts from what is in `out` instead of the bias.
    `strides` are those of w, a flat array, along g, i and k; `taps_of` is `input_taps` or `output_taps`. Pixels of `out` for
    which no tap reads are left as they are.
    """
    for product in _product_plan(taps_of, geometry, strides, w.itemsize, numba.get_num_threads()):
        weights = w
        if product.packing is not None:
            packed = empty(product.packing.shape, w.dtype)
            _pack(w, *strides, *product.packing[1:], packed)
            weights = packed.reshape(packed.size)
        _shifted_product(
            source.flat, source[1:], weights, product.w_strides, bias, out.flat, out[1:],
            *product.sizes, *product.cut, scratch(w.dtype, product.scratch_size), add,
        )  # fmt: skip


@compiled
def _pack(w, w_group, w_row, w_outer, rows, runs, run, targets, step, packed):
    groups, panels, panel_steps, lanes = packed.shape
    flat = packed.reshape(packed.size)
    for item in prange(groups * panels):
        group, first = item // panels, item % panels * lanes
        to = np.int64(item) * panel_steps * lanes
        starts = np.empty(lanes, np.int64)
        for i in range(lanes):
            starts[i] = group * w_group + min(first + i, rows - 1) * w_row
        for k in range(runs):
            if run == w_row == 1 and first + lanes <= rows:  # the rows stand next to each other already
                copy_run(w, starts[0] + k * w_outer, flat, to, lanes)
            else:
                for p in range(0, run, lanes):
                    block = max(0, min(p, run - lanes))
                    if starts[lanes - 1] + k * w_outer + block + lanes <= len(w):
                        transpose_block(w, starts, 0, k * w_outer + block, flat, targets, block, to)
                    else:  # a block would end behind the array
                        for j in range(block, run):
                            for i in range(lanes):
                                flat[targets[j] + to + i] = w[starts[i] + k * w_outer + j]
            to += step


@compiled
def _shifted_product(
    source, source_strides, w, w_strides, bias, out, out_strides, batch, groups, sources, outs, taps, height, width,
    phase_row, phase_column, source_stride, span, out_stride, out_phase,
    rows, columns, pitch, chunk, chunks, images, parts, part, block, plane, panels, x_offsets, tile_step, packed, run_size, memory, add,
):  # fmt: skip
    source_start, source_image, source_channel, source_row = source_strides
    out_start, out_image, out_channel, out_row = out_strides
    w_group, w_row, w_outer = w_strides
    lanes = VECTOR_BITS // (8 * source.itemsize)
    tile_width = VECTORS * lanes
    phases, threads = len(phase_row), len(memory)
    albums = -(-batch // images)
    items = groups * albums * chunks * parts
    scattered = out_stride[1] != 1
    scratch_size = memory.shape[1] - lanes * tile_width

    for thread in prange(threads):
        planes, tile = memory[thread, :scratch_size], memory[thread, scratch_size:]
        planes[scratch_size - 2 * tile_width :] = 0  # tiles read on behind the planes
        target = tile if scattered else out
        target_row = tile_width if scattered else out_channel
        runs, run_counts = np.empty((chunk, run_size), np.int64), np.empty(chunk, np.int64)
        thread_number = np.int64(thread)
        for item in range(items * thread_number // threads, items * (thread_number + 1) // threads):
            first_out = item % parts * part
            last_out = min(outs, first_out + part)
            first_pixel = item // parts % chunks * chunk * tile_width
            last_pixel = min(rows * pitch, first_pixel + chunk * tile_width)
            tiles = -(-(last_pixel - first_pixel) // tile_width)
            album = item // (parts * chunks) % albums
            group = item // (parts * chunks * albums)
            top = first_pixel // pitch
            plane_rows = (last_pixel - 1) // pitch + 1 - top + span[0]
            for t in range(tiles):
                j = first_pixel + t * tile_width
                length = min(tile_width, last_pixel - j)
                if scattered:
                    run_counts[t] = fill_runs(runs[t], 0, length, length, length, 0, lanes)
                else:
                    run_counts[t] = fill_runs(runs[t], j, length, pitch, columns, out_row * out_stride[0], lanes)
            for first in range(0, sources, block):
                count = min(block, sources - first)
                w_at = group * w_group + first * w_outer
                fresh = not add and first == 0
                for n in range(album * images, min(batch, (album + 1) * images)):
                    source_at = source_start + n * source_image + (group * sources + first) * source_channel
                    out_at = (
                        out_start + n * out_image + group * outs * out_channel + out_phase[0] * out_row + out_phase[1]
                    )
                    for k in range(count):
                        at = source_at + k * source_channel
                        if panels:
                            m, q = divmod(first_pixel, pitch)
                            prefetch_run(source, at + source_channel + m * source_row + q, last_pixel - first_pixel)
                            _copy_panel(
                                source, at, source_row, pitch, first_pixel, last_pixel,
                                planes, k * tile_width, tile_step,
                            )  # fmt: skip
                            continue
                        first_row = max(0, top * source_stride[0] + phase_row[0])
                        ahead = at + source_channel + first_row * source_row
                        prefetch_run(source, ahead, plane_rows * source_stride[0] * source_row)
                        for phase in range(phases):
                            copy_plane(
                                source, at, source_row, height, width,
                                top * source_stride[0] + phase_row[phase], phase_column[phase], source_stride,
                                planes, (k * phases + phase) * plane, plane_rows, pitch, plane - plane_rows * pitch,
                            )  # fmt: skip
                    # Tile by tile for a few output channels, not the other way round: outputs are written in long runs.
                    for o in range(first_out, last_out, lanes):
                        o_count, place = min(lanes, last_out - o), out_at + o * out_channel
                        for t in range(tiles):
                            j = first_pixel + t * tile_width
                            length = min(tile_width, last_pixel - j)
                            if scattered and not fresh:
                                for i in range(o_count):
                                    _move_run(
                                        False, tile, i * tile_width, length, j, pitch, columns,
                                        out, place + i * out_channel, out_row, out_stride,
                                    )  # fmt: skip
                            multiply(
                                packed, w, w_at + (o // lanes if packed else o) * w_row, w_row,
                                planes, t * tile_step if panels else j - top * pitch, x_offsets, count * taps,
                                target, 0 if scattered else place, target_row,
                                o_count, length, runs[t], run_counts[t], fresh, bias, group * outs + o,
                            )  # fmt: skip
                            if scattered:
                                for i in range(o_count):
                                    _move_run(
                                        True, tile, i * tile_width, length, j, pitch, columns,
                                        out, place + i * out_channel, out_row, out_stride,
                                    )  # fmt: skip


@njit
def copy_plane(
    source, start, source_row, height, width, first_row, first_column, stride, target, target_start, rows, pitch, slack
):  # fmt: skip
    """Rows x pitch pixels of one source plane, `stride` apart from (first_row, first_column) on; 0 outside the plane, and behind."""
    row_stride, column_stride = stride
    left = min(pitch, max(0, -(first_column // column_stride)))
    right = max(left, min(pitch, (width - 1 - first_column) // column_stride + 1))
    top = min(rows, max(0, -(first_row // row_stride)))
    bottom = max(top, min(rows, (height - 1 - first_row) // row_stride + 1))
    if left == right:
        bottom = top
    clear_run(target, target_start, top * pitch + left)
    clear_run(target, target_start + bottom * pitch, (rows - bottom) * pitch + slack)
    run = start + (first_row + top * row_stride) * source_row + first_column + left * column_stride
    if pitch == source_row == right - left and stride == (1, 1):  # whole rows, one after the other
        copy_run(source, run, target, target_start + top * pitch, (bottom - top) * pitch)
        return
    for m in range(top, bottom):
        at = target_start + m * pitch
        if column_stride == 1:
            copy_run(source, run, target, at + left, right - left)
        elif column_stride == 2:
            gather_every_second(source, run, target, at + left, right - left)
        else:
            for q in range(right - left):
                target[at + left + q] = source[run + q * column_stride]
        clear_run(target, at + right, pitch - right + (left if m < rows - 1 else 0))  # up to the next row's first
        run += row_stride * source_row


@njit
def _copy_panel(source, start, source_row, pitch, first, last, target, target_start, tile_step):
    """Pixels `first` to `last` of a map with rows of `pitch`, tile by tile, `tile_step` apart; 0 behind the last one."""
    # known to the compiler, so that it copies whole tiles without masks
    tile_width = VECTORS * (VECTOR_BITS // (8 * source.itemsize))
    m, q = divmod(first, pitch)
    at, lane, left = target_start, 0, last - first
    while left > 0:
        run, count = start + m * source_row + q, min(pitch - q, left)
        left -= count
        m, q = m + 1, 0
        if lane > 0:
            part = min(count, tile_width - lane)
            copy_run(source, run, target, at + lane, part)
            run, count, lane = run + part, count - part, lane + part
            if lane == tile_width:
                at, lane = at + tile_step, 0
        while count >= tile_width:
            copy_run(source, run, target, at, tile_width)
            run, count, at = run + tile_width, count - tile_width, at + tile_step
        if count > 0:
            copy_run(source, run, target, at, count)
            lane = count
    if lane > 0:
        clear_run(target, at + lane, tile_width - lane)


@njit
def _move_run(store, tile, start, length, j, pitch, columns, out, plane, out_row, out_stride):
    """`length` pixels of a run from its pixel j on, between a row of the tile and every few pixels of `out`, less the row ends."""
    row_stride, column_stride = out_stride
    done = 0
    m, q = divmod(j, pitch)
    while done < length:
        segment = min(pitch - q, length - done)
        count, here = min(segment, columns - q), start + done
        there = plane + m * row_stride * out_row + q * column_stride
        if column_stride == 2 and count > 0:
            if store:
                scatter_every_second(tile, here, out, there, count)
            else:
                gather_every_second(out, there, tile, here, count)
        else:
            for i in range(count):
                if store:
                    out[there + i * column_stride] = tile[here + i]
                else:
                    tile[here + i] = out[there + i * column_stride]
        done += segment
        m, q = m + 1, 0
