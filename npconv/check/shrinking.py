"""From the many cases that fail to the smallest one for each way of failing, and to one failure for each cause."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from npconv.backends import backend, divert
from npconv.check.building import build, smallest
from npconv.check.case import Case
from npconv.check.comparison import MODES, Failure, Finding
from npconv.check.examination import Checked, Question, examine
from npconv.check.measuring import measure
from npconv.costs import zeros_of
from npconv.geometry import Array
from npconv.testing import map_arrays, named_arrays

LONGEST = 300.0
"""Seconds after which shrinking ends, however few cases were tried: for what hangs. Only then a report depends on the time."""

SIMPLEST = 64  # numbers that are not 0: each of so few is made 1 where that still fails

_Symptom: TypeAlias = tuple[str, ...]
_Fails: TypeAlias = Callable[[Case], bool]


class _NoTriesLeft(Exception):  # noqa: N818  it is no error
    """As many cases were tried as may be."""


class Shrinker:
    """Keeps the smallest case of each symptom, then looks for smaller ones."""

    def __init__(self, subject: Checked, questions: Sequence[Question]) -> None:
        self._subject, self._questions = subject, questions
        self._found: dict[_Symptom, Failure] = {}
        self._known: dict[tuple[bytes, Question], frozenset[_Symptom]] = {}
        self._deadline = float("inf")

    @property
    def failures(self) -> list[Failure]:
        """One for each smallest case: what else it shows is in `also`. The most important come first."""
        groups: dict[bytes, list[Failure]] = {}
        wrong: dict[tuple[str, str], bytes] = {}
        for failure in sorted(self._found.values(), key=_importance):
            place, key = (failure.direction, failure.argument), _key(failure.case)
            if failure.kind == "value":
                key = wrong.setdefault(place, key)
            elif failure.kind == "rounding":  # of a wrong number among large ones
                key = wrong.get(place, key)
            groups.setdefault(key, []).append(failure)
        return [
            first._replace(also=tuple(f"{one.direction}, {one.mode}, {one.kind}: {one.message}" for one in others))
            for first, *others in groups.values()
        ]

    def add(self, case: Case, findings: Iterable[Finding]) -> None:
        """What a case of the run has shown."""
        seen: set[_Symptom] = set()
        for finding in findings:
            symptoms = {failure.symptom: failure for failure in finding.failures}
            for symptom in symptoms.keys() - seen:
                before = self._found.get(symptom, symptoms[symptom]._replace(occurrences=0))
                best = symptoms[symptom] if case.size < before.case.size else before
                self._found[symptom] = best._replace(occurrences=before.occurrences + 1)
            seen |= symptoms.keys()

    def shrink(self, tries: int) -> None:
        """Make the cases smaller, by trying at most so many; those that there are no tries left for stay as they are.

        A small case for one symptom often has others too, which are then done.
        """
        self._deadline = time.monotonic() + LONGEST
        order = sorted(self._found, key=lambda symptom: _importance(self._found[symptom]))
        for place, symptom in enumerate(order):
            failure = self._found[symptom]
            if failure.shrunk:
                continue
            left = tries - len(self._known)
            until = len(self._known) + max(left // 2, left // (len(order) - place))
            if found := self._smallest(failure, symptom, until):
                self._replace(self._subject.contract.adapted(found))

    def _smallest(self, failure: Failure, symptom: _Symptom, until: int) -> Case | None:
        """The smallest case with the symptom that so many tries in all lead to; None where that of the run no longer has it."""
        found: Case | None = None

        def fails(case: Case) -> bool:
            nonlocal found
            if not self._fails(case, symptom, (failure.direction, failure.mode), until):
                return False
            found = case
            return True

        try:
            if fails(failure.case):
                return smaller(failure.case, fails)
        except _NoTriesLeft:
            pass
        return found

    def _fails(self, case: Case, symptom: _Symptom, question: Question, until: int) -> bool:
        """Whether `case` has the symptom, asked as it is called."""
        case = self._subject.contract.adapted(case)
        key = _key(case), question
        if key not in self._known:
            if len(self._known) >= until or time.monotonic() > self._deadline:
                raise _NoTriesLeft
            (finding,) = examine(self._subject, case, [question])
            self._known[key] = frozenset(failure.symptom for failure in finding.failures)
        return symptom in self._known[key]

    def _replace(self, case: Case) -> None:
        """`case` stands for every symptom that it shows and that has no smaller case yet."""
        for finding in examine(self._subject, case, self._questions):
            for failure in finding.failures:
                before = self._found.get(failure.symptom)
                if before is None or not before.shrunk:
                    count = 1 if before is None else before.occurrences
                    self._found[failure.symptom] = failure._replace(shrunk=True, occurrences=count)


def _importance(failure: Failure) -> tuple[Any, ...]:
    """Forward before backward, since a wrong y often makes a wrong gradient; small cases before large ones."""
    return failure.direction == "backward", failure.kind == "rounding", MODES.index(failure.mode), failure.case.size


# --- smaller cases -----------------------------------------------------------------------------------------------


def smaller(case: Case, fails: _Fails) -> Case:
    """The smallest case found, step by step, that still `fails`: fewer features, smaller sizes, simpler numbers."""
    for step in (_plain_memory, _plain_numbers, _smaller_sizes, _plain_memory, _fewer_numbers, _smaller_sizes):
        case = step(case, fails)
    return _simpler_numbers(_fewer_options(case, fails), fails)


def _first(case: Case, candidates: Iterable[Case | None], fails: _Fails) -> Case:
    return next((other for other in candidates if other is not None and fails(other)), case)


def _plain_memory(case: Case, fails: _Fails) -> Case:
    """All arrays in C order, or as many of them as possible."""
    if not case.orders:
        return case
    case = _first(case, [case._replace(orders={})], fails)
    for name in list(case.orders):
        others = {other: order for other, order in case.orders.items() if other != name}
        case = _first(case, [case._replace(orders=others)], fails)
    return case


def _plain_numbers(case: Case, fails: _Fails) -> Case:
    """Small whole numbers in the place of special ones."""
    if case.numbers is None:
        return case
    rng = np.random.default_rng(0)

    def whole(array: Array) -> Array:
        return np.asarray(rng.integers(-4, 4, array.shape, endpoint=True) * case.unit, array.dtype)

    arrays = {name: map_arrays(whole, tree) for name, tree in case.arrays.items()}
    if case.op == "batch_norm2d" and arrays["var"] is not None:
        arrays["var"] = np.abs(arrays["var"]) + 1
    return _first(case, [case.with_arrays(arrays)._replace(numbers=None, exponents={})], fails)


def _smaller_sizes(case: Case, fails: _Fails) -> Case:
    """Smaller values of the features of the problem, one after the other, as long as any gets smaller."""
    least, before = smallest(case.op), None
    while before is not case:
        before = case
        for name in ("height", "width", *least):
            values = measure(case.problem)
            if name in values:
                lower = _lower(values[name], least[name])
                steps = (_with_values(case, values | {name: value}, end) for value in lower for end in (False, True))
                case = _first(case, steps, fails)
        values = measure(case.problem)
        if values.get("height") == values.get("width") is not None:  # what is wrong of squares alone
            lower = _lower(values["height"], least["height"])
            steps = (_with_values(case, values | {"height": value, "width": value}, False) for value in lower)
            case = _first(case, steps, fails)
    return case


def _lower(value: Any, least: Any) -> Iterator[Any]:
    """Values to try in the place of a feature's, the smallest first."""
    if value == least:
        return
    yield least
    if isinstance(value, int) and isinstance(least, int):
        low = least
        while value - low > 1:
            low += (value - low) // 2
            yield low
    elif isinstance(value, tuple) and all(isinstance(part, int) for part in value):
        floors = least if isinstance(least, tuple) else (least, least)
        if isinstance(floors[0], int):
            for place, part in enumerate(value):
                for lower in _lower(part, floors[place]):
                    yield (*value[:place], lower, *value[place + 1 :])
            if len(value) == 2 and value[0] == value[1] and isinstance(least, int):
                yield value[0]
    elif isinstance(value, tuple) and all(isinstance(part, tuple) for part in value):
        for place, sides in enumerate(value):
            for lower in _lower(sides, (0, 0)):
                yield (*value[:place], lower, *value[place + 1 :])
    elif isinstance(value, tuple) and value[1:] == ("conv",):
        yield from ((lower, "conv") for lower in _lower(value[0], 2))


