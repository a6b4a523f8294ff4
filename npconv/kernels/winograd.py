"""3x3 convolution at stride 1 by Winograd's F(2x2, 3x3): 16 products for every 2x2 outputs, where the definition has 36.

For a 4x4 patch d of the map, 3x3 weights g and the 2x2 outputs,

    outputs = A'[ sum over channels of (G g G') * (B' d B) ]A,    the product * being element by element,

    B' = 1  0 -1  0     G = 1    0    0     A' = 1  1  1  0
         0  1  1  0         1/2  1/2  1/2        0  1 -1 -1
         0 -1  1  0         1/2 -1/2  1/2
         0  1  0 -1         0    0    1

so that for each of the 16 positions a sum of pixels is left (`tiles.sum_tiles`), whose pixels are patches. The input gradient is
the same with kernels rotated by half a turn. The weights' gradient is G'[ sum over patches of (B' d B) * (A dy A') ]G.

What rounding does is bounded by the magnitude of the whole patch, not by that of an output's own nine pixels; on noise the error is
that of the direct sum or less than twice it. Halves and quarters of small whole numbers are exact, so on those all sums are.
A NaN or an infinity spreads over its patches, and a transform may overflow: where a result is not finite, all are made anew
by direct sums.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (arXiv 1509.09308), section 4.
"""

from __future__ import annotations

import functools
import itertools
import os
from contextvars import ContextVar
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.indirection import blocks_of, shares
from npconv.kernels.jit import MANY, compiled, contiguous, scratch, thread_count
from npconv.kernels.orders import pitch_of, pixels_from
from npconv.kernels.outer_products import ITEMS, PARTS, collect
from npconv.kernels.sums import LIMITS, Sizes, inside, pack, zeros_of
from npconv.kernels.tiles import CHANNELS, ROWS, WIDEST, outer_tiles, sum_tiles
from npconv.kernels.transforms import (
    transform_gradients,
    transform_kernels,
    transform_kernels_back,
    transform_patches,
    transform_products,
)
from npconv.kernels.vectors import LANES, address_of
from npconv.memory import empty

TILES = ("off", "2x2")
POSITIONS = 16  # of a transformed patch, which has as many numbers as the patch
READS, WRITES = 16, 4  # pixels that a tile reads, and makes
SCRATCH = 1 << 19  # bytes of a chunk's patches
FEWEST = 32  # channels on either side,
FEWEST_TILES = 25  # and tiles of an image, for which the transforms pay: fewer do not pay for transforming the weights

_ONE_TAP = np.zeros(1, np.int64)


def _from_environment() -> str:
    name = os.environ.get("NPCONV_WINOGRAD") or "2x2"
    if name not in TILES:
        raise ValueError(f"NPCONV_WINOGRAD must be one of {', '.join(map(repr, TILES))}, got {name!r}")
    return name


DEFAULT = _from_environment()
chosen: ContextVar[str] = ContextVar("npconv_winograd", default=DEFAULT)  # by npconv.winograd


class Plan(NamedTuple):
    """All that is known before there are arrays; the tables are int64."""

    sizes: Sizes  # of the map that is read, and of the result
    rows: Array  # (tile rows, 4): which rows of the map a patch reads, or -1
    columns: Array  # (tile columns, 4)
    blocks: Array  # (blocks, 4): first channel, vectors, lanes of the last, where its weights begin
    items: Array  # (items, 3): first and last tile, block
    bounds: Array  # (threads + 1,): whose items are whose
    chunk: int  # tiles of an item, at most
    order: Array  # where the packer puts a tap, or a tap of a channel


def pays(geometry: Conv2dGeometry, forward: bool) -> bool:
    """Whether transforms take less time than direct sums. One image alone decides, so the batch changes no bit."""
    g = geometry
    steps = g.stride_height, g.stride_width, g.dilation_height, g.dilation_width
    known = g.groups == 1 and (g.kernel_height, g.kernel_width) == (3, 3) and steps == (1,) * 4
    return known and (_large(g.out_height, g.out_width, g) if forward else _large(g.in_height, g.in_width, g))


