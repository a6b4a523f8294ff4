"""From the many cases that fail to the smallest one for each way of failing."""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from npconv.backends import backend
from npconv.check import corpus
from npconv.check.case import Case
from npconv.check.comparison import Failure, Finding
from npconv.check.examination import Checked, Question, examine
from npconv.testing import map_arrays, named_arrays

SIMPLEST = 64  # cases of so many numbers at most have each of them made 0, 1 or -1 where that still fails

_Symptom = tuple[str, ...]


class Shrinker:
    """Keeps the first case of each symptom, then looks for a smaller one."""

    def __init__(self, subject: Checked, questions: Sequence[Question]) -> None:
        self._subject, self._questions = subject, questions
        self._found: dict[_Symptom, Failure] = {}
        self._known: dict[tuple[bytes, Question], frozenset[_Symptom]] = {}

    @property
    def failures(self) -> list[Failure]:
        """One for each symptom, on the smallest case so far."""
        return list(self._found.values())

    def add(self, case: Case, findings: Iterable[Finding]) -> None:
        """What a case of the run has shown."""
        key = _key(case)
        seen: set[_Symptom] = set()
        for finding in findings:
            symptoms = {failure.symptom: failure for failure in finding.failures}
            self._known[key, (finding.direction, finding.mode)] = frozenset(symptoms)
            for symptom in symptoms.keys() - seen:
                first = self._found.setdefault(symptom, symptoms[symptom]._replace(occurrences=0))
                self._found[symptom] = first._replace(occurrences=first.occurrences + 1)
            seen |= symptoms.keys()

    def shrink(self, *, seconds: float, most: int, seed: int) -> None:
        """Look for small cases among `most` random ones, the same as in the run, and smaller ones still from there.

        A small case for one symptom often has others too, which are then done. Those that no random case shows, and those
        that there is no time for, keep the case that they were found on.
        """
        deadline = time.monotonic() + seconds
        for symptom, failure in list(self._found.items()):
            if self._found[symptom].shrunk or time.monotonic() > deadline:
                continue
            question = failure.direction, failure.mode

            def fails(case: Case, symptom: _Symptom = symptom, question: Question = question) -> bool:
                return self._fails(case, symptom, question, deadline)

            case = corpus.smallest(failure.case.op, fails, most=most, seed=seed, dtype=failure.case.dtype)
            if case is not None:
                case = _with_fewer_options(case, fails)
                self._replace(case if failure.mode == "bound" else _with_simpler_numbers(case, fails))

    def _fails(self, case: Case, symptom: _Symptom, question: Question, deadline: float) -> bool:
        """Whether `case` has the symptom; what is not known when the time is up is taken to be right."""
        key = _key(case), question
        if key not in self._known:
            if time.monotonic() > deadline:
                return False
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


def _with_fewer_options(case: Case, fails: Callable[[Case], bool]) -> Case:
    """`case` without the options whose default makes no difference to it."""
    for name in case.options:
        simpler = case._replace(options={key: value for key, value in case.options.items() if key != name})
        try:
            with backend("numpy"):
                shape = map_arrays(np.shape, simpler.problem.forward())
        except (TypeError, ValueError):  # it needs the option
            continue
        if shape == map_arrays(np.shape, case.dy) and fails(simpler):
            case = simpler
    return case


def _with_simpler_numbers(case: Case, fails: Callable[[Case], bool]) -> Case:
    """`case` with as many of its numbers as possible 0, and of the others as many as possible 1 or -1."""
    if case.size > SIMPLEST:
        return case
    arrays = [array for _, array in named_arrays((case.args, case.dy))]
    for number, array in enumerate(arrays):
        for index in np.ndindex(array.shape):
            for value in (0, case.unit, -case.unit):
                simpler = _with_number(case, number, index, value)
                if fails(simpler):
                    case = simpler
                    break
    return case


def _with_number(case: Case, number: int, index: tuple[int, ...], value: int) -> Case:
    """`case` with another value at `index` of the array of that number."""
    args, dy = map_arrays(np.copy, (case.args, case.dy))
    arrays = [array for _, array in named_arrays((args, dy))]
    arrays[number][index] = value
    return case._replace(args=args, dy=dy)


def _key(case: Case) -> bytes:
    return hashlib.blake2b(pickle.dumps((case.args, case.dy, case.options))).digest()
