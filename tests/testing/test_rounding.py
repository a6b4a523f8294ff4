"""Exact results and their bounds: held against fractions where a sum can be written out, and against float32's own errors."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import npconv
from npconv.testing import assert_within_bound, exact_backward, exact_forward, gamma, map_arrays, named_arrays
from npconv.testing.problem import Problem
from npconv.testing.strategies import OPERATORS, problems_with_dy

f32 = np.float32


@pytest.mark.parametrize("op", OPERATORS)
@given(data=st.data())
def test_the_backends_are_within_the_bounds(backend, op, data):
    problem, dy = data.draw(problems_with_dy(op, data.draw(st.sampled_from([np.float16, f32])), whole=False))
    results = [array for _, array in named_arrays((problem.forward(), problem.backward(dy)))]
    with npconv.backend("numpy"):
        rows = [*exact_forward(problem), *exact_backward(problem, dy)]
    for got, exact in zip(results, rows, strict=True):
        assert exact.value.dtype == exact.magnitude.dtype == np.float64
        assert (exact.magnitude >= 0).all()
        assert_within_bound(got, exact.value, exact.bound(got.dtype))


def test_names_are_those_of_the_arguments():
    ones = partial(np.ones, dtype=f32)
    problem = Problem("separable_conv2d", (ones((1, 2, 3, 3)), ones((4, 1, 2, 2)), ones((3, 4, 1, 1)), ones(3)), {})
    assert [exact.name for exact in exact_forward(problem)] == ["y"]
    names = [exact.name for exact in exact_backward(problem, problem.forward())]
    assert names == ["dx", "dw_depthwise", "dw_pointwise", "db"]
    x = npconv.OctaveMap(ones((1, 1, 4, 4)), ones((1, 1, 2, 2)))
    w = npconv.OctaveWeight(hh=ones((1, 1, 1, 1)), ll=ones((1, 1, 1, 1)))
    problem = Problem("octave_conv2d", (x, w, None), {})
    assert [exact.name for exact in exact_forward(problem)] == ["y.high", "y.low"]
    names = [exact.name for exact in exact_backward(problem, problem.forward())]
    assert names == ["dx.high", "dx.low", "dw.hh", "dw.ll"]


def test_a_sum_has_as_many_terms_as_products():
    x, w, b = np.ones((2, 4, 5, 5), f32), np.ones((6, 2, 3, 3), f32), np.ones(6, f32)
    (y,) = exact_forward(Problem("conv2d", (x, w, None), {"groups": 2}))
    assert y.terms == 2 * 9
    problem = Problem("conv2d", (x, w, b), {"groups": 2})
    (y,) = exact_forward(problem)
    assert y.terms == 2 * 9 + 1
    dx, dw, db = exact_backward(problem, np.ones((2, 6, 3, 3), f32))
    assert (dx.terms, dw.terms, db.terms) == (3 * 9, 2 * 9, 2 * 9)


def test_one_sum_after_another_has_the_terms_of_both():
    x, depthwise, pointwise = np.ones((1, 8, 5, 5), f32), np.ones((8, 1, 3, 3), f32), np.ones((4, 8, 1, 1), f32)
    (y,) = exact_forward(Problem("separable_conv2d", (x, depthwise, pointwise, None), {"padding": 1}))
    assert y.terms == 9 + 8
    (y,) = exact_forward(Problem("ghost_conv2d", (x, pointwise, np.ones((4, 1, 3, 3), f32)), {}))
    assert y.terms == 8 + 9


def test_the_bound_of_one_product_is_one_rounding():
    """Truncating is not rounding: such an error is out of bounds, which takes a bound without any slack."""
    x, w = np.array([[1 + 2.0**-23]], f32), np.array([[1 + 2.0**-23]], f32)
    (y,) = exact_forward(Problem("linear", (x, w, None), {}))
    product = Fraction(float(x[0, 0])) ** 2
    assert Fraction(y.value.item()) == product
    assert y.bound(f32).item() == pytest.approx(2.0**-24 * float(product), rel=1e-6)


SUMS = (
    "conv2d", "depthwise_conv2d", "pointwise_conv2d", "separable_conv2d", "octave_conv2d", "octave_depthwise_conv2d",
    "ghost_conv2d", "linear", "avg_pool2d", "global_avg_pool2d", "upsample_nearest2d",
)  # fmt: skip


@pytest.mark.parametrize("op", SUMS)
@given(data=st.data())
def test_the_magnitude_of_positive_numbers_is_the_result(op, data):
    """So it is no larger than the sum of the absolute values of the terms: nothing is allowed that no rounding explains."""
    problem, dy = data.draw(problems_with_dy(op, f32, whole=False))
    positive = problem._replace(args=map_arrays(np.abs, problem.args))
    with npconv.backend("numpy"):
        rows = [*exact_forward(positive), *exact_backward(positive, map_arrays(np.abs, dy))]
    for exact in rows:
        np.testing.assert_allclose(exact.magnitude, exact.value, rtol=1e-12)


@pytest.mark.parametrize("op", ["hard_sigmoid", "hard_swish"])
def test_slopes_are_allowed_their_own_roundings(op):
    """Two of dy / 6, or eight of dy * (2 |x| + 3) / 6, and no more, away from the kinks."""
    x, dy = np.array([-5, -3.001, -2.999, 0, 2.999, 3.001, 5], f32), np.ones(7, f32)
    (dx,) = exact_backward(Problem(op, (x,), {}), dy)
    terms, size = (2, 1.0) if op == "hard_sigmoid" else (8, 2 * np.abs(x.astype(np.float64)) + 3)
    np.testing.assert_allclose(dx.bound(f32), gamma(terms, 2.0**-24) * size * np.ones(7) / 6, rtol=1e-6)


def test_where_nothing_is_computed_nothing_is_allowed():
    x = np.arange(8, dtype=f32).reshape(1, 4, 1, 2)
    for op, options in (("channel_shuffle", {"groups": 2}), ("relu", {}), ("max_pool2d", {"kernel": 1})):
        (y,) = exact_forward(Problem(op, (x,), options))
        assert not y.bound(f32).any()


def test_the_probable_bound_is_never_the_larger():
    x = np.ones((1, 5000), f32)
    for length in (1, 10, 5000):
        (y,) = exact_forward(Problem("linear", (x[:, :length], x[:, :length], None), {}))
        assert (y.probable_bound(f32) <= y.bound(f32)).all()
    assert y.probable_bound(f32) < y.bound(f32) / 5


def test_sums_of_one_over_u_terms_have_no_bound():
    x = np.ones((1, 2048), np.float16)
    (y,) = exact_forward(Problem("linear", (x, x, None), {}))
    assert np.isinf(y.bound(np.float16)).all()
    assert np.isfinite(y.bound(f32)).all()


def test_an_option_that_is_left_out_is_the_default():
    x = np.ones((1, 1, 2, 2), f32)
    given, left_out = (
        exact_backward(Problem("upsample_nearest2d", (x,), o), np.ones((1, 1, 4, 4), f32)) for o in ({"scale": 2}, {})
    )
    assert given[0].terms == left_out[0].terms == 4
