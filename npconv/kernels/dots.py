"""The weight gradient of few input channels: dot products of dy with shifted planes of x, pixels in lanes, added up at the end.

Nothing is turned: x is copied into planes with a zero border, dy is read where it stands. Both are loaded as vectors, which
costs more than `pixels` does, but fills the lanes whatever the number of channels.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.jit import compiled, scratch, thread_count
from npconv.kernels.planes import copy_plane
from npconv.kernels.shifts import Shifts, plane_shifts
from npconv.kernels.simd import BIT, INT, VECTOR_BITS, Vectors, copy_run, data_of
from npconv.kernels.windows import input_taps

ROWS, COLUMNS = (4, 3) if VECTOR_BITS == 256 else (4, 6)  # sums + one row of loads + one more must fit the registers
CHUNK_PIXELS = 512  # of each plane that a tile reads: small enough for the L1 cache
TOTAL_BYTES = 1 << 19  # of the sums of one item


@intrinsic(prefer_literal=True)
def correlate_tile(
    typing_context, rows, columns, dy, dy_start, dy_row, dy_image, valid_rows,
    x, x_starts, first_start, x_image, images, steps, step_count, fresh, total, total_start,
):  # fmt: skip
    """total[i, j] (+)= sum over n < images and step < step_count of dy[n, i, step] * x[n, j, step], lane by lane, for i < rows and j < columns, literals.

    x[n, j] starts at x_starts[first_start + j] + n*x_image, dy[n, i] at dy_start + i*dy_row + n*dy_image for i < `valid_rows`,
    the last of which stands for those beyond. A step is three numbers: where its vector lies in
    dy, where in x, and how many of its lanes are read of either. total[i, j] is a vector at total_start + (i*columns + j) * lanes;
    a `fresh` one starts from 0.
    """
    tile_rows, tile_columns = rows.literal_value, columns.literal_value
    index = types.intp
    signature = types.void(
        rows, columns, dy, index, index, index, index, x, x_starts, index, index, index,
        steps, index, types.boolean, total, index,
    )  # fmt: skip

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (_, _, dy, dy_start, dy_row, dy_image, valid_rows, x, x_starts, first_start, x_image, images,
         steps, step_count, fresh, total, total_start) = arguments  # fmt: skip
        kinds = signature.args
        v = Vectors(context, builder, kinds[2].dtype)
        dy_data = v.at(data_of(context, builder, kinds[2], dy), dy_start)
        x_data = data_of(context, builder, kinds[7], x)
        starts = v.at(data_of(context, builder, kinds[8], x_starts), first_start)
        table = data_of(context, builder, kinds[12], steps)
        total_data = v.at(data_of(context, builder, kinds[15], total), total_start)
        last = builder.sub(valid_rows, INT(1))
        row = [builder.select(builder.icmp_signed("<", INT(i), last), INT(i), last) for i in range(tile_rows)]
        dy_rows = [v.at(dy_data, builder.mul(dy_row, r)) for r in row]
        x_planes = [v.at(x_data, builder.load(v.at(starts, j))) for j in range(tile_columns)]
        tile = [(i, j) for i in range(tile_rows) for j in range(tile_columns)]
        places = {(i, j): v.at(total_data, (i * tile_columns + j) * v.lanes) for i, j in tile}
        sums = {place: cgutils.alloca_once_value(builder, v.zero) for place in tile}
        with builder.if_then(builder.not_(builder.trunc(fresh, BIT))):
            for place in tile:
                builder.store(v.load(places[place]), sums[place])
        with cgutils.for_range(builder, images, intp=INT) as over_images:
            dy_shift, x_shift = builder.mul(over_images.index, dy_image), builder.mul(over_images.index, x_image)
            dy_runs, x_runs = [v.at(run, dy_shift) for run in dy_rows], [v.at(run, x_shift) for run in x_planes]
            with cgutils.for_range(builder, step_count, intp=INT) as over_steps:
                step = v.at(table, builder.mul(over_steps.index, INT(3)))
                dy_at, x_at, count = (builder.load(v.at(step, e)) for e in range(3))
                mask = v.first_lanes(count)  # for both: infinity times 0 is not 0
                x_vectors = [v.masked_load(v.at(run, x_at), mask, v.zero) for run in x_runs]
                for i in range(tile_rows):
                    gradient = v.masked_load(v.at(dy_runs[i], dy_at), mask, v.zero)
                    for j in range(tile_columns):
                        builder.store(v.fma(gradient, x_vectors[j], builder.load(sums[i, j])), sums[i, j])
        for place in tile:
            v.store(builder.load(sums[place]), places[place])
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def add_lanes(typing_context, source, starts, first, shift, target):
    """target[i] = the sum over all lanes of source[starts[first + i] + shift + lane], for i < lanes. All arrays are flat."""
    index = types.intp
    signature = types.void(source, starts, index, index, target)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, starts, first, shift, target = arguments
        kinds = signature.args
        v = Vectors(context, builder, kinds[0].dtype)
        data = v.at(data_of(context, builder, kinds[0], source), shift)
        table = v.at(data_of(context, builder, kinds[1], starts), first)
        left = [v.load(v.at(data, builder.load(v.at(table, i)))) for i in range(v.lanes)]
        step = 1
        while step < v.lanes:  # two vectors become one, their sums by turns, `step` lanes of each
            even = [i if not i & step else v.lanes + i - step for i in range(v.lanes)]
            odd = [i + step if not i & step else v.lanes + i for i in range(v.lanes)]
            left = [
                builder.fadd(v.shuffle(a, b, even), v.shuffle(a, b, odd))
                for a, b in zip(left[::2], left[1::2], strict=True)
            ]
            step *= 2
        v.store(left[0], data_of(context, builder, kinds[4], target))
        return context.get_dummy_value()

    return signature, generate


class _Work(NamedTuple):
    """How the sums are cut into items that share nothing but what they read."""

    images: int  # that are copied at a time,
    chunk: int  # rows of output pixels of each,
    pitch: int  # the distance of their rows in scratch,
    plane: int  # and the elements of one phase plane there
    channels: int  # that one share of the weights can touch
    share: int  # weights of one output channel in one item, in their order in w
    parts: int  # of the output channels
    part: int  # of them in one item
    steps: Array  # of the rows of a chunk, see `correlate_tile`
    row_steps: int


@functools.lru_cache(maxsize=1024)
def _dots_plan(g: Conv2dGeometry, itemsize: int, threads: int) -> tuple[Shifts, _Work, float]:
    """The shifted planes, the cut that is done first, and after how many cycles for each pixel."""
    lanes = VECTOR_BITS // (8 * itemsize)
    shifts = plane_shifts(input_taps(g))
    sources, outs = g.in_channels_per_group, g.out_channels_per_group
    taps, phases = len(shifts.w_taps), len(shifts.phase_row)
    rows, columns = g.out_height, g.out_width
    weight_tiles, out_tiles = -(-sources * taps // COLUMNS), -(-outs // ROWS)
    best = np.inf, 0, 0
    for parts in range(1, min(out_tiles, 2 * threads) + 1):
        for shares in range(1, weight_tiles + 1):
            part, share = -(-out_tiles // parts) * ROWS, -(-weight_tiles // shares) * COLUMNS
            if part * share * VECTOR_BITS // 8 > TOTAL_BYTES and share > COLUMNS:
                continue
            # For each vector of pixels: multiply-adds, one to a cycle, as most loads cross a cache line; dy; the copies of x.
            cycles = part * share + 2 * part + 6 * phases * (share / taps + 1)
            best = min(best, (-(-g.groups * parts * shares // threads) * cycles, part, share))
    cycles, part, share = best
    chunk = -(-rows // -(-rows // max(1, CHUNK_PIXELS // columns)))
    images = max(1, min(g.batch, CHUNK_PIXELS // (rows * columns)))
    pitch = columns + shifts.span[1]
    plane = (
        -(-(chunk + shifts.span[0]) * pitch // 32) * 32 + 16
    )  # an odd number of cache lines, or they all compete for few places
    first = np.arange(0, columns, lanes)
    row = np.stack([first, first, np.minimum(lanes, columns - first)], axis=-1)
    steps = row + np.arange(chunk).reshape(-1, 1, 1) * [columns, pitch, 0]
    channels = min(sources, (share - 2) // taps + 2)
    return (
        shifts,
        _Work(images, chunk, pitch, plane, channels, share, -(-outs // part), part, steps.reshape(-1), len(first)),
        (cycles * len(first) / columns),
    )


def dots_cycles(geometry: Conv2dGeometry, itemsize: int, threads: int) -> float:
    """How long `pixel_dots` takes for each output pixel of an image."""
    return _dots_plan(geometry, itemsize, threads)[2]


def pixel_dots(dy: Array, source: Array, geometry: Conv2dGeometry, dw: Array) -> None:
    """dw[g, i, k, tap] = sum over n, m of dy[n, g, i, m] * source[n, g, k, the pixel that the tap reads for m].

    All arrays are C-contiguous; the batch is not empty.
    """
    shifts, work, _ = _dots_plan(geometry, source.itemsize, thread_count())
    lanes = VECTOR_BITS // (8 * source.itemsize)
    total = work.part * (work.share + COLUMNS) * lanes
    memory = scratch(source.dtype, total + lanes + work.images * work.channels * len(shifts.phase_row) * work.plane)
    _pixel_dots(dy, source, geometry.groups, *shifts[1:8], *work, dw.reshape(dw.size), memory, total)


@compiled
def _pixel_dots(
    dy, source, groups, tap_phase, tap_row, tap_column, phase_row, phase_column, stride, span,
    images, chunk, pitch, plane, channels, share, parts, part, steps, row_steps, dw, memory, total_size,
):  # fmt: skip
    batch, all_sources, height, width = source.shape
    _, all_outs, rows, columns = dy.shape
    sources, outs = all_sources // groups, all_outs // groups
    taps, phases = len(tap_phase), len(phase_row)
    lanes = VECTOR_BITS // (8 * source.itemsize)
    weights = sources * taps  # of one output channel, in one row of dw
    shares = -(-weights // share)
    items = groups * shares * parts
    threads = len(memory)
    tile_size = ROWS * COLUMNS * lanes
    image = channels * phases * plane
    flat_source, flat_dy = source.reshape(source.size), dy.reshape(dy.size)

    for thread in prange(threads):
        total, line = memory[thread, :total_size], memory[thread, total_size : total_size + lanes]
        planes = memory[thread, total_size + lanes :]
        x_starts, sums = np.empty(share + COLUMNS, np.int64), np.empty(share + lanes, np.int64)
        for j in range(share + lanes):
            sums[j] = min(j, share - 1) // COLUMNS * tile_size + min(j, share - 1) % COLUMNS * lanes
        thread_number = np.int64(thread)
        for item in range(items * thread_number // threads, items * (thread_number + 1) // threads):
            first_out = item % parts * part
            o_count = min(outs, first_out + part) - first_out
            first = item // parts % shares * share
            group = item // (parts * shares)
            count = min(weights, first + share) - first
            low, high = first // taps, (first + count - 1) // taps + 1
            for j in range(count + COLUMNS):
                k, tap = divmod(min(first + j, first + count - 1), taps)
                x_starts[j] = ((k - low) * phases + tap_phase[tap]) * plane + tap_row[tap] * pitch + tap_column[tap]
            tiles = -(-count // COLUMNS)
            for n in range(0, batch, images):
                n_count = min(images, batch - n)
                for first_row in range(0, rows, chunk):
                    chunk_rows = min(chunk, rows - first_row)
                    for i in range(n_count):
                        for k in range(low, high):
                            for phase in range(phases):
                                copy_plane(
                                    flat_source, ((n + i) * all_sources + group * sources + k) * height * width, width, height, width,
                                    first_row * stride[0] + phase_row[phase], phase_column[phase], stride,
                                    planes, i * image + ((k - low) * phases + phase) * plane, chunk_rows + span[0], pitch, 0,
                                )  # fmt: skip
                    for o in range(0, o_count, ROWS):
                        dy_at = ((n * all_outs + group * outs + first_out + o) * rows + first_row) * columns
                        for j in range(0, count, COLUMNS):
                            correlate_tile(
                                ROWS, COLUMNS, flat_dy, dy_at, rows * columns, all_outs * rows * columns, o_count - o,
                                planes, x_starts, j, image, n_count, steps, chunk_rows * row_steps,
                                n == 0 and first_row == 0, total, (o // ROWS * tiles + j // COLUMNS) * tile_size,
                            )  # fmt: skip
            for o in range(o_count):
                row = (o // ROWS * tiles * ROWS + o % ROWS) * COLUMNS * lanes
                to = (group * outs + first_out + o) * weights + first
                for j in range(0, count, lanes):
                    add_lanes(total, sums, j, row, line)
                    copy_run(line, 0, dw, to + j, min(lanes, count - j))
