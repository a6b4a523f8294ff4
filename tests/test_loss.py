"""Softmax cross-entropy: values known in closed form, and logits at the edge of the floats."""

from __future__ import annotations

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
