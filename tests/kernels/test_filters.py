"""The filters of single planes alone, against sums that say the same."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from npconv.kernels import depthwise, filters, row_windows, simd

DTYPES = [np.float32, np.float64]


def lanes_of(dtype: type) -> int:
    return simd.VECTOR_BITS // (8 * np.dtype(dtype).itemsize)


def whole(rng: np.random.Generator, size: int | tuple[int, ...], dtype: type) -> np.ndarray:
    return rng.integers(-4, 5, size).astype(dtype)


@njit
def split(parts, source, start, width, rows, target, target_start, pitch):
    if parts == 1:
        filters.split_rows(1, source, start, width, rows, target, target_start, pitch)
    else:
        filters.split_rows(2, source, start, width, rows, target, target_start, pitch)


@njit
def weave(source, start, pitch, rows, columns, target, target_start, target_row):
    filters.weave_rows(source, start, pitch, rows, columns, target, target_start, target_row)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("parts", [1, 2])
def test_rows_are_split_and_woven(dtype: type, parts: int) -> None:
    rng = np.random.default_rng(0)
    lanes = lanes_of(dtype)
    for width in (1, 2, lanes - 1, lanes, lanes + 1, 2 * lanes - 1, 2 * lanes, 2 * lanes + 1, 5 * lanes + 3):
        rows, pitch = 3, -(-width // (parts * lanes)) * lanes + int(rng.integers(0, 3)) * lanes
        x = whole(rng, (rows, width), dtype)
        target = np.full(7 + rows * parts * pitch + 9, np.nan, dtype)
        split(parts, np.concatenate([[dtype(np.nan)] * 5, x.ravel()]), 5, width, rows, target, 7, pitch)
        expected = np.zeros((rows, parts, pitch), dtype)
        for part in range(parts):
            expected[:, part, : len(range(part, width, parts))] = x[:, part::parts]
        np.testing.assert_array_equal(target[7:-9].reshape(expected.shape), expected)
        assert np.isnan(target[:7]).all()
        assert np.isnan(target[-9:]).all()
        if parts == 2:
            back = np.full((rows, width + 2), 99, dtype)
            weave(target, 7, pitch, rows, width, back.reshape(-1), 1, width + 2)
            np.testing.assert_array_equal(back, np.pad(x, ((0, 0), (1, 1)), constant_values=99))


@njit
def filter_rows(w, w_taps, x, x_row, x_taps, first_tap, end_tap, bias, y, y_row, rows, columns):
    filters.filter_rows(w, 2, w_taps, x, 3, x_row, x_taps, first_tap, end_tap, bias, y, 1, y_row, rows, columns)


@njit
def correlate_rows(dy, rows, columns, x, x_row, x_taps, total, sums):
    filters.correlate_rows(5, dy, 2, rows, columns, x, 3, x_row, x_taps, 1, total)
    filters.store_sums(total, len(x_taps), sums, 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_taps_are_read_from_wherever_they_are(dtype: type) -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        rows, columns, taps = (int(n) for n in rng.integers(1, [12, 40, 9]))
        x, x_row = whole(rng, 3000, dtype), 100
        x_taps, w_taps = rng.integers(0, 1900, taps), rng.integers(0, 20, taps)
        i, j = np.arange(filters.TILE_ROWS)[:, None], np.arange(columns)
        met = np.stack([x[3 + x_taps[t] + i * x_row + j] for t in range(taps)])

        w, y = whole(rng, 22, dtype), whole(rng, 2000, dtype)
        first, y_row = int(rng.integers(0, taps + 1)), columns + 2
        expected = y.copy()
        for row in range(min(rows, filters.TILE_ROWS)):
            place = 1 + row * y_row
            expected[place : place + columns] = 3 + np.tensordot(w[2 + w_taps[first:]], met[first:, row], 1)
        filter_rows(w, w_taps, x, x_row, x_taps, first, taps, dtype(3), y, y_row, rows, columns)
        np.testing.assert_array_equal(y, expected)

        rows, x_taps = min(rows, filters.TILE_ROWS), rng.integers(0, 1900, 6)
        x[3 + x_taps.max() + (rows - 1) * x_row + columns :] = np.nan  # what is behind the last column is never met
        dy = whole(rng, 2 + rows * columns, dtype)
        total, sums = np.zeros(6 * lanes_of(dtype), dtype), np.zeros(7, dtype)
        correlate_rows(dy, rows, columns, x, x_row, x_taps, total, sums)
        for t, tap in enumerate(x_taps):
            meets = np.stack([x[3 + tap + row * x_row :][:columns] for row in range(rows)])
            assert sums[1 + t] == ((dy[2:].reshape(rows, columns) * meets).sum() if t else 0)


def kinds_of(first: int, width: int, columns: int, side: int, stride: int, dtype: type) -> range:
    """All kinds of windows that do."""
    most = row_windows.window_kind(first, width, columns, side, stride, np.dtype(dtype))
    return range(0, most + 1, 1 if (side, stride) == (3, 1) else 2)


def test_the_common_small_maps_need_one_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_windows, "VECTOR_BITS", 512)

    def kind(first: int, width: int, columns: int, side: int, stride: int) -> int:
        return row_windows.window_kind(first, width, columns, side, stride, np.dtype(np.float32))

    assert kind(-1, 7, 7, 3, 1) == kind(-1, 8, 8, 3, 1) == kind(-2, 14, 7, 5, 2) == 2
    assert kind(-1, 14, 14, 3, 1) == kind(0, 16, 14, 3, 1) == 1
    assert kind(-1, 16, 16, 3, 1) == kind(-1, 32, 16, 3, 2) == kind(-1, 28, 28, 3, 1) == 0
    assert kind(1, 16, 16, 3, 1) == 0  # reads beyond the vector, in front of which there is no 0


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [3, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_planes_are_filtered_where_they_stand(dtype: type, side: int, stride: int) -> None:
    """What is between the images is NaN here, and never met."""
    if side not in row_windows.sides(np.dtype(dtype).itemsize):
        pytest.skip("a vector is too short for that kernel")
    rng = np.random.default_rng(0)
    lanes, done = lanes_of(dtype), set()
    batch, channels = 2, 3
    for trial in range(max(60, 480 // lanes)):  # short vectors seldom hold two rows
        height, width, rows, columns = (int(n) for n in rng.integers(1, [20, 3 * lanes, 20, 3 * lanes]))
        if trial % 2:
            width, columns = (int(n) for n in rng.integers(1, [stride * lanes, lanes // (1 + trial // 2 % 2) + 1]))
        row, column = (int(n) for n in rng.integers(-6, 3, 2))
        x, w, bias = whole(rng, (batch, channels, height, width), dtype), whole(rng, (channels, 1, side, side), dtype), whole(rng, channels, dtype)  # fmt: skip
        dy = whole(rng, (batch, channels, rows, columns), dtype)
        around = 100
        padded = np.pad(x, ((0, 0), (0, 0), (around, around), (around, around)))
        met = {
            (r, s): padded[:, :, around + row + r :, around + column + s :][:, :, ::stride, ::stride][
                :, :, :rows, :columns
            ]
            for r in range(side)
            for s in range(side)
        }
        x_flat, y_flat = (np.full((batch, a[0].size + 7), np.nan, dtype) for a in (x, dy))
        x_flat[:, :-7], x_image, y_image = x.reshape(batch, -1), x_flat.shape[1], y_flat.shape[1]
        x_flat, zeros = x_flat.reshape(-1), np.zeros(columns * stride + 4 * lanes, dtype)
        for kind in kinds_of(column, width, columns, side, stride, dtype):
            done.add(kind)
            for step in (1, -1):
                expected = bias[:, None, None] + sum(
                    w[:, 0, ::step, ::step][:, r, s, None, None] * met[r, s] for r, s in met
                )
                y = y_flat.copy().reshape(-1)
                depthwise._filter_planes(
                    x_flat, x_image, x.shape, w, step, kind, stride, row, column, zeros, bias, y, y_image, dy.shape, 2
                )  # fmt: skip
                y = y.reshape(batch, -1)
                np.testing.assert_array_equal(y[:, :-7].reshape(dy.shape), expected)
                assert np.isnan(y[:, -7:]).all()
            if kind == 1:
                continue
            gradients, dw = y_flat.copy(), np.full(w.shape, np.nan, dtype)
            gradients[:, :-7] = dy.reshape(batch, -1)
            depthwise._correlate_planes(
                gradients.reshape(-1), y_image, dy.shape, x_flat, x_image, x.shape, kind, stride, row, column, zeros, dw, 2
            )  # fmt: skip
            for r, s in met:
                np.testing.assert_array_equal(dw[:, 0, r, s], (dy * met[r, s]).sum(axis=(0, 2, 3)))
    assert done == ({0, 1, 2} if (side, stride) == (3, 1) else {0, 2})


@pytest.mark.parametrize("side", [3, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_planes_are_spread_where_they_stand(dtype: type, side: int) -> None:
    if side not in row_windows.sides(np.dtype(dtype).itemsize):
        pytest.skip("a vector is too short for that kernel")
    rng = np.random.default_rng(0)
    lanes, done = lanes_of(dtype), set()
    batch, channels = 2, 3
    for trial in range(60):
        rows, columns, height = (int(n) for n in rng.integers(1, [20, 7 * lanes, 12]))
        top, left = (int(n) for n in rng.integers(0, 6, 2))
        if trial % 2:
            columns = int(rng.integers(1, lanes))
        width = int(rng.integers(1, columns // 2 + 4))
        x, w = whole(rng, (batch, channels, height, width), dtype), whole(rng, (channels, 1, side, side), dtype)
        around = 60
        full = np.zeros(
            (batch, channels, 2 * height + side + around + rows, 2 * width + side + around + columns), dtype
        )
        for r in range(side):
            for s in range(side):
                full[:, :, r : r + 2 * height : 2, s : s + 2 * width : 2] += w[:, 0, r, s, None, None] * x
        expected = full[:, :, top : top + rows, left : left + columns]
        x_flat = np.full((batch, x[0].size + 7), np.nan, dtype)
        x_flat[:, :-7] = x.reshape(batch, -1)
        zeros = np.zeros(columns + 4 * lanes, dtype)
        first, last, reach = left // 2, (left + columns - 1) // 2, side // 2
        one_vector = row_windows.window_kind(first - reach, width, last - first + 1, reach + 1, 1, np.dtype(dtype)) == 2
        for kind in (0, 2) if one_vector else (0,):
            done.add(kind)
            y = np.full((batch, expected[0].size + 5), np.nan, dtype)
            depthwise._spread_planes(
                x_flat.reshape(-1), x_flat.shape[1], x.shape, w, kind, top, left, zeros, y.reshape(-1), y.shape[1], expected.shape, 2
            )  # fmt: skip
            np.testing.assert_array_equal(y[:, :-5].reshape(expected.shape), expected)
            assert np.isnan(y[:, -5:]).all()
    assert done == {0, 2}
