"""The kernels that wait for memory: the same numbers for any number of threads, any cut into chunks and any scale."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from npconv import kernels, reference
from npconv.geometry import Pool2dGeometry, UpsampleGeometry

pooling = importlib.import_module("npconv.kernels.pooling")
upsampling = importlib.import_module("npconv.kernels.upsampling")

POOLINGS = [
    Pool2dGeometry.of((2, 19, 23, 37), 3, stride=2, padding=1),
    Pool2dGeometry.of((1, 5, 40, 31), (2, 4), stride=(3, 1), padding=((1, 0), (2, 3)), ceil_mode=True),
    Pool2dGeometry.of((3, 40, 14, 14), 2),
    Pool2dGeometry.of((2, 33, 3, 3), 3, stride=1, padding=1),
    Pool2dGeometry.of((1, 2, 10, 70), 2, stride=3),
]


def whole(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    return np.random.default_rng(0).integers(-3, 4, shape).astype(dtype)


def pooled(geometry: Pool2dGeometry, dtype: type, package) -> list[np.ndarray]:
    x, dy = whole(geometry.x_shape, dtype), whole(geometry.y_shape, dtype)
    return [
        package.max_pool2d(x, geometry),
        package.max_pool2d_input_grad(dy, x, geometry),
        package.avg_pool2d(x, False, geometry),
        package.avg_pool2d_input_grad(dy, True, geometry),
    ]


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So little scratch that a chunk is one row."""
    plans = (pooling._windows, upsampling._chunk)
    for plan in plans:
        plan.cache_clear()
    monkeypatch.setattr(pooling, "SCRATCH_BYTES", 1)
    monkeypatch.setattr(pooling, "CHUNK", 1)
    monkeypatch.setattr(upsampling, "SCRATCH_BYTES", 1)
    yield
    for plan in plans:
        plan.cache_clear()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", POOLINGS, ids=lambda g: f"{g.x_shape}")
def test_pooling_by_single_rows(geometry: Pool2dGeometry, dtype: type, little_memory: None) -> None:
    for got, expected in zip(pooled(geometry, dtype, kernels), pooled(geometry, dtype, reference), strict=True):
        assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_up_sampling_by_single_rows(little_memory: None) -> None:
    geometry = UpsampleGeometry.of((2, 19, 5, 7), (3, 2), size=(14, 13))
    x, dy = whole((2, 19, 5, 7), np.float32), whole((2, 19, 14, 13), np.float32)
    assert_array_equal(kernels.upsample_nearest2d(x, geometry), reference.upsample_nearest2d(x, geometry))
    assert_array_equal(
        kernels.upsample_nearest2d_input_grad(dy, geometry), reference.upsample_nearest2d_input_grad(dy, geometry)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_number_of_threads_changes_no_bit(dtype: type) -> None:
    rng = np.random.default_rng(0)
    geometry = POOLINGS[0]
    x, other = rng.normal(size=(2, *geometry.x_shape)).astype(dtype)
    dy = rng.normal(size=geometry.y_shape).astype(dtype)
    gamma, beta = rng.normal(size=(2, geometry.channels)).astype(dtype)
    up = UpsampleGeometry.of((2, 19, 23, 37), 2)
    rows, weights = rng.normal(size=(70, 90)).astype(dtype), rng.normal(size=(200, 90)).astype(dtype)

    def results() -> list[np.ndarray]:
        mean, var = kernels.batch_statistics2d(x)
        return [
            mean,
            var,
            kernels.batch_norm2d(x, gamma, beta, mean, var, 1e-5, "relu"),
            *kernels.batch_norm2d_batch(x, gamma, beta, 1e-5, "relu"),
            *kernels.batch_norm2d_batch_grad(other, x, gamma, beta, mean, var, 1e-5, "relu"),
            *kernels.batch_norm2d_fixed_grad(other, x, gamma, beta, mean, var, 1e-5, None),
            kernels.max_pool2d_input_grad(dy, x, geometry),
            kernels.avg_pool2d(x, False, geometry),
            kernels.avg_pool2d_input_grad(dy, False, geometry),
            kernels.global_avg_pool2d(x),
            kernels.upsample_nearest2d(x, up),
            kernels.hard_swish(x),
            kernels.linear(rows, weights, None),
            kernels.linear_bias_grad(weights),
            kernels.softmax_cross_entropy(rows, np.arange(70), 0.1),
        ]

    with_all, threads = results(), numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with_one = results()
    finally:
        numba.set_num_threads(threads)
    for got, expected in zip(with_one, with_all, strict=True):
        assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_statistics_are_right_to_the_last_digits(dtype: type, offset: float) -> None:
    """Also where the first plane, about whose mean the squares are summed, lies far from the others."""
    x = np.random.default_rng(0).normal(size=(6, 4, 9, 11)) + offset
    x[0] += 100
    x = x.astype(dtype)
    mean, var = kernels.batch_statistics2d(x)
    exact = x.astype(np.longdouble)
    rounding = 4 * np.finfo(dtype).eps
    assert_allclose(mean, exact.mean(axis=(0, 2, 3)), rtol=2 * rounding)  # 17 is 100 less 83
    assert_allclose(var, exact.var(axis=(0, 2, 3)), rtol=8 * rounding)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 5, 7, 7), (2, 3, 1, 1), (2, 2, 40, 41)])
