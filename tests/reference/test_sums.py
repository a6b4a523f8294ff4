"""Sums over a million numbers: the reference adds them in pairs, the kernels in parts, in whatever order they lie."""

from __future__ import annotations

import numpy as np
import pytest

import npconv
from npconv.testing import unit_roundoff

SHAPES = [(1, 2, 1024, 1024), (4096, 2, 16, 16), (1024, 2, 1024, 1), (1_000_000, 2, 1, 1)]
ROUNDINGS = 100  # a sum of products: one after another it would have hundreds


def error(got: np.ndarray, exact: np.ndarray) -> float:
    """The largest relative error, in roundings of float32."""
    return float(np.abs(got / exact - 1).max() / unit_roundoff(np.float32))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", ["C", "channels-last"])
def test_a_million_numbers(backend: str, shape: tuple[int, ...], order: str) -> None:
    rng = np.random.default_rng(0)
    x, dy = (rng.random(shape, np.float32) + np.float32(0.1) for _ in range(2))
    if order == "channels-last":
        x, dy = npconv.channels_last(x), npconv.channels_last(dy)
    wide, axes = x.astype(np.float64), (0, 2, 3)
    mean, var = npconv.batch_statistics2d(x)
    _, _, dbeta = npconv.batch_norm2d_backward(dy, x, np.ones(2, np.float32), np.zeros(2, np.float32))[:3]
    _, dw, db = npconv.depthwise_conv2d_backward(dy, x, np.ones((2, 1, 1, 1), np.float32), np.zeros(2, np.float32))
    assert error(mean, wide.mean(axis=axes)) < 4
    assert error(var, wide.var(axis=axes)) < 4
    expected = dy.sum(axis=axes, dtype=np.float64)
    for got in (dbeta, db):
        assert error(got, expected) < 4
    assert error(dw.ravel(), (wide * dy).sum(axis=axes)) < ROUNDINGS


def test_a_million_rows_of_a_linear_layer(backend: str) -> None:
    rng = np.random.default_rng(0)
    dy, x = rng.random((1_000_000, 3), np.float32), rng.random((1_000_000, 2), np.float32)
    _, dw, db = npconv.linear_backward(dy, x, np.ones((3, 2), np.float32), np.zeros(3, np.float32))
    assert error(db, dy.sum(axis=0, dtype=np.float64)) < 4
    assert error(dw, dy.astype(np.float64).T @ x) < ROUNDINGS
