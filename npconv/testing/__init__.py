"""What npconv's own tests are made of, for other people's tests too: gradient checks, error bounds, random problems.

`assert_close` holds a result of an operator to the bound of its arithmetic, in one line. `check_adjoint` and `check_gradients`
judge any pair of a forward and a backward function; the bounds judge any result in units of the rounding error that its sums
may have. All work on plain NumPy arrays. `exact_forward` and `exact_backward`
give every operator's exact results with their bounds. `npconv.check.cases_for` makes a whole pytest
test of somebody's implementation.
The Hypothesis strategies are a module of their own, `npconv.testing.strategies`, which needs Hypothesis:
``pip install "npconv[test]"``.
"""

from npconv.testing.bounds import (
    assert_within_bound,
    error_in_bounds,
    gamma,
    probabilistic_bound,
    probable_gamma,
    rigorous_bound,
    unit_roundoff,
)
from npconv.testing.closeness import assert_close
from npconv.testing.gradients import Tree, check_adjoint, check_gradients, map_arrays, named_arrays
from npconv.testing.problem import Problem
from npconv.testing.rounding import Exact, exact_backward, exact_forward

__all__ = [
    "Exact",
    "Problem",
    "Tree",
    "assert_close",
    "assert_within_bound",
    "check_adjoint",
    "check_gradients",
    "error_in_bounds",
    "exact_backward",
    "exact_forward",
    "gamma",
    "map_arrays",
    "named_arrays",
    "probabilistic_bound",
    "probable_gamma",
    "rigorous_bound",
    "unit_roundoff",
]
