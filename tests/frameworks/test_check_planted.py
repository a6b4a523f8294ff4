"""The cross-check at full length: its default run finds every planted bug on a small case, and gives no false alarm.

It needs no framework; it takes too long for the tests that everybody runs.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import pytest
from required import thorough
from wrong import WRONG

import npconv
from npconv import check, ops
from npconv.check import corpus, examination
from npconv.check.case import Case
from npconv.check.examination import Checked, examine
from npconv.check.expected import Expected, expected
from npconv.testing.strategies import OPERATORS

thorough()
pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = 40  # numbers in all arrays of a case together
NO_SMALL_CASE = {"an element wrong in a million"}


@pytest.fixture(scope="module", autouse=True)
def right_results_are_kept() -> Iterator[None]:
    """All wrong functions of one operator get the same cases, whose right results would take most of the time."""
    kept: dict[bytes, Expected] = {}
    op = ""

    def known(case: Case, *question: Any) -> Expected:
        nonlocal op
        if case.op != op:
            kept.clear()
            op = case.op
        key = blake2b(pickle.dumps((case, question))).digest()
        if key not in kept:
            kept[key] = expected(case, *question)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examination, "expected", known)
        yield


@pytest.mark.parametrize("name", sorted(WRONG, key=lambda name: WRONG[name].op))
def test_the_default_run_finds_it_and_shows_it_on_a_small_case(name: str) -> None:
    wrong = WRONG[name]
    report = check.run(wrong.op, forward=wrong.forward, backward=wrong.backward)
    assert not report.ok
    if name not in NO_SMALL_CASE:
        assert min(failure.case.size for failure in report.failures) <= SMALL
        assert report.failures[0].shrunk


@pytest.mark.parametrize("op", OPERATORS)
def test_no_false_alarm(op: str) -> None:
    """Kernels against reference: 5,000 cases in all."""
    checked = Checked(getattr(ops, op), getattr(ops, f"{op}_backward"))
    with npconv.backend("numba"):
        for case in corpus.chosen_cases(op, 5000 // len(OPERATORS), seed=1):
            for finding in examine(checked, case, checked.questions(check.MODES)):
                assert not finding.failures, str(case)
