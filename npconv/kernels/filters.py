"""The filters of single planes, whose sums stay in registers: over pixels where they stand, or over channels in lanes."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npconv.kernels.simd import INT, Vectors, data_of


class _PaddedPlane:
    """Emits vectors of a plane of height * width pixels that is 0 everywhere else."""

    def __init__(self, v: Vectors, data: Any, height: Any, width: Any, zeros: Any, stride: int) -> None:
        self.v, self.data, self.height, self.width, self.stride = v, data, height, width, stride
        self.zeros = v.at(zeros, v.lanes)

    def row(self, number: Any) -> tuple[Any, Any]:
        inside = self.v.builder.icmp_unsigned("<", number, self.height)  # a negative row is a large one
        return inside, self.v.at(self.data, self.v.builder.mul(number, self.width))

    def columns(self, first: Any, outs: Any) -> list[Any]:
        """The masks of what `load` reads from column `first` on for the first `outs` lanes."""
        builder, lanes = self.v.builder, self.v.lanes
        reach = builder.add(first, builder.mul(outs, INT(self.stride)))
        end = builder.select(builder.icmp_signed("<", reach, self.width), reach, self.width)
        starts = [builder.add(first, INT(part * lanes)) for part in range(self.stride)]
        return [self.v.lanes_between(builder.neg(start), builder.sub(end, start)) for start in starts]

    def load(self, row: tuple[Any, Any], first: Any, masks: list[Any]) -> Any:
        """Every `stride`-th pixel of a row from column `first` on."""
        v, (inside, start) = self.v, row
        pointer = v.builder.select(inside, v.at(start, first), self.zeros)
        parts = [v.masked_load(v.at(pointer, part * v.lanes), mask, v.zero) for part, mask in enumerate(masks)]
        return parts[0] if self.stride == 1 else v.shuffle(parts[0], parts[1], list(range(0, 2 * v.lanes, 2)))


@intrinsic(prefer_literal=True)
def filter_tile(
    typing_context, rows, kernel_rows, stride, w, w_start, kernel_columns, x, x_start, height, width, row, column, step, zeros,
    y, y_start, y_row, valid_rows, valid_columns, bias,
):  # fmt: skip
    """y[i, j] = bias + sum over r < kernel_rows and s < kernel_columns of w[r, s] * x[row + i*stride + r, column + j*stride + s*step].

    For i < rows and j < lanes; rows, kernel_rows and stride (1 or 2) are literals. x is a plane of height * width pixels, 0 outside;
    w[r, s] is at w_start + r*kernel_columns + s, y[i, j] at y_start + i*y_row + j, where only the first `valid_rows` and
    `valid_columns` are written. `zeros` are 3*lanes of them. A vector of x is loaded once for all rows of the kernel that it
    meets: a load that crosses a cache line takes as long as four multiply-adds.
    """
    tile_rows, tall, jump = rows.literal_value, kernel_rows.literal_value, stride.literal_value
    index = types.intp
    signature = types.void(
        rows, kernel_rows, stride, w, index, index, x, index, index, index, index, index, index, zeros,
        y, index, index, index, index, x.dtype,
    )  # fmt: skip

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (_, _, _, w, w_start, kernel_columns, x, x_start, height, width, row, column, step, zeros,
         y, y_start, y_row, valid_rows, valid_columns, bias) = arguments  # fmt: skip
        kinds = signature.args
        v = Vectors(context, builder, kinds[6].dtype)
        w_data = v.at(data_of(context, builder, kinds[3], w), w_start)
        x_data = v.at(data_of(context, builder, kinds[6], x), x_start)
        y_data = v.at(data_of(context, builder, kinds[14], y), y_start)
        plane = _PaddedPlane(v, x_data, height, width, data_of(context, builder, kinds[13], zeros), jump)
        x_rows = [plane.row(builder.add(row, INT(u))) for u in range((tile_rows - 1) * jump + tall)]
        start = v.splat(bias)
        total = [cgutils.alloca_once_value(builder, start) for _ in range(tile_rows)]
        with cgutils.for_range(builder, kernel_columns, intp=INT) as over:
            first = builder.add(column, builder.mul(over.index, step))
            masks = plane.columns(first, valid_columns)
            weights = [
                v.splat(builder.load(v.at(w_data, builder.add(builder.mul(kernel_columns, INT(r)), over.index))))
                for r in range(tall)
            ]
            for u, x_row in enumerate(x_rows):
                x_vector = plane.load(x_row, first, masks)
                for r, weight in enumerate(weights):
                    i, rest = divmod(u - r, jump)
                    if 0 <= i < tile_rows and not rest:
                        slot = total[i]
                        builder.store(v.fma(weight, x_vector, builder.load(slot)), slot)
        mask = v.first_lanes(valid_columns)
        last = builder.sub(valid_rows, INT(1))
        for i in reversed(
            range(tile_rows)
        ):  # rows beyond the valid ones go where the last valid one is stored after them
            place = builder.select(builder.icmp_signed("<", INT(i), last), INT(i), last)
            v.masked_store(builder.load(total[i]), v.at(y_data, builder.mul(y_row, place)), mask)
        return context.get_dummy_value()

    return signature, generate


@intrinsic(prefer_literal=True)
def correlate_planes(
    typing_context, kernel_rows, kernel_columns, stride, dy, dy_start, rows, columns,
    x, x_start, height, width, row, column, step, zeros, total,
):  # fmt: skip
    """total[r, s] += sum over i < rows and j < columns of dy[i, j] * x[row + i*stride + r, column + j*stride + s*step].

    In lanes; kernel_rows, kernel_columns and stride (1 or 2) are literals. dy and x are planes, x is 0 outside of its own; `zeros` as in `filter_tile`.
    total[r, s] is a vector at (r*kernel_columns + s) * lanes, whose lanes are still to be added up.
    """
    tall, wide, jump = kernel_rows.literal_value, kernel_columns.literal_value, stride.literal_value
    index = types.intp
    signature = types.void(
        kernel_rows, kernel_columns, stride, dy, index, index, index,
        x, index, index, index, index, index, index, zeros, total,
    )  # fmt: skip

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (_, _, _, dy, dy_start, rows, columns, x, x_start, height, width, row, column, step, zeros, total) = arguments
        kinds = signature.args
        v = Vectors(context, builder, kinds[3].dtype)
        dy_data = v.at(data_of(context, builder, kinds[3], dy), dy_start)
        x_data = v.at(data_of(context, builder, kinds[7], x), x_start)
        total_data = data_of(context, builder, kinds[15], total)
        plane = _PaddedPlane(v, x_data, height, width, data_of(context, builder, kinds[14], zeros), jump)
        taps = [(r, s) for r in range(tall) for s in range(wide)]
        places = [v.at(total_data, (r * wide + s) * v.lanes) for r, s in taps]
        sums = {tap: cgutils.alloca_once_value(builder, v.load(place)) for tap, place in zip(taps, places, strict=True)}
        # The rows of x that meet a row of dy: all but the last one have met the row before, and stay where they are.
        kept = {tap: cgutils.alloca_once(builder, v.type) for tap in taps}
        vectors = builder.sdiv(builder.add(columns, INT(v.lanes - 1)), INT(v.lanes))
        with cgutils.for_range(builder, vectors, intp=INT) as over:
            j = builder.mul(over.index, INT(v.lanes))
            left = builder.sub(columns, j)
            valid = v.first_lanes(left)
            corner = builder.add(column, builder.mul(j, INT(jump)))
            firsts = [builder.add(corner, builder.mul(step, INT(s))) for s in range(wide)]
            # lanes that are no column of dy must not meet a pixel of x: infinity times 0 is not 0
            masks = [plane.columns(first, left) for first in firsts]

            def load_row(number: Any, r: int) -> None:
                x_row = plane.row(number)
                for s in range(wide):
                    builder.store(plane.load(x_row, firsts[s], masks[s]), kept[r, s])

            for r in range(tall - jump):
                load_row(builder.add(row, INT(r)), r + jump)
            with cgutils.for_range(builder, rows, intp=INT) as over_rows:
                gradient = v.masked_load(
                    v.at(dy_data, builder.add(builder.mul(over_rows.index, columns), j)), valid, v.zero
                )
                x_first = builder.add(row, builder.mul(over_rows.index, INT(jump)))
                for r in range(tall):
                    if r < tall - jump:
                        for s in range(wide):
                            builder.store(builder.load(kept[r + jump, s]), kept[r, s])
                    else:
                        load_row(builder.add(x_first, INT(r)), r)
                    for s in range(wide):
                        builder.store(v.fma(gradient, builder.load(kept[r, s]), builder.load(sums[r, s])), sums[r, s])
        for tap, place in zip(taps, places, strict=True):
            v.store(builder.load(sums[tap]), place)
        return context.get_dummy_value()

    return signature, generate


@intrinsic(prefer_literal=True)
def filter_pixels(
    typing_context, pixels, w, w_taps, x, x_start, x_step, x_taps, taps, bias, y, y_start, y_step
):  # fmt: skip
    """y[i] = bias + sum over t < taps of w[t] * x[i, t], lane by lane: each is one vector, one channel to a lane.

    w[t] is at w_taps[t], x[i, t] at x_start + i*x_step + x_taps[t], y[i] at y_start + i*y_step, bias at 0, for i < pixels, a
    literal; all arrays are flat.
    """
    count = pixels.literal_value
    index = types.intp
    signature = types.void(pixels, w, w_taps, x, index, index, x_taps, index, bias, y, index, index)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, w, w_taps, x, x_start, x_step, x_taps, taps, bias, y, y_start, y_step = arguments
        kinds = signature.args
        v = Vectors(context, builder, kinds[3].dtype)
        w_data, bias_data = data_of(context, builder, kinds[1], w), data_of(context, builder, kinds[8], bias)
        x_data = v.at(data_of(context, builder, kinds[3], x), x_start)
        y_data = v.at(data_of(context, builder, kinds[9], y), y_start)
        w_table, x_table = data_of(context, builder, kinds[2], w_taps), data_of(context, builder, kinds[6], x_taps)
        x_pixels = [v.at(x_data, builder.mul(x_step, INT(i))) for i in range(count)]
        start = v.load(bias_data)
        total = [cgutils.alloca_once_value(builder, start) for _ in range(count)]
        with cgutils.for_range(builder, taps, intp=INT) as tap:
            weight = v.load(v.at(w_data, builder.load(v.at(w_table, tap.index))))
            x_tap = builder.load(v.at(x_table, tap.index))
            for slot, x_pixel in zip(total, x_pixels, strict=True):
                builder.store(v.fma(weight, v.load(v.at(x_pixel, x_tap)), builder.load(slot)), slot)
        for i, slot in enumerate(total):
            v.store(builder.load(slot), v.at(y_data, builder.mul(y_step, INT(i))))
        return context.get_dummy_value()

    return signature, generate


@intrinsic(prefer_literal=True)
def filter_weights(typing_context, taps, dy, dy_start, x, x_start, x_step, x_taps, first_tap, pixels, dw):
    """dw[t] += sum over i < pixels of dy[i] * x[i, t], lane by lane, for first_tap <= t < first_tap + taps, a literal.

    dy[i] is at dy_start + i*lanes, x[i, t] at x_start + i*x_step + x_taps[t], dw[t] at t*lanes; all arrays are flat.
    """
    count = taps.literal_value
    index = types.intp
    signature = types.void(taps, dy, index, x, index, index, x_taps, index, index, dw)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, dy, dy_start, x, x_start, x_step, x_taps, first_tap, pixels, dw = arguments
        kinds = signature.args
        v = Vectors(context, builder, kinds[1].dtype)
        dy_data = v.at(data_of(context, builder, kinds[1], dy), dy_start)
        x_data = v.at(data_of(context, builder, kinds[3], x), x_start)
        x_table = v.at(data_of(context, builder, kinds[6], x_taps), first_tap)
        dw_data = v.at(data_of(context, builder, kinds[9], dw), builder.mul(first_tap, INT(v.lanes)))
        x_runs = [v.at(x_data, builder.load(v.at(x_table, t))) for t in range(count)]
        total = [cgutils.alloca_once_value(builder, v.load(v.at(dw_data, t * v.lanes))) for t in range(count)]
        with cgutils.for_range(builder, pixels, intp=INT) as pixel:
            gradient = v.load(v.at(dy_data, builder.mul(pixel.index, INT(v.lanes))))
            x_pixel = builder.mul(pixel.index, x_step)
            for slot, x_run in zip(total, x_runs, strict=True):
                builder.store(v.fma(gradient, v.load(v.at(x_run, x_pixel)), builder.load(slot)), slot)
        for t, slot in enumerate(total):
            v.store(builder.load(slot), v.at(dw_data, t * v.lanes))
        return context.get_dummy_value()

    return signature, generate
