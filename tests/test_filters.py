"""The filters of single planes alone, against loops that say the same."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from npconv.kernels import filters, simd

DTYPES = [np.float32, np.float64]


def lanes_of(dtype: type) -> int:
    return simd.VECTOR_BITS // (8 * np.dtype(dtype).itemsize)


def whole(rng: np.random.Generator, size: int, dtype: type) -> np.ndarray:
    return rng.integers(-4, 5, size).astype(dtype)


@njit
def run_filter_pixels(w, w_taps, x, x_start, x_step, x_taps, bias, y, y_start, y_step):
    filters.filter_pixels(8, w, w_taps, x, x_start, x_step, x_taps, len(x_taps), bias, y, y_start, y_step)


@njit
def run_filter_weights(dy, dy_start, x, x_start, x_step, x_taps, first_tap, pixels, dw):
    filters.filter_weights(5, dy, dy_start, x, x_start, x_step, x_taps, first_tap, pixels, dw)


@pytest.mark.parametrize("dtype", DTYPES)
def test_filters_work_lane_by_lane(dtype: type) -> None:
    rng = np.random.default_rng(0)
    lanes = lanes_of(dtype)
    lane = np.arange(lanes)
    x = whole(rng, 60 * lanes, dtype)
    x_taps, x_start, x_step = rng.integers(0, 20, 7) * lanes, 3 * lanes, 2 * lanes

    w, bias, y = whole(rng, 9 * lanes, dtype), whole(rng, lanes, dtype), whole(rng, 40 * lanes, dtype)
    w_taps, y_start, y_step = rng.integers(0, 9, 7) * lanes, lanes, 3 * lanes
    expected = y.copy()
    for i in range(8):
        products = [w[w_taps[t] + lane] * x[x_start + i * x_step + x_taps[t] + lane] for t in range(7)]
        expected[y_start + i * y_step + lane] = bias + sum(products)
    run_filter_pixels(w, w_taps, x, x_start, x_step, x_taps, bias, y, y_start, y_step)
    np.testing.assert_array_equal(y, expected)

    dy, dw = whole(rng, 20 * lanes, dtype), whole(rng, 7 * lanes, dtype)
    expected = dw.copy()
    for t in range(2, 7):
        products = [dy[lanes + i * lanes + lane] * x[x_start + i * x_step + x_taps[t] + lane] for i in range(6)]
        expected[t * lanes + lane] += sum(products)
    run_filter_weights(dy, lanes, x, x_start, x_step, x_taps, 2, 6, dw)
    np.testing.assert_array_equal(dw, expected)


@njit
def run_filter_tile(stride, w, x, height, width, kernel_columns, row, column, step, y, rows, columns, y_row, bias):
    zeros = np.zeros(64, x.dtype)
    if stride == 1:
        filters.filter_tile(
            8,
            3,
            1,
            w,
            2,
            kernel_columns,
            x,
            5,
            height,
            width,
            row,
            column,
            step,
            zeros,
            y,
            4,
            y_row,
            rows,
            columns,
            bias,
        )
    else:
        filters.filter_tile(
            4,
            5,
            2,
            w,
            2,
            kernel_columns,
            x,
            5,
            height,
            width,
            row,
            column,
            step,
            zeros,
            y,
            4,
            y_row,
            rows,
            columns,
            bias,
        )


@njit
def run_correlate_planes(stride, dy, rows, columns, x, height, width, row, column, step, total):
    zeros = np.zeros(64, x.dtype)
    if stride == 1:
        filters.correlate_planes(3, 3, 1, dy, 2, rows, columns, x, 5, height, width, row, column, step, zeros, total)
    else:
        filters.correlate_planes(5, 5, 2, dy, 2, rows, columns, x, 5, height, width, row, column, step, zeros, total)


def padded(x: np.ndarray, row: int, column: int) -> float:
    """x, and 0 outside of it."""
    return x[row, column] if 0 <= row < x.shape[0] and 0 <= column < x.shape[1] else 0


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_planes_are_filtered_where_they_stand(dtype: type, stride: int) -> None:
    """What is outside of a plane is NaN here, and never met."""
    rng = np.random.default_rng(0)
    lanes, kernel_rows, tile_rows = lanes_of(dtype), (3 if stride == 1 else 5), (8 if stride == 1 else 4)
    for _ in range(60):
        height, width, rows, columns = (int(n) for n in rng.integers(1, [9, 50, 12, 40]))
        row, column, step, kernel_columns = (int(n) for n in rng.integers([-6, -6, 1, 1], [6, 6, 3, 5]))
        x = np.full(5 + height * width + 99, np.nan, dtype)
        plane = whole(rng, height * width, dtype).reshape(height, width)
        x[5 : 5 + plane.size] = plane.ravel()

        w, y, y_row = whole(rng, 40, dtype), whole(rng, 1000, dtype), columns + 2
        expected = y.copy()
        for i in range(min(rows, tile_rows)):
            for j in range(min(columns, lanes)):
                expected[4 + i * y_row + j] = 3 + sum(
                    w[2 + r * kernel_columns + s] * padded(plane, row + i * stride + r, column + j * stride + s * step)
                    for r in range(kernel_rows)
                    for s in range(kernel_columns)
                )
        run_filter_tile(
            stride, w, x, height, width, kernel_columns, row, column, step, y, rows, columns, y_row, dtype(3)
        )
        np.testing.assert_array_equal(y, expected)

        dy = np.full(2 + rows * columns + 99, np.nan, dtype)
        gradients = whole(rng, rows * columns, dtype).reshape(rows, columns)
        dy[2 : 2 + gradients.size] = gradients.ravel()
        total = whole(rng, kernel_rows**2 * lanes, dtype)
        before = total.reshape(-1, lanes).sum(axis=1)
        run_correlate_planes(stride, dy, rows, columns, x, height, width, row, column, step, total)
        sums = [
            sum(
                gradients[i, j] * padded(plane, row + i * stride + r, column + j * stride + s * step)
                for i in range(rows)
                for j in range(columns)
            )
            for r in range(kernel_rows)
            for s in range(kernel_rows)
        ]
        np.testing.assert_array_equal(total.reshape(-1, lanes).sum(axis=1), before + sums)
