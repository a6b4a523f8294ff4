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
    map_arrays,
    named_arrays,
    probabilistic_bound,
    rigorous_bound,
    unit_roundoff,
)

# Where a division or a logarithm leaves whole numbers no exact result.
INEXACT = {"batch_norm2d", "hard_sigmoid", "hard_swish", "softmax_cross_entropy"}

# The arguments in which the result is linear while the others stay; in a piecewise linear one without constants, as good.
LINEAR_IN = {
    "conv2d": (0, 1, 2),
    "depthwise_conv2d": (0, 1, 2),
    "pointwise_conv2d": (0, 1, 2),
    "separable_conv2d": (0, 1, 2, 3),
    "octave_conv2d": (0, 1, 2),
    "octave_depthwise_conv2d": (0, 1, 2),
    "ghost_conv2d": (0, 1, 2),
    "channel_shuffle": (0,),
    "channel_unshuffle": (0,),
    "avg_pool2d": (0,),
    "max_pool2d": (0,),
    "global_avg_pool2d": (0,),
    "upsample_nearest2d": (0,),
    "batch_norm2d": (1, 2),
    "relu": (0,),
    "linear": (0, 1, 2),
}

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
    """Results and gradients are within the rounding error that their sums may have.

    The operator on ones counts the terms of each sum. A second stage, as the pointwise part of a separable convolution,
    multiplies the counts of both, which is at least their sum less 1. Octave's averages of up to 16 pixels are terms too
    and, being averages, are not counted.
    """
    ones, absolute, exact = problem.map(np.ones_like), problem.map(np.abs), widened(problem)
    dy_ones, dy_absolute = map_arrays(np.ones_like, dy), map_arrays(np.abs, dy)
    averaged, more = (16, 18) if problem.op.startswith("octave") else (1, 1)
    for got, count, magnitude, value in (
        (problem.forward(), ones.forward(), widened(absolute).forward(), exact.forward()),
        (
            problem.backward(dy),
            ones.backward(dy_ones),
            widened(absolute).backward(in_float64(dy_absolute)),
            exact.backward(in_float64(dy)),
        ),
    ):
        for (name, array), (_, counts), (_, magnitudes), (_, values) in zip(
            *(named_arrays(tree, "y") for tree in (got, count, magnitude, value)), strict=True
        ):
            terms = averaged * int(np.ceil(counts.max(initial=0))) + more
            bound = np.minimum(
                rigorous_bound(magnitudes, terms, array.dtype), probabilistic_bound(magnitudes, terms, array.dtype)
            )
            check_within(name, array, values, bound)
