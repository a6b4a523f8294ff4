"""Error bounds: against exact arithmetic, and that they are no looser than they say."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from npconv.testing import (
    assert_within_bound,
    error_in_bounds,
    gamma,
    probabilistic_bound,
    probable_gamma,
    rigorous_bound,
    unit_roundoff,
)


@pytest.mark.parametrize(
    ("dtype", "expected"), [(np.float16, 2.0**-11), (np.float32, 2.0**-24), (np.float64, 2.0**-53)]
)
def test_unit_roundoff_is_half_a_gap(dtype, expected):
    assert unit_roundoff(dtype) == expected


def test_gamma_needs_a_sum_short_enough():
    assert gamma(0, 0.5) == 0
    with pytest.raises(ValueError, match=r"terms \* roundoff must be in \[0, 1\), got terms=2, roundoff=0.5"):
        gamma(2, 0.5)


@pytest.mark.parametrize("terms", [1, 2, 10, 1000])
def test_sums_of_products_are_within_both_bounds(terms):
    """Added one by one in float32, which is the worst order, and held against fractions."""
    rng = np.random.default_rng(terms)
    for _ in range(20):
        x, w = rng.standard_normal((2, terms)).astype(np.float32)
        got = np.float32(0)
        for a, b in zip(x, w, strict=True):
            got += a * b
        products = [Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x, w, strict=True)]
        exact = np.array([float(sum(products))])
        magnitude = np.array([float(sum(map(abs, products)))])
        assert_within_bound(np.array([got]), exact, rigorous_bound(magnitude, terms, np.float32))
        assert_within_bound(np.array([got]), exact, probabilistic_bound(magnitude, terms, np.float32))


def test_the_rigorous_bound_is_nearly_reached():
    """1 + u + u + ... in float32: each addition is a tie, and loses a whole u to even."""
    u, terms = 2.0**-24, 1000
    got = np.float32(1)
    for _ in range(terms - 1):
        got += np.float32(u)
    exact = np.array([1 + (terms - 1) * u])
    error = error_in_bounds(np.array([got]), exact, rigorous_bound(exact, terms, np.float32))
    assert 0.99 < error[0] <= 1
    assert error_in_bounds(np.array([got]), exact, probabilistic_bound(exact, terms, np.float32))[0] > 5


def test_the_probable_bound_grows_with_the_root():
    u = unit_roundoff(np.float64)
    assert probable_gamma(100, u) == pytest.approx(60 * u, rel=1e-9)
    assert probable_gamma(100, u, deviations=1) == pytest.approx(10 * u, rel=1e-9)
    assert probable_gamma(10000, u) < gamma(10000, u) / 16


def test_half_precision_inside_a_float32_result_is_seen():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 50, 64)).astype(np.float32)
    exact, magnitude = (np.sum(f(x.astype(float) * w), axis=1) for f in (np.asarray, np.abs))
    narrowed = np.sum(x.astype(np.float16).astype(np.float32) * w, axis=1)
    with pytest.raises(AssertionError, match="elements are out of bounds"):
        assert_within_bound(narrowed, exact, rigorous_bound(magnitude, 64, np.float32))


def test_equal_numbers_have_no_error_whatever_they_are():
    numbers = np.array([0.0, np.inf, -np.inf, np.nan, 1e300])
    assert_within_bound(numbers, numbers.copy(), 0.0)


@pytest.mark.parametrize(("got", "exact"), [(np.nan, 1.0), (1.0, np.nan), (np.inf, 1.0), (np.inf, -np.inf), (1.0, 1.5)])
def test_other_numbers_have(got, exact):
    with pytest.raises(AssertionError, match=r"at \[0, 1\]: expected .* got .*; 1 of 2 elements are out of bounds"):
        assert_within_bound(np.array([[0.0, got]]), np.array([[0.0, exact]]), 0.25)


def test_the_worst_element_is_named():
    got, exact = np.array([1.0, 2.0, 3.0]), np.array([1.5, 4.0, 3.0])
    message = r"at \[1\]: expected 4.0, got 2.0, an error of 8 bounds of 0.25; 2 of 3 elements"
    with pytest.raises(AssertionError, match=message):
        assert_within_bound(got, exact, 0.25)


def test_shapes_must_agree():
    with pytest.raises(AssertionError, match=r"expected the shape \(2,\), got \(1, 2\)"):
        assert_within_bound(np.zeros((1, 2)), np.zeros(2), 1.0)


def test_nothing_is_within_any_bound():
    assert_within_bound(np.zeros((0, 3)), np.zeros((0, 3)), 0.0)


def test_more_roundings_than_can_be_counted():
    assert probable_gamma(2**64, 2.0**-24, 1e300) == np.inf
    with pytest.raises(ValueError, match=r"roundoff must be in \[0, 1\), got 1\.0"):
        probable_gamma(2, 1.0)


@pytest.mark.parametrize("value", [True, "1", None, 1j, np.timedelta64(1), [1]])
def test_a_bound_of_what_is_no_number(value):
    for call in (lambda: gamma(value, 0.1), lambda: gamma(1, value), lambda: probable_gamma(1, 0.1, value)):
        with pytest.raises(TypeError, match=r"(terms|roundoff|deviations) must be a number, got "):
            call()


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 10**400])
def test_a_bound_of_a_number_out_of_range(value):
    for call in (lambda: gamma(value, 0.1), lambda: gamma(1, value), lambda: probable_gamma(value, 0.1)):
        with pytest.raises(ValueError, match=r"(terms|roundoff) must be finite and at least 0, got "):
            call()


def test_a_dtype_that_has_no_roundoff():
    for dtype in (int, bool, object, "9" * 5000, "nothing"):
        with pytest.raises(TypeError, match="dtype must be one of floats, got "):
            unit_roundoff(dtype)
