"""The expression layer: machine instructions written like the formula that they compute.

LLVM does not turn a register tile into vector instructions by itself (4 GF/s instead of 200 on one core), so tiles say
them. A function decorated with `emitted` is called by compiled loops like any other. Its body runs once, while the loop is
compiled, and every operator in it adds instructions to the loop: ``total[i, j] = fma(weight, x[j], total[i, j])``.
The values are `Int` (64 bits), `Pointer` (to numbers, counted in numbers), `Scalar`, `Vector` (of `lanes` numbers) and
`Mask`; Python numbers are constants of the code, and Python loops are unrolled. Nothing here checks anything, and nothing
here knows what a convolution is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npconv.kernels.jit import VECTOR_BITS

REGISTERS = 32 if VECTOR_BITS == 512 else 16
LANES = {32: VECTOR_BITS // 32, 64: VECTOR_BITS // 64}  # numbers in a vector, by their bits

_INT = ir.IntType(64)
_INT32 = ir.IntType(32)


class _Value:
    """A value of the code that is being made."""

    def __init__(self, code: Code, value: Any) -> None:
        self.code, self.value = code, value


class Int(_Value):
    """A signed integer of 64 bits."""

    def _with(self, operation: str, other: Int | int) -> Int:
        return Int(self.code, getattr(self.code.builder, operation)(self.value, self.code.number(other)))

    def __add__(self, other: Int | int) -> Int:
        return self if isinstance(other, int) and other == 0 else self._with("add", other)

    def __sub__(self, other: Int | int) -> Int:
        return self._with("sub", other)

    def __mul__(self, other: Int | int) -> Int:
        return self if isinstance(other, int) and other == 1 else self._with("mul", other)

    def __floordiv__(self, other: Int | int) -> Int:
        """Of numbers that are not negative."""
        return self._with("udiv", other)

    __radd__, __rmul__ = __add__, __mul__

    def __lt__(self, other: Int | int) -> Bit:
        return Bit(self.code, self.code.builder.icmp_signed("<", self.value, self.code.number(other)))

    def __ge__(self, other: Int | int) -> Bit:
        return Bit(self.code, self.code.builder.icmp_signed(">=", self.value, self.code.number(other)))

    def equals(self, other: Int | int) -> Bit:
        return Bit(self.code, self.code.builder.icmp_signed("==", self.value, self.code.number(other)))

    def at_most(self, other: Int | int) -> Int:
        """The smaller one of the two."""
        return (self < other).choose(self, other)


class Bit(_Value):
    """True or false."""

    def choose(self, yes: Any, no: Any) -> Any:
        """`yes` where this is true, else `no`: values of one kind, of which the second may be a constant."""
        other = self.code.number(no)
        return type(yes)(self.code, self.code.builder.select(self.value, yes.value, other))

    def both(self, other: Bit) -> Bit:
        """Whether this and `other` are true."""
        return Bit(self.code, self.code.builder.and_(self.value, other.value))


class Scalar(_Value):
    """One number."""

    def splat(self) -> Vector:
        """A vector of nothing else."""
        code = self.code
        undefined = ir.Constant(code.vector, ir.Undefined)
        one = code.builder.insert_element(undefined, self.value, _INT32(0))
        zeros = ir.Constant(ir.VectorType(_INT32, code.lanes), [0] * code.lanes)
        return Vector(code, code.builder.shuffle_vector(one, undefined, zeros))

    def __add__(self, other: Scalar) -> Scalar:
        return Scalar(self.code, self.code.builder.fadd(self.value, other.value))

    def is_nan(self) -> Bit:
        """Whether it is not a number."""
        return Bit(self.code, self.code.builder.fcmp_unordered("uno", self.value, self.value))


class Counter:
    """An Int that changes."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.slot = cgutils.alloca_once_value(code.builder, _INT(0))
        self.set(Int(code, _INT(0)))

    def get(self) -> Int:
        return Int(self.code, self.code.builder.load(self.slot))

    def set(self, value: Int) -> None:
        self.code.builder.store(value.value, self.slot)