def test_one_sweep_normalises_as_two_do(dtype: type, shape: tuple[int, ...]) -> None:
    """Planes shorter than a vector, and longer than what is asked for ahead."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(dtype)
    gamma, beta = rng.normal(size=(2, shape[1])).astype(dtype)
    y, *statistics = kernels.batch_norm2d_batch(x, gamma, beta, 1e-5, "relu6")
    for got, expected in zip(statistics, kernels.batch_statistics2d(x), strict=True):
        assert_array_equal(got, expected)
    assert_array_equal(y, kernels.batch_norm2d(x, gamma, beta, *statistics, 1e-5, "relu6"))


@pytest.mark.parametrize("first", [0, 1])
def test_an_infinite_number_has_an_infinite_mean(first: int) -> None:
    """Also where it is in the first plane, about whose mean the squares are summed."""
    x = np.ones((2, 1, 3, 3), np.float32)
    x[first, 0, 1, 1] = np.inf
    mean, var = kernels.batch_statistics2d(x)
    assert_array_equal(mean, np.inf)
    assert_array_equal(var, np.nan)


def test_equal_numbers_have_no_variance() -> None:
    """The squares less the square of their mean may round to below zero, of which there is no root."""
    x = np.full((3, 2, 7, 7), 0.1, np.float64)
    assert_array_equal(kernels.batch_statistics2d(x)[1], 0)


def test_infinite_numbers_leave_fixed_statistics_gradients_finite() -> None:
    """With constant statistics dx is dy times a constant: x is not in it."""
    x, dy = np.full((1, 1, 2, 2), np.inf), np.ones((1, 1, 2, 2))
    one = np.ones(1)
    for package in (reference, kernels):
        with np.errstate(invalid="ignore"):
            dx = package.batch_norm2d_fixed_grad(dy, x, one, one, one, 3.0 * one, 1.0, None)[0]
        assert_array_equal(dx, dy / 2)


def test_where_all_is_minus_infinity_the_first_true_pixel_wins() -> None:
    """Padding is -inf as well, but no pixel: it takes no gradient."""
    x, dy = np.full((1, 1, 3, 3), -np.inf), np.ones((1, 1, 2, 2))
    dx = kernels.max_pool2d_input_grad(dy, x, Pool2dGeometry.of(x.shape, 3, stride=2, padding=1))
    assert_array_equal(dx[0, 0], [[1, 1, 0], [1, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("rule", ["sgd_update", "adam_update"])
def test_optimisers_move_their_arrays_as_the_reference_does(rule: str, dtype: type) -> None:
    """In place, also where an array is not in C order, or of a dtype that kernels do not have."""
    rng = np.random.default_rng(0)
    options: dict[str, list[tuple[Any, ...]]] = {
        "sgd_update": [(0.1, momentum, nesterov, decay) for momentum, nesterov, decay in SGD_RULES],
        "adam_update": [(3, 0.1, (0.9, 0.99), 1e-3, decay, decoupled) for decay, decoupled in ADAM_RULES],
    }
    states = 1 if rule == "sgd_update" else 2
    for numbers in options[rule]:
        arrays = [rng.random((33, 40)).T.astype(dtype) for _ in range(2 + states)]
        expected = [array.copy() for array in arrays]
        getattr(reference, rule)(*expected, *numbers)
        getattr(kernels, rule)(*arrays, *numbers)
        for got, right in zip(arrays, expected, strict=True):
            assert_allclose(got, right, rtol=100 * np.finfo(dtype).eps, atol=10 * np.finfo(dtype).eps)


SGD_RULES = [(0.9, False, 0.0), (0.9, False, 0.1), (0.9, True, 0.1)]
ADAM_RULES = [(0.0, False), (0.1, False), (0.1, True)]
