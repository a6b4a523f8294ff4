"""Pointwise convolution: that it is a convolution of 1 x 1, and what its stride skips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_array_equal

import npconv
from npconv.testing.strategies import problems_with_dy

pytestmark = pytest.mark.usefixtures("backend")


def test_pixels_that_the_stride_skips_get_no_gradient():
    x, w = np.arange(5.0).reshape(1, 1, 1, 5), np.full((1, 1, 1, 1), 2.0)
    assert_array_equal(npconv.pointwise_conv2d(x, w, stride=2).ravel(), [0.0, 4.0, 8.0])
    dx, _, _ = npconv.pointwise_conv2d_backward(np.array([1.0, 10.0, 100.0]).reshape(1, 1, 1, 3), x, w, stride=2)
    assert_array_equal(dx.ravel(), [2.0, 0.0, 20.0, 0.0, 200.0])


@given(problems_with_dy("pointwise_conv2d"))
def test_it_is_a_convolution_of_one_by_one(case):
    problem, dy = case
    assert_array_equal(problem.forward(), npconv.conv2d(*problem.args, **problem.options))
    gradients = npconv.conv2d_backward(dy, *problem.args, **problem.options)
    for got, expected in zip(problem.backward(dy), gradients, strict=True):
        assert_array_equal(got, expected)