def _with_values(case: Case, values: dict[str, Any], end: bool) -> Case | None:
    """`case` with other values of its features, its arrays cut to size, or to their ends; None where there is no such problem."""
    try:
        problem = build(case.op, values)
        with backend("numpy"), divert(zeros_of):
            y = problem.forward()
    except (ValueError, TypeError, IndexError, ZeroDivisionError):
        return None
    if problem.unit != case.unit and (case.unit % problem.unit or not problem.unit):
        return None
    wanted = dict(zip(problem.names, problem.args, strict=True)) | {"dy": y}
    arrays = {key: _cut(tree, wanted[key], end) for key, tree in case.arrays.items()}
    options = problem.options
    if "labels" in options:
        batch, classes = problem.args[0].shape
        labels = np.minimum(case.options["labels"][:batch], classes - 1)
        options = options | {"labels": np.resize(labels, batch)}
    orders = {key: order for key, order in case.orders.items() if arrays.get(key) is not None}
    smaller_case = case._replace(
        options=options, orders=orders, args=tuple(arrays[key] for key in problem.names), dy=arrays["dy"]
    )
    return (
        smaller_case.with_arrays(arrays)
        if smaller_case.size < case.size or repr(options) != repr(case.options)
        else None
    )


def _cut(tree: Any, like: Any, end: bool) -> Any:
    """The first numbers along each axis of `tree`, or the last ones, as many as `like` has; repeated where it has more."""
    if like is None:
        return None
    if isinstance(like, tuple):
        parts = tree if isinstance(tree, tuple) else (None,) * len(like)
        cut = [_cut(part, one, end) for part, one in zip(parts, like, strict=True)]
        return type(like)(*cut) if hasattr(like, "_fields") else tuple(cut)
    if tree is None:
        return np.ones_like(like)
    kept = tree.ravel()
    if tree.ndim == like.ndim:
        starts = [max(0, size - length) if end else 0 for size, length in zip(tree.shape, like.shape, strict=True)]
        parts = tuple(slice(start, start + length) for start, length in zip(starts, like.shape, strict=True))
        kept = np.asarray(tree[parts])
    return kept.copy() if kept.shape == like.shape else np.resize(kept, like.shape).astype(tree.dtype)


