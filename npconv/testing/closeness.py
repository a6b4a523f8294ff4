"""One line for a test: is this result as close to the right one as its arithmetic allows?"""

from __future__ import annotations

from typing import Any

import numpy as np

from npconv.backends import backend
from npconv.geometry import check_dtypes, shown
from npconv.testing.bounds import error_in_bounds
from npconv.testing.gradients import Tree, map_arrays, named_arrays
from npconv.testing.precision import precision
from npconv.testing.problem import Problem, signature
from npconv.testing.rounding import OPERATORS, exact_backward, exact_forward

_NO_ARRAYS = ("kernel", "groups", "scale", "labels")
"""Positional parameters of operators that are no arrays of numbers."""


def assert_close(got: Any, op: str, *args: Any, arithmetic: str | None = None, **options: Any) -> None:
    """Hold a result of an operator, or its gradients, to the bound of its rounding errors, element by element.

    Parameters
    ----------
    got : array or tuple of arrays
        The result; of a backward a tuple of gradients, None for None. Anything with ``__array__`` is an array.
    op : str
        "conv2d", or "conv2d_backward", and so on.
    *args, **options
        As ``npconv.<op>`` takes them: ``dy`` first for a backward.
    arithmetic : "float16", "bfloat16", "tf32", "float32" or "float64", optional
        What the result is computed in; or "winograd-2x2", "winograd-4x4" or "fft", the algorithm, in float32, and with
        another arithmetic as "tf32+winograd-2x2". By default every rounding is to the dtype of the arrays.

    Raises
    ------
    AssertionError
        An element is out of its bound, or a shape is wrong: the message says which, and by how many bounds.
    ValueError, TypeError
        `op` or `arithmetic` is not known, or the arguments are not those of the operator.

    Examples
    --------
    >>> x, w = np.ones((1, 2), np.float32), np.full((1, 2), 3, np.float32)
    >>> assert_close(x @ w.T, "linear", x, w)
    >>> assert_close(x @ w.T + 1, "linear", x, w)
    Traceback (most recent call last):
        ...
    AssertionError: y[0, 0] must be 6.0, got 7.0, an error of 1.4e+06 rounding bounds; 1 of 1 numbers are out of bounds
    """
    if not isinstance(op, str):
        raise TypeError(f"op must be a text, got {shown(op)}")
    name = op.removesuffix("_backward")
    declared = precision(arithmetic, name)
    if name not in OPERATORS:
        raise ValueError(f"op must be one of {', '.join(OPERATORS)}, or that with _backward, got {op!r}")
    arrays, rest = _bound(name, op, args, options)
    check_dtypes([(path, array) for path, array in named_arrays(arrays, "args") if array.dtype.kind not in "iu"])
    with backend("numpy"):
        if op == name:
            rows = exact_forward(Problem(name, arrays, rest), declared)
        else:
            rows = exact_backward(Problem(name, arrays[1:], rest), arrays[0], declared)
    dtype = next(array.dtype for _, array in named_arrays(arrays))
    found = [np.asarray(part) for part in _leaves(got)]
    if len(found) != len(rows):
        raise AssertionError(
            f"{op} must give {len(rows)} arrays, {', '.join(row.name for row in rows)}, got {len(found)}"
        )
    for array, row in zip(found, rows, strict=True):
        if array.shape != row.value.shape:
            raise AssertionError(f"{row.name} must have the shape {row.value.shape}, got {array.shape}")
        errors = error_in_bounds(array, row.value, row.bound(dtype))
        if not (errors > 1).any():
            continue
        worst = tuple(int(place) for place in np.unravel_index(errors.argmax(), errors.shape))
        where = f"{row.name}[{', '.join(map(str, worst))}]" if worst else row.name
        raise AssertionError(
            f"{where} must be {row.value[worst]}, got {array[worst]}, an error of {errors[worst]:.2g} rounding bounds; "
            f"{np.count_nonzero(errors > 1)} of {errors.size} numbers are out of bounds"
        )


def _bound(
    name: str, op: str, args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Tree, ...], dict[str, Any]]:
    """The arrays in the operator's order, absent ones as None, and the other arguments by their names."""
    called = signature(op)
    given = called.bind(*args, **options).arguments
    arrays, rest = [], {}
    for parameter in called.parameters.values():
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.name not in _NO_ARRAYS:
            arrays.append(map_arrays(np.asarray, given.get(parameter.name)))
        elif parameter.name in given:
            rest[parameter.name] = given[parameter.name]
    return tuple(arrays), rest


def _leaves(got: Any) -> list[Any]:
    """The arrays of a result."""
    if isinstance(got, tuple | list):
        return [leaf for part in got for leaf in _leaves(part)]
    return [] if got is None else [got]
