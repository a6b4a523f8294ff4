"""What batch norm does with a run of numbers, in registers: sums about a centre, the line through it, and the gradients of both.

`GROUP` vectors are added up in the numbers' own dtype, and only what comes of them in float64: converting every vector is most of
the work where one does (float32 on AVX-512: 0.14 ns a number for the statistics, 0.26 for the gradient's sums), while three
roundings more hardly add to that of the number itself. The order is that of the run, whoever computes it. What is left at the end
of a run goes under a mask: of a plane of 7 x 7 it is all.

A line is (x - centre) * slope + shift, and `low` and `high` are its limits: at one or beyond it an activation is flat. A limit that
is NaN is none, since nothing compares with it. Arrays are flat, and numbers of their dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npconv.kernels.simd import INT, Vectors, data_of

GROUP = 4
DOUBLE = ir.DoubleType()


@intrinsic
def sums_about(typing_context, x, start, count, centre):
    """The sums of d and of d^2, d = x[start + i] - centre for i < count; the centre is finite."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, start, count, centre = arguments
        v = Vectors(context, builder, signature.args[0].dtype)
        first = v.at(data_of(context, builder, signature.args[0], x), start)
        about = v.splat(centre)

        def of_group(places: list[Any], masks: list[Any]) -> list[Any]:
            total, square = v.zero, v.zero
            for place, mask in zip(places, masks, strict=True):
                distance = builder.fsub(v.masked_load(v.at(first, place), mask, about), about)
                total = builder.fadd(total, distance)
                square = v.fma(distance, distance, square)
            return [total, square]

        return _sums(context, v, signature.return_type, count, of_group)

    return types.UniTuple(types.float64, 2)(x, types.intp, types.intp, x.dtype), generate


@intrinsic
def gradient_sums(typing_context, dy, dy_start, x, start, count, centre, slope, shift, low, high):
    """The sums of g and of g * (x - centre) over a run, where g is dy, from `dy_start` on, but 0 where the line is flat."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        dy, dy_start, x, start, count, *line = arguments
        v = Vectors(context, builder, signature.args[0].dtype)
        first_dy = v.at(data_of(context, builder, signature.args[0], dy), dy_start)
        first_x = v.at(data_of(context, builder, signature.args[2], x), start)
        through = _Line(v, line)

        def of_group(places: list[Any], masks: list[Any]) -> list[Any]:
            total, product = v.zero, v.zero
            for place, mask in zip(places, masks, strict=True):
                away = through.away(v.masked_load(v.at(first_x, place), mask, through.centre))
                gradient = through.before(v.masked_load(v.at(first_dy, place), mask, v.zero), away)
                if mask is not None:
                    away = builder.select(mask, away, v.zero)  # the centre may be infinite
                total = builder.fadd(total, gradient)
                product = v.fma(gradient, away, product)
            return [total, product]

        return _sums(context, v, signature.return_type, count, of_group)

    number = dy.dtype
    arguments = dy, types.intp, x, types.intp, types.intp, number, number, number, number, number
    return types.UniTuple(types.float64, 2)(*arguments), generate


@intrinsic
def line_run(typing_context, x, start, count, centre, slope, shift, low, high, y):
    """y[start + i] = the line of x[start + i], not beyond its limits, for i < count."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, start, count, *line, y = arguments
        v = Vectors(context, builder, signature.args[0].dtype)
        through = _Line(v, line)
        arrays = [(signature.args[0], x, start), (signature.args[-1], y, start)]
        map_run(context, v, arrays, count, lambda x: through.limited(through.away(x)))
        return context.get_dummy_value()

    number = x.dtype
    arguments = x, types.intp, types.intp, number, number, number, number, number, y
    return types.void(*arguments), generate