class Pointer(_Value):
    """The place of a number in memory; `pointer + n` is the place n numbers on."""

    def __add__(self, offset: Int | int) -> Pointer:
        if isinstance(offset, int) and offset == 0:
            return self
        return Pointer(self.code, self.code.builder.gep(self.value, [self.code.number(offset)]))

    def __getitem__(self, offset: Int | int) -> Any:
        """The number `offset` numbers on: an Int of an array of integers, else a Scalar."""
        place = (self + offset).value
        value = self.code.builder.load(place)
        return Int(self.code, value) if value.type == _INT else Scalar(self.code, value)

    def vector(self, offset: Int | int = 0, mask: Mask | None = None) -> Vector:
        """The vector that begins `offset` numbers on; its lanes outside of `mask` are 0 and not read."""
        return self.code.load((self + offset).value, mask)

    def store(self, vector: Vector, mask: Mask | None = None) -> None:
        """Write `vector` here, or its lanes in `mask`."""
        self.code.store(vector, self.value, mask)

    def put(self, number: Scalar | Int | int) -> None:
        """Write one number here."""
        self.code.builder.store(_INT(number) if isinstance(number, int) else number.value, self.value)

    def prefetch(self) -> None:
        """Ask for the cache line of this place, which need not be in any array."""
        code = self.code
        code.call("llvm.prefetch.p0", ir.VoidType(), self, *(_Value(code, _INT32(number)) for number in (0, 2, 1)))


class Mask(_Value):
    """Which lanes of a vector are meant: the first ones, `full` where that is all."""

    def __init__(self, code: Code, value: Any, count: Int) -> None:
        super().__init__(code, value)
        self.count, self.full = count, count >= code.lanes


class Vector(_Value):
    """`lanes` numbers."""

    def __add__(self, other: Vector) -> Vector:
        return Vector(self.code, self.code.builder.fadd(self.value, other.value))

    def __sub__(self, other: Vector) -> Vector:
        return Vector(self.code, self.code.builder.fsub(self.value, other.value))

    def __mul__(self, other: Vector) -> Vector:
        return Vector(self.code, self.code.builder.fmul(self.value, other.value))

    def __truediv__(self, other: Vector) -> Vector:
        return Vector(self.code, self.code.builder.fdiv(self.value, other.value))

    def limited(self, low: Vector, high: Vector) -> Vector:
        """Lanes at or below `low` become `low`, at or above `high` `high`. A NaN is neither: as a limit it limits nothing."""
        builder = self.code.builder
        below = builder.fcmp_ordered("<=", self.value, low.value)
        raised = builder.select(below, low.value, self.value)
        above = builder.fcmp_ordered(">=", raised, high.value)
        return Vector(self.code, builder.select(above, high.value, raised))

    def replaced(self, reason: Vector, low: Vector, below: Vector, high: Vector, above: Vector) -> Vector:
        """This, but `below` where `reason` is at or below `low`, and `above` where it is at or above `high`."""
        builder = self.code.builder
        result = builder.select(builder.fcmp_ordered(">=", reason.value, high.value), above.value, self.value)
        is_below = builder.fcmp_ordered("<=", reason.value, low.value)
        return Vector(self.code, builder.select(is_below, below.value, result))

    def lanes_of(self, other: Vector, indices: list[int]) -> Vector:
        """The lanes `indices` of this vector and then `other`, as one vector of as many lanes."""
        constant = ir.Constant(ir.VectorType(_INT32, len(indices)), indices)
        return Vector(self.code, self.code.builder.shuffle_vector(self.value, other.value, constant))

    def any_not_finite(self) -> Bit:
        """Whether a lane is infinite or NaN: only then a lane less itself is not 0."""
        builder, count = self.code.builder, self.code.lanes
        doubtful = builder.fcmp_unordered("une", builder.fsub(self.value, self.value), self.code.zero.value)
        bits = builder.bitcast(doubtful, ir.IntType(count))
        return Bit(self.code, builder.icmp_unsigned("!=", bits, ir.IntType(count)(0)))

    def sum(self) -> Scalar:
        """Of all lanes: halves are added until one number is left."""
        vector, lanes = self, self.code.lanes
        while lanes > 1:
            lanes //= 2
            low, high = (vector.lanes_of(vector, list(range(i, i + lanes))) for i in (0, lanes))
            vector = low + high
        return Scalar(self.code, self.code.builder.extract_element(vector.value, _INT32(0)))


