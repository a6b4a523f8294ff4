"""The transforms of Winograd's F(2x2, 3x3), for all channels of a tile: lanes are channels. `winograd` has the matrices' meaning."""

from __future__ import annotations

from typing import Any

from npconv.kernels.vectors import Code, Int, Mask, Pointer, Registers, Vector, emitted

# Rows of the matrices: (factor, place) of each term.
PATCH = (((1, 0), (-1, 2)), ((1, 1), (1, 2)), ((1, 2), (-1, 1)), ((1, 1), (-1, 3)))  # B'
PRODUCTS = (((1, 0), (1, 1), (1, 2)), ((1, 1), (-1, 2), (-1, 3)))  # A'
GRADIENT = (((1, 0),), ((1, 0), (1, 1)), ((1, 0), (-1, 1)), ((-1, 1),))  # A
KERNEL = (((1, 0),), ((0.5, 0), (0.5, 1), (0.5, 2)), ((0.5, 0), (-0.5, 1), (0.5, 2)), ((1, 2),))  # G
KERNEL_BACK = (((1, 0), (0.5, 1), (0.5, 2)), ((0.5, 1), (-0.5, 2)), ((0.5, 1), (0.5, 2), (1, 3)))  # G'


def _both_ways(code: Code, matrix: Any, block: list[list[Vector]]) -> list[list[Vector]]:
    """matrix * block * matrix', of vectors."""
    half = [[_combined(code, row, column) for column in zip(*block, strict=True)] for row in matrix]
    return [[_combined(code, row, line) for row in matrix] for line in half]


def _combined(code: Code, terms: Any, vectors: Any) -> Vector:
    """The sum of factor * vectors[place]."""
    total = None
    for factor, place in terms:
        vector = vectors[place] if abs(factor) == 1 else vectors[place] * code.constant(abs(factor))
        if total is None:
            total = vector if factor > 0 else code.zero - vector
        else:
            total = total + vector if factor > 0 else total - vector
    assert total is not None
    return total


@emitted
def transform_patches(
    code: Code, reads: Pointer, tiles: Int, channels: Int, patches: Pointer, pitch: Int, step: Int
) -> None:
    """patches[4 * i + j][m] = (B' d B)[i, j] of the 16 pixels d of patch m, whose addresses are reads[16 * m :].

    Patches are `pitch` numbers apart, which holds whole vectors, and positions `step`.
    """
    with code.loop(tiles) as m:
        pixels = [[code.pointer_at(reads[m * 16 + (4 * a + b)]) for b in range(4)] for a in range(4)]

        def transform(c: Int, mask: Mask | None) -> None:
            block = [[pixel.vector(c, mask) for pixel in row] for row in pixels]
            for i, row in enumerate(_both_ways(code, PATCH, block)):
                for j, vector in enumerate(row):
                    (patches + (m * pitch + c + step * (4 * i + j))).store(vector)

        code.vectors(channels, transform)


@emitted
def transform_products(
    code: Code,
    products: Pointer,
    tiles: Int,
    pitch: Int,
    step: Int,
    bias: Pointer,
    limits: Pointer,
    writes: Pointer,
    channel: Int,
    vectors: Int,
    lanes: Int,
    doubts: Pointer,
) -> None:
    """The 2x2 outputs of each tile: bias + A' m A, between the limits, of its products m[i, j] = products[4 * i + j][tile].

    writes: the addresses of the four pixels of a tile's outputs, 0 for one that is none; channel: at which the block begins
    doubts: (1,), becomes 1 if an output is not finite before it is limited
    """
    low, high = limits[0].splat(), limits[1].splat()
    with code.loop(vectors) as j:
        first = j * code.lanes
        count = (j + 1).equals(vectors).choose(lanes, code.lanes)
        mask = code.first_lanes(count)
        start = (bias + first).vector(0, mask)
        with code.loop(tiles) as m:
            block = [
                [(products + (m * pitch + first + step * (4 * a + b))).vector() for b in range(4)] for a in range(4)
            ]
            for a, row in enumerate(_both_ways(code, PRODUCTS, block)):
                for b, vector in enumerate(row):
                    address, result = writes[m * 4 + (2 * a + b)], vector + start
                    with code.when(result.any_not_finite()):
                        doubts.put(1)
                    with code.when(address >= 1):
                        pixel = code.pointer_at(address) + (channel + first)
                        pixel.store(result.limited(low, high), mask)


@emitted
def transform_gradients(
    code: Code, reads: Pointer, tiles: Int, channel: Int, vectors: Int, lanes: Int, gradients: Pointer, step: Int
) -> None:
    """gradients[4 * i + j][m] = (A d A')[i, j] of the 2x2 gradients d of tile m, whose addresses are reads[4 * m :]."""
    with code.loop(tiles) as m, code.loop(vectors) as k:
        first = k * code.lanes
        mask = code.first_lanes((k + 1).equals(vectors).choose(lanes, code.lanes))
        block = [
            [(code.pointer_at(reads[m * 4 + (2 * a + b)]) + channel).vector(first, mask) for b in range(2)]
            for a in range(2)
        ]
        for i, row in enumerate(_both_ways(code, GRADIENT, block)):
            for j, vector in enumerate(row):
                (gradients + (m * vectors * code.lanes + first + step * (4 * i + j))).store(vector)


@emitted
def transform_kernels(code: Code, kernels: Pointer, tap: Int, weights: Pointer, step: Int, vectors: Int) -> None:
    """weights[4 * i + j] = (G g G')[i, j] of the 3x3 kernels g[r, s] = kernels[3 * r + s], `vectors` vectors of them.

    Taps are `tap` numbers apart, which may be negative, and positions `step`.
    """
    with code.loop(vectors) as k:
        first = k * code.lanes
        block = [[(kernels + (first + tap * (3 * r + s))).vector() for s in range(3)] for r in range(3)]
        for i, row in enumerate(_both_ways(code, KERNEL, block)):
            for j, vector in enumerate(row):
                (weights + (first + step * (4 * i + j))).store(vector)


@emitted
def transform_kernels_back(
    code: Code, sums: Pointer, parts: Int, part: Int, taps: Pointer, step: Int, vectors: Int
) -> None:
    """taps[3 * r + s] = (G' m G)[r, s] of m[i, j], the sum over k < parts of sums[k * part + (4 * i + j) * step]."""
    with code.loop(vectors) as v:
        first, total = v * code.lanes, Registers(code)
        for position in range(16):
            total[position] = (sums + (first + step * position)).vector()
        with code.loop(parts - 1) as k:
            for position in range(16):
                total[position] = total[position] + (sums + ((k + 1) * part + first + step * position)).vector()
        block = [[total[4 * i + j] for j in range(4)] for i in range(4)]
        for r, row in enumerate(_both_ways(code, KERNEL_BACK, block)):
            for s, vector in enumerate(row):
                (taps + (first + step * (3 * r + s))).store(vector)
