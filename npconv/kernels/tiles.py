"""The register tile: a small matrix product whose sums stay in registers from the first product to the last.

LLVM unrolls such a tile before it would vectorise it, and then keeps it in memory. Here it is emitted as vectors, each product
as one fused multiply-add.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from npconv.kernels.simd import INT, VECTOR_BITS, Vectors, data_of

# 512-bit x86 and 128-bit ARM have 32 registers, AVX2 has 16: accumulators + one row of loads + one broadcast must fit. A panel
# of packed weights has as many rows as a vector has lanes, so the tile must not have more: of float64, 128 bits hold two.
ROWS, VECTORS = {512: (8, 3), 256: (4, 3), 128: (2, 6)}[VECTOR_BITS]
HALF = ROWS // 2


@intrinsic(prefer_literal=True)
def multiply_tile(
    typing_context, rows, vectors, packed, w, w_start, w_row, x, x_start, x_offsets, steps,
    y, y_start, y_row, valid_rows, runs, run_count, fresh, bias, bias_start,
):  # fmt: skip
    """y[i, j] (+)= sum over t < steps of w[i, t] * x[t, j], all arrays being flat, for i < rows and j < vectors * lanes, literals.

    x[t, j] is at x_start + x_offsets[t] + j, and w[i, t] at w_start + i*w_row + t or, where `packed` is a literal 1, at
    w_start + i + t*lanes. The inner loop has little room for address arithmetic, which takes the ports of its multiply-adds:
    one table of offsets and packed weights are 15 % faster than strides.

    Row i of y starts at y_start + i*y_row; where its columns go is said by `runs`, see `fill_runs`: columns that are in no
    run are not stored. Only the first `valid_rows` >= 1 are read or written, of w too unless it is packed.
    A `fresh` tile starts from bias[bias_start + i], another one from y.
    """
    tile_rows, tile_vectors, is_packed = rows.literal_value, vectors.literal_value, packed.literal_value
    index = types.intp
    signature = types.void(
        rows, vectors, packed, w, index, index, x, index, x_offsets, index,
        y, index, index, index, runs, index, types.boolean, bias, index,
    )  # fmt: skip

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (_, _, _, w, w_start, w_row, x, x_start, x_offsets, steps,
         y, y_start, y_row, valid_rows, runs, run_count, fresh, bias, bias_start) = arguments  # fmt: skip
        kinds = signature.args
        v = Vectors(context, builder, kinds[6].dtype)
        w_data = v.at(data_of(context, builder, kinds[3], w), w_start)
        x_data = v.at(data_of(context, builder, kinds[6], x), x_start)
        y_data = v.at(data_of(context, builder, kinds[10], y), y_start)
        bias_data = v.at(data_of(context, builder, kinds[17], bias), bias_start)
        offsets, table = data_of(context, builder, kinds[8], x_offsets), data_of(context, builder, kinds[14], runs)
        tile = [(i, j) for i in range(tile_rows) for j in range(tile_vectors)]
        last = builder.sub(valid_rows, INT(1))
        row = [builder.select(builder.icmp_signed("<", INT(i), last), INT(i), last) for i in range(tile_rows)]
        if is_packed:
            w_step, w_rows = INT(v.lanes), [v.at(w_data, i) for i in range(tile_rows)]
        else:
            w_step, w_rows = INT(1), [v.at(w_data, builder.mul(w_row, r)) for r in row]
        y_rows = [v.at(y_data, builder.mul(y_row, r)) for r in row]
        # mem2reg turns these slots into registers: their address is never taken
        total = {place: cgutils.alloca_once(builder, v.type) for place in tile}

        @contextlib.contextmanager
        def each_run() -> Iterator[list[tuple[Any, Any]]]:
            """A loop over the runs, with (offset, mask) of each vector."""
            with cgutils.for_range(builder, run_count, intp=INT) as over:
                run = builder.mul(over.index, INT(3 * VECTORS))
                entries = [
                    [builder.load(v.at(table, builder.add(run, INT(3 * j + e)))) for e in range(3)]
                    for j in range(tile_vectors)
                ]
                yield [(offset, v.lanes_between(first, end)) for first, end, offset in entries]

        with builder.if_else(builder.icmp_unsigned("!=", fresh, fresh.type(0))) as (from_bias, from_y):
            with from_bias:
                for i in range(tile_rows):
                    start = v.splat(builder.load(v.at(bias_data, row[i])))
                    for j in range(tile_vectors):
                        builder.store(start, total[i, j])
                with each_run() as places:  # they are written when the sums are done: until then, the lines can come
                    for i in range(tile_rows):
                        for offset, _ in places:
                            v.prefetch(v.at(y_rows[i], offset), 1)
            with from_y:
                for place in tile:
                    builder.store(v.zero, total[place])
                with each_run() as places:
                    for i, j in tile:
                        offset, mask = places[j]
                        y_run = v.masked_load(v.at(y_rows[i], offset), mask, builder.load(total[i, j]))
                        builder.store(y_run, total[i, j])

        def add_step(t: Any) -> None:
            x_step = v.at(x_data, builder.load(v.at(offsets, t)))
            w_place = builder.mul(t, w_step)
            x_vectors = [v.load(v.at(x_step, j * v.lanes)) for j in range(tile_vectors)]
            for i in range(tile_rows):
                weight = v.splat(builder.load(v.at(w_rows[i], w_place)))
                for j in range(tile_vectors):
                    builder.store(v.fma(weight, x_vectors[j], builder.load(total[i, j])), total[i, j])

        # counting takes the ports of the multiply-adds too: two steps at a time are 10 % faster
        half = builder.sdiv(steps, INT(2))
        with cgutils.for_range(builder, half, intp=INT) as over:
            first = builder.add(over.index, over.index)
            add_step(first)
            add_step(builder.add(first, INT(1)))
        with builder.if_then(builder.icmp_signed("<", builder.add(half, half), steps)):
            add_step(builder.sub(steps, INT(1)))
        with each_run() as places:
            for i, j in reversed(tile):  # rows beyond the valid ones go where the last valid one is stored after them
                offset, mask = places[j]
                v.masked_store(builder.load(total[i, j]), v.at(y_rows[i], offset), mask)
        return context.get_dummy_value()

    return signature, generate


@njit
def fill_runs(runs, first, count, pitch, columns, y_width, lanes):
    """Say where the columns of a tile go that holds `count` pixels of a map from its pixel `first` on; the number of runs.

    The map's rows are `pitch` pixels long, of which `columns` are wanted; row m of it starts at m * y_width. Entry (r, j) of
    `runs`, three numbers, is the r-th run of vector j < VECTORS: its first lane, its end, and the offset of lane 0 from y's row.
    """
    runs[:] = 0
    most = 0
    m, q = divmod(first, pitch)
    for j in range(-(-count // lanes)):
        lane, end, run = 0, min(lanes, count - j * lanes), 0
        while lane < end:
            kept = min(columns - q, end - lane)
            if kept > 0:
                entry = 3 * (run * VECTORS + j)
                runs[entry], runs[entry + 1], runs[entry + 2] = lane, lane + kept, m * y_width + q - lane
                run += 1
            step = min(pitch - q, end - lane)
            lane += step
            q += step
            if q == pitch:
                m, q = m + 1, 0
        most = max(most, run)
    return most


@njit(forceinline=True)
def multiply(
    packed, w, w_start, w_row, x, x_start, x_offsets, steps,
    y, y_start, y_row, rows, columns, runs, run_count, fresh, bias, bias_start,
):  # fmt: skip
    """`multiply_tile` for any number of rows, x being read over the whole tile.

    Where w is packed, it is in panels of `lanes` rows, each `w_row` behind the last, and w_start is in the first of them.
    """
    lanes = VECTOR_BITS // (8 * x.itemsize)
    for i in range(0, rows, ROWS):
        w_tile, y_tile, bias_tile = w_start + i * w_row, y_start + i * y_row, bias_start + i
        if packed:
            w_tile = w_start + i // lanes * w_row + i % lanes
            if rows - i > HALF and columns > lanes:
                multiply_tile(
                    ROWS, VECTORS, 1, w, w_tile, w_row, x, x_start, x_offsets, steps,
                    y, y_tile, y_row, rows - i, runs, run_count, fresh, bias, bias_tile,
                )  # fmt: skip
            elif rows - i > HALF:
                multiply_tile(
                    ROWS, 1, 1, w, w_tile, w_row, x, x_start, x_offsets, steps,
                    y, y_tile, y_row, rows - i, runs, run_count, fresh, bias, bias_tile,
                )  # fmt: skip
            elif columns > lanes:
                multiply_tile(
                    HALF, VECTORS, 1, w, w_tile, w_row, x, x_start, x_offsets, steps,
                    y, y_tile, y_row, rows - i, runs, run_count, fresh, bias, bias_tile,
                )  # fmt: skip
            else:
                multiply_tile(
                    HALF, 1, 1, w, w_tile, w_row, x, x_start, x_offsets, steps,
                    y, y_tile, y_row, rows - i, runs, run_count, fresh, bias, bias_tile,
                )  # fmt: skip
            continue
        if rows - i > HALF and columns > lanes:
            multiply_tile(
                ROWS, VECTORS, 0, w, w_tile, w_row, x, x_start, x_offsets, steps,
                y, y_tile, y_row, rows - i, runs, run_count, fresh, bias, bias_tile,
            )  # fmt: skip
        elif rows - i > HALF:
            multiply_tile(
                ROWS, 1, 0, w, w_tile, w_row, x, x_start, x_offsets, steps,
                y, y_tile, y_row, rows - i, runs, run_count, fresh, bias, bias_tile,
            )  # fmt: skip
        elif columns > lanes:
            multiply_tile(
                HALF, VECTORS, 0, w, w_tile, w_row, x, x_start, x_offsets, steps,
                y, y_tile, y_row, rows - i, runs, run_count, fresh, bias, bias_tile,
            )  # fmt: skip
        else:
            multiply_tile(
                HALF, 1, 0, w, w_tile, w_row, x, x_start, x_offsets, steps,
                y, y_tile, y_row, rows - i, runs, run_count, fresh, bias, bias_tile,
            )  # fmt: skip