def fma(a: Vector, b: Vector, c: Vector) -> Vector:
    """a * b + c, rounded once."""
    code = a.code
    return Vector(code, code.call(f"llvm.fma.{code.suffix}", code.vector, a, b, c))


class Registers:
    """Vectors that change in a loop, by any key. LLVM keeps them in registers, for their addresses are never taken."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.slots: dict[Any, Any] = {}

    def __setitem__(self, key: Any, vector: Vector) -> None:
        if key not in self.slots:
            self.slots[key] = cgutils.alloca_once(self.code.builder, vector.value.type)
        self.code.builder.store(vector.value, self.slots[key])

    def __getitem__(self, key: Any) -> Vector:
        return Vector(self.code, self.code.builder.load(self.slots[key]))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.slots)


class Code:
    """The code that is being made, for numbers of one type; `lanes` of them are a vector."""

    def __init__(self, context: Any, builder: Any, dtype: Any) -> None:
        self.builder = builder
        self.bytes = dtype.bitwidth // 8
        self.lanes = LANES[dtype.bitwidth]
        self.element = context.get_data_type(dtype)
        self.vector = ir.VectorType(self.element, self.lanes)
        self.suffix = f"v{self.lanes}f{dtype.bitwidth}"
        self.zero = Vector(self, ir.Constant(self.vector, [0.0] * self.lanes))

    def number(self, value: Int | int) -> Any:
        """The LLVM value of an Int, or of a constant."""
        return _INT(value) if isinstance(value, int) else value.value

    def call(self, name: str, result: Any, *values: Any) -> Any:
        """LLVM's function `name` of these values."""
        arguments = [value.value for value in values]
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), arguments)

    def load(self, place: Any, mask: Mask | None) -> Vector:
        address = self.builder.bitcast(place, self.vector.as_pointer())
        if mask is None:
            return Vector(self, self.builder.load(address, align=self.bytes))
        arguments = _Value(self, address), _Value(self, _INT32(self.bytes)), mask, self.zero
        return Vector(self, self.call(f"llvm.masked.load.{self.suffix}.p0", self.vector, *arguments))

    def store(self, vector: Vector, place: Any, mask: Mask | None) -> None:
        address = self.builder.bitcast(place, self.vector.as_pointer())

        def plain() -> None:
            self.builder.store(vector.value, address, align=self.bytes)

        # Without AVX-512 a masked store takes as long as twelve others: 20 % of a pointwise convolution.
        if mask is None:
            plain()
        elif REGISTERS == 32:
            arguments = vector, _Value(self, address), _Value(self, _INT32(self.bytes)), mask
            name = f"llvm.masked.store.{self.suffix}.p0"
            self.either(mask.full, plain, lambda: self.call(name, ir.VoidType(), *arguments))
        else:
            self.either(mask.full, plain, lambda: self._store_halves(vector, Pointer(self, place), mask.count))

    def _store_halves(self, vector: Vector, place: Pointer, count: Int) -> None:
        """Store the first `count` lanes, fewer than all: as many halves, quarters and so on as that has."""
        lanes = self.lanes
        while lanes > 1:
            lanes //= 2
            low, high = (vector.lanes_of(vector, list(range(i, i + lanes))) for i in (0, lanes))
            has = Bit(self, self.builder.trunc((count // lanes).value, ir.IntType(1)))
            with self.when(has):
                address = self.builder.bitcast(place.value, low.value.type.as_pointer())
                self.builder.store(low.value, address, align=self.bytes)
            vector, place = has.choose(high, low), has.choose(place + lanes, place)

    def first_lanes(self, count: Int) -> Mask:
        """The lanes below `count`, of any value that fits 32 bits."""
        kind = ir.VectorType(_INT32, self.lanes)
        undefined = ir.Constant(kind, ir.Undefined)
        one = self.builder.insert_element(undefined, self.builder.trunc(count.value, _INT32), _INT32(0))
        splat = self.builder.shuffle_vector(one, undefined, ir.Constant(kind, [0] * self.lanes))
        value = self.builder.icmp_signed("<", ir.Constant(kind, list(range(self.lanes))), splat)
        return Mask(self, value, count)

    @contextmanager
    def loop(self, count: Int) -> Iterator[Int]:
        """``with code.loop(n) as i:`` makes a loop over i = 0 .. n - 1 of the code in its body."""
        with cgutils.for_range(self.builder, count.value, intp=_INT) as over:
            yield Int(self, over.index)

    @contextmanager
    def when(self, condition: Bit) -> Iterator[None]:
        """``with code.when(bit):`` makes code that runs where the bit is true."""
        with self.builder.if_then(condition.value):
            yield

    def either(self, condition: Bit, yes: Callable[[], None], no: Callable[[], None]) -> None:
        """The code of ``yes()`` where the bit is true, and of ``no()`` where it is not."""
        with self.builder.if_else(condition.value) as (then, otherwise):
            with then:
                yes()
            with otherwise:
                no()

    def first_of(self, cases: list[tuple[Bit, Any]], none: Callable[[], None], body: Callable[[Any], None]) -> None:
        """The code of ``body(case)`` for the first (bit, case) whose bit is true, and of ``none()`` where none is."""
        if not cases:
            none()
            return
        (bit, case), *others = cases
        self.either(bit, lambda: body(case), lambda: self.first_of(others, none, body))

    def vectors(self, count: Int, body: Callable[[Int, Mask | None], None]) -> None:
        """``body(first, mask)`` for each vector of `count` numbers; the mask is None, for no mask, where it is full."""
        full = count // self.lanes
        with self.loop(full) as i:
            body(i * self.lanes, None)
        done = full * self.lanes
        with self.when(done < count):
            body(done, self.first_lanes(count - done))

    def constant(self, number: float) -> Vector:
        """A vector of this number."""
        return Vector(self, ir.Constant(self.vector, [number] * self.lanes))

    def pointer_at(self, address: Int) -> Pointer:
        """The place in memory with that address."""
        return Pointer(self, self.builder.inttoptr(address.value, self.element.as_pointer()))

    def transposed(self, block: list[Vector]) -> list[Vector]:
        """`lanes` vectors transposed: lane j of the i-th is lane i of the j-th."""
        # log2(lanes) rounds; in each, rows `step` apart swap the off-diagonal halves of their blocks of 2 * step
        step = 1
        while step < self.lanes:
            upper = [i if not i & step else self.lanes + i - step for i in range(self.lanes)]
            lower = [i + step if not i & step else self.lanes + i for i in range(self.lanes)]
            swapped = list(block)
            for i in range(self.lanes):
                if not i & step:
                    swapped[i] = block[i].lanes_of(block[i + step], upper)
                    swapped[i + step] = block[i].lanes_of(block[i + step], lower)
            block, step = swapped, 2 * step
        return block


def emitted(function: Callable[..., None]) -> Any:
    """Make a function ``f(code, ...)`` of this file's values one that compiled loops call, as ``f(...)``.

    Arrays become the `Pointer` of their first number, integers `Int`. The numbers have the dtype of the first array of floats.
    """

    @functools.wraps(function)
    def typed(typing_context: Any, *kinds: Any) -> Any:
        arrays = [kind for kind in kinds if isinstance(kind, types.Array)]
        dtype = next(kind.dtype for kind in arrays if kind.dtype in types.real_domain)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            code = Code(context, builder, dtype)

            def argument(kind: Any, value: Any) -> Any:
                if isinstance(kind, types.Array):
                    return Pointer(code, context.make_array(kind)(context, builder, value).data)
                return Int(code, value)

            function(code, *map(argument, signature.args, values))
            return context.get_dummy_value()

        return types.void(*(kind if isinstance(kind, types.Array) else types.intp for kind in kinds)), generate

    return intrinsic(typed)


@intrinsic
def address_of(typing_context: Any, array: Any) -> Any:
    """The address of the first number of an array, an integer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (kind,) = signature.args
        return builder.ptrtoint(context.make_array(kind)(context, builder, arguments[0]).data, _INT)

    return types.intp(array), generate
