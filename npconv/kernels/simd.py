"""The vector vocabulary: what LLVM will not find by itself in a loop, said explicitly, for both dtypes and any vector width.

LLVM unrolls a register tile before it would vectorise it, and then keeps it in memory. Here the tile is emitted as vectors:
its accumulators stay in registers from the first product to the last, and each product is one fused multiply-add.
Nothing here knows what a convolution is, or checks anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic


def _vector_bits() -> int:
    features = binding.get_host_cpu_features()
    return 512 if features.get("avx512f") else 256 if features.get("avx2") else 128


VECTOR_BITS = _vector_bits()
# 512-bit x86 and 128-bit ARM have 32 registers, AVX2 has 16: accumulators + one row of loads + one broadcast must fit.
ROWS, VECTORS = (4, 3) if VECTOR_BITS == 256 else (8, 3)
HALF = ROWS // 2

_INT = ir.IntType(64)
_INT32 = ir.IntType(32)
_BIT = ir.IntType(1)


class _Vectors:
    """Emits vector instructions for one element type."""

    def __init__(self, context: Any, builder: Any, dtype: Any) -> None:
        self.builder = builder
        self.bytes = dtype.bitwidth // 8
        self.lanes = VECTOR_BITS // dtype.bitwidth
        self.element = context.get_data_type(dtype)
        self.type = ir.VectorType(self.element, self.lanes)
        self.suffix = f"v{self.lanes}f{dtype.bitwidth}"

    def _intrinsic(self, name: str, result: Any, arguments: list[Any]) -> Any:
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, arguments), name)

    def at(self, pointer: Any, index: Any) -> Any:
        """The address of element `index` (an int or an i64 value)."""
        return self.builder.gep(pointer, [_INT(index) if isinstance(index, int) else index])

    def load(self, pointer: Any) -> Any:
        return self.builder.load(self.builder.bitcast(pointer, self.type.as_pointer()), align=self.bytes)

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, self.type.as_pointer()), align=self.bytes)

    def splat(self, scalar: Any) -> Any:
        undefined = ir.Constant(self.type, ir.Undefined)
        one = self.builder.insert_element(undefined, scalar, _INT32(0))
        return self.builder.shuffle_vector(one, undefined, self._indices([0] * self.lanes))

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.call(self._intrinsic(f"llvm.fma.{self.suffix}", self.type, [self.type] * 3), [a, b, c])

    def first_lanes(self, count: Any) -> Any:
        """A mask of the lanes below `count`, an i64 that fits 32 bits."""
        numbers = ir.VectorType(_INT32, self.lanes)
        undefined = ir.Constant(numbers, ir.Undefined)
        one = self.builder.insert_element(undefined, self.builder.trunc(count, _INT32), _INT32(0))
        splat = self.builder.shuffle_vector(one, undefined, self._indices([0] * self.lanes))
        return self.builder.icmp_signed("<", ir.Constant(numbers, list(range(self.lanes))), splat)

    def lanes_between(self, first: Any, end: Any) -> Any:
        """A mask of the lanes from `first` to `end`, i64 of any value."""
        return self.builder.and_(self.first_lanes(end), self.builder.not_(self.first_lanes(first)))

    def prefetch_to_write(self, pointer: Any) -> None:
        function = self._intrinsic("llvm.prefetch.p0", ir.VoidType(), [pointer.type, _INT32, _INT32, _INT32])
        self.builder.call(function, [pointer, _INT32(1), _INT32(3), _INT32(1)])

    def masked_load(self, pointer: Any, mask: Any, otherwise: Any) -> Any:
        address = self.builder.bitcast(pointer, self.type.as_pointer())
        function = self._intrinsic(
            f"llvm.masked.load.{self.suffix}.p0", self.type, [address.type, _INT32, mask.type, self.type]
        )
        return self.builder.call(function, [address, _INT32(self.bytes), mask, otherwise])

    def masked_store(self, value: Any, pointer: Any, mask: Any) -> None:
        address = self.builder.bitcast(pointer, self.type.as_pointer())
        function = self._intrinsic(
            f"llvm.masked.store.{self.suffix}.p0", ir.VoidType(), [self.type, address.type, _INT32, mask.type]
        )
        self.builder.call(function, [value, address, _INT32(self.bytes), mask])

    def shuffle(self, a: Any, b: Any, indices: list[int]) -> Any:
        return self.builder.shuffle_vector(a, b, self._indices(indices))

    @staticmethod
    def _indices(indices: list[int]) -> Any:
        return ir.Constant(ir.VectorType(_INT32, len(indices)), indices)


def _data(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


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
        v = _Vectors(context, builder, kinds[6].dtype)
        w_data = v.at(_data(context, builder, kinds[3], w), w_start)
        x_data = v.at(_data(context, builder, kinds[6], x), x_start)
        y_data = v.at(_data(context, builder, kinds[10], y), y_start)
        bias_data = v.at(_data(context, builder, kinds[17], bias), bias_start)
        offsets, table = _data(context, builder, kinds[8], x_offsets), _data(context, builder, kinds[14], runs)
        tile = [(i, j) for i in range(tile_rows) for j in range(tile_vectors)]
        last = builder.sub(valid_rows, _INT(1))
        row = [builder.select(builder.icmp_signed("<", _INT(i), last), _INT(i), last) for i in range(tile_rows)]
        if is_packed:
            w_step, w_rows = _INT(v.lanes), [v.at(w_data, i) for i in range(tile_rows)]
        else:
            w_step, w_rows = _INT(1), [v.at(w_data, builder.mul(w_row, r)) for r in row]
        y_rows = [v.at(y_data, builder.mul(y_row, r)) for r in row]
        # mem2reg turns these slots into registers: their address is never taken
        total = {place: cgutils.alloca_once(builder, v.type) for place in tile}

        @contextlib.contextmanager
        def each_run() -> Iterator[list[tuple[Any, Any]]]:
            """A loop over the runs, with (offset, mask) of each vector."""
            with cgutils.for_range(builder, run_count, intp=_INT) as over:
                run = builder.mul(over.index, _INT(3 * VECTORS))
                entries = [
                    [builder.load(v.at(table, builder.add(run, _INT(3 * j + e)))) for e in range(3)]
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
                            v.prefetch_to_write(v.at(y_rows[i], offset))
            with from_y:
                for place in tile:
                    builder.store(ir.Constant(v.type, [0.0] * v.lanes), total[place])
                with each_run() as places:
                    for i, j in tile:
                        offset, mask = places[j]
                        y_run = v.masked_load(v.at(y_rows[i], offset), mask, builder.load(total[i, j]))
                        builder.store(y_run, total[i, j])
        with cgutils.for_range(builder, steps, intp=_INT) as over:
            x_step = v.at(x_data, builder.load(v.at(offsets, over.index)))
            w_place = builder.mul(over.index, w_step)
            x_vectors = [v.load(v.at(x_step, j * v.lanes)) for j in range(tile_vectors)]
            for i in range(tile_rows):
                weight = v.splat(builder.load(v.at(w_rows[i], w_place)))
                for j in range(tile_vectors):
                    builder.store(v.fma(weight, x_vectors[j], builder.load(total[i, j])), total[i, j])
        with each_run() as places:
            for i, j in reversed(tile):  # rows beyond the valid ones go where the last valid one is stored after them
                offset, mask = places[j]
                v.masked_store(builder.load(total[i, j]), v.at(y_rows[i], offset), mask)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def transpose_block(
    typing_context,
    source,
    source_starts,
    source_first,
    source_shift,
    target,
    target_starts,
    target_first,
    target_shift,
):
    """target[target_starts[target_first + j] + target_shift + i] = source[source_starts[source_first + i] + source_shift + j], i, j < lanes.

    Both arrays are flat: `lanes` runs of `lanes` numbers become as many runs across.
    """
    index = types.intp
    signature = types.void(source, source_starts, index, index, target, target_starts, index, index)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        v = _Vectors(context, builder, kinds[0].dtype)

        def runs(place: int) -> list[Any]:
            array, starts, first, shift = arguments[place : place + 4]
            data = v.at(_data(context, builder, kinds[place], array), shift)
            table = v.at(_data(context, builder, kinds[place + 1], starts), first)
            return [v.at(data, builder.load(v.at(table, i))) for i in range(v.lanes)]

        block = [v.load(run) for run in runs(0)]
        # log2(lanes) rounds; in each, rows `step` apart swap the off-diagonal halves of their blocks of 2 * step
        step = 1
        while step < v.lanes:
            upper = [i if not i & step else v.lanes + i - step for i in range(v.lanes)]
            lower = [i + step if not i & step else v.lanes + i for i in range(v.lanes)]
            swapped = list(block)
            for i in range(v.lanes):
                if not i & step:
                    swapped[i] = v.shuffle(block[i], block[i + step], upper)
                    swapped[i + step] = v.shuffle(block[i], block[i + step], lower)
            block, step = swapped, 2 * step
        for column, run in zip(block, runs(4), strict=True):
            v.store(column, run)
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
        v = _Vectors(context, builder, kinds[3].dtype)
        w_data, bias_data = _data(context, builder, kinds[1], w), _data(context, builder, kinds[8], bias)
        x_data = v.at(_data(context, builder, kinds[3], x), x_start)
        y_data = v.at(_data(context, builder, kinds[9], y), y_start)
        w_table, x_table = _data(context, builder, kinds[2], w_taps), _data(context, builder, kinds[6], x_taps)
        x_pixels = [v.at(x_data, builder.mul(x_step, _INT(i))) for i in range(count)]
        start = v.load(bias_data)
        total = [cgutils.alloca_once_value(builder, start) for _ in range(count)]
        with cgutils.for_range(builder, taps, intp=_INT) as tap:
            weight = v.load(v.at(w_data, builder.load(v.at(w_table, tap.index))))
            x_tap = builder.load(v.at(x_table, tap.index))
            for slot, x_pixel in zip(total, x_pixels, strict=True):
                builder.store(v.fma(weight, v.load(v.at(x_pixel, x_tap)), builder.load(slot)), slot)
        for i, slot in enumerate(total):
            v.store(builder.load(slot), v.at(y_data, builder.mul(y_step, _INT(i))))
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
        v = _Vectors(context, builder, kinds[1].dtype)
        dy_data = v.at(_data(context, builder, kinds[1], dy), dy_start)
        x_data = v.at(_data(context, builder, kinds[3], x), x_start)
        x_table = v.at(_data(context, builder, kinds[6], x_taps), first_tap)
        dw_data = v.at(_data(context, builder, kinds[9], dw), builder.mul(first_tap, _INT(v.lanes)))
        x_runs = [v.at(x_data, builder.load(v.at(x_table, t))) for t in range(count)]
        total = [cgutils.alloca_once_value(builder, v.load(v.at(dw_data, t * v.lanes))) for t in range(count)]
        with cgutils.for_range(builder, pixels, intp=_INT) as pixel:
            gradient = v.load(v.at(dy_data, builder.mul(pixel.index, _INT(v.lanes))))
            x_pixel = builder.mul(pixel.index, x_step)
            for slot, x_run in zip(total, x_runs, strict=True):
                builder.store(v.fma(gradient, v.load(v.at(x_run, x_pixel)), builder.load(slot)), slot)
        for t, slot in enumerate(total):
            v.store(builder.load(slot), v.at(dw_data, t * v.lanes))
        return context.get_dummy_value()

    return signature, generate


@njit(cache=True)
def fill_runs(runs, first, count, pitch, columns, y_width, lanes):
    """Say where the columns of a tile go that holds `count` pixels of a map from its pixel `first` on; the number of runs.

    The map's rows are `pitch` pixels long, of which `columns` are wanted; row m of it starts at m * y_width. Entry (r, j) of
    `runs`, three numbers, is the r-th run of vector j: its first lane, its end, and the offset of lane 0 from y's row.
    """
    runs[:] = 0
    most = 0
    for j in range(-(-count // lanes)):
        lane, end, run = 0, min(lanes, count - j * lanes), 0
        while lane < end:
            m, q = divmod(first + j * lanes + lane, pitch)
            kept = min(columns - q, end - lane)
            if kept > 0:
                entry = 3 * (run * VECTORS + j)
                runs[entry], runs[entry + 1], runs[entry + 2] = lane, lane + kept, m * y_width + q - lane
                run += 1
            lane += pitch - q
        most = max(most, run)
    return most


@njit(cache=True)
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