def _fewer_numbers(case: Case, fails: _Fails) -> Case:
    """0 in the place of as many numbers as possible: of whole arrays, then of halves of them, and so on."""
    for name, arrays in [(name, len(list(named_arrays(tree)))) for name, tree in case.arrays.items()]:
        for number in range(arrays):
            array = _array(case, name, number)
            block = array.size
            while block >= max(1, array.size // 4096):
                for start in range(0, array.size, block):
                    array = _array(case, name, number).ravel()
                    if array[start : start + block].any():
                        changed = array.copy()
                        changed[start : start + block] = 0
                        case = _first(case, [_with_array(case, name, number, changed)], fails)
                block = block // 4 if block > 4 else block // 2
                if not block:
                    break
    return case


def _simpler_numbers(case: Case, fails: _Fails) -> Case:
    """1 or -1 in the place of the numbers that are left, where they are few."""
    if sum(int(np.count_nonzero(array)) for _, array in named_arrays((case.args, case.dy))) > SIMPLEST:
        return case
    for name, tree in case.arrays.items():
        for number, (_, array) in enumerate(named_arrays(tree)):
            for place in np.flatnonzero(array.ravel()):
                for value in (case.unit, -case.unit):
                    changed = _array(case, name, number).ravel().copy()
                    if changed[place] not in (case.unit, -case.unit):
                        changed[place] = value
                        case = _first(case, [_with_array(case, name, number, changed)], fails)
    return case


def _array(case: Case, name: str, number: int) -> Array:
    return next(array for _, array in itertools.islice(named_arrays(case.arrays[name]), number, None))


def _with_array(case: Case, name: str, number: int, flat: Array) -> Case:
    """`case` with other numbers in one of the arrays of an argument."""
    count = itertools.count()
    tree = map_arrays(
        lambda array: flat.reshape(array.shape) if next(count) == number else array.copy(), case.arrays[name]
    )
    return case.with_arrays(case.arrays | {name: tree})


def _fewer_options(case: Case, fails: _Fails) -> Case:
    """`case` without the options whose default makes no difference to it."""
    for name in case.options:
        simpler = case._replace(options={key: value for key, value in case.options.items() if key != name})
        try:
            with backend("numpy"), divert(zeros_of):
                shape = map_arrays(np.shape, simpler.problem.forward())
        except (TypeError, ValueError):  # it needs the option
            continue
        if shape == map_arrays(np.shape, case.dy) and fails(simpler):
            case = simpler
    return case


def _key(case: Case) -> bytes:
    """The same for equal cases, wherever they come from."""
    digest = hashlib.blake2b()
    for name, array in named_arrays((case.args, case.dy, tuple(case.options.values()))):
        digest.update(f"{name} {array.shape} {array.dtype}".encode() + array.tobytes())
    options = {name: None if isinstance(value, np.ndarray) else value for name, value in case.options.items()}
    words = case.op, options, sorted(case.orders.items()), sorted(case.exponents.items()), case.numbers
    digest.update(repr(words).encode())
    return digest.digest()
