"""Error bounds: how far from the exact value a sum of products may be, so that no tolerance has to be guessed.

Let y = sum of K products x*w be computed in floating point, in any order, with or without fused multiply-add. Every term
is rounded at most K times, so y is within ``gamma_K * sum of |x||w|`` of the exact value. The same operator applied to
|x| and |w| in float64 gives that sum for every output at once:

    magnitude = conv2d(abs(x).astype(float), abs(w).astype(float))
    exact = conv2d(x.astype(float), w.astype(float))
    assert_within_bound(conv2d(x, w), exact, rigorous_bound(magnitude, terms, x.dtype))

It holds for every operator that is a sum of products, and for one after another if `terms` is the sum of their counts.
Underflow is not covered: products should be of normal numbers. Nor are fast algorithms, which add before they multiply: npconv
uses one for 3x3 convolutions of many channels, and ``with npconv.winograd("off")`` makes them sums of products again.

Imports nothing of npconv.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray


def unit_roundoff(dtype: DTypeLike) -> float:
    """The largest relative error of rounding to `dtype`: half the gap between 1 and the next number.

    >>> unit_roundoff(np.float32) == 2.0**-24
    True
    """
    return float(np.finfo(dtype).eps) / 2


def gamma(terms: int, roundoff: float) -> float:
    """gamma_K = K*u / (1 - K*u): the relative error that K roundings of unit roundoff u can add up to.

    Raises ValueError where K*u reaches 1, which is where the bound says nothing.
    Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, lemma 3.1.

    >>> gamma(3, 0.25)
    3.0
    """
    product = terms * roundoff
    if not 0 <= product < 1:
        raise ValueError(f"terms * roundoff must be in [0, 1), got terms={terms}, roundoff={roundoff}")
    return product / (1 - product)


def probable_gamma(terms: int, roundoff: float, deviations: float = 6.0) -> float:
    """What K roundings add up to in practice, about ``deviations * sqrt(K) * u``, since errors of both signs cancel.

    If rounding errors are independent and of mean 0, an inner product of K terms stays within it with a probability of
    at least ``1 - 2*K*exp(-deviations**2 / 2)`` (to first order in u): at 6 deviations and K = 1000 that is 0.99997.
    A result beyond it is right by `gamma`, and suspicious: a sum in a lower precision, a bias of one sign.
    Source: Higham and Mary, A New Approach to Probabilistic Rounding Error Analysis, SIAM J. Sci. Comput. 41 (2019), theorem 2.4.
    """
    return math.expm1(deviations * math.sqrt(terms) * roundoff + terms * roundoff**2 / (1 - roundoff))


def rigorous_bound(magnitude: ArrayLike, terms: int, dtype: DTypeLike) -> NDArray[np.float64]:
    """The bound of sums of `terms` products in `dtype`, per output; `magnitude` is the sums of the products' absolute values."""
    return gamma(terms, unit_roundoff(dtype)) * np.asarray(magnitude, np.float64)


def probabilistic_bound(
    magnitude: ArrayLike, terms: int, dtype: DTypeLike, deviations: float = 6.0
) -> NDArray[np.float64]:
    """As `rigorous_bound`, with `probable_gamma`: smaller from about ``deviations**2`` terms on, and only all but certain."""
    return probable_gamma(terms, unit_roundoff(dtype), deviations) * np.asarray(magnitude, np.float64)


def error_in_bounds(got: ArrayLike, exact: ArrayLike, bound: ArrayLike) -> NDArray[np.float64]:
    """``|got - exact| / bound`` for every element: at most 1 is right. Equal values, infinities and NaNs included, give 0.

    Where the bound is 0, or only one of the two is finite, anything but equality gives infinity.

    >>> error_in_bounds([1.0, 2.5, np.nan], [1.0, 2.0, 2.0], [0.25, 0.25, 0.25])
    array([ 0.,  2., inf])
    """
    got, exact = np.asarray(got, np.float64), np.asarray(exact, np.float64)
    equal = (got == exact) | (np.isnan(got) & np.isnan(exact))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        ratio = np.abs(got - exact) / np.asarray(bound, np.float64)
    return np.where(equal, 0.0, np.where(np.isnan(ratio), np.inf, ratio))


def assert_within_bound(got: NDArray[Any], exact: NDArray[Any], bound: ArrayLike) -> None:
    """Raise AssertionError, with the worst element, unless ``|got - exact| <= bound`` everywhere.

    >>> assert_within_bound(np.array([1.0, 2.5]), np.array([1.0, 2.0]), 0.25)
    Traceback (most recent call last):
        ...
    AssertionError: at [1]: expected 2.0, got 2.5, an error of 2 bounds of 0.25; 1 of 2 elements are out of bounds
    """
    if got.shape != exact.shape:
        raise AssertionError(f"expected the shape {exact.shape}, got {got.shape}")
    errors = error_in_bounds(got, exact, bound)
    if errors.size == 0 or errors.max() <= 1:
        return
    worst = np.unravel_index(errors.argmax(), errors.shape)
    raise AssertionError(
        f"at [{', '.join(str(i) for i in worst)}]: expected {exact[worst]}, got {got[worst]}, "
        f"an error of {errors[worst]:.3g} bounds of {np.broadcast_to(bound, errors.shape)[worst]:.3g}; "
        f"{np.count_nonzero(errors > 1)} of {errors.size} elements are out of bounds"
    )
