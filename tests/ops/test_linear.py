"""The fully connected layer, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import npconv

pytestmark = pytest.mark.usefixtures("backend")


def test_rows_of_w_are_outputs():
    x, w, b = np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 0.0, 0.0], [0.0, 10.0, 100.0]]), np.array([5.0, 7.0])
    assert_array_equal(npconv.linear(x, w, b), [[6.0, 327.0]])
    dx, dw, db = npconv.linear_backward(np.array([[1.0, 2.0]]), x, w, b)
    assert_array_equal(dx, [[1.0, 20.0, 200.0]])
    assert_array_equal(dw, [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]])
    assert_array_equal(db, [1.0, 2.0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch", [0, 1, 5, 16, 17, 40])
@pytest.mark.parametrize(("in_features", "out_features"), [(33, 2), (70, 37), (130, 135), (1030, 70)])
def test_matrix_products_of_whole_numbers_are_exact(dtype, batch, in_features, out_features):
    """On either side of where batch and weights are large, and of blocks, tiles and vectors."""
    rng = np.random.default_rng(0)
    x, w, b, dy = (
        rng.integers(-9, 10, shape).astype(dtype)
        for shape in ((batch, in_features), (out_features, in_features), (out_features,), (batch, out_features))
    )
    assert_array_equal(npconv.linear(x, w), x @ w.T)
    assert_array_equal(npconv.linear(x, w, b), x @ w.T + b)
    for got, expected in zip(npconv.linear_backward(dy, x, w, b), (dy @ w, dy.T @ x, dy.sum(axis=0)), strict=True):
        assert_array_equal(got, expected)
