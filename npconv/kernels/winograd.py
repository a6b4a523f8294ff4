"""3x3 convolution at stride 1 by Winograd's F(2x2, 3x3): 16 products for every 2x2 outputs, where the definition has 36.

For a 4x4 patch d of the source, 3x3 weights g and the 2x2 outputs,

    outputs = A'[ sum over channels of (G g G') * (B' d B) ]A,    the product * being element by element,

          [1  0 -1  0]         [1    0    0 ]         [1  1  1  0]
    B' =  [0  1  1  0]    G =  [1/2  1/2 1/2]    A' = [0  1 -1 -1]
          [0 -1  1  0]         [1/2 -1/2 1/2]
          [0  1  0 -1]         [0    0    1 ]

so that for each of the 16 positions a matrix product over channels is left. A block of patches goes
all the way, from source to output, through scratch that stays in the L2 cache. Source: Lavin and Gray, Fast Algorithms for
Convolutional Neural Networks (arXiv 1509.09308), section 4.1.

What rounding does is bounded by the magnitude of the whole patch: sums of |weights| and |pixels| as above, all numbers taken
absolute, and not by that of an output's own nine pixels. On noise the error is that of the direct sum or less than twice it;
but an output beside a pixel that is 1e6 times larger has an error 1e6 times larger, though it does not read the pixel.
Halves and quarters of small whole numbers are exact, so on those all sums are. Likewise a NaN or infinity spreads over its
patches, and a transform may overflow: results that are not all finite are refused, see `transformed_product`.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from npconv.geometry import Array
from npconv.kernels.compiling import compiled, scratch
from npconv.kernels.simd import INT, VECTOR_BITS, Vectors, copy_run, data_of
from npconv.kernels.tiles import ROWS, VECTORS

PATCH_BYTES = 3 << 19  # per thread, of a block's patches and products; with 1 << 20, 512 channels take 10 % longer


class _Cut(NamedTuple):
    """How the outputs are cut into items that share nothing but what they read."""

    rows: int  # of tiles in one item, from any images
    blocks: int
    part: int  # panels of output channels in one item
    parts: int
    pitch: int  # tiles from one source channel to the next in scratch: an odd number of vectors, so of cache lines


@functools.lru_cache(maxsize=1024)
def _cut(batch: int, groups: int, sources: int, outs: int, tiles: tuple[int, int], lanes: int, threads: int) -> _Cut:
    """The cut that is done first where transforming a vector of patches takes as long as 60 multiply-adds, and fetching
    a vector of weights as long as one.
    """
    panels, all_rows, best = -(-outs // lanes), batch * tiles[0], (np.inf, 1, 1)
    for rows in range(1, all_rows + 1):
        if rows > 1 and 16 * (sources + lanes) * rows * tiles[1] * VECTOR_BITS > 8 * PATCH_BYTES * lanes:
            break
        vectors = -(-rows * tiles[1] // lanes)
        for parts in range(1, min(panels, threads) + 1):
            part = -(-panels // parts) * lanes
            turns = -(-groups * -(-all_rows // rows) * parts // threads)
            multiplying = 16 * sources * part * (vectors + 1)
            best = min(best, (turns * (multiplying + 60 * vectors * (sources + part)), rows, parts))
    _, rows, parts = best
    part = -(-panels // parts)
    pitch = (-(-rows * tiles[1] // lanes) + 1 | 1) * lanes
    return _Cut(rows, -(-all_rows // rows), part, -(-panels // part), pitch)


def transformed_product(
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

    Source and out are (N, C, H, W), contiguous, `corner` is (top, left), and the source is 0 outside. `strides` are those of w,
    a flat array of 3x3 kernels, along g, i and k; kernels that are `flipped` are read from their last number to their first.

    False says that some result is not finite. Then all of them have to be made by other means, because the transforms spread
    a NaN or an infinity over pixels that do not read it, and may overflow where the sum itself does not. True says that
    neither source nor weights have any number that is read and not finite.
    """
    batch, in_channels, height, width = source.shape
    _, out_channels, out_height, out_width = out.shape
    sources, outs = in_channels // groups, out_channels // groups
    lanes = VECTOR_BITS // (8 * w.itemsize)
    tiles = -(-out_height // 2), -(-out_width // 2)
    cut = _cut(batch, groups, sources, outs, tiles, lanes, numba.get_num_threads())
    plane = (-(-(min(cut.rows, tiles[0]) + 1) * tiles[1] // lanes) + 2 | 1) * lanes
    # From one position to the next: no multiple of a page, or all 16 would compete for the same few places in the cache, and
    # transforming patches would take five times as long.
    position = sources * cut.pitch + lanes
    u_size = groups * -(-outs // lanes) * 16 * sources * lanes
    size = 16 * (position + lanes * cut.pitch) + max(8 * plane, 4 * cut.pitch)
    threads = numba.get_num_threads()
    flat = scratch(w.dtype, size + -(-(u_size + lanes) // threads)).reshape(-1)
    flat = flat[-flat.ctypes.data % (VECTOR_BITS // 8) // w.itemsize :]  # from the first whole vector on
    u, memory = flat[:u_size], flat[u_size : u_size + threads * size].reshape(threads, size)
    _transform_weights(w, strides, flipped, groups, outs, sources, u)
    doubts = np.zeros((threads, lanes), w.dtype)
    _transformed_product(
        source.reshape(source.size), u, bias, out.reshape(out.size), batch, groups, sources, outs,
        height, width, out_height, out_width, tiles, corner, *cut, position, plane, memory, doubts,
    )  # fmt: skip
    return bool((doubts == 0).all())


@compiled
def _transform_weights(w, strides, flipped, groups, outs, sources, u):
    """G g G' as u[group, panel of output channels, position, source channel, lane], flat."""
    w_group, w_row, w_outer = strides
    lanes = VECTOR_BITS // (8 * w.itemsize)
    panels = -(-outs // lanes)
    for item in prange(groups * panels):
        group, panel = np.int64(item) // panels, np.int64(item) % panels
        w_at, rows = group * w_group + panel * lanes * w_row, min(lanes, outs - panel * lanes)
        u_at = np.int64(item) * 16 * sources * lanes
        for k in range(sources):
            transform_kernels(w, w_at + k * w_outer, w_row, rows, flipped, u, u_at + k * lanes, sources * lanes)


@compiled
def _transformed_product(
    source, u, bias, out, batch, groups, sources, outs, height, width, out_height, out_width, tiles, corner,
    rows, blocks, part, parts, pitch, position, plane, memory, doubts,
):  # fmt: skip
    tile_rows, tile_columns = tiles
    top, left = corner
    lanes = VECTOR_BITS // (8 * source.itemsize)
    panels = -(-outs // lanes)
    items, threads = groups * blocks * parts, len(memory)

    for thread in prange(threads):
        v, m = memory[thread], memory[thread, 16 * position :]
        lines = memory[thread, 16 * (position + lanes * pitch) :]
        doubt = doubts[thread]
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
                    for r in range(2 * segment + 2):
                        m_row = 2 * i + top + r
                        inside = 0 <= m_row < height
                        transform_row(
                            source, plane_at + m_row * width, left, width if inside else 0,
                            lines, r % 2 * plane + r // 2 * tile_columns, 2 * plane, tile_columns,
                        )  # fmt: skip
                    transform_columns(
                        lines, plane, tile_columns, v, k * pitch + (row - first_row) * tile_columns, position,
                        segment * tile_columns,
                    )  # fmt: skip
                row += segment

            for panel in range(first_panel, min(panels, first_panel + part)):
                o_count = min(lanes, outs - panel * lanes)
                for p in range(16):
                    u_at = ((group * panels + panel) * 16 + p) * sources * lanes
                    multiply(u, u_at, v, p * position, pitch, sources, m, p * pitch, 16 * pitch, o_count, count)
                for o in range(o_count):
                    channel = group * outs + panel * lanes + o
                    transform_back(m, o * 16 * pitch, pitch, bias, channel, lines, 2 * pitch, count, doubt)
                    for row in range(first_row, last_row):
                        n, i = divmod(row, tile_rows)
                        y_row = ((n * groups * outs + channel) * out_height + 2 * i) * out_width
                        at = 2 * (row - first_row) * tile_columns
                        copy_run(lines, at, out, y_row, out_width)
                        if 2 * i + 1 < out_height:
                            copy_run(lines, at + 2 * pitch, out, y_row + out_width, out_width)


@njit
def multiply(u, u_start, v, v_start, v_row, steps, m, m_start, m_row, rows, columns):
    """`multiply_tile` for any number of rows and columns, both rounded up."""
    lanes = VECTOR_BITS // (8 * v.itemsize)
    j = 0
    while j < columns:
        left = (columns - j + lanes - 1) // lanes
        vectors = 2 if left == 4 else min(left, VECTORS)  # twice two: one vector alone waits for its weights
        for i in range(0, rows, min(ROWS, lanes)):
            u_at, v_at, m_at = u_start + i, v_start + j, m_start + i * m_row + j
            if vectors == 3:
                multiply_tile(3, u, u_at, v, v_at, v_row, steps, m, m_at, m_row)
            elif vectors == 2:
                multiply_tile(2, u, u_at, v, v_at, v_row, steps, m, m_at, m_row)
            else:
                multiply_tile(1, u, u_at, v, v_at, v_row, steps, m, m_at, m_row)
        j += vectors * lanes


@intrinsic(prefer_literal=True)
def multiply_tile(typing_context, vectors, u, u_start, v, v_start, v_row, steps, m, m_start, m_row):
    """m[i, j] = sum over t < steps of u[t, i] * v[t, j] for i < ROWS and j < vectors * lanes; u has rows of `lanes`."""
    tile_vectors, index = vectors.literal_value, types.intp

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, u, u_start, v, v_start, v_row, steps, m, m_start, m_row = arguments
        e = Vectors(context, builder, signature.args[3].dtype)
        u_data = e.at(data_of(context, builder, signature.args[1], u), u_start)
        v_data = e.at(data_of(context, builder, signature.args[3], v), v_start)
        m_data = e.at(data_of(context, builder, signature.args[7], m), m_start)
        tile_rows = min(ROWS, e.lanes)
        total = {(i, j): cgutils.alloca_once(builder, e.type) for i in range(tile_rows) for j in range(tile_vectors)}
        for slot in total.values():
            builder.store(e.zero, slot)
        with cgutils.for_range(builder, steps, intp=INT) as over:
            u_row = e.at(u_data, builder.mul(over.index, INT(e.lanes)))
            v_at = e.at(v_data, builder.mul(over.index, v_row))
            patches = [e.load(e.at(v_at, j * e.lanes)) for j in range(tile_vectors)]
            for i in range(tile_rows):
                weight = e.splat(builder.load(e.at(u_row, i)))
                for j, patch in enumerate(patches):
                    builder.store(e.fma(weight, patch, builder.load(total[i, j])), total[i, j])
        for (i, j), slot in total.items():
            e.store(builder.load(slot), e.at(e.at(m_data, builder.mul(m_row, INT(i))), j * e.lanes))
        return context.get_dummy_value()

    signature = types.void(vectors, u, index, v, index, index, index, m, index, index)
    return signature, generate


# --- the three transforms, each of as many numbers at once as a vector has lanes ---------------------------------


def _b(v: Vectors, d: list[Any]) -> list[Any]:
    """B' d."""
    subtract, add = v.builder.fsub, v.builder.fadd
    return [subtract(d[0], d[2]), add(d[1], d[2]), subtract(d[2], d[1]), subtract(d[1], d[3])]


def _g(v: Vectors, g: list[Any]) -> list[Any]:
    """G g."""
    half = ir.Constant(v.type, [0.5] * v.lanes)
    ends = v.builder.fmul(half, v.builder.fadd(g[0], g[2]))
    middle = v.builder.fmul(half, g[1])
    return [g[0], v.builder.fadd(ends, middle), v.builder.fsub(ends, middle), g[2]]


def _a(v: Vectors, m: list[Any]) -> list[Any]:
    """A' m."""
    subtract, add = v.builder.fsub, v.builder.fadd
    return [add(add(m[0], m[1]), m[2]), subtract(subtract(m[1], m[2]), m[3])]


@intrinsic
def transform_kernels(typing_context, w, start, row, rows, flipped, u, u_start, u_step):
    """u = G g G' of the kernels g that are `row` numbers apart from `start` on; number p of all stands at u_start + p*u_step.

    Only `rows` >= 1 kernels are read; the last of them fills up the vector. Where kernels are flipped, their first and last
    rows and columns change places, and so do those of G g G'.
    """
    index = types.intp

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        w, start, row, rows, flipped, u, u_start, u_step = arguments
        v = Vectors(context, builder, signature.args[0].dtype)
        data = v.at(data_of(context, builder, signature.args[0], w), start)
        u_data = v.at(data_of(context, builder, signature.args[5], u), u_start)
        last = builder.sub(rows, INT(1))
        kernels = [
            v.at(data, builder.mul(row, builder.select(builder.icmp_signed("<", INT(i), last), INT(i), last)))
            for i in range(v.lanes)
        ]
        g: list[Any] = []
        for first in range(0, 9, v.lanes):
            mask = v.first_lanes(INT(9 - first))
            g += v.transposed([v.masked_load(v.at(kernel, first), mask, v.zero) for kernel in kernels])
        columns = [_g(v, g[s:9:3]) for s in range(3)]  # G g, column by column
        for r in range(4):
            for s, value in enumerate(_g(v, [column[r] for column in columns])):
                there = 4 * [3, 1, 2, 0][r] + [3, 1, 2, 0][s]
                place = builder.select(flipped, INT(there), INT(4 * r + s))
                v.store(value, v.at(u_data, builder.mul(u_step, place)))
        return context.get_dummy_value()

    return types.void(w, index, index, index, types.boolean, u, index, index), generate


@intrinsic
def transform_row(typing_context, source, start, left, width, target, target_start, target_step, count):
    """target[target_start + s*target_step + j] = (d B)[s], d being the numbers left + 2j to left + 2j + 3 of a row, for j < count.

    The row has `width` numbers, from `start` on, and is 0 on both sides. Up to `lanes` - 1 numbers behind the last are junk.
    """
    index = types.intp

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, start, left, width, target, target_start, target_step, count = arguments
        v = Vectors(context, builder, signature.args[0].dtype)
        data = v.at(data_of(context, builder, signature.args[0], source), start)
        target_data = v.at(data_of(context, builder, signature.args[4], target), target_start)
        vectors = builder.sdiv(builder.add(count, INT(v.lanes - 1)), INT(v.lanes))
        with cgutils.for_range(builder, vectors, intp=INT) as over:
            done = builder.mul(over.index, INT(v.lanes))
            column = builder.add(left, builder.add(done, done))
            numbers = []
            for part in range(3):
                at = builder.add(column, INT(part * v.lanes))
                mask = v.lanes_between(builder.neg(at), builder.sub(width, at))
                numbers.append(v.masked_load(v.at(data, at), mask, v.zero))
            d = [v.shuffle(numbers[0], numbers[1], list(range(s, 2 * v.lanes, 2))) for s in range(2)]
            d += [v.shuffle(d[s], numbers[2], [*range(1, v.lanes), v.lanes + s]) for s in range(2)]
            for s, value in enumerate(_b(v, d)):
                v.store(value, v.at(target_data, builder.add(done, builder.mul(target_step, INT(s)))))
        return context.get_dummy_value()

    return types.void(source, index, index, index, target, index, index, index), generate


@intrinsic
def transform_columns(typing_context, lines, plane, columns, target, target_start, target_step, count):
    """target[target_start + (4*r + s)*target_step + j] = (B' d)[r] of what `transform_row` made, for each s and j < count.

    Row r of column s of patch j is at (2*s + r % 2)*plane + r // 2 * columns + j. As many junk numbers follow as above.
    """
    index = types.intp

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lines, plane, columns, target, target_start, target_step, count = arguments
        v = Vectors(context, builder, signature.args[0].dtype)
        data = data_of(context, builder, signature.args[0], lines)
        target_data = v.at(data_of(context, builder, signature.args[3], target), target_start)
        vectors = builder.sdiv(builder.add(count, INT(v.lanes - 1)), INT(v.lanes))
        with cgutils.for_range(builder, vectors, intp=INT) as over:
            done = builder.mul(over.index, INT(v.lanes))
            for s in range(4):
                planes = [v.at(data, builder.add(done, builder.mul(plane, INT(2 * s + parity)))) for parity in range(2)]
                d = [v.load(planes[r % 2] if r < 2 else v.at(planes[r % 2], columns)) for r in range(4)]
                for r, value in enumerate(_b(v, d)):
                    v.store(value, v.at(target_data, builder.add(done, builder.mul(target_step, INT(4 * r + s)))))
        return context.get_dummy_value()

    return types.void(lines, index, index, target, index, index, index), generate


@intrinsic
def transform_back(typing_context, m, start, step, bias, channel, target, lower, count, doubt):
    """A' m A + bias[channel] of `count` tiles j, whose number p stands at start + p*step + j: outputs 2j and 2j + 1 of both rows.

    The upper row starts at 0 in the target, the other one at `lower`. The first `lanes` numbers of `doubt` are 0 for ever, unless
    an output is not finite.
    """
    index = types.intp

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        m, start, step, bias, channel, target, lower, count, doubt = arguments
        v = Vectors(context, builder, signature.args[0].dtype)
        data = v.at(data_of(context, builder, signature.args[0], m), start)
        target_data = data_of(context, builder, signature.args[5], target)
        doubt_data = data_of(context, builder, signature.args[8], doubt)
        b = v.splat(builder.load(v.at(data_of(context, builder, signature.args[3], bias), channel)))
        vectors = builder.sdiv(builder.add(count, INT(v.lanes - 1)), INT(v.lanes))
        doubts = cgutils.alloca_once(builder, v.type)
        builder.store(v.load(doubt_data), doubts)
        with cgutils.for_range(builder, vectors, intp=INT) as over:
            done = builder.mul(over.index, INT(v.lanes))
            mask = v.first_lanes(builder.sub(count, done))
            numbers = [v.load(v.at(data, builder.add(done, builder.mul(step, INT(p))))) for p in range(16)]
            columns = [_a(v, numbers[s::4]) for s in range(4)]
            for r in range(2):
                pair = [builder.fadd(value, b) for value in _a(v, [column[r] for column in columns])]
                row = v.at(v.at(target_data, builder.add(done, done)), lower if r else 0)
                for half in range(2):
                    first = half * v.lanes // 2
                    order = [first + i // 2 + i % 2 * v.lanes for i in range(v.lanes)]
                    v.store(v.shuffle(pair[0], pair[1], order), v.at(row, half * v.lanes))
                for value in pair:
                    kept = builder.select(mask, value, v.zero)  # what is behind the last tile is junk
                    builder.store(v.fma(kept, v.zero, builder.load(doubts)), doubts)
        v.store(builder.load(doubts), doubt_data)
        return context.get_dummy_value()

    return types.void(m, index, index, bias, index, target, index, index, doubt), generate
