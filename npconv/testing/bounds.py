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

LARGEST_EXPONENT = 709.0  # of e in a float64


def unit_roundoff(dtype: DTypeLike) -> float:
    """The largest relative error of rounding to `dtype`: half the gap between 1 and the next number.

    Parameters
    ----------
    dtype : float16, float32 or float64

    Returns
    -------
    float

    Raises
    ------
    TypeError
        No dtype of floats.

    Notes
    -----
    Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition (2002), section 2.1.

    Examples
    --------
    >>> unit_roundoff(np.float32) == 2.0**-24
    True
    """
    try:
        return float(np.finfo(dtype).eps) / 2
    except Exception:  # NumPy has many kinds for what is no dtype of floats
        raise TypeError(f"dtype must be one of floats, got {type(dtype).__name__}") from None


def gamma(terms: int, roundoff: float) -> float:
    """gamma_K = K*u / (1 - K*u): the relative error that K roundings of unit roundoff u can add up to.

    Parameters
    ----------
    terms : int of at least 0
        K.
    roundoff : float
        u.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        K*u reaches 1, which is where the bound says nothing.

    Notes
    -----
    Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition (2002), lemma 3.1.

    Examples
    --------
    >>> gamma(3, 0.25)
    3.0
    """
    product = _checked("terms", terms) * _checked("roundoff", roundoff)
    if not product < 1:
        raise ValueError(f"terms * roundoff must be in [0, 1), got terms={terms}, roundoff={roundoff}")
    return product / (1 - product)


def probable_gamma(terms: int, roundoff: float, deviations: float = 6.0) -> float:
    """What K roundings add up to in practice, about ``deviations * sqrt(K) * u``, since errors of both signs cancel.

    If rounding errors are independent and of mean 0, an inner product of K terms stays within it with a probability of
    at least ``1 - 2*K*exp(-deviations**2 / 2)`` (to first order in u): at 6 deviations and K = 1000 that is 0.99997.
    A result beyond it is right by `gamma`, and suspicious: a sum in a lower precision, a bias of one sign.

    Parameters
    ----------
    terms : int of at least 0
        K.
    roundoff : float
        u.
    deviations : float of at least 0

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        No number, or a negative or infinite one.

    Notes
    -----
    Higham and Mary, A New Approach to Probabilistic Rounding Error Analysis, SIAM J. Sci. Comput. 41 (2019), theorem 2.4.

    Examples
    --------
    >>> round(probable_gamma(10_000, 2.0**-24) / (6 * 100 * 2.0**-24), 3)  # sqrt(10,000) = 100
    1.0
    """
    count, u = _checked("terms", terms), _checked("roundoff", roundoff)
    if not u < 1:
        raise ValueError(f"roundoff must be in [0, 1), got {u}")
    exponent = _checked("deviations", deviations) * math.sqrt(count) * u + count * u**2 / (1 - u)
    return math.expm1(exponent) if exponent < LARGEST_EXPONENT else math.inf


def _checked(name: str, value: object) -> float:
    """`value` as a finite float of at least 0."""
    numbers = int | float | np.integer | np.floating
    if isinstance(value, bool | np.bool_ | np.timedelta64) or not isinstance(value, numbers):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} must be finite and at least 0, got {number}")
    return number


def _numbers(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """`value` as float64."""
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} must be numbers, got {type(value).__name__}") from None


def rigorous_bound(magnitude: ArrayLike, terms: int, dtype: DTypeLike) -> NDArray[np.float64]:
    """The bound of sums of `terms` products in `dtype`: ``gamma_K * sum|x||w|`` for each output.

    Parameters
    ----------
    magnitude : array of any shape
        The sums of the products' absolute values.
    terms : int of at least 0
        K.
    dtype : float16, float32 or float64

    Returns
    -------
    array of float64
        Of the shape of magnitude.

    Raises
    ------
    TypeError, ValueError
        As by `gamma` and `unit_roundoff`.

    Notes
    -----
    Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition (2002), equation 3.5.

    Examples
    --------
    >>> (rigorous_bound([8.0], 1, np.float32) / 2.0**-24).round(3)
    array([8.])
    """
    return gamma(terms, unit_roundoff(dtype)) * _numbers("magnitude", magnitude)


def probabilistic_bound(
    magnitude: ArrayLike, terms: int, dtype: DTypeLike, deviations: float = 6.0
) -> NDArray[np.float64]:
    """As `rigorous_bound`, with `probable_gamma`: smaller from about ``deviations**2`` terms on, and only all but certain.

    Parameters
    ----------
    magnitude, terms, dtype
        As in `rigorous_bound`.
    deviations : float
        As in `probable_gamma`.

    Returns
    -------
    array of float64
        Of the shape of magnitude.

    Raises
    ------
    TypeError, ValueError
        As by `probable_gamma` and `unit_roundoff`.

    Examples
    --------
    >>> (probabilistic_bound([1.0], 10_000, np.float32) < rigorous_bound([1.0], 10_000, np.float32)).tolist()
    [True]
    """
    return probable_gamma(terms, unit_roundoff(dtype), deviations) * _numbers("magnitude", magnitude)


def error_in_bounds(got: ArrayLike, exact: ArrayLike, bound: ArrayLike) -> NDArray[np.float64]:
    """``|got - exact| / bound`` for every element: at most 1 is right. Equal values, infinities and NaNs included, give 0.

    Where the bound is 0, or only one of the two is finite, anything but equality gives infinity.

    Parameters
    ----------
    got, exact, bound : arrays of shapes that broadcast
        Of any dtypes.

    Returns
    -------
    array of float64
        Of the common shape.

    Raises
    ------
    ValueError
        Shapes that do not broadcast.

    Examples
    --------
    >>> error_in_bounds([1.0, 2.5, np.nan], [1.0, 2.0, 2.0], [0.25, 0.25, 0.25])
    array([ 0.,  2., inf])
    """
    got, exact, bound = _numbers("got", got), _numbers("exact", exact), _numbers("bound", bound)
    try:
        np.broadcast_shapes(got.shape, exact.shape, bound.shape)
    except (ValueError, RuntimeError):  # the second of more axes than it takes
        shapes = f"{got.shape}, {exact.shape} and {bound.shape}"
        raise ValueError(f"got, exact and bound must have shapes that broadcast, got {shapes}") from None
    equal = (got == exact) | (np.isnan(got) & np.isnan(exact))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        ratio = np.abs(got - exact) / bound
    return np.where(equal, 0.0, np.where(np.isnan(ratio), np.inf, ratio))


def assert_within_bound(got: NDArray[Any], exact: NDArray[Any], bound: ArrayLike) -> None:
    """Hold a result to its bound: ``|got - exact| <= bound`` everywhere.

    Parameters
    ----------
    got, exact : arrays of one shape
        Of any dtypes.
    bound : number or array of that shape

    Raises
    ------
    AssertionError
        With the worst element.

    Examples
    --------
    >>> assert_within_bound(np.array([1.0, 2.5]), np.array([1.0, 2.0]), 0.25)
    Traceback (most recent call last):
        ...
    AssertionError: at [1]: expected 2.0, got 2.5, an error of 2 bounds of 0.25; 1 of 2 elements are out of bounds
    """
    got, exact = _numbers("got", got), _numbers("exact", exact)
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