def _large(height: int, width: int, g: Conv2dGeometry) -> bool:
    """Few tiles are cut off, and there are channels enough to pay for the transforms."""
    rows, columns = -(-height // 2), -(-width // 2)
    few = min(g.in_channels_per_group, g.out_channels_per_group)
    return few >= FEWEST and rows * columns >= FEWEST_TILES and 4 * height * width >= 3 * 4 * rows * columns


def convolve(x: Array, w: Array, b: Array | None, geometry: Conv2dGeometry, activation: str | None, y: Array) -> bool:
    """y = the activation of the convolution; False if a result is not finite, and y of no use."""
    return _run(x, w, b, geometry, activation, y, True)


def convolve_back(dy: Array, w: Array, geometry: Conv2dGeometry, dx: Array) -> bool:
    """dx = the input gradient; False if a number of it is not finite, and dx of no use."""
    return _run(dy, w, None, geometry, None, dx, False)


def _run(
    x: Array, w: Array, b: Array | None, geometry: Conv2dGeometry, activation: str | None, y: Array, forward: bool
) -> bool:
    if y.size == 0:
        return True
    dtype, lanes = x.dtype, LANES[x.itemsize * 8]
    plan = _plan(geometry, forward, lanes, thread_count())
    sizes, blocks = plan.sizes, plan.blocks
    size = int(blocks[:, 1].sum()) * lanes * sizes.depth  # packed numbers for each tap
    packed, weights = empty((9 * size,), dtype), empty((POSITIONS * size,), dtype)
    pack(contiguous(w).reshape(-1), plan.order, blocks, sizes, 1, sizes.depth * 9 if forward else 9, packed)
    _transform_weights(packed, blocks, sizes, not forward, weights)
    padded = -(-sizes.depth // lanes) * lanes
    bias = zeros_of(y.shape[1], dtype) if b is None else contiguous(b)
    doubts = np.zeros((len(plan.bounds) - 1, 1), np.int64)
    limits = np.array([LIMITS[activation], LIMITS[None]], dtype)
    _winograd(
        (pixels_from(x), zeros_of(x.shape[1], dtype)), weights, bias, limits, pixels_from(y),
        (pitch_of(x), pitch_of(y), padded, plan.chunk), sizes, (plan.rows, plan.columns), blocks, plan.items,
        plan.bounds, scratch(np.int64, (READS + WRITES + 2 * POSITIONS) * plan.chunk),
        scratch(dtype, (POSITIONS * plan.chunk + 1) * (padded + WIDEST * lanes)), doubts,
    )  # fmt: skip
    return not doubts.any()


@functools.lru_cache(maxsize=1024)
def _plan(geometry: Conv2dGeometry, forward: bool, lanes: int, threads: int) -> Plan:
    g = geometry
    read, made = (g.in_height, g.in_width), (g.out_height, g.out_width)
    depth, out_channels = g.in_channels_per_group, g.out_channels_per_group
    top, left = -g.pad_top, -g.pad_left
    if not forward:
        read, made, depth, out_channels = made, read, out_channels, depth
        top, left = g.pad_top - 2, g.pad_left - 2
    tile_rows, tile_columns = -(-made[0] // 2), -(-made[1] // 2)
    rows = inside(2 * np.arange(tile_rows)[:, None] + np.arange(4) + top, read[0])
    columns = inside(2 * np.arange(tile_columns)[:, None] + np.arange(4) + left, read[1])
    blocks, place = [], 0
    for first, vectors, last in blocks_of(out_channels, lanes, WIDEST):
        blocks.append((first, vectors, last, place))
        place += depth * vectors * lanes
    tiles = g.batch * tile_rows * tile_columns
    step = ROWS[max(block[1] for block in blocks)]
    chunk = max(step, SCRATCH // (POSITIONS * 64 // lanes * depth) // step * step)
    wanted = -(-2 * threads // len(blocks))
    each = -(-tiles // wanted)
    chunk = min(chunk, -(-each // step) * step)
    items = [
        (begin, min(tiles, begin + chunk), block) for begin in range(0, tiles, chunk) for block in range(len(blocks))
    ]
    # Patches are made once for all blocks of a chunk: as much work as a vector of output channels or two.
    work = [(end - begin) * (blocks[block][1] + (2 if block == 0 else 0)) for begin, end, block in items]
    channel, tap = np.divmod(np.arange(depth * 9 if forward else 9), 9)
    return Plan(
        Sizes(*read, *made, depth, out_channels, 9, 1, lanes),
        rows,
        columns,
        np.array([(*block[:3], 9 * block[3]) for block in blocks], np.int64),
        np.array(items, np.int64).reshape(-1, 3),
        shares(np.array(work), threads),
        chunk,
        tap * depth + channel,
    )


@compiled(terms=1)
def _transform_weights(packed, blocks, sizes, rotated, weights):
    """weights[block][4 * i + j] = (G g G')[i, j] for the kernels g of all channels, packed[block][tap], rotated or not."""
    depth = sizes.depth
    for item in prange(len(blocks) * depth):
        block, c = np.int64(item) // depth, np.int64(item) % depth
        _, vectors, _, place = blocks[block]
        width = vectors * sizes.lanes
        step, start = depth * width, place + c * width
        source, step_of_taps = (start + 8 * step, -step) if rotated else (start, step)
        transform_kernels(packed[source:], step_of_taps, weights[place // 9 * POSITIONS + c * width :], step, vectors)


@compiled(terms=MANY)
def _winograd(maps, w, bias, limits, y, pitches, sizes, axes, blocks, items, bounds, addresses, spaces, doubts):
    """y = A' [sum over channels c of (B' d[c] B) * w[c, o]] A + bias, limited, for the patch d of each tile; a thread does its items.

    maps: x from its first number on, and a pixel of zeros for padding; w: transformed, (block, position, c, lane)
    limits: of the result, and those that limit nothing; pitches: of x and y, of transformed patches; tiles of a chunk
    addresses, spaces: room of each thread; doubts: of each thread, not 0 where a result is not finite
    """
    x, zeros = maps
    rows, columns = axes
    x_pitch, y_pitch, padded, chunk = pitches
    depth, lanes, tile_rows, tile_columns = sizes.depth, sizes.lanes, len(rows), len(columns)
    in_height, in_width, out_height, out_width = sizes.in_height, sizes.in_width, sizes.out_height, sizes.out_width
    size, nothing, widest = x.itemsize, address_of(zeros), blocks[:, 1].max() * lanes
    for thread in prange(len(bounds) - 1):
        # Of each tile: the 16 pixels that its patch reads, its 4 outputs, and for each position its patch and its products.
        reads, writes = addresses[thread], addresses[thread, READS * chunk :]
        tables = addresses[thread, (READS + WRITES) * chunk :]
        patches, products = spaces[thread], spaces[thread, POSITIONS * chunk * padded :]
        no_bias = spaces[thread, POSITIONS * chunk * (padded + widest) :]
        no_bias[:widest] = 0
        known = np.int64(-1)
        for item in range(bounds[thread], bounds[thread + 1]):
            begin, end, block = items[item]
            tiles = end - begin
            if begin != known:
                known = begin
                for m in range(tiles):
                    image, rest = (begin + m) // (tile_rows * tile_columns), (begin + m) % (tile_rows * tile_columns)
                    i, j = rest // tile_columns, rest % tile_columns
                    _patch_addresses(
                        address_of(x) + image * in_height * in_width * x_pitch * size, in_width, x_pitch * size, rows[i],
                        columns[j], nothing, reads[READS * m :],
                    )  # fmt: skip
                    for place in range(4):
                        p, q = 2 * i + place // 2, 2 * j + place % 2
                        there = address_of(y) + ((image * out_height + p) * out_width + q) * y_pitch * size
                        writes[WRITES * m + place] = there if p < out_height and q < out_width else 0
                    for k in range(POSITIONS):
                        tables[2 * k * tiles + m] = address_of(patches) + (k * chunk + m) * padded * size
                        tables[(2 * k + 1) * tiles + m] = address_of(products) + (k * chunk + m) * widest * size
                transform_patches(reads, tiles, depth, patches, padded, chunk * padded)
            first, vectors, last, place = blocks[block]
            start, step = place // 9 * POSITIONS, depth * vectors * lanes
            for k in range(POSITIONS):
                sum_tiles(
                    tables[2 * k * tiles :], tiles, _ONE_TAP, 1, depth, 0, w[start + k * step :], no_bias, 0, limits[1],
                    vectors, lanes,
                )  # fmt: skip
            transform_products(
                products, tiles, widest, chunk * widest, bias[first:], limits[0], writes, first, vectors, last,
                doubts[thread],
            )  # fmt: skip


@njit
def _patch_addresses(start, width, pixel, rows, columns, nothing, reads):
    """The addresses of the 16 pixels of a patch; padding is the pixel at `nothing`."""
    for a in range(4):
        for b in range(4):
            there = start + (rows[a] * width + columns[b]) * pixel
            reads[4 * a + b] = there if rows[a] >= 0 and columns[b] >= 0 else nothing


def weight_grad(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array | None:
    """dw in C order, (O, C, 3, 3); None if a number of it is not finite."""
    dtype, lanes = x.dtype, LANES[x.itemsize * 8]
    dw = empty(geometry.w_shape, dtype)
    if dy.size == 0:
        dw[...] = 0
        return dw
    plan, parts = _weight_plan(geometry, lanes, thread_count())
    sizes, blocks = plan.sizes, plan.blocks
    size = int(blocks[:, 1].sum()) * lanes * sizes.depth
    padded, widest = -(-sizes.depth // lanes) * lanes, int(blocks[:, 1].max()) * lanes
    sums, taps = empty((parts, POSITIONS * size), dtype), empty((1, 9 * size), dtype)
    _winograd_weight_grad(
        (pixels_from(x), zeros_of(x.shape[1], dtype)), (pixels_from(dy), zeros_of(dy.shape[1], dtype)),
        (pitch_of(x), pitch_of(dy), padded, plan.chunk), sizes, (plan.rows, plan.columns), blocks, plan.items,
        plan.bounds, sums, scratch(np.int64, (READS + WRITES + 1) * plan.chunk),
        scratch(dtype, POSITIONS * plan.chunk * (padded + widest)),
    )  # fmt: skip
    _transform_sums(sums, blocks, sizes, taps)
    collect(taps, 1, sizes, blocks, plan.order, dw.reshape(-1))
    return dw if np.isfinite(dw).all() else None


@functools.lru_cache(maxsize=1024)
def _weight_plan(geometry: Conv2dGeometry, lanes: int, threads: int) -> tuple[Plan, int]:
    """The forward's plan with items (first and last tile, block) part after part, and how many parts there are."""
    plan = _plan(geometry, True, lanes, 1)
    depth, blocks, place = geometry.in_channels_per_group, [], 0
    for first, vectors, last in blocks_of(geometry.out_channels_per_group, lanes, max(CHANNELS)):
        blocks.append((first, vectors, last, 9 * place))
        place += depth * vectors * lanes
    tiles = geometry.batch * len(plan.rows) * len(plan.columns)
    chunk = max(8, min(tiles, SCRATCH // (POSITIONS * 64 // lanes * depth)))
    parts = max(1, min(-(-ITEMS // len(blocks)), tiles // chunk, PARTS // (POSITIONS * place)))
    cuts = [tiles * part // parts for part in range(parts + 1)]
    items = [(begin, end, block) for begin, end in itertools.pairwise(cuts) for block in range(len(blocks))]
    work = np.array([(end - begin) * blocks[block][1] for begin, end, block in items])
    blocks_table, items_table = np.array(blocks, np.int64), np.array(items, np.int64)
    bounds = shares(work, threads)
    return plan._replace(blocks=blocks_table, items=items_table, bounds=bounds, chunk=chunk), parts


@compiled(terms=MANY)
def _winograd_weight_grad(maps, gradients, pitches, sizes, axes, blocks, items, bounds, sums, addresses, spaces):
    """sums[part][block, position, c, o] = sum over the part's tiles of (B' d[c] B) * (A dy[o] A'); the arguments of `_winograd`."""
    x, zeros = maps
    dy, no_gradient = gradients
    rows, columns = axes
    x_pitch, dy_pitch, padded, chunk = pitches
    depth, lanes, tile_rows, tile_columns = sizes.depth, sizes.lanes, len(rows), len(columns)
    in_height, in_width, out_height, out_width = sizes.in_height, sizes.in_width, sizes.out_height, sizes.out_width
    size, nothing = x.itemsize, address_of(zeros)
    for thread in prange(len(bounds) - 1):
        reads, made = addresses[thread], addresses[thread, READS * chunk :]
        tables = addresses[thread, (READS + WRITES) * chunk :]
        patches, panel = spaces[thread], spaces[thread, POSITIONS * chunk * padded :]
        # All blocks of a part go through its chunks together, so that patches are transformed once.
        number = bounds[thread]
        while number < bounds[thread + 1]:
            until = min(bounds[thread + 1], (number // len(blocks) + 1) * len(blocks))
            part, begin, end = number // len(blocks), items[number, 0], items[number, 1]
            for first in range(begin, end, chunk):
                tiles = min(chunk, end - first)
                for m in range(tiles):
                    image, rest = (first + m) // (tile_rows * tile_columns), (first + m) % (tile_rows * tile_columns)
                    i, j = rest // tile_columns, rest % tile_columns
                    _patch_addresses(
                        address_of(x) + image * in_height * in_width * x_pitch * size, in_width, x_pitch * size, rows[i],
                        columns[j], nothing, reads[READS * m :],
                    )  # fmt: skip
                    for place in range(4):
                        p, q = 2 * i + place // 2, 2 * j + place % 2
                        there = address_of(dy) + ((image * out_height + p) * out_width + q) * dy_pitch * size
                        made[WRITES * m + place] = (
                            there if p < out_height and q < out_width else address_of(no_gradient)
                        )
                    tables[m] = address_of(patches) + m * padded * size
                transform_patches(reads, tiles, depth, patches, padded, chunk * padded)
                for item in range(number, until):
                    o, vectors, last, place = blocks[items[item, 2]]
                    width = vectors * lanes
                    transform_gradients(made, tiles, o, vectors, last, panel, chunk * width)
                    for k in range(POSITIONS):
                        own = sums[part, place // 9 * POSITIONS + k * depth * width :]
                        outer_tiles(
                            tables, tiles, 1, depth, k * chunk * padded, panel[k * chunk * width :], own, width, vectors,
                            lanes, first == begin,
                        )  # fmt: skip
            number = until


@compiled(terms=1)
def _transform_sums(sums, blocks, sizes, taps):
    """taps[block][3 * r + s] = (G' m G)[r, s] of the sums m over the parts, for all channels."""
    depth, parts = sizes.depth, len(sums)
    flat = sums.reshape(sums.size)
    for item in prange(len(blocks) * depth):
        block, c = np.int64(item) // depth, np.int64(item) % depth
        _, vectors, _, place = blocks[block]
        width = vectors * sizes.lanes
        start = place // 9 * POSITIONS + c * width
        transform_kernels_back(flat[start:], parts, sums.shape[1], taps[0, place + c * width :], depth * width, vectors)
