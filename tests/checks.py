"""What is asked of every operator, as functions of a problem that raise AssertionError; each test file asks them of something else."""

from __future__ import annotations

from functools import partial

import definitions
import numpy as np

from npconv import ops
from npconv.testing import (
    assert_within_bound,
    check_adjoint,
    check_gradients,
    exact_backward,
    exact_forward,
    map_arrays,
    named_arrays,
    unit_roundoff,
)
from npconv.testing.rounding import INEXACT, LINEAR_IN

# Linear in every single number of every argument: a difference over any step is the derivative.
STRAIGHT = set(LINEAR_IN) - {"max_pool2d", "relu", "batch_norm2d"}

# Sums of products, to which the rounding bound applies.
SUMS_OF_PRODUCTS = [op for op, arguments in LINEAR_IN.items() if len(arguments) > 2]


def in_float64(tree):
    return map_arrays(lambda array: array.astype(np.float64), tree)


def widened(problem):
    return problem._replace(args=in_float64(problem.args))


def check_equal(got, expected, rounding_errors=0):
    """Every array is equal, or off by so many rounding errors of its largest number."""
    assert map_arrays(np.shape, got) == map_arrays(np.shape, expected)
    for (name, array), (_, right) in zip(named_arrays(got, "y"), named_arrays(expected, "y"), strict=True):
        bound = rounding_errors * unit_roundoff(array.dtype) * np.abs(right).max(initial=1.0)
        check_within(name, array, right, bound)


def check_within(name, got, exact, bound):
    try:
        assert_within_bound(got, exact, bound)
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}") from None


def check_definition(problem):
    """The forward is the sum that defines it: on whole numbers without any error."""
    exact = widened(problem)
    expected = getattr(definitions, problem.op)(*exact.args, **problem.options)
    check_equal(problem.forward(), expected, 200 if problem.op in INEXACT else 0)


def check_backward_definition(problem, dy):
    """The same for a gradient that has a literal definition."""
    exact = widened(problem)
    expected = getattr(definitions, f"{problem.op}_backward")(in_float64(dy), *exact.args, **problem.options)
    check_equal(problem.backward(dy), expected, 200 if problem.op in INEXACT else 0)


def check_adjoint_identity(problem, dy):
    """<dy, y> == <da, a> for every argument a that the operator is linear in."""
    forward = partial(getattr(ops, problem.op), **problem.options)
    backward = partial(getattr(ops, f"{problem.op}_backward"), **problem.options)
    exact = problem.op not in INEXACT
    problem, dy = (problem, dy) if exact else (widened(problem), in_float64(dy))
    check_adjoint(forward, backward, problem.args, dy, linear_in=LINEAR_IN[problem.op], rtol=0 if exact else 1e-11)


def check_differences(problem, dy, samples=8):
    """The gradients are those of finite differences: without any error on whole numbers where the operator is straight."""
    forward = partial(getattr(ops, problem.op), **problem.options)
    backward = partial(getattr(ops, f"{problem.op}_backward"), **problem.options)
    tolerance = {"step": problem.unit, "rtol": 0.0} if problem.op in STRAIGHT else {"step": 1e-5, "rtol": 1e-5}
    check_gradients(
        forward, backward, problem.args, dy, **tolerance, samples=samples, rng=np.random.default_rng(samples)
    )


def check_rounding(problem, dy):
    """Results and gradients are within the rounding error that their sums may have."""
    results = [array for _, array in named_arrays((problem.forward(), problem.backward(dy)))]
    for got, exact in zip(results, [*exact_forward(problem), *exact_backward(problem, dy)], strict=True):
        check_within(exact.name, got, exact.value, exact.probable_bound(got.dtype))
