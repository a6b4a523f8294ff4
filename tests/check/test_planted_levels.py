"""No miss: a bug at any one level of any feature is shown by the default run, whatever the seed, and nearly all by three cases."""

from __future__ import annotations

import pytest
from planted_levels import bugs

from npconv.check import MODES, corpus
from npconv.check.corpus import levels_of
from npconv.check.examination import Checked, examine
from npconv.check.features import FEATURES, LEAST

pytestmark = pytest.mark.slow

SEEDS = (0, 1, 2, 3, 4)
FEWER = 0.05  # of the levels are shown by one case or two: a NaN, or a pixel that is stepped over, hides the bug in the others


def test_there_are_hundreds():
    assert sum(len(list(bugs(op))) for op in FEATURES) > 1000


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("op", FEATURES)
def test_every_level_is_guarded(op, seed):
    """Of the cases that have the level, those that show the bug are counted until there are enough."""
    every = corpus.cases(op, 300, seed=seed)
    of_level = {}
    for case in sorted(every, key=lambda case: case.size):
        for place in levels_of(case):
            of_level.setdefault(place, []).append(case)
    shown, total = {}, 0
    for bug in bugs(op):
        checked = Checked(bug.forward, bug.backward)
        questions = [question for question in checked.questions(MODES) if question[1] != "adjoint"]
        total, count = total + 1, 0
        for case in of_level[bug.feature, bug.level]:
            count += any(finding.failures for finding in examine(checked, case, questions))
            if count == LEAST:
                break
        if count < LEAST:
            shown[bug.feature, bug.level] = count
    assert not [place for place, count in shown.items() if not count]
    assert len(shown) <= FEWER * total, shown
