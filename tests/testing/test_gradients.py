"""The gradient checks accept what is right and say what is wrong, for functions that npconv has never seen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from npconv.testing import check_adjoint, check_gradients, map_arrays, named_arrays

A, X, B = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), np.array([7.0, 8.0, -9.0]), np.array([1.0, -2.0])
DY = np.array([3.0, -5.0])


class Pair(NamedTuple):
    first: object
    second: object


def affine(a, x, b):
    return a @ x + b


def affine_backward(dy, a, x, b):
    return np.outer(dy, x), a.T @ dy, dy


@pytest.mark.parametrize("check", [check_adjoint, check_gradients])
def test_right_gradients_pass(check):
    check(affine, affine_backward, (A, X, B), DY)


def test_a_bias_does_not_disturb_the_other_arguments():
    check_adjoint(affine, affine_backward, (A, X, B), DY)
    check_adjoint(affine, affine_backward, (A, X, B), DY, linear_in=[2])


def test_whole_numbers_need_no_tolerance():
    check_gradients(affine, affine_backward, (A, X, B), DY, step=1, rtol=0)


WRONG = {
    "scaled": (0, lambda gradient: 2 * gradient),
    "reversed": (1, lambda gradient: gradient[::-1]),
    "off by a little": (2, lambda gradient: gradient + np.array([0, 1e-3])),
    "NaN": (1, lambda gradient: gradient * np.nan),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("check", [check_adjoint, check_gradients])
def test_wrong_gradients_fail_and_are_named(check, wrong):
    number, plant = WRONG[wrong]

    def backward(dy, *args):
        gradients = list(affine_backward(dy, *args))
        gradients[number] = plant(gradients[number])
        return tuple(gradients)

    with pytest.raises(AssertionError, match=rf"args\[{number}\]"):
        check(affine, backward, (A, X, B), DY)


def test_a_difference_names_index_and_both_numbers():
    def backward(dy, x):
        gradient = 2 * x * dy
        gradient[1, 0] += 0.5
        return gradient

    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(AssertionError, match=r"args\[0\] at \[1, 0\] must be 6\.\d* .*step 1e-05, got 6\.5"):
        check_gradients(np.square, backward, [x], np.ones((2, 2)))


@pytest.mark.parametrize("check", [check_adjoint, check_gradients])
@pytest.mark.parametrize(
    ("backward", "message"),
    [
        (lambda dy, a, x, b: (a, x), "backward must return 3 gradients, one per argument"),
        (lambda dy, a, x, b: (a.T, x, b), r"args\[0\] must have the shape \(2, 3\), got \(3, 2\)"),
        (lambda dy, a, x, b: (a, None, b), r"args\[1\] must have the shape \(3,\), got None"),
    ],
)
def test_gradients_must_be_like_the_arguments(check, backward, message):
    with pytest.raises(AssertionError, match=message):
        check(affine, backward, (A, X, B), DY)


@pytest.mark.parametrize("check", [check_adjoint, check_gradients])
def test_dy_must_be_like_y(check):
    """One that only broadcasts would check something else."""
    with pytest.raises(ValueError, match=r"dy must have the shape of y, \(2,\), got \(1,\)"):
        check(affine, affine_backward, (A, X, B), np.ones(1))


def test_arguments_and_results_may_be_tuples_with_gaps():
    def forward(x, w):
        return Pair(x.first * w[0] + x.second, None)

    def backward(dy, x, w):
        return Pair(dy.first * w[0], dy.first), (dy.first * x.first, None)

    def wrong(dy, x, w):
        return Pair(dy.first * w[0], -dy.first), (dy.first * x.first, None)

    args, dy = (Pair(np.array([2.0]), np.array([3.0])), (np.array([5.0]), None)), Pair(np.array([7.0]), None)
    check_adjoint(forward, backward, args, dy)
    check_gradients(forward, backward, args, dy)
    with pytest.raises(AssertionError, match=r"args\[0\]"):
        check_adjoint(forward, wrong, args, dy)
    with pytest.raises(AssertionError, match=r"args\[0\]\.second at \[0\] must be 7\.0 .* got -7\.0"):
        check_gradients(forward, wrong, args, dy, step=1)


def test_a_missing_argument_has_no_gradient():
    check_adjoint(lambda x, b: 2 * x, lambda dy, x, b: (2 * dy, None), (X, None), X)


def test_a_sum_to_a_number_can_be_checked():
    check_gradients(lambda x: np.sum(x**3), lambda dy, x: 3 * x**2 * dy, [X], np.float64(2))
    with pytest.raises(AssertionError):
        check_gradients(lambda x: np.sum(x**3), lambda dy, x: 2 * x**2 * dy, [X], np.float64(2))


def test_float32_arguments_are_differentiated_in_float64_and_left_alone():
    x = X.astype(np.float32)
    seen = set()

    def forward(x):
        seen.add(x.dtype)
        return np.exp(x)

    check_gradients(forward, lambda dy, x: dy * np.exp(x), [x], X)
    assert seen == {np.dtype(np.float64)}
    np.testing.assert_array_equal(x, X)


def test_samples_are_chosen_by_the_callers_generator():
    calls = []

    def forward(x):
        calls.append(None)
        return 2 * x

    x = np.arange(100.0)
    check_gradients(forward, lambda dy, x: 2 * dy, [x], x, samples=3, rng=np.random.default_rng(0))
    assert len(calls) == 1 + 2 * 3
    with pytest.raises(ValueError, match="rng must be given where samples is, got rng=None, samples=3"):
        check_gradients(forward, lambda dy, x: 2 * dy, [x], x, samples=3)


def test_trees_are_walked_in_order():
    tree = (np.zeros(1), None, Pair(np.zeros(2), (np.zeros(3),)))
    assert [(name, array.size) for name, array in named_arrays(tree, "a")] == [
        ("a[0]", 1),
        ("a[2].first", 2),
        ("a[2].second[0]", 3),
    ]
    assert map_arrays(np.size, tree) == (1, None, Pair(2, (3,)))
