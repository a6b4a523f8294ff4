"""Arrays that start at a cache line, if they are large."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import npconv
from npconv.kernels.jit import scratch
from npconv.memory import CACHE_LINE, PAGE, aligned, empty, empty_channels_last, is_channels_last, pixel_rows


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (3, 5, 7), (32, 64), (2, 64, 33, 31)])
def test_empty(shape: tuple[int, ...], dtype: type) -> None:
    kept = [empty(shape, dtype) for _ in range(8)]  # all at once, for np.empty is at a cache line now and then
    for array in kept:
        assert (array.shape, array.dtype) == (shape, dtype)
        assert array.flags.carray
        assert array.nbytes < PAGE or array.ctypes.data % CACHE_LINE == 0


def test_aligned() -> None:
    array = np.arange(2400.0).reshape(40, 60)[::2, ::-1]
    copy = aligned(array)
    assert copy.ctypes.data % CACHE_LINE == 0
    assert copy.flags.c_contiguous
    np.testing.assert_array_equal(copy, array)
    assert not np.shares_memory(copy, array)


def test_scratch_starts_at_a_cache_line_for_each_thread() -> None:
    def addresses() -> list[int]:
        return [
            own.ctypes.data
            for size in (1, 17, 5000)
            for dtype in (np.float32, np.float64)
            for own in scratch(dtype, size)
        ]

    with ThreadPoolExecutor() as fresh:  # with scratch of its own
        assert {address % CACHE_LINE for address in fresh.submit(addresses).result()} == {0}


@pytest.mark.slow
def test_results_of_the_kernels_start_at_a_cache_line() -> None:
    x, w, depthwise = (np.ones(shape, np.float32) for shape in ((1, 3, 29, 29), (5, 3, 3, 3), (3, 1, 3, 3)))
    with npconv.backend("numba"):
        results = [[npconv.conv2d(x, w), npconv.depthwise_conv2d(x, depthwise)] for _ in range(8)]
    assert {y.ctypes.data % CACHE_LINE for pair in results for y in pair} == {0}


def test_channels_last_maps():
    y = empty_channels_last((2, 3, 4, 5), np.float32)
    assert y.shape == (2, 3, 4, 5)
    assert is_channels_last(y)
    y[...] = np.arange(y.size).reshape(y.shape)
    rows = pixel_rows(y)
    assert np.shares_memory(rows, y)
    np.testing.assert_array_equal(rows[(1 * 4 + 2) * 5 + 3], y[1, :, 2, 3])
    assert not is_channels_last(np.zeros((2, 3, 4, 5)))
    assert is_channels_last(np.zeros((2, 1, 4, 5)))
    assert is_channels_last(np.zeros((2, 3, 1, 1)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_channels_last_turns_a_map_once(dtype: type) -> None:
    x = np.arange(120, dtype=dtype).reshape(2, 3, 4, 5)
    for source in (x, x[:, ::-1], x[..., ::2], x.transpose(0, 3, 2, 1)):
        y = npconv.channels_last(source)
        assert is_channels_last(y)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, source)
        assert not np.shares_memory(y, x)
        assert npconv.channels_last(y) is y


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [(np.zeros((2, 3, 4)), ValueError, "x must have 4 axes"), (np.zeros((1, 2, 3, 4), int), TypeError, "x must be")],
)
def test_channels_last_takes_float_maps_only(x: np.ndarray, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        npconv.channels_last(x)
