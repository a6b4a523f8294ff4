"""What is right by a choice of its own is named, and is no difference; what is right by none is one."""

from __future__ import annotations

import numpy as np
import pytest
from planted import BUGS
from wrong import CHOICES, of_bug

import npconv
from npconv.check import run
from npconv.check.choices import KINKS, TIES
from npconv.check.comparison import compare
from npconv.check.corpus import filled
from npconv.check.examination import Checked, examine
from npconv.testing import Problem, exact_backward

SETTINGS = {"cases": 40, "shrinking": 0}
DTYPES = [pytest.param("float16", marks=pytest.mark.slow), "float32"]


def with_slopes(op, slopes):
    """The gradient of `op` with other slopes at its kinks."""

    def backward(dy, x):
        dx = getattr(npconv, f"{op}_backward")(dy, x)
        for kink, slope in slopes.items():
            dx = np.where(x == kink, dy * dx.dtype.type(slope), dx).astype(dx.dtype)
        return dx

    return backward


@pytest.mark.slow
@pytest.mark.parametrize("op", KINKS)
def test_slopes_at_a_kink(op):
    for part in (1, 0.5):
        slopes = {kink: own + part * (other - own) for kink, (own, other) in KINKS[op].items()}
        report = run(op, backward=with_slopes(op, slopes), **SETTINGS)
        assert report.ok, report
        told = [f"at {kink} is {slope:.3g} (npconv: {KINKS[op][kink][0]})" for kink, slope in slopes.items()]
        known = {"the slope " + " and ".join(told), *(f"the slope {one}" for one in told)}
        assert report.choices.keys() <= known
        assert not report.choices or "choice, " in str(report)
        assert report.as_dict()["choices"] == report.choices
    wrong = {kink: own + 2 * (other - own) for kink, (own, other) in KINKS[op].items()}
    assert not run(op, backward=with_slopes(op, wrong), **SETTINGS).ok


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("op", KINKS)
def test_every_kink_has_its_choice(op, dtype):
    case = filled(Problem(op, (np.zeros((9, 9, 9)),), {}), "kinks", dtype, kind="x: ties")
    for kink, (own, other) in KINKS[op].items():
        subject = Checked(None, with_slopes(op, {kink: other}))
        found = [
            one for one in examine(subject, case, [("backward", "exact"), ("backward", "bound")]) if not one.skipped
        ]
        assert found
        assert not any(one.failures for one in found)
        assert f"the slope at {kink} is {other:.3g} (npconv: {own:.3g})" in [one.choice for one in found]


def test_one_kink_alone_may_be_another_choice():
    report = run("relu6", backward=with_slopes("relu6", {6: 1}), **SETTINGS)
    assert report.ok, report
    assert set(report.choices) == {"the slope at 6 is 1 (npconv: 0)"}


def windows_gradient(part_of):
    """The gradient of a pool without padding, from the part of dy that each of a window's largest pixels gets."""

    def max_pool2d_backward(dy, x, kernel, *, stride=None):
        rows, columns = np.broadcast_to(kernel, 2)
        down, across = np.broadcast_to(kernel if stride is None else stride, 2)
        dx = np.zeros_like(x)
        for p, q in np.ndindex(dy.shape[2:]):
            at = (slice(None), slice(None), slice(p * down, p * down + rows), slice(q * across, q * across + columns))
            largest = x[at] == x[at].max(axis=(2, 3), keepdims=True)
            dx[at] += part_of(largest).astype(x.dtype) * dy[:, :, p, q, None, None]
        return dx

    return max_pool2d_backward


def one_of(largest, place, order):
    flat = largest.transpose(0, 1, 3, 2) if order == "F" else largest
    shape, flat = flat.shape, flat.reshape(*flat.shape[:2], -1)
    rank = np.cumsum(flat, axis=2)
    count = rank[:, :, -1:]
    chosen = (flat & (rank == (1 if place == "first" else count))).reshape(shape)
    return chosen.transpose(0, 1, 3, 2) if order == "F" else chosen


PARTS = {
    "goes to the last maximum (": lambda largest: one_of(largest, "last", "C"),
    "is shared": lambda largest: largest / largest.sum(axis=(2, 3), keepdims=True),
    "the first maximum of the columns": lambda largest: one_of(largest, "first", "F"),
    "the last maximum of the columns": lambda largest: one_of(largest, "last", "F"),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("words", PARTS)
def test_ties_of_a_maximum(words, dtype):
    report = run("max_pool2d", backward=windows_gradient(PARTS[words]), dtype=dtype, **SETTINGS)
    assert report.ok, report
    assert any(words in sentence for sentence in report.choices)
    assert set(report.choices) <= TIES.keys()


def test_npconvs_own_choice_is_not_named():
    report = run("max_pool2d", backward=windows_gradient(lambda largest: one_of(largest, "first", "C")), **SETTINGS)
    assert report.ok, report
    assert not report.choices


def test_the_gradient_of_a_tie_in_full_to_each_is_wrong():
    assert not run("max_pool2d", backward=windows_gradient(lambda largest: largest), **SETTINGS).ok


@pytest.mark.parametrize("name", CHOICES)
def test_a_planted_bug_that_is_a_choice(name):
    bug = of_bug(BUGS[name])
    report = run(bug.op, forward=bug.forward, backward=bug.backward, **SETTINGS)
    assert report.ok, report
    assert CHOICES[name] in report.choices


def running_mean(x):
    pixels = x.reshape(*x.shape[:2], x.shape[2] * x.shape[3])
    mean = np.zeros(x.shape[:2], x.dtype)
    for count in range(pixels.shape[2]):
        mean += (pixels[:, :, count] - mean) / x.dtype.type(count + 1)
    return mean[:, :, None, None]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_running_means(dtype):
    """Of a power of two of numbers a sum is exact, and so is its quotient; the mean so far is not."""
    for kind in (None, "x: infinity"):
        problem = Problem("global_avg_pool2d", (np.zeros((9, 4, 8, 8)),), {})
        case = filled(problem, "powers of two", dtype, kind=kind)
        exact, bound = examine(Checked(running_mean, None), case, [("forward", "exact"), ("forward", "bound")])
        assert not exact.failures
        assert not bound.failures
        assert exact.choice is not None
        assert exact.choice.startswith("means are running ones")
        (wrong,) = examine(Checked(lambda x: running_mean(x) * dtype(2), None), case, [("forward", "exact")])
        assert wrong.failures


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_running_means_in_a_run(dtype):
    report = run("global_avg_pool2d", forward=running_mean, dtype=dtype, **SETTINGS)
    assert report.ok, report


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("op", ["hard_sigmoid", "hard_swish"])
def test_beside_a_kink_either_slope_is_right(op, dtype):
    """x + 3 is rounded there; the bound of everything else stays as it is."""
    x, dy = np.nextafter(dtype([3, -3]), dtype(0)), np.ones(2, dtype)
    right = getattr(npconv, f"{op}_backward")(dy, x)
    other = dtype([0 if op == "hard_sigmoid" else 1, 0])
    (exact,) = exact_backward(Problem(op, (x,), {}), dy)
    assert not compare("bound", right, exact).wrong.any()
    assert not compare("bound", other, exact).wrong.any()
    assert compare("bound", other + dtype(0.1), exact).wrong.all()
