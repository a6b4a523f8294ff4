"""3x3 convolution at stride 1 by Winograd's F(2x2, 3x3): 16 products for every 2x2 outputs, where the definition has 36.

For a 4x4 patch d of the source, 3x3 weights g and the 2x2 outputs,

    outputs = A'[ sum over channels of (G g G') * (B' d B) ]A,    the product * being element by element,

so that for each of the 16 positions a matrix product over channels is left; `transforms` has the matrices. A block of patches goes
all the way, from source to output, through scratch that stays in the L2 cache. F(4x4, 3x3) is the same with 6x6 patches: 36
products for 4x4 outputs, where the definition has 144. The gradient of the weights is in `patches`.

What rounding does is bounded by the magnitude of the whole patch: sums of |weights| and |pixels| as above, all numbers taken
absolute, and not by that of an output's own nine pixels. An output beside a pixel that is 1e6 times larger has an error
1e6 times larger, though it does not read the pixel. On noise, the error of 2x2 tiles is that of the direct sum or less than
twice it, and halves and quarters of small whole numbers are exact, so on those all sums are. 4x4 tiles lose a bit or two, and
their kernels have ninths, so nothing is exact: they are for those who ask for them, see `npconv.winograd`.
Likewise a NaN or infinity spreads over its patches, and a transform may overflow: results that are not all finite are refused,
see `transformed_product`.
"""

from __future__ import annotations

import functools
import os
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from npconv.geometry import Array
from npconv.kernels.jit import compiled, scratch, thread_count
from npconv.kernels.rows import images
from npconv.kernels.simd import BIT, INT, VECTOR_BITS, Vectors, clear_run, copy_run, data_of
from npconv.kernels.tiles import ROWS, VECTORS
from npconv.kernels.transforms import transform_back, transform_columns, transform_kernels, transform_row

PATCH_BYTES = 3 << 19  # per thread, of a block's patches and products; with 1 << 20, 512 channels take 10 % longer
U_AHEAD = 24  # rows of weights from a multiply-add to those that are fetched: makes 512 channels at 7x7 1.25x as fast
TILES: dict[str, tuple[int, ...]] = {
    "off": (),
    "2x2": (2,),
    "4x4": (4, 2),
}  # those that may be used, the first that pays


def _from_environment() -> str:
    name = os.environ.get("NPCONV_WINOGRAD") or "2x2"
    if name not in TILES:
        raise ValueError(f"NPCONV_WINOGRAD must be one of {', '.join(map(repr, TILES))}, got {name!r}")
    return name


DEFAULT = _from_environment()
chosen: ContextVar[str] = ContextVar("npconv_winograd", default=DEFAULT)  # by npconv.winograd


class _Cut(NamedTuple):
    """How the outputs are cut into items that share nothing but what they read."""

    rows: int  # of tiles in one item, from any images
    blocks: int
    part: int  # panels of output channels in one item
    parts: int
    pitch: int  # tiles from one source channel to the next in scratch


