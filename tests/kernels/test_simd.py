"""The vector vocabulary alone, against loops that say the same."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from npconv.kernels import simd

DTYPES = [np.float32, np.float64]


def lanes_of(dtype: type) -> int:
    return simd.VECTOR_BITS // (8 * np.dtype(dtype).itemsize)


def whole(rng: np.random.Generator, size: int, dtype: type) -> np.ndarray:
    return rng.integers(-4, 5, size).astype(dtype)


@njit
def run_transpose(source, source_starts, target, target_starts):
    simd.transpose_block(source, source_starts, 1, 2, target, target_starts, 3, 4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose_block_turns_runs_across(dtype: type) -> None:
    rng = np.random.default_rng(0)
    lanes = lanes_of(dtype)
    source_starts = rng.permutation(lanes + 5) * (lanes + 3)
    target_starts = rng.permutation(lanes + 5) * (lanes + 2)
    source = rng.normal(size=(lanes + 6) * (lanes + 3)).astype(dtype)
    target = np.zeros((lanes + 6) * (lanes + 2), dtype)
    expected = target.copy()
    for i in range(lanes):
        for j in range(lanes):
            expected[target_starts[3 + j] + 4 + i] = source[source_starts[1 + i] + 2 + j]
    run_transpose(source, source_starts, target, target_starts)
    np.testing.assert_array_equal(target, expected)


@njit
def run_moves(source, target, count):
    simd.copy_run(source, 3, target, 5, count)
    simd.gather_every_second(source, 3, target, 105, count)
    simd.clear_run(target, 405, count)


@pytest.mark.parametrize("dtype", DTYPES)
def test_moves_touch_what_they_say_and_nothing_else(dtype: type) -> None:
    rng = np.random.default_rng(0)
    for count in range(70):
        source, target = whole(rng, 150, dtype) + 10, whole(rng, 500, dtype)
        expected = target.copy()
        expected[5 : 5 + count] = source[3 : 3 + count]
        expected[105 : 105 + count] = source[3 : 3 + 2 * count : 2]
        expected[405 : 405 + count] = 0
        run_moves(source, target, count)
        np.testing.assert_array_equal(target, expected)
