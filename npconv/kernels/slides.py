"""Square kernels that slide over planes where they stand: a row is loaded once and shuffled into place for each of their columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npconv.kernels.filters import row_places, sum_of_lanes
from npconv.kernels.simd import INT, VECTOR_BITS, Vectors, data_of


class _Windows:
    """Emits what a kernel of `side` columns meets of rows of `width` pixels, 0 on both sides, for a vector of outputs.

    A row is loaded once, in vectors side by side from column `first` on, which are shuffled into place for each column of the
    kernel: that costs half of what loading it again does, for most loads cross a cache line. `kind` is one of `window_kind`.
    """

    def __init__(self, v: Vectors, kind: int, side: int, stride: int, first: Any, width: Any) -> None:
        self.v, self.kind, self.side, self.stride, self.first, self.width = v, kind, side, stride, first, width
        self.parts = 2 if kind == 2 else 1
        self.share = v.lanes // self.parts
        self.kept = 0 if kind else 1  # vectors that the next outputs need again
        self.loaded = 1 if kind == 2 else stride

    def masks(self, first: int, end: int, j: Any) -> list[Any]:
        """Which lanes of vectors `first` to `end` of the window of output column j are pixels."""
        builder, v = self.v.builder, self.v
        corner = builder.add(self.first, builder.mul(j, INT(self.stride)))
        starts = [builder.add(corner, INT(k * v.lanes)) for k in range(first, end)]
        return [v.lanes_between(builder.neg(start), builder.sub(self.width, start)) for start in starts]

    def load(self, pointer: Any, first: int, masks: list[Any]) -> list[Any]:
        v = self.v
        return [v.masked_load(v.at(pointer, (first + k) * v.lanes), mask, v.zero) for k, mask in enumerate(masks)]

    def part_mask(self, part: int, left: Any) -> Any:
        """The lanes of a part of a vector that has `left` columns of outputs."""
        first = INT(part * self.share)
        return self.v.lanes_between(first, self.v.builder.add(first, left)) if part else self.v.first_lanes(left)

    def columns(self, vectors: list[Any]) -> list[Any]:
        """For each column of the kernel, what the outputs meet there. Where `parts` is 2, the vectors are of two rows."""
        v, jump = self.v, self.stride
        if self.kind:
            result = []
            for s in range(self.side):
                # what lies beyond the window is 0, as is its first lane where there is anything
                places = [s + k * jump if s + k * jump < self.loaded * v.lanes else 0 for k in range(self.share)]
                order = [place + part * v.lanes for part in range(self.parts) for place in places]
                result.append(v.shuffle(vectors[0], vectors[-1], order))
            return result
        phases = [vectors[0]]
        if jump == 2:
            phases = [v.shuffle(vectors[0], vectors[1], list(range(s, 2 * v.lanes, 2))) for s in range(2)]
        result = []
        for s in range(self.side):
            shift, phase = divmod(s, jump)
            places = [
                k + shift if k + shift < v.lanes else v.lanes + (k + shift - v.lanes) * jump + phase
                for k in range(v.lanes)
            ]
            result.append(v.shuffle(phases[phase], vectors[-1], places) if shift else phases[phase])
        return result


def window_kind(first: int, width: int, columns: int, side: int, stride: int, dtype: np.dtype) -> int:
    """How few vectors hold what a row of `columns` outputs meets from column `first` on: 2 rows in one, 1 row, or 0, part of one."""
    lanes = VECTOR_BITS // (8 * dtype.itemsize)
    end = (columns - 1) * stride + side
    for kind, share, window in ((2, lanes // 2, lanes), (1, lanes, stride * lanes)):
        if columns <= share and (end <= window or (first < 0 and width - first <= window)):
            return (
                kind if kind == 2 or (side, stride) == (3, 1) else 0
            )  # the gain of others is not worth their compilation
    return 0


@intrinsic(prefer_literal=True)
def filter_planes(
    typing_context, kind, side, stride, first, end, w, w_first, w_step, x, x_image, height, width, row, column, zeros, bias,
    y, y_image, channels, rows, columns,
):  # fmt: skip
    """y[i, j] = bias[c] + sum over r, s < side of w[c, r, s] * x[row + i*stride + r, column + j*stride + s], for planes `first` to `end`.

    kind (one of `window_kind`), side and stride (1 or 2) are literals. Plane n*channels + c of x, height x width pixels and 0
    outside, is at n*x_image + c*height*width, that of y, rows x columns, likewise, and w[c, r, s] at
    c*side*side + w_first + (r*side + s)*w_step; `zeros` are columns*stride + 4*lanes of them. A few rows of y at a time, a row of
    x is loaded once for all rows of the kernel that it meets.
    """
    size, jump, sort = side.literal_value, stride.literal_value, kind.literal_value
    index = types.intp
    signature = types.void(
        kind, side, stride, index, index, w, index, index, x, index, index, index, index, index, zeros, bias,
        y, index, index, index, index,
    )  # fmt: skip

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (_, _, _, first, end, w, w_first, w_step, x, x_image, height, width, row, column, _, _,
         y, y_image, channels, rows, columns) = arguments  # fmt: skip
        kinds = signature.args
        v = Vectors(context, builder, kinds[8].dtype)
        w_data = v.at(data_of(context, builder, kinds[5], w), w_first)
        x_data = v.at(data_of(context, builder, kinds[8], x), column)
        y_data = data_of(context, builder, kinds[16], y)
        zeros_data, bias_data = (data_of(context, builder, kinds[k], arguments[k]) for k in (14, 15))
        windows = _Windows(v, sort, size, jump, column, width)
        parts, kept = windows.parts, windows.kept
        # what is kept of the rows of x, the sums and the weights of 3 x 3 fit the registers of AVX-512
        tile = 4 if jump == 2 and kept else 8 // parts
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
            places = row_places(builder, parts * tile, builder.sub(rows, i))
            y_rows = [v.at(y_plane, builder.mul(columns, builder.add(i, place))) for place in places]
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
        return context.get_dummy_value()

    return signature, generate


@intrinsic(prefer_literal=True)
def correlate_planes(
    typing_context, kind, side, stride, first, end, batch, dy, dy_image, rows, columns, x, x_image, height, width, row, column,
    zeros, dw,
):  # fmt: skip
    """dw[c, r, s] = sum over n < batch, i and j of dy[n, c, i, j] * x[n, c, row + i*stride + r, column + j*stride + s].

    For channels `first` to `end`; all else is as in `filter_planes`, dy standing for y.
    """
    size, jump, sort = side.literal_value, stride.literal_value, kind.literal_value
    index = types.intp
    signature = types.void(
        kind, side, stride, index, index, index, dy, index, index, index, x, index, index, index, index, index, zeros, dw
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
            windows = _Windows(v, kind, size, jump, column, width)
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
                builder.store(sum_of_lanes(v, builder.load(slot)), place)

        with cgutils.for_range_slice(builder, first, end, INT(1), intp=INT) as (c, _):
            for some in (range(3), range(3, size)):  # 3 columns of 5 rows are as much as registers hold
                if some:
                    correlate(c, some)
        return context.get_dummy_value()

    return signature, generate


@intrinsic(prefer_literal=True)
def spread_planes(
    typing_context, kind, side, first, end, w, x, x_image, height, width, top, left, zeros, y, y_image, channels, rows, columns
):  # fmt: skip
    """y[i, j] = sum of w[c, r, s] * x[(i + top - r) / 2, (j + left - s) / 2], over all r, s < side for which these are whole numbers.

    All else is as in `filter_planes`. Rows 2*m + e - top of y meet rows m - t of x at rows 2*t + e of the kernel, for e = 0 and
    1; so do the columns, which makes two vectors, to be woven into one another.
    """
    size, sort = side.literal_value, kind.literal_value
    index = types.intp
    signature = types.void(
        kind, side, index, index, w, x, index, index, index, index, index, zeros, y, index, index, index, index
    )

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, _, first, end, _, _, x_image, height, width, top, left, _, _, y_image, channels, rows, columns = arguments
        kinds = signature.args
        v = Vectors(context, builder, kinds[5].dtype)
        w_data, x_data, zeros_data, y_data = (data_of(context, builder, kinds[k], arguments[k]) for k in (4, 5, 11, 12))
        far, tile = size // 2, 2
        first_column = builder.sdiv(left, INT(2))
        corner = builder.sub(first_column, INT(far))
        windows = _Windows(v, sort, far + 1, 1, corner, width)
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
            x_plane = v.at(x_data, builder.add(builder.add(builder.mul(n, x_image), builder.mul(c, x_pixels)), corner))
            y_plane = v.at(y_data, builder.add(builder.mul(n, y_image), builder.mul(c, y_pixels)))
            last_row = builder.sdiv(builder.add(top, builder.sub(rows, INT(1))), INT(2))
            bands = cgutils.for_range_slice(
                builder, builder.sdiv(top, INT(2)), builder.add(last_row, INT(1)), INT(parts * tile), intp=INT
            )
            with bands as (m, _):
                spread_band(m, weights, x_plane, y_plane)
        return context.get_dummy_value()

    return signature, generate
