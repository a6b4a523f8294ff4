"""One case, put to the checked functions: what they answer, and what each mode says of it."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np

from npconv.check.adapters import Unsupported
from npconv.check.building import SMALL
from npconv.check.case import Case
from npconv.check.choices import choices
from npconv.check.comparison import (
    DIRECTIONS,
    Comparison,
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
    origins,
)
from npconv.check.contract import Contract
from npconv.check.expected import Expected, expected
from npconv.check.observation import Observed, observe
from npconv.geometry import Array
from npconv.testing import Exact, Tree, map_arrays, named_arrays
from npconv.testing.precision import Precision
from npconv.workers import WorkerError

Function: TypeAlias = Callable[..., Tree]
Question: TypeAlias = tuple[Direction, Mode]
LONGEST_MESSAGE = 300  # characters of an exception's own words


class Checked(NamedTuple):
    """What is checked: two functions, either of which may be missing, and what they take.

    Attributes
    ----------
    forward, backward : function, or None
    contract : Contract
        How they are called.
    precision : Precision, optional
        The arithmetic that they are judged by; without one, all roundings are to the dtype of the arrays.
    """

    forward: Function | None
    backward: Function | None
    contract: Contract = Contract()
    precision: Precision | None = None

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
        given = case.given()
        names = case.problem.names if direction == "forward" else ("dy", *case.problem.names)
        names = self._asked(names, given, direction)
        args = tuple(given[name] for name in names)
        options = {name: map_arrays(np.copy, value) for name, value in case.options.items()}
        look = getattr(function, "observe", None) or functools.partial(observe, function)
        try:
            seen: Observed = look(args, options, again=_asked_again(case))
        except (Unsupported, NotImplementedError) as error:
            raise Unsupported(_words("", error)) from None
        except KeyboardInterrupt:
            raise
        except WorkerError as error:
            raise GarbageError(error.kind, "", _words(error.name, error)) from None
        except BaseException as error:
            raise GarbageError("exception", "", _words(type(error).__name__, error)) from None
        told = [part for name, tree in zip(names, args, strict=True) for part, _ in named_arrays(tree, name)]
        told += [part for name, value in options.items() for part, _ in named_arrays(value, name)]
        value = seen.value
        if direction == "backward" and isinstance(value, tuple | list) and len(value) == len(args) - 1:
            value = (*value, *[None] * (len(case.args) - len(value)))  # no gradients of arrays that it does not take
        arrays = (forward_arrays if direction == "forward" else backward_arrays)(case, value)
        for number in seen.changed:
            raise GarbageError("mutation", told[number], f"{told[number]} must be left as it is, got it changed")
        for number in seen.aliased:
            message = f"a result must have memory of its own, got it in that of {told[number]}"
            raise GarbageError("alias", told[number], message)
        if seen.overwritten:
            raise GarbageError("overwritten", "", "a result must stay as it is, got it changed by the next call")
        if seen.unrepeatable:
            raise GarbageError("unrepeatable", "", "the same call must give the same bits, got others")
        return arrays

    def _asked(self, names: tuple[str, ...], given: Mapping[str, Tree], direction: Direction) -> tuple[str, ...]:
        """The arrays that the function is given: those after its last parameter are absent."""
        if self.contract.arrays is None:
            return names
        count = self.contract.arrays + (direction == "backward")
        for name in names[count:]:
            if given[name] is not None:
                raise Unsupported(f"it has no parameter {name!r}")
        return names[:count]


AGAIN = 5  # one small case in so many is called again


def _asked_again(case: Case) -> bool:
    """Whether to call the function more than once."""
    return case.size <= SMALL and case.is_finite and zlib.crc32(case.label.encode()) % AGAIN == 0


def examine(subject: Checked, case: Case, questions: Iterable[Question]) -> Iterator[Finding]:
    """The answers to `questions`, each a pair of a direction and a mode."""
    answers: dict[tuple[Direction, bool], _Answer] = {}

    def answer(direction: Direction, whole: bool) -> _Answer:
        if (direction, whole) not in answers:
            answers[direction, whole] = _Answer.of(subject, case if whole else case.real(), direction)
        return answers[direction, whole]

    for direction, mode in questions:
        if mode == "adjoint":
            yield _adjoint(subject, case, answer)
        else:
            yield _compared(direction, mode, answer(direction, mode == "exact"))


class _Answer(NamedTuple):
    """What the subject gave, and what is right; without `arrays` where the reason is in `error`."""

    case: Case
    direction: Direction
    expected: Expected
    arrays: list[Array]
    error: Unsupported | GarbageError | None

    @classmethod
    def of(cls, subject: Checked, case: Case, direction: Direction) -> _Answer:
        right = expected(case, direction, subject.precision)
        try:
            return cls(case, direction, right, subject.arrays(case, direction), None)
        except (Unsupported, GarbageError) as error:
            return cls(case, direction, right, [], error)


def _compared(direction: Direction, mode: Mode, answer: _Answer) -> Finding:
    case, right = answer.case, answer.expected
    says_nothing = not right.judged or not (right.whole if mode == "exact" else is_bounded(right.rows, case))
    if says_nothing or (mode == "bound" and case.has_exact_result and not case.is_bounded):
        return Finding(direction, mode, skipped=True)
    if answer.error is not None:
        return _without_arrays(direction, mode, case, answer.error)
    comparisons, failures = _judged("bound" if case.rounds else mode, mode, answer, right.rows)
    if not failures:
        return Finding(direction, mode, comparisons)
    for choice in choices(case, direction, right.rows):
        by_choice, others = _judged("bound" if case.rounds or choice.rounds else mode, mode, answer, choice.rows)
        if not others:
            return Finding(direction, mode, by_choice, choice=choice.sentence)
    return Finding(direction, mode, comparisons, failures)


def _judged(judgement: Mode, mode: Mode, answer: _Answer, rows: list[Exact]) -> tuple[list[Comparison], list[Failure]]:
    """The arrays beside `rows`, and what fails, as in `mode`."""
    comparisons = [compare(judgement, got, exact) for got, exact in zip(answer.arrays, rows, strict=True)]
    failures = [comparison.failure(answer.case, answer.direction, mode) for comparison in comparisons]
    return comparisons, [failure for failure in failures if failure is not None]


def _adjoint(subject: Checked, case: Case, answer: Callable[[Direction, bool], _Answer]) -> Finding:
    if case.rounds or not case.is_finite:
        return Finding("backward", "adjoint", skipped=True)
    forward, backward = answer("forward", True), answer("backward", True)
    if not (forward.expected.whole and backward.expected.whole):
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
    """What it says, on one line; its words may be anything, or fail themselves."""
    try:
        words = " ".join(str(error).split())
    except Exception:
        words = "(whose message cannot be printed)"
    return (f"{name}: {words}" if name else words)[:LONGEST_MESSAGE]
