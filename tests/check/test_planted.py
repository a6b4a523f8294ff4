"""No miss: every planted bug is found by a run, and shown by a small case. The default run is in tests/frameworks."""

from __future__ import annotations

import pytest
from wrong import WRONG

from npconv import check


def test_there_are_at_least_forty():
    assert len(WRONG) >= 40


# It takes as many numbers to show, and more of the default run's cases than these.
NEEDS_THE_DEFAULT_RUN = {"an element wrong in a million"}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WRONG.keys() - NEEDS_THE_DEFAULT_RUN))
def test_a_short_run_finds_it(name):
    wrong = WRONG[name]
    report = check.run(wrong.op, forward=wrong.forward, backward=wrong.backward, cases=40, shrinking=0)
    assert not report.ok
