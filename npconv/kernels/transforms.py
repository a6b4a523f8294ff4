"""Winograd's transforms of kernels, patches and products, made from the points at which polynomials are evaluated.

A row of `tile` outputs is a product of polynomials, evaluated and interpolated at tile + 1 numbers and at infinity. That gives
three matrices, exactly; the code of a transform is read off its matrix. Source: Lavin and Gray, Fast Algorithms
for Convolutional Neural Networks (arXiv 1509.09308), section 4, and Barabasz, Anderson, Soodhalter and Gregg, Error Analysis
and Improving the Accuracy of Winograd Convolution (arXiv 1803.10986), on how much the points matter.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npconv.kernels.simd import INT, Vectors, data_of

KERNEL = 3  # rows and columns of a kernel
# With the usual 0, 1, -1, 2, -2 the error of tiles of 4 on noise is twice as large: 3.8 times that of the direct sum, and not 1.9.
POINTS = {
    2: (Fraction(0), Fraction(1), Fraction(-1)),
    4: (Fraction(0), Fraction(3, 4), Fraction(-3, 4), Fraction(3, 2), Fraction(-3, 2)),
}

Matrix = tuple[tuple[Fraction, ...], ...]


class Matrices(NamedTuple):
    """Of F(tile, 3): outputs = A' ((G kernel) * (B' patch)), the product * being element by element."""

    b: Matrix  # (tile + 2, tile + 2)
    g: Matrix  # (tile + 2, 3)
    a: Matrix  # (tile, tile + 2)


@functools.cache
def matrices(tile: int) -> Matrices:
    """The rows of B' are Lagrange's polynomials without their divisors, which G has; infinity is the last row of each.

    >>> for row in matrices(2).b:
    ...     print(*row)
    1 0 -1 0
    0 1 1 0
    0 -1 1 0
    0 -1 0 1
    """
    b, g = [], []
    for i, point in enumerate(POINTS[tile]):
        others = POINTS[tile][:i] + POINTS[tile][i + 1 :]
        divisor = functools.reduce(lambda product, other: product * (point - other), others, Fraction(1))
        sign = -1 if divisor < 0 else 1
        b.append((*(sign * c for c in _polynomial(others)), Fraction(0)))
        g.append(tuple(point**k / abs(divisor) for k in range(KERNEL)))
    b.append(_polynomial(POINTS[tile]))
    g.append((Fraction(0), Fraction(0), Fraction(1)))
    a = [(*(point**i for point in POINTS[tile]), Fraction(i == tile - 1)) for i in range(tile)]
    return Matrices(tuple(b), tuple(g), tuple(a))


def _polynomial(roots: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """The coefficients of the product of (x - root), that of 1 first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *coefficients], [*(root * c for c in coefficients), Fraction(0)]
        coefficients = [x - y for x, y in zip(shifted, scaled, strict=True)]
    return tuple(coefficients)


# --- code from a matrix ------------------------------------------------------------------------------------------


def _mirrored(one: Sequence[Fraction], other: Sequence[Fraction]) -> bool:
    """Whether the two differ in nothing but signs, and in some of these, not in all."""
    equal = [x == y for x, y in zip(one, other, strict=True) if x or y]
    opposite = [x == -y for x, y in zip(one, other, strict=True) if x or y]
    return any(equal) and any(opposite) and all(x or y for x, y in zip(equal, opposite, strict=True))


def _transformed(v: Vectors, matrix: Matrix, numbers: list[Any]) -> list[Any]:
    """matrix * numbers. A point and its negative have mirrored columns (A') or rows, which share sums and differences."""
    subtract, add = v.builder.fsub, v.builder.fadd
    columns, numbers, c = [list(column) for column in zip(*matrix, strict=True)], list(numbers), 0
    while c + 1 < len(columns):
        if _mirrored(columns[c], columns[c + 1]):
            pairs = list(zip(columns[c], columns[c + 1], strict=True))
            columns[c] = [x if x == y else Fraction(0) for x, y in pairs]
            columns[c + 1] = [x if x != y else Fraction(0) for x, y in pairs]
            numbers[c : c + 2] = add(numbers[c], numbers[c + 1]), subtract(numbers[c], numbers[c + 1])
            c += 1
        c += 1
    rows = list(zip(*columns, strict=True))
    results: list[Any] = []
    while len(results) < len(rows):
        row, mirror = rows[len(results)], rows[min(len(results) + 1, len(rows) - 1)]
        if not _mirrored(row, mirror):
            results.append(_sum(v, row, numbers))
            continue
        same = _sum(v, [x if x == y else Fraction(0) for x, y in zip(row, mirror, strict=True)], numbers)
        other = _sum(v, [x if x != y else Fraction(0) for x, y in zip(row, mirror, strict=True)], numbers)
        results += [add(same, other), subtract(same, other)]
    return results


