"""The weight gradient of a 3x3 convolution at stride 1 by Winograd's transforms: 16 products for every 2x2 outputs, where the definition has 36.

It is what `winograd` does, read backwards: for a 4x4 patch d of the source and the 2x2 gradients e of its outputs,

    dw = G'[ sum over patches of (A e A') * (B' d B) ]G,    the product * being element by element,

so that for each of the 16 positions a matrix product over patches is left. Rows of both arrays are turned, as in `pixels`, and
transformed with channels in the lanes of vectors; a chunk of patches at a time, in scratch that stays in the L2 cache beside the
sums. Rounding, and numbers that are not finite, are as in `winograd`: the bound is made of sums over whole patches.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numba import prange

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.jit import compiled, scratch, thread_count
from npconv.kernels.pixels import turn_rows
from npconv.kernels.simd import VECTOR_BITS, clear_run, copy_run
from npconv.kernels.tiles import ROWS, VECTORS
from npconv.kernels.transforms import transform_gradients, transform_patches, transform_sums
from npconv.kernels.winograd import multiply

TILE = 2  # rows and columns of outputs that are transformed at a time
POSITIONS = (TILE + 2) ** 2
# That are transformed and then multiplied. With 28 all takes 5 % longer, for the sums are fetched more often; with 112, 8 %.
CHUNK_PATCHES = 64
BYTES = 3 << 19  # of an item's sums, patches and turned rows
SLAB_PATCHES = 256  # the fewest that are worth sums of their own,
SLABS = 8  # and the most such sums,
SLAB_BYTES = 1 << 20  # in all


class _Plan(NamedTuple):
    """How the sums are cut into items that share nothing but what they read, and where an item has what in scratch."""

    o_part: int  # output channels in one item,
    k_part: int  # and input channels,
    chunk: int  # and rows of tiles, of any images, at a time
    slabs: int  # of rows of tiles
    x_pitch: int  # pixels of a turned row of x,
    dy_pitch: int  # and of dy
    x_targets: Array  # where the pixels of a chunk go when turned
    dy_targets: Array
    x_position: int  # elements from one position to the next of x,
    dy_position: int  # of dy,
    sum_position: int  # and of the sums
    sizes: tuple[int, ...]  # of each thread's scratch: weights, rows of x and dy, patches of both, sums


def _slabs(g: Conv2dGeometry, tiles: tuple[int, int], itemsize: int) -> int:
    """How many sums each weight is made of, which must not depend on the number of threads: no other cut changes the order of a sum."""
    rows, weight_bytes, slabs = g.batch * tiles[0], int(np.prod(g.w_shape)) * itemsize, 1
    most = min(SLABS, rows, rows * tiles[1] // SLAB_PATCHES, SLAB_BYTES // weight_bytes)
    while 2 * slabs <= most:
        slabs *= 2
    return slabs


@functools.lru_cache(maxsize=1024)
def _patch_plan(g: Conv2dGeometry, itemsize: int, threads: int) -> _Plan:
    """The cut that is done first. A chunk is one row of tiles at least, even if that needs more scratch."""
    lanes = VECTOR_BITS // (8 * itemsize)
    tiles = -(-g.out_height // TILE), -(-g.out_width // TILE)
    slabs = _slabs(g, tiles, itemsize)
    outs, sources = -(-g.out_channels_per_group // lanes), -(-g.in_channels_per_group // lanes)  # vectors of them
    all_rows = -(-g.batch * tiles[0] // slabs)  # of one slab
    chunk = max(1, min(CHUNK_PATCHES // tiles[1], all_rows))
    if chunk > tiles[0]:
        chunk -= chunk % tiles[0]  # whole images: each costs two more rows of x
    chunks = {*range(1, chunk + 1)}
    if all_rows * tiles[1] <= 2 * CHUNK_PATCHES:  # x's are then transformed once for all outputs: 512 at 7x7 gain 1.15x
        chunks.add(all_rows)
    best = (np.inf, 1, 1, 1)
    for o in {-(-outs // parts) for parts in range(1, outs + 1)}:
        for k in {-(-sources // parts) for parts in range(1, sources + 1)}:
            o_parts, k_parts = -(-outs // o), -(-sources // k)
            turns = -(-g.groups * slabs * o_parts * k_parts // threads)
            for rows in chunks:
                patches = rows * tiles[1]
                turned = 2 * TILE * (min(rows, tiles[0]) + 1) * (TILE * tiles[1] + 2)  # or a bit less
                size = lanes * (POSITIONS * (o * lanes * k + (o + k) * patches) + turned)
                if size * itemsize > BYTES and (o, k, rows) != (1, 1, 1):
                    continue
                # Cycles for each patch: multiply-adds; fetching sums and putting them away; turning and transforming.
                tile_steps = POSITIONS * o * lanes / min(ROWS, lanes) * -(-k // VECTORS)
                multiplying = POSITIONS * o * lanes * k * 0.55 + tile_steps * 60 / patches
                x_turns = -(-turns // o_parts) if rows == all_rows else turns
                transforming = turns * 85 * o + x_turns * (85 + 28 / rows) * k
                best = min(best, (turns * multiplying + transforming, o, k, rows))
    _, o, k, chunk = best
    o_part, k_part, patches, rows = o * lanes, k * lanes, chunk * tiles[1], TILE * min(chunk, tiles[0])
    x_pitch, dy_pitch = TILE * tiles[1] + 2, TILE * tiles[1]
    # One vector more than there is: no multiple of a page, or all positions would compete for the same few places in the cache.
    positions = patches * k_part + lanes, patches * o_part + lanes, o_part * k_part + lanes
    lines = (rows + 2) * x_pitch * lanes, rows * dy_pitch * lanes
    sizes = (9 + lanes) * lanes, *lines, *(POSITIONS * position for position in positions)
    x_targets = _targets(rows + 2, g.in_width, g.pad_left, x_pitch) * lanes
    dy_targets = _targets(rows, g.out_width, 0, dy_pitch) * lanes
    return _Plan(o_part, k_part, chunk, slabs, x_pitch, dy_pitch, x_targets, dy_targets, *positions, sizes)


def _targets(rows: int, width: int, left: int, pitch: int) -> Array:
    """Where pixels that follow each other go in rows that are `pitch` apart."""
    row, column = np.divmod(np.arange(rows * width), width)
    return row * pitch + column + left


def patch_product(dy: Array, source: Array, geometry: Conv2dGeometry, dw: Array) -> bool:
    """dw[g, i, k, r, s] = sum over n, p, q of dy[n, g, i, p, q] * source[n, g, k, p + r - pad_top, q + s - pad_left].

    All arrays are C-contiguous; neither the batch nor an image is empty. False says that some result is not finite, and all of
    them have to be made by other means, as for `winograd.transformed_product`.
    """
    g, itemsize, threads = geometry, source.itemsize, thread_count()
    plan = _patch_plan(g, itemsize, threads)
    size = sum(plan.sizes)
    shared = dw.size * plan.slabs if plan.slabs > 1 else 0
    flat = scratch(source.dtype, size + -(-shared // threads)).reshape(-1)
    memory, sums = flat[: threads * size].reshape(threads, size), flat[threads * size : threads * size + shared]
    doubts = np.zeros((threads, VECTOR_BITS // (8 * itemsize)), source.dtype)
    _patch_product(
        source.reshape(source.size), dy.reshape(dy.size), tuple(range(TILE)), g.batch, g.groups, g.in_channels_per_group,
        g.out_channels_per_group, (g.in_height, g.in_width), (g.out_height, g.out_width), (g.pad_top, g.pad_left), *plan,
        memory, sums if shared else dw.reshape(dw.size), doubts,
    )  # fmt: skip
    if shared:
        with np.errstate(invalid="ignore", over="ignore"):  # as in the loops
            np.add.reduce(sums.reshape(plan.slabs, dw.size), axis=0, out=dw.reshape(dw.size))
        return bool((doubts == 0).all() and np.isfinite(dw).all())
    return bool((doubts == 0).all())


@compiled
def _patch_product(
    x, dy, across, batch, groups, sources, outs, x_shape, dy_shape, pads, o_part, k_part, chunk, slabs,
    x_pitch, dy_pitch, x_targets, dy_targets, x_position, dy_position, sum_position, sizes, memory, dw, doubts,
):  # fmt: skip
    height, width = x_shape
    out_height, out_width = dy_shape
    tile = len(across)
    tile_rows, tile_columns = -(-out_height // tile), -(-out_width // tile)
    positions = (tile + 2) ** 2
    lanes = VECTOR_BITS // (8 * x.itemsize)
    o_parts, k_parts = -(-outs // o_part), -(-sources // k_part)
    items, threads = groups * slabs * o_parts * k_parts, len(memory)

    for thread in prange(threads):
        end = np.cumsum(np.array(sizes))
        own = memory[thread]
        line, x_lines, dy_lines = own[: end[0]], own[end[0] : end[1]], own[end[1] : end[2]]
        v, u, m = own[end[2] : end[3]], own[end[3] : end[4]], own[end[4] :]
        starts = np.empty(lanes, np.int64)
        doubt = np.empty(
            lanes, x.dtype
        )  # as in `winograd`; where threads wrote to neighbours, 256 channels took 1.3x as long
        clear_run(doubt, 0, lanes)
        clear_run(own, end[0], end[2] - end[0])  # for the columns of zeros, which nothing is written to
        thread_number = np.int64(thread)
        first_item = items * thread_number // threads
        for item in range(first_item, items * (thread_number + 1) // threads):
            first_o = item % o_parts * o_part
            first_k = item // o_parts % k_parts * k_part
            slab = item // (k_parts * o_parts) % slabs
            group = item // (k_parts * o_parts * slabs)
            k_count, o_count = min(k_part, sources - first_k), min(o_part, outs - first_o)
            first_row, last_row = batch * tile_rows * slab // slabs, batch * tile_rows * (slab + 1) // slabs
            # Where a chunk has all patches, those of x are there already for all outputs but the first.
            x_is_there = last_row - first_row <= chunk and first_o > 0 and item > first_item
            for row in range(first_row, last_row, chunk):
                rows = min(chunk, last_row - row)
                patches = rows * tile_columns
                done = 0
                while done < rows:
                    n, i = divmod(row + done, tile_rows)
                    segment = min(tile_rows - i, rows - done)
                    for k in range(0, 0 if x_is_there else k_count, lanes):
                        for lane in range(lanes):  # the last channel fills up the vector
                            channel = (n * groups + group) * sources + first_k + min(k + lane, k_count - 1)
                            starts[lane] = channel * height * width
                        top = tile * i - pads[0]
                        turn_rows(
                            x, starts, height, width, top, top + tile * segment + 2, x_lines, 0, x_pitch, x_targets
                        )
                        for r in range(segment):
                            transform_patches(
                                across, x_lines, tile * r * x_pitch * lanes, x_pitch * lanes,
                                v, (done + r) * tile_columns * k_part + k, x_position, k_part, tile_columns,
                            )  # fmt: skip
                    for o in range(0, o_count, lanes):
                        for lane in range(lanes):
                            channel = (n * groups + group) * outs + first_o + min(o + lane, o_count - 1)
                            starts[lane] = channel * out_height * out_width
                        turn_rows(
                            dy, starts, out_height, out_width, tile * i, tile * (i + segment),
                            dy_lines, 0, dy_pitch, dy_targets,
                        )  # fmt: skip
                        for r in range(segment):
                            transform_gradients(
                                across, dy_lines, tile * r * dy_pitch * lanes, dy_pitch * lanes,
                                u, o * patches + (done + r) * tile_columns * lanes, dy_position, lanes, tile_columns,
                            )  # fmt: skip
                    done += segment
                for p in range(positions):
                    for o in range(0, o_count, lanes):
                        multiply(
                            u, p * dy_position + o * patches, v, p * x_position, k_part, patches,
                            m, p * sum_position + o * k_part, k_part, min(lanes, o_count - o), k_count, row == first_row,
                        )  # fmt: skip
            for o in range(o_count):
                to = (((slab * groups + group) * outs + first_o + o) * sources + first_k) * 9
                for k in range(0, k_count, lanes):
                    transform_sums(across, m, o * k_part + k, sum_position, line, doubt)
                    copy_run(line, 0, dw, to + 9 * k, 9 * min(lanes, k_count - k))
        copy_run(doubt, 0, doubts[thread], 0, lanes)
