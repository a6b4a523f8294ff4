"""Batch normalisation: which variance, and what a large mean costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal

import npconv
from npconv.testing.strategies import problems_with_dy

pytestmark = pytest.mark.usefixtures("backend")


def test_the_variance_is_biased():
    x = np.array([1.0, 2.0, 3.0, 6.0]).reshape(2, 1, 1, 2)
    mean, var = npconv.batch_statistics2d(x)
    assert_array_equal(mean, [3.0])
    assert_array_equal(var, [3.5])
    y = npconv.batch_norm2d(x, np.array([2.0]), np.array([7.0]), eps=0.5)
    assert_array_equal(y.ravel(), [5.0, 6.0, 7.0, 10.0])


def test_fixed_statistics_replace_the_batch():
    x = np.array([1.0, 3.0]).reshape(2, 1, 1, 1)
    one = np.ones(1)
    assert_array_equal(npconv.batch_norm2d(x, one, one, 5 * one, 3.75 * one, eps=0.25).ravel(), [-1.0, 0.0])


def test_a_large_mean_costs_no_digits():
    """The textbook's mean(x^2) - mean(x)^2 would leave nothing of a variance of 1 beside a mean of 10^4 in float32."""
    x = np.random.default_rng(0).standard_normal((4, 2, 8, 8)) + 1e4
    _, var = npconv.batch_statistics2d(x.astype(np.float32))
    assert_allclose(var, x.var(axis=(0, 2, 3)), rtol=1e-3)


@given(problems_with_dy("batch_norm2d"))
def test_statistics_of_the_forward_save_the_backward_work(case):
    problem, dy = case
    if problem.args[3] is not None:
        return
    statistics = npconv.batch_statistics2d(problem.args[0])
    got = npconv.batch_norm2d_backward(dy, *problem.args, **problem.options, batch_statistics=statistics)
    for gradient, expected in zip(got, problem.backward(dy), strict=True):
        if expected is None:
            assert gradient is None
        else:
            assert_array_equal(gradient, expected)


def test_normalised_numbers_cannot_be_moved_along_themselves():
    """Adding a constant to x, or scaling it, changes nothing: dx is orthogonal to both."""
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 3, 2, 3, 4))  # two of (3, 2, 3, 4)
    dx, *_ = npconv.batch_norm2d_backward(dy, x, np.ones(2), np.zeros(2), eps=1e-12)
    assert_allclose(dx.sum(axis=(0, 2, 3)), 0, atol=1e-12)
    assert_allclose((dx * x).sum(axis=(0, 2, 3)), 0, atol=1e-10)
