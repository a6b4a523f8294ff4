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

import numpy as np
from numba import njit, prange

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.filters import weave_rows
from npconv.kernels.jit import compiled, scratch, thread_count
from npconv.kernels.shifts import Maps, Shifts, plane_shifts
from npconv.kernels.simd import (
    VECTOR_BITS,
    clear_run,
    copy_run,
    gather_every_second,
    prefetch_run,
    transpose_block,
)
from npconv.kernels.tiles import HALF, VECTORS, fill_runs, multiply
from npconv.kernels.windows import Taps, input_taps
from npconv.memory import empty

SCRATCH_BYTES = 1 << 19  # per thread, for planes, which most taps find in the L2 cache
PANEL_BYTES = 1 << 18  # for panels, which no second tap comes back to
WEIGHT_BYTES = 1 << 18  # of the weights that are in use at a time, beside their part of the planes


class _Work(NamedTuple):
    """How a sum of shifted planes is cut into items that share nothing but what they read."""

    rows: int  # of an output phase,
    columns: int  # its pixels,
    pitch: int  # and the distance of its rows in scratch
    chunk: int  # tiles of output pixels in one item
    chunks: int
    images: int  # in one item
    parts: int  # of the output channels
    part: int  # of them in one item, a multiple of the lanes, so of the panels' rows
    block: int  # source channels that are in scratch at a time
    bounds: Array  # the first item of each thread, and their end
    plane: int  # elements of one phase plane in scratch
    panels: bool  # whether scratch holds, tile by tile, a panel of all channels instead of planes
    x_offsets: Array  # of each output phase, source channel of a block and tap, in scratch
    tile_step: int  # from one tile to the next in scratch; 0 for planes, where rows say it
    packed: bool  # whether the weights are packed
    run_size: int  # of a tile's table of runs, see `fill_runs`


