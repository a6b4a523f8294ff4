"""A function is asked for what it has parameters for, and for nothing else."""

from __future__ import annotations

import numpy as np
import pytest

import npconv
from npconv import check
from npconv.check.contract import Contract
from npconv.check.corpus import chosen_cases


def plain(x, w):
    return npconv.conv2d(x, w)


def plain_backward(dy, x, w):
    return npconv.conv2d_backward(dy, x, w)[:2]


def padded(x, w, b=None, stride=1, padding=((0, 0), (0, 0))):
    (top, bottom), (left, right) = padding  # four numbers, whatever was meant
    return npconv.conv2d(x, w, b, stride=stride, padding=((top, bottom), (left, right)))


def worded(x, w, b=None, *, padding="valid"):
    return npconv.conv2d(x, w, b, padding=padding)


def test_contracts_are_read_from_signatures():
    assert Contract.of(plain, "conv2d", "forward") == Contract(2, ("x", "w"), False)
    assert Contract.of(plain_backward, "conv2d", "backward").arrays == 2
    assert Contract.of(padded, "conv2d", "forward").arrays == 3
    assert Contract.of(worded, "conv2d", "forward").words
    assert Contract.of(npconv.conv2d, "conv2d", "forward").words
    for direction in ("forward", "backward"):
        assert Contract.of(lambda *args, **options: None, "conv2d", direction) == Contract(None, None, False)
    assert Contract.of(lambda dy, *args: None, "conv2d", "backward") == Contract(None, (), False)
    assert Contract.of(plain, "conv2d", "forward").lacks("conv2d") >= {"stride", "padding", "memory of b", "groups"}


@pytest.mark.slow
def test_a_plain_convolution_can_be_checked():
    report = check.run("conv2d", forward=plain, backward=plain_backward, cases=40)
    assert report.ok
    assert report.coverage.declined == 0
    assert report.coverage.cases == 40
    assert "stride" in report.coverage.missing()


@pytest.mark.slow
def test_what_is_wrong_with_it_is_shown():
    def wrong(x, w):
        return npconv.conv2d(x, w) + np.float32(w.shape[2] > 6)

    failure = check.run("conv2d", forward=wrong, cases=60).failures[0]
    assert failure.case.args[1].shape[2] >= 7
    assert "checked_function(x, w)" in failure.reproduction


@pytest.mark.slow
@pytest.mark.parametrize("function", [padded, worded])
def test_padding_comes_in_the_form_that_is_taken(function):
    report = check.run("conv2d", forward=function, cases=40)
    assert report.ok
    counts = report.coverage.counts["padding"]
    assert bool(counts["same"]) == (function is worded)
    assert counts["2"] > 0  # the same on all sides, in whatever form
    assert counts["four numbers"] > 0


@pytest.mark.slow
def test_smaller_cases_have_padding_in_that_form_too():
    """The failure does not need any: the smallest case has none; and what the function requires is there."""

    def wrong(x, w, b=None, *, stride=1, padding):
        (top, bottom), (left, right) = padding
        y = npconv.conv2d(x, w, b, stride=stride, padding=((top, bottom), (left, right)))
        return y + np.float32(w.shape[3] > 4)

    report = check.run("conv2d", forward=wrong, cases=40, modes=("exact",))
    assert {failure.kind for failure in report.failures} <= {"value", "rounding"}
    case = report.failures[0].case
    assert case.options["padding"] == ((0, 0), (0, 0))
    assert case.size <= 20


def test_an_adapted_case_is_the_same_problem():
    contract = Contract.of(padded, "conv2d", "forward")
    for case in chosen_cases("conv2d", 30):
        numbers = contract.adapted(case)
        if case.options["dilation"] == case.options["groups"] == 1:
            assert np.shape(numbers.problem.forward()) == case.dy.shape


def test_the_fingerprint_is_asked_for_in_the_same_way():
    with npconv.backend("numpy"):
        report = check.run("conv2d", forward=padded, cases=1, arithmetic=True)
    assert report.arithmetic.name == "float32, direct sums", str(report.arithmetic)
