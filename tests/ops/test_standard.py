"""Standard and group convolution: the choices that a definition alone does not show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_array_equal

import npconv
from npconv.testing.strategies import problems_with_dy

pytestmark = pytest.mark.usefixtures("backend")


def row(*numbers):
    """One image of one channel and one row."""
    return np.array(numbers, np.float32).reshape(1, 1, 1, -1)


def test_it_is_a_cross_correlation():
    assert_array_equal(npconv.conv2d(row(1, 2, 3), row(1, 10)), row(21, 32))


def test_floor_case_leaves_columns_unread_and_without_gradient():
    """Five columns under a kernel of 2 with stride 2: the last is in no window."""
    x, w = row(1, 2, 3, 4, 5), row(1, 1)
    assert_array_equal(npconv.conv2d(x, w, stride=2), row(3, 7))
    dx, dw, db = npconv.conv2d_backward(row(10, 20), x, w, stride=2)
    assert_array_equal(dx, row(10, 10, 20, 20, 0))
    assert_array_equal(dw, row(70, 100))
    assert db is None


def test_each_output_group_sees_its_input_group_only():
    x = np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1, 1)
    w = np.array([[1.0, 1.0], [10.0, 10.0]]).reshape(2, 2, 1, 1)
    assert_array_equal(npconv.conv2d(x, w, groups=2).ravel(), [3.0, 70.0])


@pytest.mark.parametrize(
    ("padding", "stride", "explicit"),
    [
        (1, 1, ((1, 1), (1, 1))),
        ((1, 2), 1, ((1, 1), (2, 2))),
        ([1, 2], 1, ((1, 1), (2, 2))),
        (np.array([1, 2]), 1, ((1, 1), (2, 2))),
        (((0, 1), (2, 0)), 1, ((0, 1), (2, 0))),
        ("valid", 1, ((0, 0), (0, 0))),
        ("same", 1, ((1, 1), (1, 2))),
        ("same_lower", 1, ((1, 1), (2, 1))),
        ("same", 2, ((0, 1), (1, 1))),
        ("same_lower", 2, ((1, 0), (1, 1))),
        ("same", 4, ((0, 1), (0, 0))),
        ("same", (2, 1), ((0, 1), (1, 2))),
    ],
)
def test_every_form_of_padding_is_so_many_zeros(padding, stride, explicit):
    """A 3 x 4 kernel on 6 x 8 pixels: at stride 1, "same" adds 2 rows and 3 columns."""
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((2, 1, 6, 8), (3, 1, 3, 4)))
    expected = npconv.conv2d(np.pad(x, ((0, 0), (0, 0), *explicit)), w, stride=stride)
    assert_array_equal(npconv.conv2d(x, w, stride=stride, padding=padding), expected)


def test_same_padding_is_for_the_dilated_kernel():
    x = row(1, 2, 3, 4, 5)
    assert_array_equal(npconv.conv2d(x, row(1, 10, 100), padding="same", dilation=(1, 2)), row(310, 420, 531, 42, 53))


def test_options_may_be_any_integers():
    x, w = np.ones((1, 1, 5, 5)), np.ones((1, 1, 2, 2))
    expected = npconv.conv2d(x, w, stride=(2, 1), padding=(1, 0), dilation=2, groups=1)
    got = npconv.conv2d(
        x, w, stride=[np.int64(2), 1], padding=np.array([1, 0]), dilation=np.uint8(2), groups=np.int32(1)
    )
    assert_array_equal(got, expected)


@given(problems_with_dy("conv2d"))
def test_the_halves_of_the_backward_are_public(case):
    problem, dy = case
    x, w, _ = problem.args
    dx, dw, _ = problem.backward(dy)
    assert_array_equal(npconv.conv2d_input_grad(dy, w, x.shape, **problem.options), dx)
    assert_array_equal(npconv.conv2d_weight_grad(dy, x, w.shape, **problem.options), dw)


@pytest.mark.parametrize(("width", "expected"), [(4, [1, 2, 1, 2]), (5, [1, 2, 1, 2, 0])])
def test_input_grad_needs_the_size_of_the_input(width, expected):
    """Four and five columns give the same two outputs."""
    dx = npconv.conv2d_input_grad(row(1, 1), row(1, 2), (1, 1, 1, width), stride=2)
    assert_array_equal(dx, row(*expected))