def _work(shifts: Shifts, g: Conv2dGeometry, forward: bool, itemsize: int, threads: int) -> _Work:
    """The cut that is done first.

    A block's weights and planes stay in the L2 cache from one tile to the next. Sums go on in `out` from block to block,
    in the same order and precision as in a register, so that no result depends on the cut.
    """
    source_size = (g.in_height, g.in_width) if forward else (g.out_height, g.out_width)
    out_size = (g.out_height, g.out_width) if forward else (g.in_height, g.in_width)
    sources, outs = g.in_channels_per_group, g.out_channels_per_group
    if not forward:
        sources, outs = outs, sources
    rows, columns = -(-out_size[0] // shifts.out_stride[0]), -(-out_size[1] // shifts.out_stride[1])
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
        in_use = int(np.diff(shifts.first_tap).max()) * min(outs, 512) * itemsize
        block = min(sources, max(1, WEIGHT_BYTES // in_use, 256 if panels else 0))
    # One item is a chunk of tiles for a part of the output channels. The cut that is done first is the best, where a tile
    # takes a multiply-add of each of its vectors in half a cycle, copying an element half of one, and reading a weight, once
    # for each chunk, a whole one, like two vectors more.
    steps, repeats, rows_of_tiles = sources * taps, g.batch * g.groups, -(-outs // lanes)
    full, rest = divmod(rows * pitch, width)
    vectors = full * VECTORS + (VECTORS if rest > lanes else min(rest, 1))  # as `tiles.multiply` has them
    room = PANEL_BYTES if panels else SCRATCH_BYTES
    longest = next((c for c in range(tiles, 4, -1) if block * phases * plane(c) * itemsize <= room), 4)
    fewest = -(-tiles // longest)

    def shares(parts: int, chunks: int, repeats: int) -> tuple[float, list[int]]:
        part, chunk = -(-rows_of_tiles // parts) * lanes, -(-tiles // chunks) * VECTORS
        copying = sources * phases * plane(chunk // VECTORS) / (2 * chunk)
        row, all_rows = part * steps / 2 + copying, -(-outs // HALF) * HALF * steps / 2 + parts * copying
        return _shares((chunks, chunk + 2, vectors + 2 * chunks), (parts, row, all_rows), repeats, threads)

    best = np.inf, 1, 1
    for parts in {-(-rows_of_tiles // -(-rows_of_tiles // p)) for p in range(1, 2 * threads + 1)}:
        for chunks in {-(-tiles // -(-tiles // c)) for c in range(fewest, fewest + 4 * threads + 1)}:
            if chunks == fewest or chunks * parts * repeats <= 16 * threads:
                best = min(best, (shares(parts, chunks, repeats)[0], parts, chunks))
    _, parts, chunks = best
    chunk, part = -(-tiles // chunks), -(-rows_of_tiles // parts) * lanes
    block = max(1, min(block, room // (itemsize * phases * plane(chunk))))
    block = -(-sources // -(-sources // block))
    images = max(1, g.batch * g.groups * chunks * parts // (2 * threads)) if block < sources else 1
    images = min(images, max(1, g.batch))
    _, bounds = shares(parts, chunks, -(-g.batch // images) * g.groups)
    if panels:
        x_offsets = np.arange(block) * width
    else:
        tap_offsets = shifts.tap_phase * plane(chunk) + shifts.tap_row * pitch + shifts.tap_column
        channels = np.arange(block)[:, None] * (phases * plane(chunk))
        of_phases = np.split(tap_offsets, shifts.first_tap[1:-1])
        x_offsets = np.concatenate([(channels + offsets).reshape(-1) for offsets in of_phases])
    packed = not forward or g.batch * tiles > 8
    return _Work(
        rows, columns, pitch, chunk, chunks, images, parts, part, block, np.array(bounds), plane(chunk), panels, x_offsets,
        block * width if panels else 0, packed, 3 * VECTORS * ((lanes + pitch - 2) // pitch + 1),
    )  # fmt: skip


def _shares(
    columns: tuple[int, float, float], rows: tuple[int, float, float], repeats: int, threads: int
) -> tuple[float, list[int]]:
    """Where each thread's items begin, and the greatest share of work: items are the cells of a matrix, column by column, repeated.

    A cell's work is its column's times its row's; given are how many there are, a full one's work and that of all of them,
    the last being smaller.
    """
    (in_columns, column, all_columns), (in_rows, row, all_rows) = columns, rows
    bounds, done, greatest = [0], 0.0, 0.0
    for thread in range(1, threads + 1):
        repeat, rest = divmod(repeats * thread * all_columns * all_rows / threads, all_columns * all_rows)
        c = min(int(rest / (column * all_rows)), in_columns - 1)
        this_column = min(column, all_columns - c * column)
        r = min(round((rest - c * column * all_rows) / (this_column * row)), in_rows)
        bounds.append((int(repeat) * in_columns + c) * in_rows + r)
        now = (repeat * all_columns + c * column) * all_rows + this_column * min(r * row, all_rows)
        greatest, done = max(greatest, now - done), now
    bounds[-1] = repeats * in_columns * in_rows  # whatever rounding did
    return greatest, bounds


def _shared_border(shifts: Shifts, width: int, columns: int) -> int:
    """Columns of zeros that both ends of every row have: the ones behind a row are the ones before the next."""
    stride = shifts.source_stride[1]
    pitch = columns + shifts.span[1]
    before = [-(first // stride) for first in shifts.phase_column.tolist()]
    behind = [pitch - ((width - 1 - first) // stride + 1) for first in shifts.phase_column.tolist()]
    return max(0, min(*before, *behind, shifts.span[1]))


class _Packing(NamedTuple):
    """How weights are put into panels of `lanes` rows, (groups, panels, sources * taps + 1, lanes), the last of which is junk.

    In a panel, the steps of an output phase follow each other, source channel by source channel. Runs of weights that stand
    next to each other are turned across, block by block: each source channel's kernel or, where source channels follow each
    other with all their taps, all of them.
    """

    shape: tuple[int, int, int, int]
    rows: int  # of weights; the last one fills the last panel
    runs: int
    run: int  # weights in one
    targets: Array  # where each of the first run goes in its panel
    steps: Array  # and how much further it goes in the next run

    @classmethod
    def of(cls, shifts: Shifts, w_outer: int, groups: int, rows: int, sources: int, lanes: int) -> _Packing:
        taps, first_tap = len(shifts.w_taps), shifts.first_tap
        shape = groups, -(-rows // lanes), sources * taps + 1, lanes
        of_phase = np.diff(first_tap)
        places = np.arange(taps) + np.repeat(first_tap[:-1] * (sources - 1), of_phase)
        steps = np.repeat(of_phase, of_phase)
        runs, run = (1, sources * taps) if w_outer == taps else (sources, taps)
        inside = np.arange(run // taps)[:, None]  # of a run, source channels
        # a block that is longer than a run has junk
        all_targets, all_steps = np.full(max(run, lanes), sources * taps), np.zeros(max(run, lanes), np.int64)
        all_targets[inside * taps + shifts.w_taps] = places + inside * steps
        all_steps[shifts.w_taps] = steps
        return cls(shape, rows, runs, run, all_targets * lanes, all_steps * lanes)


class _Product(NamedTuple):
    """All that is known of a sum of shifted planes before there are arrays."""

    packing: _Packing | None
    w_strides: tuple[int, int, int]  # of the weights as they are multiplied: groups, rows or panels, steps
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
) -> _Product:
    """Kept, because making it takes longer than a small convolution."""
    g, forward = geometry, taps_of is input_taps
    sources, outs = g.in_channels_per_group, g.out_channels_per_group
    source_size, out_size = (g.in_height, g.in_width), (g.out_height, g.out_width)
    if not forward:
        sources, outs, source_size, out_size = outs, sources, out_size, source_size
    lanes = VECTOR_BITS // (8 * itemsize)
    shifts = plane_shifts(taps_of(geometry))
    work = _work(shifts, geometry, forward, itemsize, threads)
    packing, w_strides = None, (*strides[:2], 1)
    if work.packed:
        packing = _Packing.of(shifts, strides[2], g.groups, outs, sources, lanes)
        _, panels, steps, _ = packing.shape
        w_strides = panels * steps * lanes, steps * lanes, lanes
    planes = work.block * len(shifts.phase_row) * work.plane
    scratch_size = planes + (2 * VECTORS + 1 + shifts.out_stride[1] * lanes * VECTORS) * lanes
    sizes = (g.batch, g.groups, sources, outs, *source_size, *out_size)
    return _Product(packing, w_strides, scratch_size, sizes, (*shifts[4:], *work))


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
    `strides` are those of w, a flat array, along g, i and k; `taps_of` is `input_taps` or `output_taps`.
    """
    if out.flat.size == 0:
        return
    plan = _product_plan(taps_of, geometry, strides, w.itemsize, thread_count())
    if plan.packing is not None:
        packed = empty(plan.packing.shape, w.dtype)
        _pack(w, *strides, *plan.packing[1:], packed)
        w = packed.reshape(packed.size)
    _shifted_product(
        source.flat, source[1:], w, plan.w_strides, bias, out.flat, out[1:],
        *plan.sizes, *plan.cut, scratch(w.dtype, plan.scratch_size), add,
    )  # fmt: skip


@compiled
def _pack(w, w_group, w_row, w_outer, rows, runs, run, targets, steps, packed):
    groups, panels, panel_steps, lanes = packed.shape
    flat = packed.reshape(packed.size)
    for item in prange(groups * panels):
        group, first = item // panels, item % panels * lanes
        to, places = np.int64(item) * panel_steps * lanes, targets.copy()
        starts = np.empty(lanes, np.int64)
        for i in range(lanes):
            starts[i] = group * w_group + min(first + i, rows - 1) * w_row
        for k in range(runs):
            if run == w_row == 1 and first + lanes <= rows:  # the rows stand next to each other already
                copy_run(w, starts[0] + k * w_outer, flat, to + places[0], lanes)
            else:
                for p in range(0, run, lanes):
                    block = max(0, min(p, run - lanes))
                    if starts[lanes - 1] + k * w_outer + block + lanes <= len(w):
                        transpose_block(w, starts, 0, k * w_outer + block, flat, places, block, to)
                    else:  # a block would end behind the array
                        for j in range(block, run):
                            for i in range(lanes):
                                flat[places[j] + to + i] = w[starts[i] + k * w_outer + j]
            for j in range(len(places)):
                places[j] += steps[j]


@compiled
def _shifted_product(
    source, source_strides, w, w_strides, bias, out, out_strides, batch, groups, sources, outs, height, width, out_height, out_width,
    phase_row, phase_column, source_stride, span, out_stride, first_tap,
    rows, columns, pitch, chunk, chunks, images, parts, part, block, bounds, plane, panels, x_offsets, tile_step, packed, run_size, memory, add,
):  # fmt: skip
    source_start, source_image, source_channel, source_row = source_strides
    out_start, out_image, out_channel, out_row = out_strides
    w_group, w_row, w_step = w_strides
    lanes = VECTOR_BITS // (8 * source.itemsize)
    tile_width = VECTORS * lanes
    phases, threads = len(phase_row), len(memory)
    albums = -(-batch // images)
    scattered = out_stride != (1, 1)
    tile_row = out_stride[1] * tile_width
    scratch_size = memory.shape[1] - lanes * (tile_row + 1)

    for thread in prange(threads):
        planes, tile = memory[thread, :scratch_size], memory[thread, scratch_size:]
        planes[scratch_size - 2 * tile_width :] = 0  # tiles read on behind the planes
        target = tile if scattered else out
        target_row = tile_row if scattered else out_channel
        runs, run_counts = np.empty((chunk, run_size), np.int64), np.empty(chunk, np.int64)
        for item in range(bounds[thread], bounds[thread + 1]):
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
                    run_counts[t] = fill_runs(runs[t], j, length, pitch, columns, out_row, lanes)
            for first in range(0, sources, block):
                count = min(block, sources - first)
                fresh = not add and first == 0
                for n in range(album * images, min(batch, (album + 1) * images)):
                    source_at = source_start + n * source_image + (group * sources + first) * source_channel
                    out_at = out_start + n * out_image + group * outs * out_channel
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
                        w_at = group * w_group + (o // lanes if packed else o) * w_row
                        for row_phase in range(out_stride[0]):
                            phase_place, phase_height = place + row_phase * out_row, out_height - row_phase
                            for t in range(tiles):
                                j = first_pixel + t * tile_width
                                length = min(tile_width, last_pixel - j)
                                if scattered and not fresh:
                                    _move_tile(
                                        False, tile, o_count, length, j, pitch, out, phase_place, out_channel, out_row,
                                        out_stride, phase_height, out_width,
                                    )  # fmt: skip
                                for column_phase in range(out_stride[1]):
                                    phase = row_phase * out_stride[1] + column_phase
                                    tap, taps = first_tap[phase], first_tap[phase + 1] - first_tap[phase]
                                    multiply(
                                        packed, w, w_at + (tap * sources + taps * first) * w_step, w_row,
                                        planes, t * tile_step if panels else j - top * pitch,
                                        x_offsets[tap * block :], count * taps,
                                        target, column_phase * tile_width if scattered else place, target_row,
                                        o_count, length, runs[t], run_counts[t], fresh, bias, group * outs + o,
                                    )  # fmt: skip
                                if scattered:
                                    _move_tile(
                                        True, tile, o_count, length, j, pitch, out, phase_place, out_channel, out_row,
                                        out_stride, phase_height, out_width,
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
def _move_tile(
    store, tile, count, length, j, pitch, out, place, out_channel, out_row, out_stride, height, width
):  # fmt: skip
    """Between `count` rows of the tile, which hold a run of pixels for each column phase, and the map of `out` where the phases alternate.

    The runs are `length` pixels long, from pixel j on of rows of `pitch`; what is outside of the map stays where it is.
    """
    tile_width = VECTORS * (VECTOR_BITS // (8 * out.itemsize))
    row_stride, phases = out_stride
    done = 0
    m, q = divmod(j, pitch)
    while done < length and m * row_stride < height:
        segment = min(pitch - q, length - done)
        columns, there = min(phases * segment, width - phases * q), place + m * row_stride * out_row + phases * q
        if store and phases == 2:
            weave_rows(tile, done, tile_width, count, columns, out, there, out_channel)
        else:
            for i in range(count):
                for phase in range(phases):
                    here, first = (i * phases + phase) * tile_width + done, there + i * out_channel + phase
                    if phases == 2:
                        gather_every_second(out, first, tile, here, (columns - phase + 1) // 2)
                        continue
                    for k in range(-((phase - columns) // phases)):
                        if store:
                            out[first + k * phases] = tile[here + k]
                        else:
                            tile[here + k] = out[first + k * phases]
        done += segment
        m, q = m + 1, 0
