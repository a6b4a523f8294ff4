"""Depthwise convolution: the order of the multiplied channels, and that it is a group convolution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_array_equal

import npconv
from npconv.testing.strategies import problems_with_dy

pytestmark = pytest.mark.usefixtures("backend")


def test_channel_c_makes_the_channels_from_c_times_m_on():
    x = np.array([1.0, 10.0]).reshape(1, 2, 1, 1)
    w = np.array([1.0, 2.0, 3.0, 4.0]).reshape(4, 1, 1, 1)
    assert_array_equal(npconv.depthwise_conv2d(x, w).ravel(), [1.0, 2.0, 30.0, 40.0])


@given(problems_with_dy("depthwise_conv2d"))
def test_it_is_a_convolution_with_one_group_per_channel(case):
    problem, dy = case
    groups = problem.args[0].shape[1]
    assert_array_equal(problem.forward(), npconv.conv2d(*problem.args, groups=groups, **problem.options))
    gradients = npconv.conv2d_backward(dy, *problem.args, groups=groups, **problem.options)
    for got, expected in zip(problem.backward(dy), gradients, strict=True):
        assert_array_equal(got, expected)
