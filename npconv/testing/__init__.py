"""What npconv's own tests are made of, for other people's tests too: gradient checks, error bounds, random problems.

`check_adjoint` and `check_gradients` judge any pair of a forward and a backward function; the bounds judge any result in
units of the rounding error that its sums may have. Both work on plain NumPy arrays. The Hypothesis strategies are a
module of their own, `npconv.testing.strategies`, which needs Hypothesis: ``pip install "npconv[test]"``.
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
from npconv.testing.gradients import check_adjoint, check_gradients, map_arrays, named_arrays

__all__ = [
    "assert_within_bound",
    "check_adjoint",
    "check_gradients",
    "error_in_bounds",
    "gamma",
    "map_arrays",
    "named_arrays",
    "probabilistic_bound",
    "probable_gamma",
    "rigorous_bound",
    "unit_roundoff",
]
