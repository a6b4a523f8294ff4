"""Judgements of single results: what is equal, within a bound, adjoint, and what is no result at all."""

from __future__ import annotations

import numpy as np
import pytest

import npconv
from npconv.check.case import Case
from npconv.check.comparison import (
    GarbageError,
    adjoint_failures,
    backward_arrays,
    compare,
    forward_arrays,
    is_bounded,
    origins,
)
from npconv.check.expected import is_exact
from npconv.testing import Exact, exact_forward

f32 = np.float32


def exact(value, magnitude=None, terms=1):
    value = np.asarray(value, np.float64)
    return Exact("y", value, np.abs(value) if magnitude is None else np.asarray(magnitude, np.float64), terms)


def case(op="linear", args=None, **options):
    args = args or (np.ones((1, 2), f32), np.ones((3, 2), f32), None)
    y = getattr(npconv, op)(*args, **options)
    return Case(op, args, options, np.ones_like(y), "random")


def test_exact_is_equality():
    comparison = compare("exact", np.array([1, 2, 3], f32), exact([1, 2, 3]))
    assert comparison.failure(case(), "forward", "exact") is None
    assert comparison.worst == 0


def test_a_rounding_where_there_was_nothing_to_round_fails():
    got = np.array([1, np.nextafter(f32(2), f32(3))], f32)
    failure = compare("exact", got, exact([1, 2], terms=9)).failure(case(), "forward", "exact")
    assert (failure.kind, failure.index, failure.expected, failure.wrong, failure.size) == ("rounding", (1,), 2.0, 1, 2)
    assert 0 < failure.error <= 1


def test_the_worst_element_is_told():
    failure = compare("exact", np.array([[1, 3], [9, 4]], f32), exact([[1, 2], [3, 4]])).failure(
        case(), "forward", "exact"
    )
    assert (failure.kind, failure.index, failure.expected, failure.got, failure.wrong) == ("value", (1, 0), 3.0, 9.0, 2)
    assert failure.message == "y[1, 0] must be 3.0, got 9.0"  # millions of bounds say nothing more


def test_a_result_beyond_the_dtype_is_told_as_it_is():
    failure = compare("exact", np.array([np.inf], f32), exact([-1.25e39])).failure(case(), "forward", "exact")
    assert (failure.expected, failure.message) == (-1.25e39, "y[0] must be -1.25e+39, got inf")


def test_the_bound_is_the_border():
    u = 2.0**-24
    value, terms = 1.0, 10
    bound = exact(value, terms=terms).bound(f32)
    assert bound == pytest.approx(terms * u / (1 - terms * u), rel=1e-6)
    inside = np.array(1 + 9 * u, np.float32)  # the next number is 2u away
    assert not compare("bound", inside, exact(value, terms=terms)).wrong
    outside = np.array(1 + 12 * u, np.float32)
    assert compare("bound", outside, exact(value, terms=terms)).wrong


def test_what_has_no_terms_has_no_rounding():
    """A shuffled or chosen number is the same number."""
    assert compare("bound", np.array([2], f32), exact([2], terms=0)).worst == 0
    assert compare("bound", np.nextafter(f32([2]), f32(3)), exact([2], terms=0)).wrong.all()


@pytest.mark.parametrize("got", [np.nan, np.inf])
def test_what_is_not_finite_is_nan(got):
    failure = compare("bound", np.array([got], f32), exact([1])).failure(case(), "forward", "bound")
    assert failure.kind == "nan"
    assert failure.error == np.inf


def test_suspicious_is_beyond_chance_and_within_the_bound():
    terms = 10_000
    value = exact([1.0], terms=terms)
    assert value.probable_bound(f32) < value.bound(f32) / 10
    got = np.array([1 + 0.5 * terms * 2.0**-24], f32)
    comparison = compare("bound", got, value)
    assert comparison.suspicious
    assert not comparison.wrong.any()
    assert not compare("bound", np.array([1.00001], f32), value).suspicious


def test_sums_too_long_for_the_mantissa_are_not_exact():
    x, w = np.full((1, 100), 4, np.float16), np.full((1, 100), 4, np.float16)
    short, long = case(args=(x, w, None)), case(args=(np.tile(x, 2), np.tile(w, 2), None))
    assert is_exact(exact_forward(short.problem), short)
    assert not is_exact(exact_forward(long.problem), long)


def test_numerators_must_be_representable_too():
    x = np.full((1, 1, 8, 8), 4 * 64, np.float16)  # sums of 64 of them are above 2048
    pooled = Case("global_avg_pool2d", (x,), {}, np.ones((1, 1, 1, 1), np.float16), "random", unit=64)
    assert not is_exact(exact_forward(pooled.problem), pooled)
    wide = pooled._replace(args=(x.astype(f32),), dy=pooled.dy.astype(f32))
    assert is_exact(exact_forward(wide.problem), wide)


