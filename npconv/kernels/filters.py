"""The filters of single planes: rows are laid out once with their zero border, then summed over in registers, a tile at a time.

A row in scratch has its columns split by stride: every `parts`-th pixel makes a part, so that any tap of any stride reads a
contiguous run at a constant offset.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npconv.kernels.simd import INT, Vectors, data_of

TILE_ROWS = 8


@intrinsic(prefer_literal=True)
def split_rows(typing_context, parts, source, start, width, rows, target, target_start, pitch):
    """target[m, part, i] = source[m, i*parts + part] for each of `rows` rows of `width` pixels, and 0 from there to `pitch`.

    parts (1 or 2) is a literal, and `pitch` whole vectors; target[m, part, i] is at target_start + (m*parts + part)*pitch + i.
    """
    count = parts.literal_value
    index = types.intp
    signature = types.void(parts, source, index, index, index, target, index, index)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, source, start, width, rows, target, target_start, pitch = arguments
        v = Vectors(context, builder, source_type.dtype)
        source_data = v.at(data_of(context, builder, source_type, source), start)
        target_data = v.at(data_of(context, builder, signature.args[5], target), target_start)
        full = builder.sdiv(width, INT(count * v.lanes))
        rest = builder.sub(width, builder.mul(full, INT(count * v.lanes)))
        masks = [v.first_lanes(builder.sub(rest, INT(part * v.lanes))) for part in range(count)]
        vectors = builder.sdiv(pitch, INT(v.lanes))
        with cgutils.for_range(builder, rows, intp=INT) as row:
            pixels = v.at(source_data, builder.mul(row.index, width))
            places = [
                v.at(target_data, builder.mul(pitch, builder.add(builder.mul(row.index, INT(count)), INT(part))))
                for part in range(count)
            ]

            def store(number: Any, read: list[Any], places: list[Any] = places) -> None:
                if count == 2:
                    read = [v.shuffle(read[0], read[1], list(range(part, 2 * v.lanes, 2))) for part in range(2)]
                for value, place in zip(read, places, strict=True):
                    v.store(value, v.at(place, builder.mul(number, INT(v.lanes))))

            def source_at(number: Any, part: int, pixels: Any = pixels) -> Any:
                return v.at(v.at(pixels, builder.mul(number, INT(count * v.lanes))), part * v.lanes)

            with cgutils.for_range(builder, full, intp=INT) as over:
                store(over.index, [v.load(source_at(over.index, part)) for part in range(count)])
            with builder.if_then(builder.icmp_signed("<", full, vectors)):
                store(full, [v.masked_load(source_at(full, part), mask, v.zero) for part, mask in enumerate(masks)])
            with cgutils.for_range_slice(builder, builder.add(full, INT(1)), vectors, INT(1), intp=INT) as (over, _):
                store(over, [v.zero] * count)
        return context.get_dummy_value()

    source_type = source
    return signature, generate


@intrinsic
def filter_rows(
    typing_context, w, w_start, w_taps, x, x_start, x_row, x_taps, first_tap, end_tap, bias, y, y_start, y_row, rows, columns
):  # fmt: skip
    """y[i, j] = bias + sum over first_tap <= t < end_tap of w[t] * x[i, t, j] for i < TILE_ROWS and i < rows, and j < columns.

    w[t] is at w_start + w_taps[t], x[i, t, j] at x_start + x_taps[t] + i*x_row + j, where TILE_ROWS rows of whole vectors are
    read, and y[i, j] at y_start + i*y_row + j.
    """
    index = types.intp
    signature = types.void(
        w, index, w_taps, x, index, index, x_taps, index, index, x.dtype, y, index, index, index, index
    )  # fmt: skip

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        w, w_start, w_taps, x, x_start, x_row, x_taps, first_tap, end_tap, bias, y, y_start, y_row, rows, columns = (
            arguments
        )
        kinds = signature.args
        v = Vectors(context, builder, kinds[3].dtype)
        w_data = v.at(data_of(context, builder, kinds[0], w), w_start)
        x_data = v.at(data_of(context, builder, kinds[3], x), x_start)
        y_data = v.at(data_of(context, builder, kinds[10], y), y_start)
        w_table, x_table = data_of(context, builder, kinds[2], w_taps), data_of(context, builder, kinds[6], x_taps)
        start = v.splat(bias)
        total = [cgutils.alloca_once(builder, v.type) for _ in range(TILE_ROWS)]
        y_rows = [v.at(y_data, builder.mul(y_row, place)) for place in row_places(builder, TILE_ROWS, rows)]
        vectors = builder.sdiv(builder.add(columns, INT(v.lanes - 1)), INT(v.lanes))
        with cgutils.for_range(builder, vectors, intp=INT) as over:
            j = builder.mul(over.index, INT(v.lanes))
            pixels = v.at(x_data, j)
            for slot in total:
                builder.store(start, slot)
            with cgutils.for_range_slice(builder, first_tap, end_tap, INT(1), intp=INT) as (tap, _):
                weight = v.splat(builder.load(v.at(w_data, builder.load(v.at(w_table, tap)))))
                row = v.at(pixels, builder.load(v.at(x_table, tap)))
                for slot in total:
                    builder.store(v.fma(weight, v.load(row), builder.load(slot)), slot)
                    row = v.at(row, x_row)
            mask = v.first_lanes(builder.sub(columns, j))
            for slot, y_i in zip(reversed(total), reversed(y_rows), strict=True):
                v.masked_store(builder.load(slot), v.at(y_i, j), mask)
        return context.get_dummy_value()

    return signature, generate


def row_places(builder: Any, tile: int, rows: Any) -> list[Any]:
    """0, 1, ... tile - 1, but for what is beyond the last of `rows`: that goes where the last one is stored after it."""
    last = builder.sub(rows, INT(1))
    return [builder.select(builder.icmp_signed("<", INT(i), last), INT(i), last) for i in range(tile)]


@intrinsic
def weave_rows(typing_context, source, start, pitch, rows, columns, target, target_start, target_row):
    """target[m, 2*i + part] = source[m, part, i] for m < rows and 2*i + part < columns, the inverse of `split_rows` in two parts."""
    index = types.intp
    signature = types.void(source, index, index, index, index, target, index, index)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, start, pitch, rows, columns, target, target_start, target_row = arguments
        v = Vectors(context, builder, signature.args[0].dtype)
        source_data = v.at(data_of(context, builder, signature.args[0], source), start)
        target_data = v.at(data_of(context, builder, signature.args[5], target), target_start)
        vectors = builder.sdiv(builder.add(columns, INT(2 * v.lanes - 1)), INT(2 * v.lanes))
        with cgutils.for_range(builder, rows, intp=INT) as row:
            even = v.at(source_data, builder.mul(builder.mul(row.index, INT(2)), pitch))
            odd = v.at(even, pitch)
            out = v.at(target_data, builder.mul(row.index, target_row))
            with cgutils.for_range(builder, vectors, intp=INT) as over:
                i = builder.mul(over.index, INT(v.lanes))
                parts = v.load(v.at(even, i)), v.load(v.at(odd, i))
                for half in range(2):
                    j = builder.add(builder.mul(i, INT(2)), INT(half * v.lanes))
                    order = [half * v.lanes // 2 + k // 2 + k % 2 * v.lanes for k in range(v.lanes)]
                    mask = v.first_lanes(builder.sub(columns, j))
                    v.masked_store(v.shuffle(parts[0], parts[1], order), v.at(out, j), mask)
        return context.get_dummy_value()

    return signature, generate


@intrinsic(prefer_literal=True)
def correlate_rows(typing_context, taps, dy, dy_start, rows, columns, x, x_start, x_row, x_taps, first_tap, total):
    """total[t] += sum over i < rows and j < columns of dy[i, j] * x[i, t, j], in lanes, for first_tap <= t < first_tap + taps.

    taps is a literal. dy is a plane, x is as in `filter_rows`; total[t] is a vector at t*lanes, whose lanes are still to be
    added up.
    """
    count = taps.literal_value
    index = types.intp
    signature = types.void(taps, dy, index, index, index, x, index, index, x_taps, index, total)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, dy, dy_start, rows, columns, x, x_start, x_row, x_taps, first_tap, total = arguments
        kinds = signature.args
        v = Vectors(context, builder, kinds[1].dtype)
        dy_data = v.at(data_of(context, builder, kinds[1], dy), dy_start)
        x_data = v.at(data_of(context, builder, kinds[5], x), x_start)
        x_table = v.at(data_of(context, builder, kinds[8], x_taps), first_tap)
        total_data = v.at(data_of(context, builder, kinds[10], total), builder.mul(first_tap, INT(v.lanes)))
        x_planes = [v.at(x_data, builder.load(v.at(x_table, t))) for t in range(count)]
        places = [v.at(total_data, t * v.lanes) for t in range(count)]
        sums = [cgutils.alloca_once(builder, v.type) for _ in places]
        for place, slot in zip(places, sums, strict=True):
            builder.store(v.load(place), slot)
        vectors = builder.sdiv(builder.add(columns, INT(v.lanes - 1)), INT(v.lanes))
        with cgutils.for_range(builder, vectors, intp=INT) as over:
            j = builder.mul(over.index, INT(v.lanes))
            # lanes that are no column of dy must not meet a pixel of x: infinity times 0 is not 0
            valid = v.first_lanes(builder.sub(columns, j))
            with cgutils.for_range(builder, rows, intp=INT) as row:
                gradient = v.masked_load(v.at(dy_data, builder.add(builder.mul(row.index, columns), j)), valid, v.zero)
                pixel = builder.add(builder.mul(row.index, x_row), j)
                for x_plane, slot in zip(x_planes, sums, strict=True):
                    x_vector = v.masked_load(v.at(x_plane, pixel), valid, v.zero)
                    builder.store(v.fma(gradient, x_vector, builder.load(slot)), slot)
        for place, slot in zip(places, sums, strict=True):
            v.store(builder.load(slot), place)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def store_sums(typing_context, sums, count, target, target_start):
    """target[target_start + i] = the sum of the lanes of vector i of `sums`, for i < count."""
    index = types.intp
    signature = types.void(sums, index, target, index)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, count, target, target_start = arguments
        v = Vectors(context, builder, signature.args[0].dtype)
        source_data = data_of(context, builder, signature.args[0], sums)
        target_data = v.at(data_of(context, builder, signature.args[2], target), target_start)
        with cgutils.for_range(builder, count, intp=INT) as over:
            vector = v.load(v.at(source_data, builder.mul(over.index, INT(v.lanes))))
            builder.store(v.sum(vector), v.at(target_data, over.index))
        return context.get_dummy_value()

    return signature, generate
