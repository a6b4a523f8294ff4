"""The weight gradient as a product over pixels: dw[i, k, tap] = sum over n, m of dy[n, i, m] * x[n, k, the pixel that the tap reads].

A few rows of x are turned, so that the lanes of a vector are channels at one pixel; then each tap reads the same vectors, at
other pixels, and numbers of dy multiply them where they stand. Where too few channels leave lanes empty, `dots` is faster.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.compiling import compiled, scratch
from npconv.kernels.dots import dots_cycles, pixel_dots
from npconv.kernels.simd import BIT, INT, VECTOR_BITS, Vectors, clear_run, copy_run, data_of, transpose_block

# How many rows of dy fit the registers with 2, 3 and 4 vectors of x: AVX2 has 16 of them, others have 32.
ROWS_OF_2, ROWS_OF_3, ROWS_OF_4 = (6, 4, 3) if VECTOR_BITS == 256 else (12, 8, 6)
TILES = (ROWS_OF_3, 3, 1.0), (ROWS_OF_4, 4, 1.0), (ROWS_OF_2, 2, 1.1)  # with what a multiply-add takes, compared
TURNED_BYTES = 1 << 15  # of the vectors that one tile reads of x: what the L1 cache keeps from one tile to the next
TOTAL_BYTES = 1 << 19  # of the sums of one item


@intrinsic(prefer_literal=True)
def multiply_pixels(
    typing_context, rows, vectors, dy, dy_start, dy_row, dy_image, valid_rows,
    x, x_starts, first_start, x_pixels, x_image, images, pixels, fresh, total, total_start,
):  # fmt: skip
    """total[i, j] (+)= sum over n < images and m < pixels of dy[n, i, m] * x[n, m, j], for i < rows and j < vectors * lanes, literals.

    Vector j of x[n, m] is at x_starts[first_start + j] + n*x_image + x_pixels[m], dy[n, i, m] at dy_start + i*dy_row + n*dy_image + m
    for i < `valid_rows`, the last of which stands for those beyond. total[i, j] is a vector at total_start + (i*vectors + j) * lanes;
    a `fresh` one starts from 0.
    """
    tile_rows, tile_vectors = rows.literal_value, vectors.literal_value
    index = types.intp
    signature = types.void(
        rows,
        vectors,
        dy,
        index,
        index,
        index,
        index,
        x,
        x_starts,
        index,
        x_pixels,
        index,
        index,
        index,
        types.boolean,
        total,
        index,
    )

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (_, _, dy, dy_start, dy_row, dy_image, valid_rows,
         x, x_starts, first_start, x_pixels, x_image, images, pixels, fresh, total, total_start) = arguments  # fmt: skip
        kinds = signature.args
        v = Vectors(context, builder, kinds[2].dtype)
        dy_data = v.at(data_of(context, builder, kinds[2], dy), dy_start)
        x_data = data_of(context, builder, kinds[7], x)
        starts = v.at(data_of(context, builder, kinds[8], x_starts), first_start)
        table = data_of(context, builder, kinds[10], x_pixels)
        total_data = v.at(data_of(context, builder, kinds[15], total), total_start)
        last = builder.sub(valid_rows, INT(1))
        row = [builder.select(builder.icmp_signed("<", INT(i), last), INT(i), last) for i in range(tile_rows)]
        dy_rows = [v.at(dy_data, builder.mul(dy_row, r)) for r in row]
        x_runs = [v.at(x_data, builder.load(v.at(starts, j))) for j in range(tile_vectors)]
        tile = [(i, j) for i in range(tile_rows) for j in range(tile_vectors)]
        places = {(i, j): v.at(total_data, (i * tile_vectors + j) * v.lanes) for i, j in tile}
        sums = {place: cgutils.alloca_once_value(builder, v.zero) for place in tile}
        with builder.if_then(builder.not_(builder.trunc(fresh, BIT))):
            for place in tile:
                builder.store(v.load(places[place]), sums[place])
        with cgutils.for_range(builder, images, intp=INT) as over_images:
            dy_at, x_at = builder.mul(over_images.index, dy_image), builder.mul(over_images.index, x_image)
            dy_runs, x_here = [v.at(run, dy_at) for run in dy_rows], [v.at(run, x_at) for run in x_runs]
            with cgutils.for_range(builder, pixels, intp=INT) as over:
                pixel = builder.load(v.at(table, over.index))
                xs = [v.load(v.at(run, pixel)) for run in x_here]
                for i in range(tile_rows):
                    gradient = v.splat(builder.load(v.at(dy_runs[i], over.index)))
                    for j in range(tile_vectors):
                        builder.store(v.fma(gradient, xs[j], builder.load(sums[i, j])), sums[i, j])
        for place in tile:
            v.store(builder.load(sums[place]), places[place])
        return context.get_dummy_value()

    return signature, generate


class _Work(NamedTuple):
    """How the product is cut into items that share nothing but what they read."""

    vectors: int  # of x in a tile
    tile_rows: int
    images: int  # that are turned at a time,
    chunk: int  # rows of output pixels of each
    pitch: int  # turned pixels from one row to the next
    block_size: int  # elements of `lanes` channels, turned
    blocks: int  # of them in one item
    shares: int  # items that all blocks make
    parts: int  # of the output channels
    part: int  # of them in one item
    targets: Array  # where the source pixels of a chunk go when turned,
    x_pixels: Array  # where what its output pixels read stands then,
    x_taps: Array  # and how much farther for each tap


@functools.lru_cache(maxsize=1024)
def _pixel_plan(g: Conv2dGeometry, itemsize: int, threads: int) -> tuple[_Work, float]:
    """The cut that is done first, and after how many cycles for each output pixel of an image."""
    lanes = VECTOR_BITS // (8 * itemsize)
    sources, outs, taps = g.in_channels_per_group, g.out_channels_per_group, g.kernel_height * g.kernel_width
    rows, columns = g.out_height, g.out_width
    all_blocks = -(-sources // lanes)
    # For each pixel of an item: multiply-adds, two to a cycle; numbers of dy; turning x, a bit more than 4 shuffles a vector.
    turning = 7 * g.stride_height * g.stride_width
    best = np.inf, TILES[0], 0, 0
    for tile in TILES:
        tile_rows, vectors, slowness = tile
        row_tiles = -(-outs // tile_rows)
        for parts in range(1, min(row_tiles, 4 * threads) + 1):
            part = -(-row_tiles // parts) * tile_rows
            for blocks in range(1, all_blocks + 1):
                used = -(-blocks * taps // vectors) * vectors
                if part * used * VECTOR_BITS // 8 > TOTAL_BYTES and blocks > 1:
                    break
                turns = -(-g.groups * parts * -(-all_blocks // blocks) // threads)
                best = min(
                    best, (turns * (part * used / 2 * slowness + part / 8 + turning * blocks), tile, part, blocks)
                )
    cycles, (tile_rows, vectors, _), part, blocks = best
    shares = -(-all_blocks // blocks)
    blocks = -(-all_blocks // shares)

    reach_rows, reach_columns = (g.kernel_height - 1) * g.dilation_height, (g.kernel_width - 1) * g.dilation_width
    read = (columns - 1) * g.stride_width + reach_columns + 1
    pitch = read + (g.pad_left + g.in_width > read)  # what is not read shares a column

    def height(chunk: int) -> int:
        return (chunk - 1) * g.stride_height + reach_rows + 1

    resident = (min(blocks, vectors) if taps == 1 else 1) * pitch * lanes * itemsize
    chunk = rows
    while chunk > 1 and height(chunk) * resident > TURNED_BYTES:
        chunk -= 1
    chunk = -(-rows // -(-rows // chunk))
    images = max(1, min(g.batch, TURNED_BYTES // (height(chunk) * resident))) if chunk == rows else 1
    block_size = (
        -(-height(chunk) * pitch * lanes // 32) * 32 + 16
    )  # an odd number of cache lines, or they all compete for few places
    row, column = np.divmod(np.arange(height(chunk) * g.in_width), g.in_width)
    targets = (row * pitch + np.minimum(column + g.pad_left, pitch - 1)) * lanes
    p, q = np.divmod(np.arange(chunk * columns), columns)
    r, s = np.divmod(np.arange(taps), g.kernel_width)
    return _Work(
        vectors, tile_rows, images, chunk, pitch, block_size, blocks, shares, -(-outs // part), part, targets,
        (p * g.stride_height * pitch + q * g.stride_width) * lanes,
        (r * g.dilation_height * pitch + s * g.dilation_width) * lanes,
    ), cycles  # fmt: skip


def pixel_product(dy: Array, source: Array, geometry: Conv2dGeometry, dw: Array) -> None:
    """dw[g, i, k, tap] = sum over n, m of dy[n, g, i, m] * source[n, g, k, the pixel that the tap reads for m].

    All arrays are C-contiguous; the batch is not empty.
    """
    g, itemsize, threads = geometry, source.itemsize, numba.get_num_threads()
    # The two sum in different orders: which one it is must not depend on the number of threads.
    if dots_cycles(g, itemsize, 1) < _pixel_plan(g, itemsize, 1)[1]:
        pixel_dots(dy, source, g, dw)
        return
    work, _ = _pixel_plan(g, itemsize, threads)
    lanes = VECTOR_BITS // (8 * itemsize)
    taps = len(work.x_taps)
    total_size = work.part * (work.blocks * taps + work.vectors) * lanes
    line_size = lanes * (taps + lanes)
    turned_size = -(-work.images * work.blocks * work.block_size // lanes) * lanes
    size = total_size + line_size + turned_size  # whole vectors
    flat = scratch(source.dtype, size + lanes).reshape(-1)
    flat = flat[-flat.ctypes.data // itemsize % lanes :]  # to where vectors cross no cache line
    memory = flat[: threads * size].reshape(threads, size)
    _pixel_product(
        dy, source, g.groups, g.pad_top, g.stride_height, (g.kernel_height - 1) * g.dilation_height + 1,
        *work, total_size, line_size, dw.reshape(dw.size), memory,
    )  # fmt: skip


@compiled
def _pixel_product(
    dy, source, groups, pad_top, stride, rtaps,
    vectors, tile_rows, images, chunk, pitch, block_size, blocks, shares, parts, part, targets, x_pixels, x_taps,
    total_size, line_size, dw, memory,
):  # fmt: skip
    batch, all_sources, height, width = source.shape
    _, all_outs, rows, columns = dy.shape
    sources, outs = all_sources // groups, all_outs // groups
    taps, lanes = len(x_taps), VECTOR_BITS // (8 * source.itemsize)
    items = groups * shares * parts
    threads = len(memory)
    tile_size = tile_rows * vectors * lanes
    image = blocks * block_size
    flat_source, flat_dy = source.reshape(source.size), dy.reshape(dy.size)
    across = np.arange(lanes) * taps

    for thread in prange(threads):
        total, line = memory[thread, :total_size], memory[thread, total_size : total_size + line_size]
        turned = memory[thread, total_size + line_size :]
        starts = np.empty(lanes, np.int64)
        x_starts, sums = np.empty(blocks * taps + vectors, np.int64), np.empty(blocks * taps + lanes, np.int64)
        thread_number = np.int64(thread)
        for item in range(items * thread_number // threads, items * (thread_number + 1) // threads):
            first_out = item % parts * part
            o_count = min(outs, first_out + part) - first_out
            first = item // parts % shares * blocks
            group = item // (parts * shares)
            b_count = min(-(-sources // lanes) - first, blocks)
            count = b_count * taps
            for j in range(len(x_starts)):
                b, tap = divmod(min(j, count - 1), taps)
                x_starts[j] = b * block_size + x_taps[tap]
            for j in range(len(sums)):
                tile, vector = divmod(min(j, count - 1), vectors)
                sums[j] = tile * tile_size + vector * lanes
            tiles = -(-count // vectors)
            clear_run(turned, 0, images * image)  # for the columns of zeros, which nothing is written to
            for n in range(0, batch, images):
                n_count = min(images, batch - n)
                for first_row in range(0, rows, chunk):
                    chunk_rows = min(chunk, rows - first_row)
                    for i in range(n_count):
                        source_at = ((n + i) * all_sources + group * sources) * height * width
                        for b in range(b_count):
                            to = i * image + b * block_size
                            for lane in range(lanes):
                                k = min((first + b) * lanes + lane, sources - 1)
                                starts[lane] = source_at + k * height * width
                            top = first_row * stride - pad_top
                            _turn_rows(
                                flat_source, starts, height, width, top, top + (chunk_rows - 1) * stride + rtaps,
                                turned, to, pitch, targets,
                            )  # fmt: skip
                    for o in range(0, o_count, tile_rows):
                        dy_at = ((n * all_outs + group * outs + first_out + o) * rows + first_row) * columns
                        for j in range(0, count, vectors):
                            _multiply(
                                vectors, flat_dy, dy_at, rows * columns, all_outs * rows * columns, o_count - o,
                                turned, x_starts, j, x_pixels, image, n_count, chunk_rows * columns,
                                n == 0 and first_row == 0, total, (o // tile_rows * tiles + j // vectors) * tile_size,
                            )  # fmt: skip
            for o in range(o_count):
                row = (o // tile_rows * tiles * tile_rows + o % tile_rows) * vectors * lanes
                for b in range(b_count):
                    kept = min(lanes, sources - (first + b) * lanes) * taps
                    to = (group * outs + first_out + o) * sources * taps + (first + b) * lanes * taps
                    if taps == 1:
                        copy_run(total, row + sums[b], dw, to, kept)
                        continue
                    for tap in range(0, taps, lanes):  # what a block has too much, the next channel's taps overwrite
                        tap_first = max(0, min(tap, taps - lanes))
                        transpose_block(total, sums, b * taps + tap_first, row, line, across, 0, tap_first)
                    copy_run(line, 0, dw, to, kept)


@njit
def _turn_rows(source, starts, height, width, first_row, end_row, target, target_start, pitch, targets):
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


@njit
def _multiply(
    vectors, dy, dy_start, dy_row, dy_image, valid_rows, x, x_starts, first_start, x_pixels,
    x_image, images, pixels, fresh, total, total_start,
):  # fmt: skip
    """`multiply_pixels` with one of TILES."""
    if vectors == 3:
        multiply_pixels(
            ROWS_OF_3, 3, dy, dy_start, dy_row, dy_image, valid_rows, x, x_starts, first_start, x_pixels,
            x_image, images, pixels, fresh, total, total_start,
        )  # fmt: skip
    elif vectors == 4:
        multiply_pixels(
            ROWS_OF_4, 4, dy, dy_start, dy_row, dy_image, valid_rows, x, x_starts, first_start, x_pixels,
            x_image, images, pixels, fresh, total, total_start,
        )  # fmt: skip
    else:
        multiply_pixels(
            ROWS_OF_2, 2, dy, dy_start, dy_row, dy_image, valid_rows, x, x_starts, first_start, x_pixels,
            x_image, images, pixels, fresh, total, total_start,
        )  # fmt: skip
