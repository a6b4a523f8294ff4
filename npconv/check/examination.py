"""One case, put to the checked functions: what they answer, and what each mode says of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np

from npconv.backends import backend
from npconv.check.adapters import Unsupported
from npconv.check.case import Case
from npconv.check.comparison import (
    DIRECTIONS,
    Direction,
    Failure,
    Finding,
    GarbageError,
    Mode,
    adjoint_failures,
    backward_arrays,
    compare,
    forward_arrays,
    is_bounded,
    is_exact,
    origins,
)
from npconv.geometry import Array
from npconv.testing import Exact, Tree, exact_backward, exact_forward, map_arrays, named_arrays
from npconv.workers import WorkerError

Function: TypeAlias = Callable[..., Tree]
Question: TypeAlias = tuple[Direction, Mode]
LONGEST_MESSAGE = 300  # characters of an exception's own words


class Checked(NamedTuple):
    """What is checked: two functions, either of which may be missing.

    Attributes
    ----------
    forward, backward : function, or None
    """

    forward: Function | None
    backward: Function | None

    def questions(self, modes: Iterable[Mode]) -> list[Question]:
        """What can be asked of it in these modes: the adjoint identity only of both functions together."""
        here = [direction for direction in DIRECTIONS if getattr(self, direction) is not None]
        return [
            (direction, mode)
            for direction in here
            for mode in modes
            if mode != "adjoint" or (direction == "backward" and len(here) == 2)
        ]

    def arrays(self, case: Case, direction: Direction) -> list[Array]:
        """What the function gives for `case`: each array known to have the right shape and dtype.

        Raises Unsupported where it says so, and GarbageError whatever else it does.
        """
        function = getattr(self, direction)
        given = case.args if direction == "forward" else (case.dy, *case.args)
        copied = tuple(map_arrays(np.copy, tree) for tree in given)
        options = {name: map_arrays(np.copy, value) for name, value in case.options.items()}
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")  # a warning is no result; as an error it would be an exception
                result = function(*copied, **options)
        except Unsupported:
            raise
        except WorkerError as error:
            raise GarbageError(error.kind, "", _words(error.name, error)) from None
        except (Exception, SystemExit) as error:
            raise GarbageError("exception", "", _words(type(error).__name__, error)) from None
        arrays = (forward_arrays if direction == "forward" else backward_arrays)(case, result)
        names = case.problem.names if direction == "forward" else ("dy", *case.problem.names)
        for name, before, after in zip(names, given, copied, strict=True):
            pairs = zip(named_arrays(before, name), named_arrays(after), strict=True)
            for (part, old), (_, new) in pairs:
                if old.tobytes() != new.tobytes():
                    raise GarbageError("mutation", part, f"{part} must be left as it is, got it changed")
        return arrays


def examine(subject: Checked, case: Case, questions: Iterable[Question]) -> Iterator[Finding]:
    """The answers to `questions`, each a pair of a direction and a mode."""
    answers: dict[tuple[Direction, bool], _Answer] = {}

    def answer(direction: Direction, whole: bool) -> _Answer:
        if (direction, whole) not in answers:
            answers[direction, whole] = _Answer.of(subject, case if whole else case.real(), direction)
        return answers[direction, whole]

    for direction, mode in questions:
        if mode == "adjoint":
            yield _adjoint(subject, case, answer("forward", True), answer("backward", True))
        else:
            yield _compared(direction, mode, answer(direction, mode == "exact"))


class _Answer(NamedTuple):
    """What the subject gave, and what is exact; without `arrays` where the reason is in `error`."""

    case: Case
    exact: list[Exact]
    arrays: list[Array]
    error: Unsupported | GarbageError | None

    @classmethod
    def of(cls, subject: Checked, case: Case, direction: Direction) -> _Answer:
        with backend("numpy"):
            exact = exact_forward(case.problem) if direction == "forward" else exact_backward(case.problem, case.dy)
        try:
            return cls(case, exact, subject.arrays(case, direction), None)
        except (Unsupported, GarbageError) as error:
            return cls(case, exact, [], error)


def _compared(direction: Direction, mode: Mode, answer: _Answer) -> Finding:
    case = answer.case
    if not (is_exact if mode == "exact" else is_bounded)(answer.exact, case):
        return Finding(direction, mode, skipped=True)
    if answer.error is not None:
        return _without_arrays(direction, mode, case, answer.error)
    judgement: Mode = "bound" if case.rounds else mode
    comparisons = [compare(judgement, got, exact) for got, exact in zip(answer.arrays, answer.exact, strict=True)]
    failures = [comparison.failure(case, direction, mode) for comparison in comparisons]
    return Finding(direction, mode, comparisons, [failure for failure in failures if failure is not None])


def _adjoint(subject: Checked, case: Case, forward: _Answer, backward: _Answer) -> Finding:
    if case.rounds or not (is_exact(forward.exact, case) and is_exact(backward.exact, case)):
        return Finding("backward", "adjoint", skipped=True)
    if backward.error is not None:
        return _without_arrays("backward", "adjoint", case, backward.error)
    if forward.error is not None:
        return Finding("backward", "adjoint", skipped=True)  # it has no y; that is the forward's finding
    try:
        y_at = {name: subject.arrays(origin, "forward") for name, origin in origins(case).items()}
    except (Unsupported, GarbageError):
        return Finding("backward", "adjoint", skipped=True)
    failures = adjoint_failures(case, forward.arrays, y_at, backward.arrays)
    return Finding("backward", "adjoint", failures=failures)


def _without_arrays(direction: Direction, mode: Mode, case: Case, error: Unsupported | GarbageError) -> Finding:
    if isinstance(error, Unsupported):
        return Finding(direction, mode, unsupported=str(error))
    return Finding(direction, mode, failures=[Failure(case, direction, mode, error.kind, error.argument, str(error))])


def _words(name: str, error: BaseException) -> str:
    words = " ".join(str(error).split())
    return f"{name}: {words}"[:LONGEST_MESSAGE] if name else words[:LONGEST_MESSAGE]
