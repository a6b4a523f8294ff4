"""The vector vocabulary: what LLVM will not find by itself in a loop, said explicitly, for both dtypes and any vector width.

`Vectors` emits the instructions that `tiles` and `filters` are made of; the intrinsics below move numbers. Nothing here knows
what a convolution is, or checks anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npconv.kernels.jit import VECTOR_BITS as VECTOR_BITS
from npconv.memory import CACHE_LINE

INT = ir.IntType(64)
INT32 = ir.IntType(32)
BIT = ir.IntType(1)


class Vectors:
    """Emits vector instructions for one element type."""

    def __init__(self, context: Any, builder: Any, dtype: Any) -> None:
        self.builder = builder
        self.bytes = dtype.bitwidth // 8
        self.lanes = VECTOR_BITS // dtype.bitwidth
        self.element = context.get_data_type(dtype)
        self.type = ir.VectorType(self.element, self.lanes)
        self.suffix = f"v{self.lanes}f{dtype.bitwidth}"
        self.zero = ir.Constant(self.type, [0.0] * self.lanes)

    def _intrinsic(self, name: str, result: Any, arguments: list[Any]) -> Any:
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, arguments), name)

    def at(self, pointer: Any, index: Any) -> Any:
        """The address of element `index` (an int or an i64 value)."""
        return self.builder.gep(pointer, [INT(index) if isinstance(index, int) else index])

    def load(self, pointer: Any) -> Any:
        return self.builder.load(self.builder.bitcast(pointer, self.type.as_pointer()), align=self.bytes)

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, self.type.as_pointer()), align=self.bytes)

    def splat(self, scalar: Any) -> Any:
        undefined = ir.Constant(self.type, ir.Undefined)
        one = self.builder.insert_element(undefined, scalar, INT32(0))
        return self.builder.shuffle_vector(one, undefined, self._indices([0] * self.lanes))

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.call(self._intrinsic(f"llvm.fma.{self.suffix}", self.type, [self.type] * 3), [a, b, c])

    def first_lanes(self, count: Any) -> Any:
        """A mask of the lanes below `count`, an i64 that fits 32 bits."""
        numbers = ir.VectorType(INT32, self.lanes)
        undefined = ir.Constant(numbers, ir.Undefined)
        one = self.builder.insert_element(undefined, self.builder.trunc(count, INT32), INT32(0))
        splat = self.builder.shuffle_vector(one, undefined, self._indices([0] * self.lanes))
        return self.builder.icmp_signed("<", ir.Constant(numbers, list(range(self.lanes))), splat)

    def lanes_between(self, first: Any, end: Any) -> Any:
        """A mask of the lanes from `first` to `end`, i64 of any value."""
        return self.builder.and_(self.first_lanes(end), self.builder.not_(self.first_lanes(first)))

    def prefetch(self, pointer: Any, write: int) -> None:
        function = self._intrinsic("llvm.prefetch.p0", ir.VoidType(), [pointer.type, INT32, INT32, INT32])
        self.builder.call(function, [pointer, INT32(write), INT32(3), INT32(1)])

    def masked_load(self, pointer: Any, mask: Any, otherwise: Any) -> Any:
        """The lanes of `mask`, or of no mask all; elsewhere `otherwise`."""
        if mask is None:
            return self.load(pointer)
        address = self.builder.bitcast(pointer, self.type.as_pointer())
        function = self._intrinsic(
            f"llvm.masked.load.{self.suffix}.p0", self.type, [address.type, INT32, mask.type, self.type]
        )
        return self.builder.call(function, [address, INT32(self.bytes), mask, otherwise])

    def masked_store(self, value: Any, pointer: Any, mask: Any) -> None:
        if mask is None:
            self.store(value, pointer)
            return
        address = self.builder.bitcast(pointer, self.type.as_pointer())
        function = self._intrinsic(
            f"llvm.masked.store.{self.suffix}.p0", ir.VoidType(), [self.type, address.type, INT32, mask.type]
        )
        self.builder.call(function, [value, address, INT32(self.bytes), mask])

    def shuffle(self, a: Any, b: Any, indices: list[int]) -> Any:
        return self.builder.shuffle_vector(a, b, self._indices(indices))

    def transposed(self, block: list[Any]) -> list[Any]:
        """`lanes` vectors turned across: number j of the i-th is number i of the j-th."""
        # log2(lanes) rounds; in each, rows `step` apart swap the off-diagonal halves of their blocks of 2 * step
        step = 1
        while step < self.lanes:
            upper = [i if not i & step else self.lanes + i - step for i in range(self.lanes)]
            lower = [i + step if not i & step else self.lanes + i for i in range(self.lanes)]
            swapped = list(block)
            for i in range(self.lanes):
                if not i & step:
                    swapped[i] = self.shuffle(block[i], block[i + step], upper)
                    swapped[i + step] = self.shuffle(block[i], block[i + step], lower)
            block, step = swapped, 2 * step
        return block

    def sum(self, vector: Any) -> Any:
        return self.across(vector, self.builder.fadd)

    def across(self, vector: Any, combine: Callable[[Any, Any], Any]) -> Any:
        """All numbers of a vector, however many, combined into one: halves with halves."""
        lanes = vector.type.count
        while lanes > 1:
            lanes //= 2
            vector = combine(*(self.shuffle(vector, vector, [half + i for i in range(lanes)]) for half in (0, lanes)))
        return self.builder.extract_element(vector, INT32(0))

    def for_each(self, count: Any, body: Callable[[Any, Any], None]) -> None:
        """``body(place, mask)`` for each vector of `count` numbers; the mask is None, for no mask, where it is full."""
        builder = self.builder
        full = builder.sdiv(count, INT(self.lanes))
        with cgutils.for_range(builder, full, intp=INT) as over:
            body(builder.mul(over.index, INT(self.lanes)), None)
        done = builder.mul(full, INT(self.lanes))
        with builder.if_then(builder.icmp_signed("<", done, count)):
            body(done, self.first_lanes(builder.sub(count, done)))

    @staticmethod
    def _indices(indices: list[int]) -> Any:
        return ir.Constant(ir.VectorType(INT32, len(indices)), indices)


def data_of(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


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
        v = Vectors(context, builder, kinds[0].dtype)

        def runs(place: int) -> list[Any]:
            array, starts, first, shift = arguments[place : place + 4]
            data = v.at(data_of(context, builder, kinds[place], array), shift)
            table = v.at(data_of(context, builder, kinds[place + 1], starts), first)
            return [v.at(data, builder.load(v.at(table, i))) for i in range(v.lanes)]

        for column, run in zip(v.transposed([v.load(run) for run in runs(0)]), runs(4), strict=True):
            v.store(column, run)
        return context.get_dummy_value()

    return signature, generate


def _for_each_vector(source: Any, target: Any, move: Callable[[Vectors, Any, Any, Any], None]) -> Any:
    """What an intrinsic (source, source_start, target, target_start, count) returns that moves a vector at a time.

    ``move(v, source_at, target_at, left)`` gets functions that give the address of an element from the vector's first on times
    its argument, and how many elements are left: a constant where they fill the vector, so that its masks cost nothing.
    """
    index = types.intp

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, source_start, target, target_start, count = arguments
        v = Vectors(context, builder, signature.args[0].dtype)
        source_data = v.at(data_of(context, builder, signature.args[0], source), source_start)
        target_data = v.at(data_of(context, builder, signature.args[2], target), target_start)

        def move_from(done: Any, left: Any) -> None:
            twice = builder.add(done, done)
            move(
                v,
                (v.at(source_data, done), v.at(source_data, twice)),
                (v.at(target_data, done), v.at(target_data, twice)),
                left,
            )

        some = builder.select(builder.icmp_signed(">", count, INT(0)), count, INT(0))
        full = builder.udiv(some, INT(v.lanes))
        with cgutils.for_range(builder, full, intp=INT) as over:
            move_from(builder.mul(over.index, INT(v.lanes)), INT(v.lanes))
        done = builder.mul(full, INT(v.lanes))
        with builder.if_then(builder.icmp_signed("<", done, some)):
            move_from(done, builder.sub(some, done))
        return context.get_dummy_value()

    return types.void(source, index, target, index, index), generate


@intrinsic
def copy_run(typing_context, source, source_start, target, target_start, count):
    """target[target_start + i] = source[source_start + i] for i < count."""

    def move(v: Vectors, source_at: Any, target_at: Any, left: Any) -> None:
        mask = v.first_lanes(left)
        v.masked_store(v.masked_load(source_at[0], mask, v.zero), target_at[0], mask)

    return _for_each_vector(source, target, move)


@intrinsic
def gather_every_second(typing_context, source, source_start, target, target_start, count):
    """target[target_start + i] = source[source_start + 2*i] for i < count."""

    def move(v: Vectors, source_at: Any, target_at: Any, left: Any) -> None:
        there = v.builder.sub(v.builder.add(left, left), INT(1))
        low = v.masked_load(source_at[1], v.first_lanes(there), v.zero)
        more = v.builder.sub(there, INT(v.lanes))
        high = v.masked_load(v.at(source_at[1], v.lanes), v.first_lanes(more), v.zero)
        v.masked_store(v.shuffle(low, high, list(range(0, 2 * v.lanes, 2))), target_at[0], v.first_lanes(left))

    return _for_each_vector(source, target, move)


@intrinsic
def clear_run(typing_context, target, start, count):
    """target[start + i] = 0 for i < count."""
    signature, generate = _for_each_vector(
        target, target, lambda v, _, at, left: v.masked_store(v.zero, at[0], v.first_lanes(left))
    )

    def generate_one(context: Any, builder: Any, one: Any, arguments: Any) -> Any:
        target, start, count = arguments
        return generate(context, builder, signature, (target, start, target, start, count))

    return types.void(target, types.intp, types.intp), generate_one


@intrinsic
def prefetch_run(typing_context, array, start, count):
    """Ask for the cache lines of `count` elements from array[start] on, which may lie outside of the array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, start, count = arguments
        v = Vectors(context, builder, signature.args[0].dtype)
        first = v.at(data_of(context, builder, signature.args[0], array), start)
        in_a_line = CACHE_LINE // v.bytes
        lines = builder.sdiv(builder.add(count, INT(in_a_line - 1)), INT(in_a_line))
        with cgutils.for_range(builder, lines, intp=INT) as over:
            v.prefetch(v.at(first, builder.mul(over.index, INT(in_a_line))), 0)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), generate


def align_stack(builder: Any, v: Vectors) -> None:
    """Let the function's stack begin at a whole vector, where there are more vectors than registers.

    LLVM does that for what it is told to keep there, but not for what it spills: then most of the spilled cross a cache line,
    and how many depends on who calls.
    """
    kept = cgutils.alloca_once(builder, v.type)
    kept.align = VECTOR_BITS // 8
    builder.asm(ir.FunctionType(ir.VoidType(), [kept.type]), "", "r", [kept], True)
