"""Square kernels that slide over planes where they stand: a row is loaded once and shuffled into place for each of their columns."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npconv.kernels.row_windows import Windows, sides
from npconv.kernels.simd import INT, Vectors, align_stack, data_of

# The kinds of windows, sides and strides for which there is code.
SPREAD = tuple((kind, side) for side in (3, 5) for kind in (2, 0))
CORRELATED = tuple((kind, side, stride) for kind, side in SPREAD for stride in (1, 2))
FILTERED = ((1, 3, 1), *CORRELATED)


def _each(builder: Any, cases: tuple[Any, ...], values: Sequence[Any]) -> Iterator[Any]:
    """The cases one after the other: what is emitted meanwhile runs where `values` are those of the case."""
    for case in cases:
        same = [builder.icmp_signed("==", value, INT(number)) for value, number in zip(values, case, strict=True)]
        with builder.if_then(functools.reduce(builder.and_, same)):
            yield case


@intrinsic
def filter_planes(
    typing_context, kind, side, stride, first, end, w, w_first, w_step, x, x_image, height, width, row, column, zeros, bias,
    y, y_image, channels, rows, columns,
):  # fmt: skip
    """y[i, j] = bias[c] + sum over r, s < side of w[c, r, s] * x[row + i*stride + r, column + j*stride + s], for planes `first` to `end`.

    kind (one of `row_windows.window_kind`), side and stride are one of `FILTERED`. Plane n*channels + c of x, height x width pixels and 0
    outside, is at n*x_image + c*height*width, that of y, rows x columns, likewise, and w[c, r, s] at
    c*side*side + w_first + (r*side + s)*w_step; `zeros` are columns*stride + 4*lanes of them. A few rows of y at a time, a row of
    x is loaded once for all rows of the kernel that it meets.
    """
    index = types.intp
    signature = types.void(
        index, index, index, index, index, w, index, index, x, index, index, index, index, index, zeros, bias,
        y, index, index, index, index,
    )  # fmt: skip

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (_, _, _, first, end, w, w_first, w_step, x, x_image, height, width, row, column, _, _,
         y, y_image, channels, rows, columns) = arguments  # fmt: skip
        kinds = signature.args
        v = Vectors(context, builder, kinds[8].dtype)
        align_stack(builder, v)  # 5x5/2, 8 x 672 x 14 x 14: 0.17 to 0.23 ms became 0.16
        w_data = v.at(data_of(context, builder, kinds[5], w), w_first)
        x_data = v.at(data_of(context, builder, kinds[8], x), column)
        y_data = data_of(context, builder, kinds[16], y)
        zeros_data, bias_data = (data_of(context, builder, kinds[k], arguments[k]) for k in (14, 15))

        def filter_all(sort: int, size: int, jump: int) -> None:
            windows = Windows(v, sort, size, jump, column, width)
            parts, kept = windows.parts, windows.kept
            # what is kept of the rows of x, the sums and the weights of 3 x 3 fit the registers of AVX-512
            tile = 4 if jump == 2 and kept else 7 if sort == 1 else 8 // parts  # 7: two bands of 14 rows
            reach = (tile - 1) * jump + size  # rows of x that meet rows of y which follow each other
            first_masks = windows.masks(0, kept, INT(0))
            slots = [[cgutils.alloca_once(builder, v.type) for _ in range(kept)] for _ in range(reach)]

            def filter_band(i: Any, weights: list[list[Any]], start: Any, x_plane: Any, y_plane: Any) -> None:
                x_rows = []
                x_first = builder.add(row, builder.mul(i, INT(jump)))
                for u in range(reach + (parts - 1) * tile * jump):
                    number = builder.add(x_first, INT(u))
                    inside = builder.icmp_unsigned("<", number, height)  # a negative row is a large one
                    x_rows.append(builder.select(inside, v.at(x_plane, builder.mul(number, width)), zeros_data))
                for x_row, own in zip(x_rows, slots, strict=False):
                    for vector, slot in zip(windows.load(x_row, 0, first_masks), own, strict=True):
                        builder.store(vector, slot)
                # rows beyond the last one go where that is stored after them
                y_rows, left = [v.at(y_plane, builder.mul(columns, i))], builder.sub(rows, i)
                for k in range(1, parts * tile):
                    further = builder.select(builder.icmp_signed("<", INT(k), left), columns, INT(0))
                    y_rows.append(v.at(y_rows[-1], further))
                below = builder.mul(columns, INT(tile))

                def filter_columns(j: Any) -> None:
                    masks = windows.masks(kept, kept + windows.loaded, j)

                    def load_row(u: int) -> list[Any]:
                        own = slots[u] if kept else []
                        vectors = [builder.load(slot) for slot in own]
                        vectors += windows.load(v.at(x_rows[u], builder.mul(j, INT(jump))), kept, masks)
                        for slot in own:
                            builder.store(vectors[-1], slot)
                        return vectors

                    if kept:  # large maps: what the next rows of y will read, 3 to 7 % faster in the L3 cache
                        for x_row in x_rows[reach - tile * jump :]:
                            corner = v.at(v.at(x_row, builder.mul(j, INT(jump))), builder.mul(width, INT(tile * jump)))
                            for k in range(windows.loaded):
                                v.prefetch(v.at(corner, (kept + k) * v.lanes), 0)
                    total = [start] * tile
                    for u in range(reach):
                        vectors = load_row(u) + (load_row(u + tile * jump) if parts == 2 else [])
                        for s, x_vector in enumerate(windows.columns(vectors)):
                            for r in range(size):
                                k, rest = divmod(u - r, jump)
                                if 0 <= k < tile and not rest:
                                    total[k] = v.fma(weights[r][s], x_vector, total[k])
                    for k in reversed(range(parts * tile)):
                        part = k // tile
                        target = v.at(v.at(y_rows[k], j), -part * windows.share)
                        if kept:  # large maps: 14.7 instead of 17.5 cycles for 16 outputs at 112 x 112
                            v.prefetch(v.at(target, below), 1)
                        v.masked_store(total[k % tile], target, windows.part_mask(part, builder.sub(columns, j)))

                if kept:
                    vectors = builder.sdiv(builder.add(columns, INT(v.lanes - 1)), INT(v.lanes))
                    with cgutils.for_range(builder, vectors, intp=INT) as over:
                        filter_columns(builder.mul(over.index, INT(v.lanes)))
                else:
                    filter_columns(INT(0))

            with cgutils.for_range_slice(builder, first, end, INT(1), intp=INT) as (plane, _):
                n = builder.sdiv(plane, channels)
                c = builder.sub(plane, builder.mul(n, channels))
                w_plane = v.at(w_data, builder.mul(c, INT(size * size)))
                weights = [
                    [v.splat(builder.load(v.at(w_plane, builder.mul(w_step, INT(r * size + s))))) for s in range(size)]
                    for r in range(size)
                ]
                start = v.splat(builder.load(v.at(bias_data, c)))
                x_pixels, y_pixels = builder.mul(height, width), builder.mul(rows, columns)
                x_plane = v.at(x_data, builder.add(builder.mul(n, x_image), builder.mul(c, x_pixels)))
                y_plane = v.at(y_data, builder.add(builder.mul(n, y_image), builder.mul(c, y_pixels)))
                with cgutils.for_range_slice(builder, INT(0), rows, INT(parts * tile), intp=INT) as (i, _):
                    filter_band(i, weights, start, x_plane, y_plane)

        cases = tuple(case for case in FILTERED if case[1] in sides(v.bytes))
        for case in _each(builder, cases, arguments[:3]):
            filter_all(*case)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def correlate_planes(
    typing_context, kind, side, stride, first, end, batch, dy, dy_image, rows, columns, x, x_image, height, width, row, column,
    zeros, dw,
):  # fmt: skip
    """dw[c, r, s] = sum over n < batch, i and j of dy[n, c, i, j] * x[n, c, row + i*stride + r, column + j*stride + s].

    For channels `first` to `end`; all else is as in `filter_planes`, dy standing for y.
    """
    index = types.intp
    signature = types.void(
        index, index, index, index, index, index, dy, index, index, index, x, index, index, index, index, index, zeros, dw
    )  # fmt: skip

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (_, _, _, first, end, batch, dy, dy_image, rows, columns, x, x_image, height, width, row, column, zeros, dw) = (
            arguments
        )
        kinds = signature.args
        v = Vectors(context, builder, kinds[6].dtype)
        dy_data, dw_data = data_of(context, builder, kinds[6], dy), data_of(context, builder, kinds[17], dw)
        x_data = v.at(data_of(context, builder, kinds[10], x), column)
        zeros_data = data_of(context, builder, kinds[16], zeros)
        x_pixels, dy_pixels = builder.mul(height, width), builder.mul(rows, columns)

        def correlate_all(sort: int, size: int, jump: int) -> None:
            def correlate_rows(
                kind: int,
                some: range,
                sums: dict[Any, Any],
                first_row: Any,
                count: Any,
                planes: list[Any],
                ahead: list[Any],
            ) -> None:
                """Add what rows first_row + i of dy, i < count, and where the kind is 2 as many behind them, meet at `some` columns."""
                dy_at, x_at = planes
                windows = Windows(v, kind, size, jump, column, width)
                parts, end_vector = windows.parts, windows.kept + windows.loaded
                # The rows of x that meet a row of dy: all but the last one have met the row before, and stay where they are.
                kept = {meet: cgutils.alloca_once(builder, v.type) for meet in sums}
                dy_first = v.at(dy_at, builder.mul(first_row, columns))
                x_first = builder.add(row, builder.mul(first_row, INT(jump)))

                def correlate_columns(j: Any) -> None:
                    masks = windows.masks(0, end_vector, j)
                    left = builder.sub(columns, j)
                    part_masks = [windows.part_mask(part, left) for part in range(parts)]
                    # lanes that are no column of dy must not meet a pixel of x: infinity times 0 is not 0
                    valid = part_masks[0] if parts == 1 else builder.or_(*part_masks)

                    def load_row(number: Any, r: int) -> None:
                        vectors = []
                        for part in range(parts):
                            below = builder.add(number, builder.mul(count, INT(part * jump)))
                            inside = builder.icmp_unsigned("<", below, height)  # a negative row is a large one
                            x_row = builder.select(inside, v.at(x_at, builder.mul(below, width)), zeros_data)
                            vectors += windows.load(v.at(x_row, builder.mul(j, INT(jump))), 0, masks)
                        meets = windows.columns(vectors)
                        for s in some:
                            builder.store(builder.select(valid, meets[s], v.zero), kept[r, s])

                    for r in range(size - jump):
                        load_row(builder.add(x_first, INT(r)), r + jump)
                    with cgutils.for_range(builder, count, intp=INT) as over:
                        i = over.index
                        gradient = v.zero
                        if (
                            sort == 0 and not some.start
                        ):  # as many lines of the planes ahead: 10 to 28 % faster in the L3 cache
                            line = builder.add(builder.mul(j, rows), builder.mul(i, INT(v.lanes)))
                            v.prefetch(v.at(ahead[0], line), 0)
                            for k in range(jump * jump):
                                v.prefetch(v.at(v.at(ahead[1], builder.mul(line, INT(jump * jump))), k * v.lanes), 0)
                        for part, mask in enumerate(part_masks):
                            dy_row = builder.mul(columns, builder.add(i, builder.mul(count, INT(part))))
                            place = v.at(v.at(dy_first, builder.add(dy_row, j)), -part * windows.share)
                            gradient = v.masked_load(place, mask, gradient)
                        for r in range(size):
                            if r < size - jump:
                                for s in some:
                                    builder.store(builder.load(kept[r + jump, s]), kept[r, s])
                            else:
                                load_row(builder.add(x_first, builder.add(builder.mul(i, INT(jump)), INT(r))), r)
                            for s in some:
                                x_vector = builder.load(kept[r, s])
                                builder.store(v.fma(gradient, x_vector, builder.load(sums[r, s])), sums[r, s])

                if windows.kept:
                    vectors = builder.sdiv(builder.add(columns, INT(v.lanes - 1)), INT(v.lanes))
                    with cgutils.for_range(builder, vectors, intp=INT) as over:
                        correlate_columns(builder.mul(over.index, INT(v.lanes)))
                else:
                    correlate_columns(INT(0))

            def correlate(c: Any, some: range) -> None:
                sums = {(r, s): cgutils.alloca_once(builder, v.type) for r in range(size) for s in some}
                for slot in sums.values():
                    builder.store(v.zero, slot)
                with cgutils.for_range(builder, batch, intp=INT) as over:
                    n = over.index
                    last = builder.icmp_signed("==", n, builder.sub(batch, INT(1)))
                    planes, ahead = [], []
                    for data, image, pixels in ((dy_data, dy_image, dy_pixels), (x_data, x_image, x_pixels)):
                        start = builder.mul(c, pixels)
                        planes.append(v.at(data, builder.add(builder.mul(n, image), start)))
                        following = builder.mul(builder.add(n, INT(1)), image)
                        ahead.append(v.at(data, builder.add(start, builder.select(last, pixels, following))))
                    if sort == 2:
                        pairs = builder.sdiv(rows, INT(2))
                        correlate_rows(2, some, sums, INT(0), pairs, planes, ahead)
                        single = builder.sub(rows, builder.mul(pairs, INT(2)))
                        with builder.if_then(builder.icmp_signed(">", single, INT(0))):
                            correlate_rows(0, some, sums, builder.sub(rows, INT(1)), INT(1), planes, ahead)
                    else:
                        correlate_rows(sort, some, sums, INT(0), rows, planes, ahead)
                for (r, s), slot in sums.items():
                    place = v.at(dw_data, builder.add(builder.mul(c, INT(size * size)), INT(r * size + s)))
                    builder.store(v.sum(builder.load(slot)), place)

            with cgutils.for_range_slice(builder, first, end, INT(1), intp=INT) as (c, _):
                for some in (range(3), range(3, size)):  # 3 columns of 5 rows are as much as registers hold
                    if some:
                        correlate(c, some)

        cases = tuple(case for case in CORRELATED if case[1] in sides(v.bytes))
        for case in _each(builder, cases, arguments[:3]):
            correlate_all(*case)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def spread_planes(
    typing_context, kind, side, first, end, w, x, x_image, height, width, top, left, zeros, y, y_image, channels, rows, columns
):  # fmt: skip
    """y[i, j] = sum of w[c, r, s] * x[(i + top - r) / 2, (j + left - s) / 2], over all r, s < side for which these are whole numbers.

    All else is as in `filter_planes`. Rows 2*m + e - top of y meet rows m - t of x at rows 2*t + e of the kernel, for e = 0 and
    1; so do the columns, which makes two vectors, to be woven into one another.
    """
    index = types.intp
    signature = types.void(
        index, index, index, index, w, x, index, index, index, index, index, zeros, y, index, index, index, index
    )

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, _, first, end, _, _, x_image, height, width, top, left, _, _, y_image, channels, rows, columns = arguments
        kinds = signature.args
        v = Vectors(context, builder, kinds[5].dtype)
        align_stack(builder, v)  # 5x5/2, 8 x 72 x 56 x 56: 0.21 ms became 0.19
        w_data, x_data, zeros_data, y_data = (data_of(context, builder, kinds[k], arguments[k]) for k in (4, 5, 11, 12))

        def spread_all(sort: int, size: int) -> None:
            far, tile = size // 2, 2
            first_column = builder.sdiv(left, INT(2))
            corner = builder.sub(first_column, INT(far))
            windows = Windows(v, sort, far + 1, 1, corner, width)
            parts, kept = windows.parts, windows.kept
            reach = tile + far
            first_masks = windows.masks(0, kept, INT(0))
            slots = [[cgutils.alloca_once(builder, v.type) for _ in range(kept)] for _ in range(reach)]
            meets = [(r, s) for r in range(size) for s in range(size)]
            weave = [[half * v.lanes // 2 + k // 2 + k % 2 * v.lanes for k in range(v.lanes)] for half in range(2)]

            def spread_band(m: Any, weights: dict[Any, Any], x_plane: Any, y_plane: Any) -> None:
                x_rows = []
                for u in range(parts * tile + far):
                    number = builder.add(m, INT(u - far))
                    inside = builder.icmp_unsigned("<", number, height)  # a negative row is a large one
                    x_rows.append(builder.select(inside, v.at(x_plane, builder.mul(number, width)), zeros_data))
                for x_row, own in zip(x_rows, slots, strict=False):
                    for vector, slot in zip(windows.load(x_row, 0, first_masks), own, strict=True):
                        builder.store(vector, slot)
                y_first = builder.sub(builder.mul(m, INT(2)), top)

                def spread_columns(j: Any) -> None:
                    masks = windows.masks(kept, kept + windows.loaded, j)

                    def load_row(u: int) -> list[Any]:
                        own = slots[u] if kept else []
                        vectors = [builder.load(slot) for slot in own] + windows.load(v.at(x_rows[u], j), kept, masks)
                        for slot in own:
                            builder.store(vectors[-1], slot)
                        return vectors

                    total = {(k, e, f): v.zero for k in range(tile) for e in range(2) for f in range(2)}
                    for u in range(reach):
                        vectors = load_row(u) + (load_row(u + tile) if parts == 2 else [])
                        shifted = windows.columns(vectors)
                        for r, s in meets:
                            k = u - far + r // 2
                            if 0 <= k < tile:
                                slot = k, r % 2, s % 2
                                total[slot] = v.fma(weights[r, s], shifted[far - s // 2], total[slot])
                    column = builder.sub(builder.mul(builder.add(first_column, j), INT(2)), left)
                    starts = [builder.add(column, INT(half * v.lanes)) if parts == 1 else column for half in range(2)]
                    masks = [v.lanes_between(builder.neg(start), builder.sub(columns, start)) for start in starts]
                    for k in range(tile):
                        for e in range(2):
                            woven = [v.shuffle(total[k, e, 0], total[k, e, 1], order) for order in weave]
                            for part in range(parts):
                                number = builder.add(y_first, INT(2 * (k + part * tile) + e))
                                y_row = v.at(y_plane, builder.mul(number, columns))
                                with builder.if_then(builder.icmp_unsigned("<", number, rows)):
                                    for half in range(2) if parts == 1 else (part,):
                                        target = v.at(y_row, starts[half])
                                        if kept:
                                            v.prefetch(v.at(target, builder.mul(columns, INT(2 * tile))), 1)
                                        v.masked_store(woven[half], target, masks[half])

                if kept:
                    last_column = builder.sdiv(builder.add(left, builder.sub(columns, INT(1))), INT(2))
                    count = builder.add(builder.sub(last_column, first_column), INT(v.lanes))
                    with cgutils.for_range(builder, builder.sdiv(count, INT(v.lanes)), intp=INT) as over:
                        spread_columns(builder.mul(over.index, INT(v.lanes)))
                else:
                    spread_columns(INT(0))

            with cgutils.for_range_slice(builder, first, end, INT(1), intp=INT) as (plane, _):
                n = builder.sdiv(plane, channels)
                c = builder.sub(plane, builder.mul(n, channels))
                w_plane = v.at(w_data, builder.mul(c, INT(size * size)))
                weights = {(r, s): v.splat(builder.load(v.at(w_plane, r * size + s))) for r, s in meets}
                x_pixels, y_pixels = builder.mul(height, width), builder.mul(rows, columns)
                x_plane = v.at(
                    x_data, builder.add(builder.add(builder.mul(n, x_image), builder.mul(c, x_pixels)), corner)
                )
                y_plane = v.at(y_data, builder.add(builder.mul(n, y_image), builder.mul(c, y_pixels)))
                last_row = builder.sdiv(builder.add(top, builder.sub(rows, INT(1))), INT(2))
                bands = cgutils.for_range_slice(
                    builder, builder.sdiv(top, INT(2)), builder.add(last_row, INT(1)), INT(parts * tile), intp=INT
                )
                with bands as (m, _):
                    spread_band(m, weights, x_plane, y_plane)

        cases = tuple(case for case in SPREAD if case[1] in sides(v.bytes))
        for case in _each(builder, cases, arguments[:2]):
            spread_all(*case)
        return context.get_dummy_value()

    return signature, generate
