"""The weight gradient as a product over pixels: dw[i, k, tap] = sum over n, m of dy[n, i, m] * x[n, k, the pixel that the tap reads].

A few rows of dy, or of x, are turned, so that the lanes of a vector are its channels at one pixel; numbers of the other, which
stay as they are, multiply them. Either may be turned: the taps belong to x, whichever it is. Where too few channels leave lanes
empty, `dots` is faster.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.dots import dots_cycles, pixel_dots
from npconv.kernels.jit import compiled, scratch, thread_count
from npconv.kernels.pixel_tiles import TILES, multiply_pixels
from npconv.kernels.planes import copy_plane
from npconv.kernels.simd import VECTOR_BITS, clear_run, copy_run, transpose_block

# Of the vectors that one tile reads. More than the L1 cache keeps: 30 KiB, which it does, were up to 15 % slower, as rows are
# then read, and sums fetched and put away, for fewer pixels at a time.
TURNED_BYTES = 60 << 10
BAND_BYTES = 1 << 19  # of the rows of x that are copied at a time
X_IS_TURNED = False, True  # what is tried; dy is turned where x is not
TOTAL_BYTES = 1 << 19  # of the sums of one item
SLAB_PIXELS = 1024  # the fewest that are worth sums of their own,
SLABS = 8  # and the most such sums,
SLAB_BYTES = 1 << 21  # in all


class _Operand(NamedTuple):
    """How one of the two arrays is read, a few rows of output pixels at a time."""

    height: int
    width: int
    stride: int  # rows from one output row to the next,
    reach: int  # and how many more the last output row reads
    pad_top: int
    pad_left: int
    pitch: int  # pixels from one row to the next where it is read
    taps: Array  # the pixel that each tap reads, from there on

    def rows(self, outputs: int) -> int:
        """How many rows that many output rows read."""
        return (outputs - 1) * self.stride + self.reach + 1

    def pixels(self, rows: int, columns: int, column_stride: int) -> Array:
        """Where what the output pixels read stands, before the tap says more."""
        p, q = np.divmod(np.arange(rows * columns), columns)
        return p * self.stride * self.pitch + q * column_stride


class _Work(NamedTuple):
    """How the product is cut into items that share nothing but what they read."""

    x_is_turned: bool
    tile: int
    run: int
    tile_rows: int
    vectors: int  # of a tile
    images: int  # that are turned, and copied, at a time,
    chunk: int  # rows of output pixels of each that are turned,
    band: int  # and copied
    copied: bool  # whether the numbers are
    block_size: int  # elements of `lanes` channels, turned
    plane_size: int  # and of a channel that is copied
    blocks: int  # in one item
    block_parts: int  # that make all blocks
    part: int  # rows in one item
    parts: int  # that make all rows
    slabs: int  # of pixels
    slab_rows: int  # what they are made of
    targets: Array  # where the pixels of a chunk go when turned
    places: Array  # where what its output pixels read stands
    sizes: tuple[
        int, int, int, int
    ]  # of each thread's scratch: sums, a few of them turned, what is turned, what is copied


def _operands(g: Conv2dGeometry) -> tuple[_Operand, _Operand]:
    """dy and x, each padded only where x is; a 1x1 convolution that keeps every pixel has one long column of them."""
    taps_row, taps_column = np.divmod(np.arange(g.kernel_height * g.kernel_width), g.kernel_width)
    reach_rows, reach_columns = (g.kernel_height - 1) * g.dilation_height, (g.kernel_width - 1) * g.dilation_width
    read = (g.out_width - 1) * g.stride_width + reach_columns + 1
    pitch = max(read, g.pad_left + g.in_width)
    taps = taps_row * g.dilation_height * pitch + taps_column * g.dilation_width
    x = _Operand(g.in_height, g.in_width, g.stride_height, reach_rows, g.pad_top, g.pad_left, pitch, taps)
    dy = _Operand(g.out_height, g.out_width, 1, 0, 0, 0, g.out_width, np.zeros(1, np.int64))
    return dy, x


def _flat(g: Conv2dGeometry) -> Conv2dGeometry:
    """A convolution whose pixels are all alike, with each plane as one long column, to be cut anywhere."""
    kept = (g.in_height, g.in_width) == (g.out_height, g.out_width)
    if kept and g.kernel_height == g.kernel_width == g.stride_height == g.stride_width == 1:
        pixels = g.in_height * g.in_width
        return g._replace(in_height=pixels, in_width=1, out_height=pixels, out_width=1)
    return g


def _slabs(g: Conv2dGeometry, itemsize: int) -> int:
    """How many sums each weight is made of. Every other cut leaves the order of a sum alone; so this one must not
    depend on the number of threads.
    """
    pixels, weight_bytes, slabs = g.batch * g.out_height * g.out_width, np.prod(g.w_shape) * itemsize, 1
    while slabs < SLABS and pixels >= 2 * slabs * SLAB_PIXELS and 2 * slabs * weight_bytes <= SLAB_BYTES:
        slabs *= 2
    return slabs


@functools.lru_cache(maxsize=1024)
def _pixel_plan(geometry: Conv2dGeometry, itemsize: int, threads: int) -> tuple[tuple[Any, ...], _Work, float]:
    """The operands, the cut that is done first, and after how many cycles for each output pixel of an image."""
    g = _flat(geometry)
    lanes = VECTOR_BITS // (8 * itemsize)
    dy, x = _operands(g)
    channels, outs, taps = g.in_channels_per_group, g.out_channels_per_group, len(x.taps)
    slabs = _slabs(g, itemsize)
    area = g.stride_height * g.stride_width
    padded = (
        g.pad_top > 0 or x.rows(g.out_height) > g.in_height or x.pitch > g.in_width
    )  # or its pixels are read where they stand
    best: Any = (np.inf,)
    for x_is_turned in X_IS_TURNED:
        all_blocks = -(-(channels if x_is_turned else outs) // lanes)
        vectors_each, rows = (taps, outs) if x_is_turned else (1, channels * taps)
        # For each pixel of an item: multiply-adds; turning, a bit more than 4 shuffles a vector; copying.
        turning = 7 * area if x_is_turned else 7
        copying = area * (0.3 + 30 / g.in_width) / taps if padded and not x_is_turned else 1 / 8
        for number, tile in enumerate(TILES):
            if tile.run > 1 and (x_is_turned or g.kernel_width % tile.run or g.dilation_width > 1):
                continue
            row_tiles = -(-rows // tile.rows)
            for parts in range(1, min(row_tiles, 4 * threads) + 1):
                part = -(-row_tiles // parts) * tile.rows
                for blocks in range(1, all_blocks + 1):
                    used = -(-blocks * vectors_each // tile.vectors) * tile.vectors
                    if part * used * VECTOR_BITS // 8 > TOTAL_BYTES and (
                        blocks > 1 or parts < min(row_tiles, 4 * threads)
                    ):
                        break
                    turns = -(-g.groups * slabs * parts * -(-all_blocks // blocks) // threads)
                    cycles = part * used * tile.cycles + part * copying + turning * blocks
                    best = min(best, (turns * cycles / slabs, x_is_turned, number, part, blocks))
    cycles, x_is_turned, number, part, blocks = best
    tile = TILES[number]
    all_blocks = -(-(channels if x_is_turned else outs) // lanes)
    rows = outs if x_is_turned else channels * taps
    block_parts = -(-all_blocks // blocks)
    blocks = -(-all_blocks // block_parts)

    turned, still = (x, dy) if x_is_turned else (dy, x)
    copied = padded and not x_is_turned
    together = min(blocks, tile.vectors) if len(turned.taps) == 1 else 1
    resident = (
        max(together, blocks // 16) * turned.pitch * lanes * itemsize
    )  # all blocks: at most 16 times TURNED_BYTES
    chunk = g.out_height
    while chunk > 1 and turned.rows(chunk) * resident > TURNED_BYTES:
        chunk -= 1
    chunk = -(-g.out_height // -(-g.out_height // chunk))
    images = max(1, min(g.batch, TURNED_BYTES // (turned.rows(chunk) * resident))) if chunk == g.out_height else 1
    # an odd number of cache lines, or blocks would all compete for few places
    block_size = -(-turned.rows(chunk) * turned.pitch * lanes // 32) * 32 + 16
    band, copied_channels = chunk, min(channels, -(-part // taps) + 1) if copied else 0
    while band < g.out_height and still.rows(band + chunk) * still.pitch * copied_channels * itemsize <= BAND_BYTES:
        band += chunk
    band = min(band, g.out_height) if copied else chunk
    plane_size = still.rows(band) * still.pitch
    row, column = np.divmod(np.arange(turned.rows(chunk) * turned.width), turned.width)
    targets = (row * turned.pitch + np.minimum(column + turned.pad_left, turned.pitch - 1)) * lanes
    places = [
        still.pixels(chunk, g.out_width, 1 if x_is_turned else g.stride_width),
        turned.pixels(chunk, g.out_width, g.stride_width if x_is_turned else 1) * lanes,
    ]
    total = -(-part // tile.rows) * tile.rows * -(-blocks * len(turned.taps) // tile.vectors) * tile.vectors * lanes
    planes = images * copied_channels * plane_size
    sizes = total, lanes * (taps + lanes), images * blocks * block_size, -(-planes // lanes) * lanes  # whole vectors
    work = _Work(
        x_is_turned, number, tile.run, tile.rows, tile.vectors, images, chunk, band, copied, block_size,
        plane_size, blocks, block_parts, part, -(-rows // part), slabs, g.out_height if g.batch >= slabs else 1,
        targets, np.stack(places, axis=-1).reshape(-1), sizes,
    )  # fmt: skip
    sides = turned[:6], turned.pitch, turned.taps, still[:6], still.pitch, still.taps
    return (channels, outs, g.out_height, g.out_width, *sides), work, cycles


def pixel_product(dy: Array, source: Array, geometry: Conv2dGeometry, dw: Array) -> None:
    """dw[g, i, k, tap] = sum over n, m of dy[n, g, i, m] * source[n, g, k, the pixel that the tap reads for m].

    All arrays are C-contiguous; the batch is not empty.
    """
    itemsize, threads = source.itemsize, thread_count()
    # The two sum in different orders: which one it is must not depend on the number of threads.
    if dots_cycles(geometry, itemsize, 1) < _pixel_plan(geometry, itemsize, 1)[2]:
        pixel_dots(dy, source, geometry, dw)
        return
    operands, work, _ = _pixel_plan(geometry, itemsize, threads)
    size = sum(work.sizes)
    shared = dw.size * work.slabs if work.slabs > 1 else 0
    flat = scratch(source.dtype, size + -(-shared // threads)).reshape(-1)
    memory, sums = flat[: threads * size].reshape(threads, size), flat[threads * size : threads * size + shared]
    turned, still = (source, dy) if work.x_is_turned else (dy, source)
    _pixel_product(
        turned.reshape(turned.size), still.reshape(still.size), geometry.batch, geometry.groups, *operands, *work,
        memory, sums if shared else dw.reshape(dw.size),
    )  # fmt: skip
    if shared:
        with np.errstate(invalid="ignore", over="ignore"):  # as in the loops
            np.add.reduce(sums.reshape(work.slabs, dw.size), axis=0, out=dw.reshape(dw.size))


@compiled
def _pixel_product(
    t, s, batch, groups, channels, outs, rows, columns, t_shape, t_pitch, t_taps, s_shape, s_pitch, s_taps,
    x_is_turned, tile, run, tile_rows, vectors, images, chunk, band, copied, block_size, plane_size,
    blocks, block_parts, part, parts, slabs, slab_rows, targets, places, sizes, memory, dw,
):  # fmt: skip
    threads = len(memory)
    for thread in prange(threads):
        _sum_items(
            np.int64(thread), threads,
            t, s, batch, groups, channels, outs, rows, columns, t_shape, t_pitch, t_taps, s_shape, s_pitch, s_taps,
            x_is_turned, tile, run, tile_rows, vectors, images, chunk, band, copied, block_size, plane_size,
            blocks, block_parts, part, parts, slabs, slab_rows, targets, places, sizes, memory[thread], dw,
        )  # fmt: skip


@njit(error_model="numpy")
def _sum_items(
    thread, threads,
    t, s, batch, groups, channels, outs, rows, columns, t_shape, t_pitch, t_taps, s_shape, s_pitch, s_taps,
    x_is_turned, tile, run, tile_rows, vectors, images, chunk, band, copied, block_size, plane_size,
    blocks, block_parts, part, parts, slabs, slab_rows, targets, places, sizes, own, dw,
):  # fmt: skip
    """The share of one of the threads, which has `own` memory; all else as above."""
    t_height, t_width, t_stride, t_reach, t_top, _ = t_shape
    s_height, s_width, s_stride, s_reach, s_top, s_left = s_shape
    total_size, line_size, turned_size, _ = sizes
    lanes = VECTOR_BITS // (8 * t.itemsize)
    t_channels, s_channels = (channels, outs) if x_is_turned else (outs, channels)
    taps, s_all = max(len(t_taps), len(s_taps)), s_channels * len(s_taps)
    weights = channels * taps  # of one output channel
    items = groups * slabs * block_parts * parts
    t_plane, s_plane = t_height * t_width, s_height * s_width
    tile_size, image = tile_rows * vectors * lanes, blocks * block_size
    slab_count = batch * rows // slab_rows
    across = np.arange(lanes) * (taps if x_is_turned else lanes)

    total, line = own[:total_size], own[total_size : total_size + line_size]
    turned = own[total_size + line_size : total_size + line_size + turned_size]
    planes = own[total_size + line_size + turned_size :]
    numbers = planes if copied else s
    starts, out_starts = np.empty(lanes, np.int64), np.empty(lanes, np.int64)
    t_starts = np.empty(blocks * len(t_taps) + vectors, np.int64)
    s_starts = np.empty(part // run + tile_rows, np.int64)
    vector_sums, row_sums = np.empty(len(t_starts) + lanes, np.int64), np.empty(part + lanes, np.int64)
    for item in range(items * thread // threads, items * (thread + 1) // threads):
        first_row = item % parts * part
        r_count = min(s_all, first_row + part) - first_row
        first = item // parts % block_parts * blocks
        b_count = min(-(-t_channels // lanes) - first, blocks)
        slab = item // (parts * block_parts) % slabs
        group = item // (parts * block_parts * slabs)
        low, high = first_row // len(s_taps), (first_row + r_count - 1) // len(s_taps) + 1  # channels of s
        s_image = (high - low) * plane_size if copied else groups * s_channels * s_plane
        count = b_count * len(t_taps)
        row_tiles = -(-r_count // tile_rows)
        for j in range(len(vector_sums)):
            last = min(j, count - 1)
            vector_sums[j] = last // vectors * row_tiles * tile_size + last % vectors * lanes
            if j < len(t_starts):
                t_starts[j] = last // len(t_taps) * block_size + t_taps[last % len(t_taps)] * lanes
        for i in range(len(row_sums)):
            last = min(i, r_count - 1)
            row_sums[i] = last // tile_rows * tile_size + last % tile_rows * vectors * lanes
        for i in range(len(s_starts)):
            k, tap = divmod(first_row + min(i * run, r_count - run), len(s_taps))
            s_starts[i] = (k - low) * (plane_size if copied else s_plane) + s_taps[tap]
        clear_run(turned, 0, images * image)  # for the columns of zeros, which nothing is written to
        at, end = slab_count * slab // slabs * slab_rows, slab_count * (slab + 1) // slabs * slab_rows
        fresh = True
        while at < end:
            n, top = divmod(at, rows)
            band_rows = min(band, rows - top, end - at)
            n_count = max(1, min(images, (end - at) // rows)) if band_rows == rows else 1
            s_at = ((n * groups + group) * s_channels + low) * s_plane + top * s_stride * s_width
            if copied:
                for i in range(n_count):
                    for k in range(low, high):
                        copy_plane(
                            s, (((n + i) * groups + group) * s_channels + k) * s_plane, s_width, s_height, s_width,
                            top * s_stride - s_top, -s_left, (1, 1),
                            planes, i * s_image + (k - low) * plane_size, (band_rows - 1) * s_stride + s_reach + 1, s_pitch, 0,
                        )  # fmt: skip
                s_at = 0
            for chunk_first in range(0, band_rows, chunk):
                chunk_rows = min(chunk, band_rows - chunk_first)
                t_row = (top + chunk_first) * t_stride - t_top
                t_end = t_row + (chunk_rows - 1) * t_stride + t_reach + 1
                for i in range(n_count):
                    t_at = ((n + i) * groups + group) * t_channels * t_plane
                    for b in range(b_count):
                        for lane in range(lanes):
                            starts[lane] = t_at + min((first + b) * lanes + lane, t_channels - 1) * t_plane
                        turn_rows(
                            t, starts, t_height, t_width, t_row, t_end,
                            turned, i * image + b * block_size, t_pitch, targets,
                        )  # fmt: skip
                s_here = s_at + chunk_first * s_stride * s_pitch
                for j in range(0, count, vectors):
                    for i in range(0, r_count, tile_rows):
                        sums_at = (j // vectors * row_tiles + i // tile_rows) * tile_size
                        multiply_pixels(
                            tile, numbers, s_here, s_starts, i // run, s_image, turned, t_starts, j, image,
                            places, n_count, chunk_rows * columns, fresh, total, sums_at,
                        )  # fmt: skip
                fresh = False
            at += n_count * band_rows
        out = (slab * groups + group) * outs * weights
        if x_is_turned:
            for i in range(r_count):
                for b in range(b_count):
                    kept = min(lanes, channels - (first + b) * lanes) * taps
                    to = out + (first_row + i) * weights + (first + b) * lanes * taps
                    if taps == 1:
                        copy_run(total, row_sums[i] + vector_sums[b], dw, to, kept)
                        continue
                    for tap in range(0, taps, lanes):  # what a block has too much, the next channel's taps overwrite
                        tap_first = max(0, min(tap, taps - lanes))
                        transpose_block(
                            total, vector_sums, b * taps + tap_first, row_sums[i], line, across, 0, tap_first
                        )
                    copy_run(line, 0, dw, to, kept)
            continue
        for b in range(b_count):
            kept = min(lanes, outs - (first + b) * lanes)
            to = out + (first + b) * lanes * weights + first_row
            for lane in range(lanes):
                out_starts[lane] = lane * weights
            for i in range(0, r_count, lanes):
                if kept == lanes and r_count - i >= lanes:
                    transpose_block(total, row_sums, i, vector_sums[b], dw, out_starts, 0, to + i)
                else:
                    transpose_block(total, row_sums, i, vector_sums[b], line, across, 0, 0)
                    for lane in range(kept):
                        copy_run(line, lane * lanes, dw, to + lane * weights + i, min(lanes, r_count - i))


@njit
def turn_rows(source, starts, height, width, first_row, end_row, target, target_start, pitch, targets):
    """Rows first_row to end_row of `lanes` planes, channels inside, pixel m of these rows going to targets[m]; 0 for rows outside."""
    lanes = len(starts)
    top = min(max(0, -first_row), end_row - first_row)
    bottom = max(top, min(end_row, height) - first_row)
    clear_run(target, target_start, top * pitch * lanes)
    clear_run(target, target_start + bottom * pitch * lanes, (end_row - first_row - bottom) * pitch * lanes)
    shift, to = (first_row + top) * width, target_start + top * pitch * lanes
    pixels = (bottom - top) * width
    if pixels < lanes:
        for m in range(pixels):
            for lane in range(lanes):
                target[to + targets[m] + lane] = source[starts[lane] + shift + m]
        return
    for m in range(0, pixels, lanes):
        block = min(m, pixels - lanes)
        transpose_block(source, starts, 0, shift + block, target, targets, block, to)