def test_bounds_say_nothing_of_sums_as_long_as_one_over_u():
    x, w = np.ones((1, 2048), np.float16), np.ones((1, 2048), np.float16)
    assert not is_bounded(exact_forward(case(args=(x, w, None)).problem), case(args=(x, w, None)))
    assert is_bounded(exact_forward(case().problem), case())


def test_results_may_be_numbers_without_axes():
    scalar = Case("softmax_cross_entropy", (np.ones((1, 2), f32),), {"labels": np.zeros(1, int)}, np.ones((), f32), "")
    (array,) = forward_arrays(scalar, np.float32(1))
    assert array.shape == ()


def test_a_tuple_of_one_gradient_is_as_good_as_the_gradient():
    one = case("relu", (np.ones(3, f32),))
    for gradients in (np.ones(3, f32), (np.ones(3, f32),), [np.ones(3, f32)]):
        (array,) = backward_arrays(one, gradients)
        assert array.shape == (3,)


@pytest.mark.parametrize(
    ("gradients", "kind", "argument"),
    [
        (None, "type", ""),
        ((), "count", ""),
        ((np.ones((1, 2), f32), np.ones((3, 2), f32)), "count", ""),
        ((np.ones((1, 2), f32), np.ones((3, 2), f32), np.ones(3, f32)), "type", "db"),
        ((np.ones((1, 2), f32), np.ones((2, 3), f32), None), "shape", "dw"),
        ((np.ones((1, 2)), np.ones((3, 2), f32), None), "dtype", "dx"),
        (([[1.0, 1.0]], np.ones((3, 2), f32), None), "type", "dx"),
    ],
)
def test_what_is_no_gradients(gradients, kind, argument):
    with pytest.raises(GarbageError) as caught:
        backward_arrays(case(), gradients)
    assert (caught.value.kind, caught.value.argument) == (kind, argument)


def adjoint(problem, forward, backward):
    y = [forward(*problem.args)]
    at = {name: [forward(*origin.args)] for name, origin in origins(problem).items()}
    gradients = [gradient for gradient in backward(problem.dy, *problem.args) if gradient is not None]
    return {failure.argument for failure in adjoint_failures(problem, y, at, gradients)}


def test_the_adjoint_identity_holds_with_a_bias_and_without():
    x, w, b = np.array([[1, 2]], f32), np.array([[3, 4], [5, 6]], f32), np.array([7, 8], f32)
    for args in ((x, w, b), (x, w, None)):
        problem = case(args=args)._replace(dy=np.array([[1, 10]], f32))
        assert not adjoint(problem, npconv.linear, npconv.linear_backward)


@pytest.mark.parametrize(("number", "name"), [(0, "dx"), (1, "dw"), (2, "db")])
def test_each_gradient_has_an_identity_of_its_own(number, name):
    def wrong(dy, *args):
        gradients = list(npconv.linear_backward(dy, *args))
        gradients[number] = gradients[number] * 2
        return gradients

    args = np.array([[1, 2]], f32), np.array([[3, 4], [5, 6]], f32), np.array([7, 8], f32)
    problem = case(args=args)._replace(dy=np.array([[1, 10]], f32))
    assert adjoint(problem, npconv.linear, wrong) == {name}


def test_what_is_as_right_is_no_error():
    """A NaN where an infinite weight meets padding: some multiply it, and some leave it out."""
    either = Exact("y", np.array([1.0, 2.0]), np.array([1.0, 2.0]), 1, np.array([np.nan, 2.0]))
    for got in ([1, 2], [np.nan, 2]):
        assert not compare("exact", np.array(got, f32), either).wrong.any()
    assert compare("exact", np.array([1, np.nan], f32), either).wrong.tolist() == [False, True]


def test_denormal_numbers_taken_for_0_have_a_name():
    small = exact([1e-40, 1.0])
    failure = compare("exact", np.array([0, 1], f32), small).failure(case(), "forward", "exact")
    assert failure.kind == "denormal"


def test_products_with_0_round_nothing():
    """One of 4608 terms is missing, and few of them are not 0: their bound sees it."""
    rng = np.random.default_rng(0)
    x, w = np.zeros((1, 4608), f32), rng.uniform(1, 2, (1, 4608)).astype(f32)
    x[0, ::200] = 1.5
    (row,) = exact_forward(case(args=(x, w, None)).problem)
    assert row.terms.tolist() == [[24]]
    missing = x.copy()
    missing[0, 200] = 0
    assert not compare("bound", x @ w.T, row).wrong.any()
    assert compare("bound", missing @ w.T, row).wrong.all()
    (dense,) = exact_forward(case(args=(np.ones_like(x), w, None)).problem)
    assert dense.terms == 4608
