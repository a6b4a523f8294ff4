"""What a square kernel meets of a row: vectors side by side, shuffled into place for each of its columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from npconv.kernels.simd import INT, VECTOR_BITS, Vectors


class Windows:
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


def sides(itemsize: int) -> tuple[int, ...]:
    """The kernels that there is code for: no column of theirs is further than a vector from the first."""
    return tuple(side for side in (3, 5) if 8 * itemsize * (side - 1) <= VECTOR_BITS)