@intrinsic
def line_gradient_run(
    typing_context, dy, dy_start, x, start, count, centre, slope, shift, low, high, along_one, along_x, dx
):
    """dx[start + i] = slope * (g - along_one - (x - centre) * along_x) for i < count, with the g of `gradient_sums`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        dy, dy_start, x, start, count, *line, along_one, along_x, dx = arguments
        v = Vectors(context, builder, signature.args[0].dtype)
        through, along_one, along_x = _Line(v, line), v.splat(along_one), v.splat(along_x)

        def gradient(dy: Any, x: Any) -> Any:
            away = through.away(x)
            rest = builder.fsub(builder.fsub(through.before(dy, away), along_one), builder.fmul(away, along_x))
            return builder.fmul(through.slope, rest)

        arrays = [(signature.args[0], dy, dy_start), (signature.args[2], x, start), (signature.args[-1], dx, start)]
        map_run(context, v, arrays, count, gradient)
        return context.get_dummy_value()

    number = dy.dtype
    index = types.intp
    arguments = dy, index, x, index, index, number, number, number, number, number, number, number, dx
    return types.void(*arguments), generate


class _Line:
    """The line and its limits on vectors: forward and gradients agree to the last bit on which side of a limit a number is."""

    def __init__(self, v: Vectors, line: list[Any]) -> None:
        self.v = v
        self.centre, self.slope, self.shift, self.low, self.high = map(v.splat, line)

    def away(self, x: Any) -> Any:
        return self.v.builder.fsub(x, self.centre)

    def _value(self, away: Any) -> tuple[Any, Any, Any]:
        """The line's value, and where it is at a limit or beyond."""
        builder = self.v.builder
        value = builder.fadd(builder.fmul(away, self.slope), self.shift)
        return value, builder.fcmp_ordered("<=", value, self.low), builder.fcmp_ordered(">=", value, self.high)

    def limited(self, away: Any) -> Any:
        value, below, above = self._value(away)
        return self.v.builder.select(below, self.low, self.v.builder.select(above, self.high, value))

    def before(self, dy: Any, away: Any) -> Any:
        """The gradient before the activation, dy being that behind it."""
        _, below, above = self._value(away)
        return self.v.builder.select(self.v.builder.or_(below, above), self.v.zero, dy)


def map_run(
    context: Any, v: Vectors, arrays: list[tuple[Any, Any, Any]], count: Any, function: Callable[..., Any]
) -> None:
    """The last of the arrays, (type, array, start), gets the function of the others, vector by vector."""
    firsts = [v.at(data_of(context, v.builder, kind, array), start) for kind, array, start in arrays]

    def move(place: Any, mask: Any) -> None:
        *sources, target = (v.at(first, place) for first in firsts)
        result = function(*(v.masked_load(source, mask, v.zero) for source in sources))
        v.masked_store(result, target, mask)

    v.for_each(count, move)


def _sums(
    context: Any, v: Vectors, result: Any, count: Any, of_group: Callable[[list[Any], list[Any]], list[Any]]
) -> Any:
    """Two sums in float64 over `count` numbers; ``of_group(places, masks)`` gives for each a vector over those at the places."""
    builder = v.builder
    lanes = v.lanes * v.bytes // 8  # of float64 in a register
    wide = ir.VectorType(DOUBLE, lanes)
    nothing = ir.Constant(wide, [0.0] * lanes)
    # mem2reg turns these slots into registers: their address is never taken
    totals = [cgutils.alloca_once_value(builder, nothing) for _ in range(2)]

    def add(begin: Any, left: Any) -> None:
        """A whole group, or where so many are `left`, those."""
        places = [builder.add(begin, INT(k * v.lanes)) for k in range(GROUP)]
        masks = [None if left is None else v.first_lanes(builder.sub(left, INT(k * v.lanes))) for k in range(GROUP)]
        for total, vector in zip(totals, of_group(places, masks), strict=True):
            for half in range(v.lanes // lanes):
                numbers = v.shuffle(vector, vector, list(range(half * lanes, (half + 1) * lanes)))
                if v.bytes == 4:
                    numbers = builder.fpext(numbers, wide)
                builder.store(builder.fadd(builder.load(total), numbers), total)

    group = GROUP * v.lanes
    groups = builder.sdiv(count, INT(group))
    with cgutils.for_range(builder, groups, intp=INT) as over:
        add(builder.mul(over.index, INT(group)), None)
    done = builder.mul(groups, INT(group))
    left = builder.sub(count, done)
    with builder.if_then(builder.icmp_signed(">", left, INT(0))):
        add(done, left)
    return context.make_tuple(builder, result, [v.sum(builder.load(total)) for total in totals])
