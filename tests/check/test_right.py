"""No false alarm: right implementations are right in every case, whatever the order of their sums.

NPCONV_RIGHT_CASES=1000 examines so many cases of each operator and dtype by each of them, which takes hours.
"""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from right import RIGHT, functions

from npconv.check import MODES, corpus, examination
from npconv.check.examination import Checked, examine
from npconv.check.expected import expected

CASES = int(os.environ.get("NPCONV_RIGHT_CASES", "3"))
OPS = tuple(functions(RIGHT["NumPy's sum"]))
MOST = 200_000  # numbers in a case: a sum's terms are all there at once


def test_there_are_twenty():
    assert len(RIGHT) >= 20


def examined_by_all(op, dtype, count, seed, monkeypatch):
    """(name, case, message) of every failure, and how many answers there were."""
    kept = {}

    def known(case, direction, precision=None):
        key = pickle.dumps((case, direction))
        if key not in kept:
            kept[key] = expected(case, direction, precision)
        return kept[key]

    monkeypatch.setattr(examination, "expected", known)
    answers, found = 0, []
    subjects = {name: Checked(*functions(sums)[op]) for name, sums in RIGHT.items()}
    for case in corpus.chosen_cases(op, count, seed=seed, dtype=dtype):
        kept.clear()
        if case.size > MOST:
            continue
        for name, subject in subjects.items():
            for finding in examine(subject, case, subject.questions(MODES)):
                answers += not finding.skipped
                found += [(name, str(case), failure.message) for failure in finding.failures]
    return answers, found


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("op", OPS)
def test_no_false_alarm(op, dtype, monkeypatch):
    answers, found = examined_by_all(op, dtype, CASES, 0, monkeypatch)
    assert not found, found[:3]
    assert dtype == np.float16 or answers >= len(RIGHT)  # few of whose sums are short enough to be judged


@pytest.mark.parametrize("name", RIGHT)
def test_they_are_right(name):
    """And they are what a wrong one is not."""
    forward, backward = functions(RIGHT[name])["conv2d"]
    subject = Checked(forward, backward)
    wrong = Checked(lambda x, w, b=None, **options: forward(x, w, None, **options), None)
    with np.errstate(all="ignore"):
        cases = [case for case in corpus.chosen_cases("conv2d", 6, seed=3) if case.size < 20_000]
        for case in cases:
            assert not [one for found in examine(subject, case, subject.questions(MODES)) for one in found.failures]
        biased = [case for case in cases if case.args[2] is not None and case.args[2].any()]
        assert any(found.failures for case in biased for found in examine(wrong, case, [("forward", "exact")]))
