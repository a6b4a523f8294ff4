"""What is right for a case: exact values with their bounds, and where a NaN or an infinity has to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from npconv.backends import backend
from npconv.check.case import Case
from npconv.check.comparison import Direction
from npconv.check.features import CHOOSING
from npconv.geometry import Array
from npconv.testing import Exact, exact_backward, exact_forward, map_arrays, named_arrays
from npconv.testing.precision import Precision
from npconv.testing.rounding import INEXACT


class Expected(NamedTuple):
    """The arrays of a right result. Where `whole`, each order of its sums gives the same; `judged` says if it is known at all."""

    rows: list[Exact]
    whole: bool
    judged: bool = True


def expected(case: Case, direction: Direction, precision: Precision | None = None) -> Expected:
    """What `case` must give in this direction, computed in float64 by the reference; in a declared arithmetic, if one is given."""
    with backend("numpy"), np.errstate(all="ignore"):
        rows = _rows(case, direction, precision) if case.is_finite else _nonfinite(case, direction, precision)
        if rows is None:
            return Expected([], False, False)
        twin = rows if not case.exponents else _rows(case._replace(exponents={}), direction, precision)
        whole = is_exact(twin, case)
        if precision is None:
            return Expected(rows, whole)
        return Expected(rows, whole and _holds(precision, twin, case), _is_in_range(precision, rows, case))


def _holds(precision: Precision, rows: Sequence[Exact], case: Case) -> bool:
    """Whether neither the factors nor the results of whole numbers are rounded by the declared arithmetic."""
    largest = 1 / precision.result
    arrays = [array for _, array in named_arrays((case.args, case.dy))]
    exact = all(row.magnitude.max(initial=0.0) * case.divisor <= largest for row in rows)
    return exact and all(precision.holds(array) for array in arrays)


def _is_in_range(precision: Precision, rows: Sequence[Exact], case: Case) -> bool:
    """Whether the declared arithmetic's formats have room for all numbers: else what is right is a choice."""
    given = case.multiplied()
    arrays = [array for _, array in named_arrays((given.args, given.dy))] + [row.sums for row in rows]
    least = 1 / precision.largest  # about the smallest normal number of a format
    sizes = [np.abs(array[np.isfinite(array) & (array != 0)]) for array in arrays]
    return all(least <= size.min(initial=np.inf) and size.max(initial=0.0) <= precision.largest for size in sizes)


def _rows(case: Case, direction: Direction, precision: Precision | None = None) -> list[Exact]:
    """Of a case of finite numbers."""
    given = case.multiplied()
    if direction == "forward":
        return exact_forward(given.problem, precision)
    return exact_backward(given.problem, given.dy, precision)


def is_exact(rows: Sequence[Exact], case: Case) -> bool:
    """Whether every partial sum of whole numbers is representable: then each order of summation gives the same.

    Those of a fast algorithm are no whole numbers.
    """
    if not case.has_exact_result or any(row.reach is not None for row in rows):
        return False
    largest = 2.0 ** (np.finfo(case.dtype).nmant + 1)
    return all(row.magnitude.max(initial=0.0) * case.divisor <= largest for row in rows)


# --- NaN and infinity --------------------------------------------------------------------------------------------


def _nonfinite(case: Case, direction: Direction, precision: Precision | None) -> list[Exact] | None:
    """The rows of a case with NaN or infinity in one array; None where what is right is a choice.

    Where a real product has such a factor, the result is what IEEE arithmetic makes of all products. Elsewhere it is the finite
    sum of the rest; but a NaN is as good there if the number meets padding, which some multiply and some leave out. A fast
    algorithm spreads it over all that it computes together.
    """
    name = (case.numbers or "").partition(": ")[0]
    without = map_arrays(lambda array: np.where(np.isfinite(array), array, np.zeros_like(array)), case.arrays[name])
    finite = case.with_arrays(case.arrays | {name: without})
    rows = _rows(finite, direction, precision)
    if any(row.reach is not None for row in rows):
        return None
    values = _rows(case, direction)
    if case.op in CHOOSING and direction == "backward":
        return None
    if case.op in INEXACT or case.op in CHOOSING:
        return [row._replace(value=value.value) for row, value in zip(rows, values, strict=True)]
    found = []
    for row, value, reached in zip(rows, values, _reached(case, name, direction), strict=True):
        found.append(row._replace(value=np.where(reached, value.value, row.value), other=value.value))
    return found


def _reached(case: Case, name: str, direction: Direction) -> list[Array]:
    """Where a result has a product with a NaN or an infinity of the array `name`: every other array is taken to be 1."""
    ones = {key: map_arrays(np.zeros_like if key == "b" else np.ones_like, tree) for key, tree in case.arrays.items()}
    marks = map_arrays(lambda array: np.asarray(~np.isfinite(array), array.dtype), case.arrays[name])
    marked = case.with_arrays(ones | {name: marks})
    without = case.with_arrays(ones | {name: map_arrays(np.zeros_like, marks)})
    pairs = zip(_rows(marked, direction), _rows(without, direction), strict=True)
    return [row.value != other.value for row, other in pairs]
