"""Softmax cross-entropy: values known in closed form, and logits at the edge of the floats."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal

import npconv
from npconv.testing.strategies import problems

pytestmark = pytest.mark.usefixtures("backend")


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
def test_equal_logits_cost_log_of_the_classes(label_smoothing):
    loss = npconv.softmax_cross_entropy(np.zeros((3, 7)), np.array([0, 3, 6]), label_smoothing=label_smoothing)
    assert loss.shape == ()
    assert_allclose(loss, np.log(7), rtol=1e-15)


def test_smoothing_moves_a_share_of_the_target_to_all_classes():
    logits, labels = np.array([[1.0, 2.0, 4.0]]), np.array([2])
    each = [npconv.softmax_cross_entropy(logits, np.array([k])) for k in range(3)]
    loss = npconv.softmax_cross_entropy(logits, labels, label_smoothing=0.3)
    assert_allclose(loss, 0.7 * each[2] + 0.1 * sum(each), rtol=1e-14)


def test_large_logits_do_not_overflow():
    logits = np.array([[1e4, 0.0], [-1e4, 0.0]], np.float32)
    assert_array_equal(npconv.softmax_cross_entropy(logits, np.array([0, 0])), np.float32(5e3))


def test_a_class_ruled_out_by_minus_infinity_costs_nothing():
    logits, labels = np.array([[0.0, 0.0, -np.inf]]), np.array([1])
    assert_allclose(npconv.softmax_cross_entropy(logits, labels), np.log(2), rtol=1e-15)
    dlogits = npconv.softmax_cross_entropy_backward(np.ones(()), logits, labels)
    assert_allclose(dlogits, [[0.5, -0.5, 0.0]], rtol=1e-15)


@given(problems("softmax_cross_entropy", np.float64, whole=False))
def test_gradients_of_each_image_add_up_to_nothing(problem):
    """A constant added to all logits of an image changes nothing."""
    assert_allclose(problem.backward(np.ones(())).sum(axis=1), 0, atol=1e-15)


@pytest.mark.parametrize("classes", [1, 10, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-3, 1, 20, 1e4])
def test_losses_and_probabilities_are_exact_but_for_rounding(dtype, scale, classes):
    """Powers of e from 1 down to what is no number any more, beside the same in extended precision."""
    rng = np.random.default_rng(0)
    logits, labels = (scale * rng.standard_normal((9, classes))).astype(dtype), rng.integers(0, classes, 9)
    shifted = logits.astype(np.longdouble)
    shifted -= shifted.max(axis=1, keepdims=True)
    p = np.exp(shifted)
    log_sum, p = np.log(p.sum(axis=1)), p / p.sum(axis=1, keepdims=True)
    u = np.finfo(dtype).eps
    loss = np.mean(log_sum - shifted[np.arange(9), labels])
    assert_allclose(npconv.softmax_cross_entropy(logits, labels), loss, rtol=8 * u, atol=8 * u)
    p[np.arange(9), labels] -= 1
    dlogits = npconv.softmax_cross_entropy_backward(np.full((), 9, dtype), logits, labels)
    assert_allclose(dlogits, p, rtol=0, atol=2 * u)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_below_the_normal_numbers_are_there(dtype, backend):
    """Not 0: e^-90 is a denormal number of float32, as e^-720 is of float64."""
    least = float(np.finfo(dtype).smallest_subnormal)
    away = np.linspace(math.log(least) + 1, math.log(float(np.finfo(dtype).tiny)) + 1, 50)
    logits = np.concatenate(([0.0], away)).astype(dtype)[None]
    dlogits = npconv.softmax_cross_entropy_backward(np.ones((), dtype), logits, np.array([0]))
    exact = np.exp(logits[0, 1:].astype(np.longdouble))
    assert np.all(dlogits[0, 1:] > 0)
    assert np.all(np.abs(dlogits[0, 1:] - exact) <= 4 * np.finfo(dtype).eps * exact + 2 * least)
