"""`cases_for` in somebody's own suite: a file with one line, run by pytest."""

from __future__ import annotations

import pytest

import npconv
from npconv.check import Unsupported, cases_for

test_linear = cases_for("linear", npconv.linear, npconv.linear_backward, cases=20)
test_relu_forward = cases_for("relu", npconv.relu, cases=20)


def questions(test):
    (mark,) = test.pytestmark
    return mark.args[1]


def test_there_is_a_test_for_each_direction_and_mode():
    assert questions(test_relu_forward) == [("forward", "exact"), ("forward", "bound")]
    assert questions(test_linear)[2:] == [("backward", "exact"), ("backward", "bound"), ("backward", "adjoint")]


def test_a_wrong_gradient_fails_its_own_tests_and_no_other():
    def doubled(dy, x):
        return 2 * npconv.relu_backward(dy, x)

    test = cases_for("relu", npconv.relu, doubled, cases=10)
    for question in questions(test):
        if question[0] == "forward":
            test(*question)
        else:
            with pytest.raises(AssertionError, match=r"(?s)relu in float32, 10 cases: DIFFERENT.*got = "):
                test(*question)


def test_what_is_unsupported_is_skipped():
    def nothing(x):
        raise Unsupported("no relu here")

    with pytest.raises(pytest.skip.Exception, match="no relu here"):
        cases_for("relu", nothing, cases=5)("forward", "exact")
