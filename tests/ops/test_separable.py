"""Separable convolution: two convolutions with nothing between."""

from __future__ import annotations

import pytest
from hypothesis import given
from numpy.testing import assert_array_equal

import npconv
from npconv.testing.strategies import problems

pytestmark = pytest.mark.usefixtures("backend")


@given(problems("separable_conv2d"))
def test_it_is_a_depthwise_and_a_pointwise_convolution(problem):
    x, w_depthwise, w_pointwise, b = problem.args
    filtered = npconv.depthwise_conv2d(x, w_depthwise, **problem.options)
    assert_array_equal(problem.forward(), npconv.pointwise_conv2d(filtered, w_pointwise, b))
