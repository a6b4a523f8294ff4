"""The register tile alone, against loops that say the same."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from npconv.kernels import simd, tiles

DTYPES = [np.float32, np.float64]


def lanes_of(dtype: type) -> int:
    return simd.VECTOR_BITS // (8 * np.dtype(dtype).itemsize)


def whole(rng: np.random.Generator, size: int, dtype: type) -> np.ndarray:
    return rng.integers(-4, 5, size).astype(dtype)


@njit
def run_fill_runs(runs, first, count, pitch, columns, y_width, lanes):
    return tiles.fill_runs(runs, first, count, pitch, columns, y_width, lanes)


@njit
def run_multiply(packed, w, w_start, w_row, x, x_start, x_offsets, steps, y, y_start, y_row, rows, columns, runs, run_count, fresh, bias, bias_start):  # fmt: skip
    tiles.multiply(packed, w, w_start, w_row, x, x_start, x_offsets, steps, y, y_start, y_row, rows, columns, runs, run_count, fresh, bias, bias_start)  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_multiply_is_a_sum_over_steps_and_touches_nothing_else(dtype: type, packed: bool) -> None:
    rng = np.random.default_rng(0)
    lanes = lanes_of(dtype)
    width = tiles.VECTORS * lanes
    for _ in range(300):
        rows, length, steps = int(rng.integers(1, 3 * lanes)), int(rng.integers(1, width + 1)), int(rng.integers(0, 9))
        # the tile is `length` pixels from `first` on of a map whose rows have `pitch` pixels, of which `columns` count
        pitch, first = int(rng.integers(1, 2 * width)), int(rng.integers(0, 200))
        columns, y_width = int(rng.integers(1, pitch + 1)), pitch + int(rng.integers(0, 3))
        w_row = (steps + 1) * lanes if packed else steps + int(rng.integers(0, 3))
        w_start, x_start, y_start, bias_start = (int(n) for n in rng.integers(0, 10, 4))
        y_row = (first + length + pitch) // pitch * y_width + width
        x_offsets = rng.integers(0, 60, steps)
        w, x = whole(rng, w_start + (rows + lanes) * (w_row + 1), dtype), whole(rng, 80 + width, dtype)
        y, bias = whole(rng, y_start + rows * y_row + width, dtype), whole(rng, 80, dtype)
        fresh = bool(rng.integers(2))

        expected = y.copy()
        for i in range(rows):
            row = w_start + (i // lanes * w_row + i % lanes if packed else i * w_row)
            for j in range(length):
                m, q = divmod(first + j, pitch)
                if q < columns:
                    at = y_start + i * y_row + m * y_width + q
                    expected[at] = bias[bias_start + i] if fresh else y[at]
                    for t in range(steps):
                        expected[at] += w[row + t * (lanes if packed else 1)] * x[x_start + x_offsets[t] + j]

        runs = np.full(3 * tiles.VECTORS * (lanes + 2), -1)
        run_count = run_fill_runs(runs, first, length, pitch, columns, y_width, lanes)
        run_multiply(
            packed, w, w_start, w_row, x, x_start, x_offsets, steps,
            y, y_start, y_row, rows, length, runs, run_count, fresh, bias, bias_start,
        )  # fmt: skip
        np.testing.assert_array_equal(y, expected)