@functools.lru_cache(maxsize=1024)
def _cut(
    batch: int, groups: int, sources: int, outs: int, positions: int, tiles: tuple[int, int], lanes: int, threads: int
) -> _Cut:
    """The cut that is done first where transforming a vector of patches takes as long as 4 multiply-adds for each of its
    positions, and fetching a vector of weights as long as one.
    """
    panels, all_rows, best = -(-outs // lanes), batch * tiles[0], (np.inf, 1, 1)
    for rows in range(1, all_rows + 1):
        if rows > 1 and positions * (sources + lanes) * rows * tiles[1] * VECTOR_BITS > 8 * PATCH_BYTES * lanes:
            break
        vectors = -(-rows * tiles[1] // lanes)
        for parts in range(1, min(panels, threads) + 1):
            part = -(-panels // parts) * lanes
            turns = -(-groups * -(-all_rows // rows) * parts // threads)
            multiplying = positions * sources * part * (vectors + 1)
            best = min(best, (turns * (multiplying + 4 * positions * vectors * (sources + part)), rows, parts))
    _, rows, parts = best
    part = -(-panels // parts)
    # Patches are written by whole vectors, image by image: where an image begins within a vector, one goes beyond the last.
    in_one_image = batch == 1 or tiles[0] % rows == 0
    ragged = not in_one_image and (rows % tiles[0] or tiles[0] * tiles[1] % lanes)
    vectors = -(-rows * tiles[1] // lanes) + (1 if ragged else 0)
    # What one register tile reads follows itself without a gap; else it is an odd number of cache lines apart, because those of an
    # even one compete for the same places in the cache.
    pitch = (vectors if vectors <= VECTORS else vectors | 1) * lanes
    return _Cut(rows, -(-all_rows // rows), part, -(-panels // part), pitch)


def transformed_product(
    tile: int,
    source: Array,
    w: Array,
    strides: tuple[int, int, int],
    flipped: bool,
    bias: Array,
    corner: tuple[int, int],
    groups: int,
    out: Array,
) -> bool:
    """out[n, g, i, p, q] = bias[g, i] + sum over k, r, s of w[g, i, k, r, s] * source[n, g, k, p + r + top, q + s + left].

    `tile` is the number of outputs in a tile's row. Source and out are (N, C, H, W), the source contiguous, out perhaps a slice of
    channels; `corner` is (top, left), and the source is 0 outside. `strides` are those of w, a flat array of 3x3 kernels, along
    g, i and k; kernels that are `flipped` are read from their last number to their first.

    False says that some result is not finite. Then all of them have to be made by other means, because the transforms spread
    a NaN or an infinity over pixels that do not read it, and may overflow where the sum itself does not. True says that
    neither source nor weights have any number that is read and not finite.
    """
    batch, in_channels, height, width = source.shape
    _, out_channels, out_height, out_width = out.shape
    sources, outs = in_channels // groups, out_channels // groups
    lanes = VECTOR_BITS // (8 * w.itemsize)
    tiles = -(-out_height // tile), -(-out_width // tile)
    patch = tile + 2
    positions = patch**2
    cut = _cut(batch, groups, sources, outs, positions, tiles, lanes, thread_count())
    plane = (-(-(min(cut.rows, tiles[0]) + 1) * tiles[1] // lanes) + 2 | 1) * lanes
    # From one position to the next: no multiple of a page, or all would compete for the same few places in the cache, and
    # transforming patches would take five times as long.
    position = sources * cut.pitch + lanes
    panel_size = positions * sources * lanes
    # Where all patches are in one block, nobody comes back to a panel of weights, so it is transformed when it is needed: 512
    # channels at 7x7 have 17 MB of them, which took longer to write and to read than to multiply.
    u_size = panel_size * (groups * -(-outs // lanes) if cut.blocks > 1 else 0)
    own_size = 0 if u_size else panel_size
    size = positions * (position + lanes * cut.pitch) + max(patch * tile * plane, tile**2 * cut.pitch) + own_size
    threads = thread_count()
    flat = scratch(w.dtype, size + -(-u_size // threads)).reshape(-1)
    u, memory = flat[:u_size], flat[u_size : u_size + threads * size].reshape(threads, size)
    across = tuple(range(tile))  # its length is part of its type, so each kind of tile is compiled for itself
    if u_size:
        _transform_weights(w, across, strides, flipped, groups, outs, sources, u)
    doubts = np.zeros((threads, lanes), w.dtype)
    _transformed_product(
        source.reshape(source.size), across, w, strides, flipped, u, own_size, bias, *images(out), batch, groups, sources, outs,
        height, width, out_height, out_width, tiles, corner, *cut, position, plane, memory, doubts,
    )  # fmt: skip
    return bool((doubts == 0).all())


@njit
def _transform_panel(across, w, strides, flipped, group, panel, outs, sources, u, u_start):
    """G g G' of up to `lanes` output channels as u[position, source channel, lane], flat, from u_start on."""
    w_group, w_row, w_outer = strides
    lanes = VECTOR_BITS // (8 * w.itemsize)
    w_at, rows = group * w_group + panel * lanes * w_row, min(lanes, outs - panel * lanes)
    for k in range(sources):
        at = w_at + k * w_outer
        transform_kernels(across, w, at, w_row, rows, flipped, u, u_start + k * lanes, sources * lanes)


@compiled
def _transform_weights(w, across, strides, flipped, groups, outs, sources, u):
    """Every panel, those of a group after each other."""
    lanes = VECTOR_BITS // (8 * w.itemsize)
    panels = -(-outs // lanes)
    panel_size = (len(across) + 2) ** 2 * sources * lanes
    for item in prange(groups * panels):
        group, panel = np.int64(item) // panels, np.int64(item) % panels
        _transform_panel(across, w, strides, flipped, group, panel, outs, sources, u, np.int64(item) * panel_size)


@compiled
def _transformed_product(
    source, across, w, strides, flipped, u, own_size, bias, out, out_image, batch, groups, sources, outs,
    height, width, out_height, out_width, tiles, corner, rows, blocks, part, parts, pitch, position, plane, memory, doubts,
):  # fmt: skip
    tile_rows, tile_columns = tiles
    tile = len(across)
    patch = tile + 2
    positions = patch * patch
    top, left = corner
    lanes = VECTOR_BITS // (8 * source.itemsize)
    panels = -(-outs // lanes)
    items, threads = groups * blocks * parts, len(memory)

    for thread in prange(threads):
        v, m = memory[thread], memory[thread, positions * position :]
        lines = memory[thread, positions * (position + lanes * pitch) :]
        own = memory[thread, memory.shape[1] - own_size :]
        # What transforms read behind the last patch is never stored, but it is multiplied, and what somebody left there may be
        # too small for a normal number: then a product takes a hundred cycles, and 64 channels at 56x56 eight times as long.
        clear_run(lines, 0, len(lines) - own_size)
        doubt = np.empty(
            lanes, source.dtype
        )  # its own: where two threads wrote to neighbouring lines, each waited for the other
        clear_run(doubt, 0, lanes)
        thread_number = np.int64(thread)
        for item in range(items * thread_number // threads, items * (thread_number + 1) // threads):
            first_panel = item % parts * part
            first_row = item // parts % blocks * rows
            last_row = min(batch * tile_rows, first_row + rows)
            group = item // (parts * blocks)
            count = (last_row - first_row) * tile_columns

            row = first_row
            while row < last_row:
                n, i = divmod(row, tile_rows)
                segment = min(tile_rows - i, last_row - row)
                for k in range(sources):
                    plane_at = ((n * groups + group) * sources + k) * height * width
                    for r in range(tile * segment + 2):
                        m_row = tile * i + top + r
                        inside = 0 <= m_row < height
                        transform_row(
                            across, source, plane_at + m_row * width, left, width if inside else 0,
                            lines, r % tile * plane + r // tile * tile_columns, tile * plane, tile_columns,
                        )  # fmt: skip
                    transform_columns(
                        across, lines, plane, tile_columns, v, k * pitch + (row - first_row) * tile_columns, position,
                        segment * tile_columns,
                    )  # fmt: skip
                row += segment

            for panel in range(first_panel, min(panels, first_panel + part)):
                o_count = min(lanes, outs - panel * lanes)
                panel_u, u_at = u, (group * panels + panel) * positions * sources * lanes
                if own_size > 0:
                    panel_u, u_at = own, 0
                    _transform_panel(across, w, strides, flipped, group, panel, outs, sources, own, 0)
                for p in range(positions):
                    multiply(
                        panel_u, u_at + p * sources * lanes, v, p * position, pitch, sources,
                        m, p * pitch, positions * pitch, o_count, count, True,
                    )  # fmt: skip
                for o in range(o_count):
                    channel = group * outs + panel * lanes + o
                    start = o * positions * pitch
                    transform_back(across, m, start, pitch, bias, channel, lines, tile * pitch, count, doubt)
                    for row in range(first_row, last_row):
                        n, i = divmod(row, tile_rows)
                        y_row = n * out_image + (channel * out_height + tile * i) * out_width
                        at = tile * (row - first_row) * tile_columns
                        for r in range(min(tile, out_height - tile * i)):
                            copy_run(lines, at + r * tile * pitch, out, y_row + r * out_width, out_width)
        copy_run(doubt, 0, doubts[thread], 0, lanes)


@njit
def multiply(u, u_start, v, v_start, v_row, steps, m, m_start, m_row, rows, columns, fresh):
    """`multiply_tile` for any number of rows and columns, both rounded up."""
    lanes = VECTOR_BITS // (8 * v.itemsize)
    j = 0
    while j < columns:
        left = (columns - j + lanes - 1) // lanes
        vectors = 2 if left == 4 else min(left, VECTORS, 3)  # twice two: one vector alone waits for its weights
        for i in range(0, rows, min(ROWS, lanes)):
            u_at, v_at, m_at = u_start + i, v_start + j, m_start + i * m_row + j
            if vectors == 3:
                multiply_tile(3, u, u_at, v, v_at, v_row, steps, m, m_at, m_row, fresh)
            elif vectors == 2:
                multiply_tile(2, u, u_at, v, v_at, v_row, steps, m, m_at, m_row, fresh)
            else:
                multiply_tile(1, u, u_at, v, v_at, v_row, steps, m, m_at, m_row, fresh)
        j += vectors * lanes


@intrinsic(prefer_literal=True)
def multiply_tile(typing_context, vectors, u, u_start, v, v_start, v_row, steps, m, m_start, m_row, fresh):
    """m[i, j] (+)= sum over t < steps of u[t, i] * v[t, j] for i < ROWS and j < vectors * lanes; u has rows of `lanes`.

    A `fresh` tile starts from 0, another one from m.
    """
    tile_vectors, index = vectors.literal_value, types.intp

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, u, u_start, v, v_start, v_row, steps, m, m_start, m_row, fresh = arguments
        e = Vectors(context, builder, signature.args[3].dtype)
        u_data = e.at(data_of(context, builder, signature.args[1], u), u_start)
        v_data = e.at(data_of(context, builder, signature.args[3], v), v_start)
        m_data = e.at(data_of(context, builder, signature.args[7], m), m_start)
        tile_rows = min(ROWS, e.lanes)
        total = {(i, j): cgutils.alloca_once(builder, e.type) for i in range(tile_rows) for j in range(tile_vectors)}
        places = {(i, j): e.at(e.at(m_data, builder.mul(m_row, INT(i))), j * e.lanes) for i, j in total}
        for slot in total.values():
            builder.store(e.zero, slot)
        with builder.if_then(builder.not_(builder.trunc(fresh, BIT))):
            for place, slot in total.items():
                builder.store(e.load(places[place]), slot)
        with cgutils.for_range(builder, steps, intp=INT) as over:
            u_row = e.at(u_data, builder.mul(over.index, INT(e.lanes)))
            e.prefetch(e.at(u_row, U_AHEAD * e.lanes), 0)
            v_at = e.at(v_data, builder.mul(over.index, v_row))
            patches = [e.load(e.at(v_at, j * e.lanes)) for j in range(tile_vectors)]
            for i in range(tile_rows):
                weight = e.splat(builder.load(e.at(u_row, i)))
                for j, patch in enumerate(patches):
                    builder.store(e.fma(weight, patch, builder.load(total[i, j])), total[i, j])
        for place, slot in total.items():
            e.store(builder.load(slot), places[place])
        return context.get_dummy_value()

    signature = types.void(vectors, u, index, v, index, index, index, m, index, index, types.boolean)
    return signature, generate
