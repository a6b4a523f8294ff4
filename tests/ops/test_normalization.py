"""Batch normalisation: which variance, what a large mean costs, and the activation behind it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal

import npconv
from npconv.testing import check_gradients
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


ACTIVATIONS = {"relu": (npconv.relu, npconv.relu_backward), "relu6": (npconv.relu6, npconv.relu6_backward)}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@given(problems_with_dy("batch_norm2d"))
def test_the_activation_is_that_of_the_normalised_numbers(activation, case):
    """To the last bit, gradients too: forward and backward make the same y, so they never disagree about a kink."""
    problem, dy = case
    if problem.args[0].dtype == np.float16:
        return  # rounded once here, and twice there
    act, act_backward = ACTIVATIONS[activation]
    normalised = problem.forward()
    y = npconv.batch_norm2d(*problem.args, **problem.options, activation=activation)
    assert_array_equal(y, act(normalised))
    got = npconv.batch_norm2d_backward(dy, *problem.args, **problem.options, activation=activation)
    for gradient, expected in zip(got, problem.backward(act_backward(dy, normalised)), strict=True):
        if expected is None:
            assert gradient is None
        else:
            assert_array_equal(gradient, expected)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_through_the_activation_are_the_slopes(activation, fixed):
    """x is such that no y is near 0 or 6, where there is no slope, and on all three sides of them."""
    rng = np.random.default_rng(0)
    x = rng.permutation(np.linspace(-2, 2, 48)).reshape(2, 2, 3, 4)
    args = [x, np.array([5.0, -4.0]), np.array([3.0, 2.0])]
    if fixed:
        args += [np.array([0.5, -0.25]), np.array([1.5, 0.75])]
    y = npconv.batch_norm2d(*args)
    assert (np.abs(y[..., None] - [0, 6]) > 1e-3).all()
    assert set(np.digitize(y.ravel(), [0, 6])) == {0, 1, 2}
    check_gradients(
        lambda *args: npconv.batch_norm2d(*args, activation=activation),
        lambda dy, *args: npconv.batch_norm2d_backward(dy, *args, activation=activation)[: len(args)],
        args,
        rng.standard_normal(x.shape),
        step=1e-6,
        rtol=1e-6,
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_on_and_beyond_the_kinks(dtype):
    """At a kink the gradient is the flat side's, zeros lose their sign, NaN stays one, and relu has no upper limit."""
    x = np.array([-np.inf, -1.0, -0.0, 0.0, 3.0, 6.0, 9.0, np.inf, np.nan], dtype).reshape(1, 1, 1, 9)
    dy = np.arange(1, 10).reshape(x.shape).astype(dtype)
    one = np.ones(1, dtype)
    arguments = x, one, 0 * one, 0 * one, dtype(0.75) * one
    expected = {
        "relu": ([0, 0, 0, 0, 3, 6, 9, np.inf, np.nan], [0, 0, 0, 0, 5, 6, 7, 8, 9]),
        "relu6": ([0, 0, 0, 0, 3, 6, 6, 6, np.nan], [0, 0, 0, 0, 5, 0, 0, 0, 9]),
    }
    for activation, (y, dx) in expected.items():
        got = npconv.batch_norm2d(*arguments, eps=0.25, activation=activation).ravel()
        assert_array_equal(got, y)
        assert not np.signbit(got[:-1]).any()
        with np.errstate(invalid="ignore"):  # dgamma's sum has infinity in it
            gradient = npconv.batch_norm2d_backward(dy, *arguments, eps=0.25, activation=activation)[0]
        assert_array_equal(gradient.ravel(), dx)


def test_other_activations_are_refused():
    x, one = np.ones((1, 1, 2, 2)), np.ones(1)
    with pytest.raises(ValueError, match=r"^activation must be None, 'relu' or 'relu6', got 'hard_swish'$"):
        npconv.batch_norm2d(x, one, one, activation="hard_swish")
    with pytest.raises(ValueError, match=r"^activation must be None, 'relu' or 'relu6', got True$"):
        npconv.batch_norm2d_backward(x, x, one, one, activation=True)
