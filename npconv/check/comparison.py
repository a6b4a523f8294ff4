"""The judgement of one result: equal on whole numbers, within the rounding bound on real ones, adjoint to each other.

What a checked function returns is data: each way of not returning the right arrays has a name, its *kind*.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from npconv.check.case import Case
from npconv.geometry import Array
from npconv.testing import Exact, Tree, error_in_bounds, map_arrays, named_arrays
from npconv.testing.bounds import unit_roundoff
from npconv.testing.rounding import LINEAR_IN

Direction: TypeAlias = Literal["forward", "backward"]
Mode: TypeAlias = Literal["exact", "bound", "adjoint"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward")
MODES: tuple[Mode, ...] = ("exact", "bound", "adjoint")

VALUE_KINDS = ("value", "rounding", "nan", "denormal")
"""Kinds of failures of single numbers: see `Failure.kind`."""


class Failure(NamedTuple):
    """One way in which the checked function differs, on the smallest case that was found to show it.

    Attributes
    ----------
    case : Case
        With the numbers that failed: whole ones in the modes "exact" and "adjoint", real ones in "bound".
    direction : "forward" or "backward"
        The adjoint identity ties both together; it counts as "backward".
    mode : "exact", "bound" or "adjoint"
        What was asked when it showed.
    kind : str
        "value", a wrong number; "rounding", a number that is within the rounding bound, but every sum was exact; "nan", a
        number that is not finite where it should be; "denormal", 0 instead of a denormal number. Or what is wrong with the
        whole call: "shape", "dtype", "type" (no array, or none where there must be one), "count" (of results), "mutation"
        (an argument was changed), "alias" (a result shares memory with an argument), "overwritten" (a result was changed by
        the next call), "unrepeatable" (the same call gave other bits), "exception", "hang" or "death".
    argument : str
        The array: "y", "y.high", "dx", "dw.hh"; "" where it is the whole call.
    message : str
        One sentence.
    index, expected, got
        Of the worst element, where there is one.
    error : float or None
        Of that element, in units of the rounding bound.
    wrong, size : int
        So many elements of the array fail, out of so many.
    occurrences : int
        So many cases of the run failed in this way.
    shrunk : bool
        Whether `case` was made small.
    also : tuple of str
        What else the same case shows: one cause often makes several results wrong.
    reproduction : str
        A Python program that shows the failure without npconv.
    """

    case: Case
    direction: Direction
    mode: Mode
    kind: str
    argument: str
    message: str
    index: tuple[int, ...] | None = None  # type: ignore[assignment]  # nobody misses the tuple's method
    expected: float | None = None
    got: float | None = None
    error: float | None = None
    wrong: int = 0
    size: int = 0
    occurrences: int = 1
    shrunk: bool = False
    also: tuple[str, ...] = ()
    reproduction: str = ""

    @property
    def symptom(self) -> tuple[str, ...]:
        """What two failures have in common that are taken for the same: the mode counts only where numbers are judged."""
        if self.kind in VALUE_KINDS:
            return self.direction, self.argument, self.kind, self.mode
        exception = self.message.partition(":")[0] if self.kind == "exception" else ""
        return self.direction, self.argument, self.kind, exception


class GarbageError(Exception):
    """What makes a result none: its kind, the array that it is about, and a sentence."""

    def __init__(self, kind: str, argument: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.argument = kind, argument


class Comparison(NamedTuple):
    """One array of a result beside the exact one.

    `errors` are in units of the bound; `wrong` marks what fails; `relative` is the largest error beside the magnitude;
    `suspicious` says that errors are within the bound but larger than chance would have them.
    """

    exact: Exact
    got: Array
    errors: Array
    wrong: Array
    relative: float
    suspicious: bool

    @property
    def worst(self) -> float:
        """The largest error in units of the bound."""
        return float(self.errors.max(initial=0.0))

    def _flushed(self, case: Case) -> bool:
        """Whether all that is wrong is 0 instead of a number below the smallest normal one."""
        wrong = np.abs(self.exact.value[self.wrong])
        return bool((wrong < np.finfo(case.dtype).tiny).all() and not self.got[self.wrong].any())

    def failure(self, case: Case, direction: Direction, mode: Mode) -> Failure | None:
        """The failure that its worst element is, or None where nothing is wrong."""
        if not self.wrong.any():
            return None
        index = _worst(np.where(self.wrong, self.errors, -1.0))
        expected, got, error = float(self.exact.value[index]), float(self.got[index]), float(self.errors[index])
        kind = "nan" if not np.isfinite(got) else "rounding" if error <= 1 else "value"
        if self._flushed(case):
            kind = "denormal"
        where = f"{self.exact.name}[{', '.join(map(str, index))}]" if index else self.exact.name
        return Failure(
            case,
            direction,
            mode,
            kind,
            self.exact.name,
            f"{where} must be {_shown(expected, case)}, got {_shown(got, case)}{_in_bounds(error)}",
            index,
            expected,
            got,
            error,
            int(np.count_nonzero(self.wrong)),
            self.wrong.size,
        )


class Finding(NamedTuple):
    """What one case has shown in one direction and mode: comparisons and failures, or why there are none.

    `choice` says by which choice it is right, where that is another than npconv's: see `npconv.check.choices`.
    """

    direction: Direction
    mode: Mode
    comparisons: Sequence[Comparison] = ()
    failures: Sequence[Failure] = ()
    unsupported: str | None = None
    skipped: bool = False
    choice: str | None = None


def compare(mode: Mode, got: Array, exact: Exact) -> Comparison:
    """`got` beside `exact`: equal in the mode "exact", within the bound in the mode "bound"."""
    bound = exact.bound(got.dtype)
    errors = error_in_bounds(got, exact.value, bound)
    if exact.other is not None:
        errors = np.minimum(errors, error_in_bounds(got, exact.other, bound))
    if mode == "exact":
        with np.errstate(invalid="ignore"):
            wrong, suspicious = (got != exact.value) & (errors > 0), False
    else:
        wrong = errors > 1
        beyond = error_in_bounds(got, exact.value, exact.probable_bound(got.dtype)) > 1
        suspicious = bool(beyond.any()) and not wrong.any()
    normal = exact.magnitude > np.finfo(got.dtype).tiny / unit_roundoff(
        got.dtype
    )  # else bits are lost to no arithmetic
    relative = np.where(normal, np.minimum(errors, error_in_bounds(got, exact.value, exact.magnitude)), 0.0)
    return Comparison(exact, got, errors, wrong, float(relative.max(initial=0.0)), suspicious)


def is_bounded(rows: Sequence[Exact], case: Case) -> bool:
    """Whether the bounds say anything: sums must be shorter than 1/u terms, and overflow in no order."""
    return all(np.isfinite(row.bound(case.dtype)).all() and not _overflows(row, case) for row in rows)


def _overflows(row: Exact, case: Case) -> bool:
    """Whether a sum of the absolute terms is beyond the largest number; of a formula, whether the result is."""
    sums = row.sums if case.has_exact_result else np.abs(row.value)
    return bool(sums.max(initial=0.0, where=np.isfinite(sums)) > np.finfo(case.dtype).max)


# --- what a call must return -------------------------------------------------------------------------------------


def forward_arrays(case: Case, y: Tree) -> list[Array]:
    """The arrays of y. Raises GarbageError unless they are like `case.dy`."""
    return list(_matched(y, case.dy, "y", case.given_dtype))


def backward_arrays(case: Case, gradients: Tree) -> list[Array]:
    """The arrays of the gradients. Raises GarbageError unless there is one like each argument, None for None."""
    names = case.problem.names
    if len(names) == 1 and not isinstance(gradients, tuple | list):
        gradients = (gradients,)
    if not isinstance(gradients, tuple | list):
        raise GarbageError("type", "", f"the gradients must be a tuple, got {type(gradients).__name__}")
    if len(gradients) != len(names):
        listed = ", ".join(f"d{name}" for name in names)
        raise GarbageError("count", "", f"the gradients must be {len(names)}, {listed}, got {len(gradients)}")
    rows = zip(gradients, case.args, names, strict=True)
    dtype = case.given_dtype
    return [array for gradient, like, name in rows for array in _matched(gradient, like, f"d{name}", dtype)]


def _matched(got: Tree, like: Tree, name: str, dtype: np.dtype[Any]) -> Iterator[Array]:
    """The arrays of `got`, each known to be of `dtype` and of the shape of its counterpart in `like`, in whose dtype they come."""
    if isinstance(got, np.generic):  # a sum over everything is often no array but a NumPy number
        got = np.asarray(got)
    if like is None:
        if got is not None:
            raise GarbageError("type", name, f"{name} must be None, got {_kind_of(got)}")
    elif isinstance(like, tuple):
        if not isinstance(got, tuple | list):
            raise GarbageError("type", name, f"{name} must be a tuple of {len(like)}, got {_kind_of(got)}")
        if len(got) != len(like):
            raise GarbageError("count", name, f"{name} must be a tuple of {len(like)}, got {len(got)}")
        fields = getattr(like, "_fields", range(len(like)))
        for part, like_part, field in zip(got, like, fields, strict=True):
            label = f"{name}.{field}" if isinstance(field, str) else f"{name}[{field}]"
            yield from _matched(part, like_part, label, dtype)
    else:
        if not isinstance(got, np.ndarray):
            raise GarbageError("type", name, f"{name} must be a NumPy array, got {_kind_of(got)}")
        if got.shape != like.shape:
            raise GarbageError("shape", name, f"{name} must have the shape {like.shape}, got {got.shape}")
        if got.dtype != dtype:
            raise GarbageError("dtype", name, f"{name} must have the dtype {dtype}, got {got.dtype}")
        yield got.astype(like.dtype, copy=False)


def _kind_of(value: object) -> str:
    return f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


# --- the adjoint identity ----------------------------------------------------------------------------------------


def origins(case: Case) -> dict[str, Case]:
    """The cases whose y is the part of `case`'s y that an argument has no share in, by the argument's name.

    y is a product of all arguments, plus the bias where there is one: that is y at x = 0. Only the ghost convolution also
    has maps that w_cheap is not in.
    """
    names = case.problem.names
    affine = [names[0]] if "b" in names and case.args[names.index("b")] is not None else []
    if "w_cheap" in names and case.args[names.index("w_cheap")] is not None:
        affine.append("w_cheap")
    return {name: _without(case, names.index(name)) for name in affine}


def _without(case: Case, index: int) -> Case:
    zero = map_arrays(np.zeros_like, case.args[index])
    return case._replace(args=(*case.args[:index], zero, *case.args[index + 1 :]))


def adjoint_failures(
    case: Case, y: Sequence[Array], y_at: Mapping[str, Sequence[Array]], gradients: Sequence[Array]
) -> list[Failure]:
    """Where ``<dy, y> == <da, a>`` does not hold, y being what a has a share in: all is whole and small, so it is exact.

    `y_at` has the y of each of `origins`.
    """
    case = case.multiplied()
    dy = [array for _, array in named_arrays(case.dy)]
    without = {name: _inner(dy, arrays) for name, arrays in y_at.items()}
    whole, from_bias = _inner(dy, y), without.get(case.problem.names[0], 0.0)
    failures, rest = [], list(gradients)
    for index, (name, argument) in enumerate(zip(case.problem.names, case.args, strict=True)):
        arrays = [array for _, array in named_arrays(argument)]
        own, rest = rest[: len(arrays)], rest[len(arrays) :]
        if not arrays or index not in LINEAR_IN.get(case.op, ()):
            continue
        expected = from_bias if name == "b" else whole - without.get(name, from_bias)
        got = _inner(own, arrays)
        if expected != got:
            message = f"<dy, y> must equal <d{name}, {name}>, got {expected:.15g} and {got:.15g}"
            failures.append(Failure(case, "backward", "adjoint", "value", f"d{name}", message, None, expected, got))
    return failures


def _inner(left: Sequence[Array], right: Sequence[Array]) -> float:
    """The inner product in float64 of two lists of arrays of the same shapes."""
    with np.errstate(all="ignore"):  # whatever a checked function gives: infinity times 0 is no equality either
        return float(sum((a.astype(np.float64) * b).sum() for a, b in zip(left, right, strict=True)))


def _worst(errors: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(errors.argmax(), errors.shape))


def _in_bounds(error: float) -> str:
    """An error in rounding bounds, where that says anything."""
    return f", an error of {error:.3g} rounding bounds" if 0.01 <= error < 1000 else ""


def _shown(number: float, case: Case) -> Any:
    """As short as its dtype allows; as it is where that cannot hold it."""
    with np.errstate(over="ignore"):
        shortened = case.given_dtype.type(number)
    return str(shortened) if np.isfinite(shortened) else number