def _sum(v: Vectors, factors: Sequence[Fraction], numbers: list[Any]) -> Any:
    """The sum of factors * numbers. One whose factor is 1 goes first, because it needs no product."""
    total = None
    for factor, number in sorted(zip(factors, numbers, strict=True), key=lambda term: (term[0] != 1, term[0] == -1)):
        constant = ir.Constant(v.type, [float(factor)] * v.lanes)
        if not factor:
            continue
        if total is None:
            total = number if factor == 1 else v.builder.fmul(constant, number)
        elif abs(factor) == 1:
            total = (v.builder.fadd if factor == 1 else v.builder.fsub)(total, number)
        else:
            total = v.fma(constant, number, total)
    return total


def _every(v: Vectors, vectors: list[Any]) -> list[Any]:
    """Number i of all is made number i // n of the i % n-th of the results, n being how many there are, a power of 2."""
    if len(vectors) == 1:
        return vectors
    halves = []
    for parity in range(2):
        order = list(range(parity, 2 * v.lanes, 2))
        picked = [v.shuffle(vectors[i], vectors[i + 1], order) for i in range(0, len(vectors), 2)]
        halves.append(_every(v, picked))
    return [half[i] for i in range(len(vectors) // 2) for half in halves]


def _one_after_another(v: Vectors, vectors: list[Any]) -> list[Any]:
    """What `_every` undoes."""
    if len(vectors) == 1:
        return vectors
    evens, odds = _one_after_another(v, vectors[::2]), _one_after_another(v, vectors[1::2])
    result = []
    for even, odd in zip(evens, odds, strict=True):
        for first in (0, v.lanes // 2):
            result.append(v.shuffle(even, odd, [first + i // 2 + i % 2 * v.lanes for i in range(v.lanes)]))
    return result


def _for_each_vector(v: Vectors, count: Any) -> Any:
    vectors = v.builder.sdiv(v.builder.add(count, INT(v.lanes - 1)), INT(v.lanes))
    return cgutils.for_range(v.builder, vectors, intp=INT)


# --- the transforms, each of as many numbers at once as a vector has lanes; `tile` is a tuple of so many numbers -------


@intrinsic
def transform_kernels(typing_context, tile, w, start, row, rows, flipped, u, u_start, u_step):
    """u = G g G' of the kernels g that are `row` numbers apart from `start` on; number p of all stands at u_start + p*u_step.

    Only `rows` >= 1 kernels are read; the last of them fills up the vector. Those that are `flipped` are read backwards.
    """
    index = types.intp

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, w, start, row, rows, flipped, u, u_start, u_step = arguments
        v = Vectors(context, builder, signature.args[1].dtype)
        data = v.at(data_of(context, builder, signature.args[1], w), start)
        u_data = v.at(data_of(context, builder, signature.args[6], u), u_start)
        last = builder.sub(rows, INT(1))
        kernels = [
            v.at(data, builder.mul(row, builder.select(builder.icmp_signed("<", INT(i), last), INT(i), last)))
            for i in range(v.lanes)
        ]
        taps: list[Any] = []
        for first in range(0, KERNEL**2, v.lanes):
            mask = v.first_lanes(INT(KERNEL**2 - first))
            taps += v.transposed([v.masked_load(v.at(kernel, first), mask, v.zero) for kernel in kernels])
        del taps[KERNEL**2 :]
        g = [builder.select(flipped, back, forth) for forth, back in zip(taps, reversed(taps), strict=True)]
        matrix = matrices(tile.count).g
        columns = [_transformed(v, matrix, g[s::KERNEL]) for s in range(KERNEL)]  # G g, column by column
        for r in range(len(matrix)):
            for s, value in enumerate(_transformed(v, matrix, [column[r] for column in columns])):
                v.store(value, v.at(u_data, builder.mul(u_step, INT(len(matrix) * r + s))))
        return context.get_dummy_value()

    return types.void(tile, w, index, index, index, types.boolean, u, index, index), generate


@intrinsic
def transform_row(typing_context, tile, source, start, left, width, target, target_start, target_step, count):
    """target[target_start + s*target_step + j] = (d B)[s], d being the tile + 2 numbers of a row from left + tile*j on, for j < count.

    The row has `width` numbers, from `start` on, and is 0 on both sides. Up to `lanes` - 1 numbers behind the last are junk.
    """
    index = types.intp

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, source, start, left, width, target, target_start, target_step, count = arguments
        v = Vectors(context, builder, signature.args[1].dtype)
        data = v.at(data_of(context, builder, signature.args[1], source), start)
        target_data = v.at(data_of(context, builder, signature.args[5], target), target_start)
        with _for_each_vector(v, count) as over:
            done = builder.mul(over.index, INT(v.lanes))
            column = builder.add(left, builder.mul(done, INT(tile.count)))
            numbers = []
            for part in range(tile.count + 1):
                at = builder.add(column, INT(part * v.lanes))
                mask = v.lanes_between(builder.neg(at), builder.sub(width, at))
                numbers.append(v.masked_load(v.at(data, at), mask, v.zero))
            d = _every(v, numbers[:-1])
            d += [v.shuffle(d[s], numbers[-1], [*range(1, v.lanes), v.lanes + s]) for s in range(KERNEL - 1)]
            for s, value in enumerate(_transformed(v, matrices(tile.count).b, d)):
                v.store(value, v.at(target_data, builder.add(done, builder.mul(target_step, INT(s)))))
        return context.get_dummy_value()

    return types.void(tile, source, index, index, index, target, index, index, index), generate


@intrinsic
def transform_columns(typing_context, tile, lines, plane, columns, target, target_start, target_step, count):
    """target[target_start + ((tile + 2)*r + s)*target_step + j] = (B' d)[r] of what `transform_row` made, for each s and j < count.

    Row r of column s of patch j is at (tile*s + r % tile)*plane + r // tile * columns + j. As many junk numbers follow as above.
    """
    index = types.intp

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, lines, plane, columns, target, target_start, target_step, count = arguments
        v = Vectors(context, builder, signature.args[1].dtype)
        data = data_of(context, builder, signature.args[1], lines)
        target_data = v.at(data_of(context, builder, signature.args[4], target), target_start)
        matrix, edge = matrices(tile.count).b, tile.count
        with _for_each_vector(v, count) as over:
            done = builder.mul(over.index, INT(v.lanes))
            for s in range(len(matrix)):
                planes = [v.at(data, builder.add(done, builder.mul(plane, INT(edge * s + r)))) for r in range(edge)]
                d = [v.load(planes[r] if r < edge else v.at(planes[r - edge], columns)) for r in range(len(matrix))]
                for r, value in enumerate(_transformed(v, matrix, d)):
                    place = builder.mul(target_step, INT(len(matrix) * r + s))
                    v.store(value, v.at(target_data, builder.add(done, place)))
        return context.get_dummy_value()

    return types.void(tile, lines, index, index, target, index, index, index), generate


@intrinsic
def transform_back(typing_context, tile, m, start, step, bias, channel, target, row, count, doubt):
    """A' m A + bias[channel] of `count` tiles j, whose number p stands at start + p*step + j.

    Row r of the outputs of all tiles starts at r*row in the target. The first `lanes` numbers of `doubt` are 0 for ever, unless
    an output is not finite.
    """
    index = types.intp

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, m, start, step, bias, channel, target, row, count, doubt = arguments
        v = Vectors(context, builder, signature.args[1].dtype)
        data = v.at(data_of(context, builder, signature.args[1], m), start)
        target_data = data_of(context, builder, signature.args[6], target)
        doubt_data = data_of(context, builder, signature.args[9], doubt)
        b = v.splat(builder.load(v.at(data_of(context, builder, signature.args[4], bias), channel)))
        matrix = matrices(tile.count).a
        patch = len(matrix[0])
        doubts = cgutils.alloca_once(builder, v.type)
        builder.store(v.load(doubt_data), doubts)
        with _for_each_vector(v, count) as over:
            done = builder.mul(over.index, INT(v.lanes))
            mask = v.first_lanes(builder.sub(count, done))
            columns = []
            for s in range(patch):
                places = [builder.add(done, builder.mul(step, INT(patch * r + s))) for r in range(patch)]
                columns.append(_transformed(v, matrix, [v.load(v.at(data, place)) for place in places]))
            for r in range(tile.count):
                outputs = _transformed(v, matrix, [column[r] for column in columns])
                outputs = [builder.fadd(value, b) for value in outputs]
                there = v.at(v.at(target_data, builder.mul(done, INT(tile.count))), builder.mul(row, INT(r)))
                for part, value in enumerate(_one_after_another(v, outputs)):
                    v.store(value, v.at(there, part * v.lanes))
                for value in outputs:
                    kept = builder.select(mask, value, v.zero)  # what is behind the last tile is junk
                    builder.store(v.fma(kept, v.zero, builder.load(doubts)), doubts)
        v.store(builder.load(doubts), doubt_data)
        return context.get_dummy_value()

    return types.void(tile, m, index, index, bias, index, target, index, index, doubt), generate


# --- for the gradient of the weights, with channels in the lanes: each number of a patch is a vector ------------------


def _transform_turned(tile: Any, lines: Any, target: Any, matrix: Matrix) -> Any:
    """What an intrinsic returns that makes matrix * block * matrix' of blocks whose neighbours begin `tile` columns apart."""
    index = types.intp
    size, results = len(matrix[0]), len(matrix)
    shared = size - tile.count  # columns that two neighbours have in common

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, lines, start, row, target, target_start, target_step, block_step, count = arguments
        v = Vectors(context, builder, signature.args[1].dtype)
        data = v.at(data_of(context, builder, signature.args[1], lines), start)
        target_data = v.at(data_of(context, builder, signature.args[4], target), target_start)
        rows = [v.at(data, builder.mul(row, INT(r))) for r in range(size)]
        places = [builder.mul(target_step, INT(p)) for p in range(results**2)]

        def column(at: Any, s: int) -> list[Any]:
            return _transformed(v, matrix, [v.load(v.at(v.at(line, at), s * v.lanes)) for line in rows])

        kept = [[cgutils.alloca_once_value(builder, value) for value in column(INT(0), s)] for s in range(shared)]
        with cgutils.for_range(builder, count, intp=INT) as over:
            at = builder.mul(over.index, INT(tile.count * v.lanes))
            columns = [[builder.load(slot) for slot in slots] for slots in kept]
            columns += [column(at, s) for s in range(shared, size)]
            for slots, values in zip(kept, columns[size - shared :], strict=True):
                for slot, value in zip(slots, values, strict=True):
                    builder.store(value, slot)
            there = v.at(target_data, builder.mul(over.index, block_step))
            for place in places:  # of the next: where so many lines were elsewhere in the cache, 3 % of all the time
                v.prefetch(v.at(v.at(there, block_step), place), 1)
            for r in range(results):
                for s, value in enumerate(_transformed(v, matrix, [values[r] for values in columns])):
                    v.store(value, v.at(there, places[results * r + s]))
        return context.get_dummy_value()

    return types.void(tile, lines, index, index, target, index, index, index, index), generate


@intrinsic
def transform_patches(typing_context, tile, lines, start, row, target, target_start, target_step, patch_step, count):
    """target[target_start + p*target_step + j*patch_step] = (B' d B)[p] of `count` patches j, each number being a vector.

    Row r, column s of patch j stands at start + r*row + (tile*j + s) * lanes.
    """
    return _transform_turned(tile, lines, target, matrices(tile.count).b)


@intrinsic
def transform_gradients(typing_context, tile, lines, start, row, target, target_start, target_step, tile_step, count):
    """target[target_start + p*target_step + j*tile_step] = (A e A')[p] of the gradients e of `count` tiles j, likewise."""
    return _transform_turned(tile, lines, target, tuple(zip(*matrices(tile.count).a, strict=True)))


@intrinsic
def transform_sums(typing_context, tile, m, start, step, target, doubt):
    """G' m G of `lanes` sums m, whose number p stands at start + p*step; the 9 weights of each follow those of the one before.

    Behind the last of them, up to `lanes` - 1 numbers are junk. `doubt` is as above.
    """
    index = types.intp

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, m, start, step, target, doubt = arguments
        v = Vectors(context, builder, signature.args[1].dtype)
        data = v.at(data_of(context, builder, signature.args[1], m), start)
        target_data = data_of(context, builder, signature.args[4], target)
        doubt_data = data_of(context, builder, signature.args[5], doubt)
        matrix = tuple(zip(*matrices(tile.count).g, strict=True))
        patch = len(matrix[0])
        columns = [
            _transformed(v, matrix, [v.load(v.at(data, builder.mul(step, INT(patch * r + s)))) for r in range(patch)])
            for s in range(patch)
        ]
        weights = [
            weight for r in range(KERNEL) for weight in _transformed(v, matrix, [values[r] for values in columns])
        ]
        doubts = v.load(doubt_data)
        for weight in weights:
            doubts = v.fma(weight, v.zero, doubts)
        v.store(doubts, doubt_data)
        for tap in range(0, KERNEL**2, v.lanes):
            first = max(0, min(tap, KERNEL**2 - v.lanes))
            block = weights[first : first + v.lanes]
            block += [v.zero] * (v.lanes - len(block))
            for i, run in enumerate(v.transposed(block)):  # what a run has too much, the next overwrites
                v.store(run, v.at(target_data, KERNEL**2 * i + first))
        return context.get_dummy_value()

    return types.void(tile, m, index, index, target, doubt), generate
