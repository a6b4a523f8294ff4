"""No miss: every planted bug is found by a run, and shown by a small case. The default run is in tests/frameworks."""

from __future__ import annotations

import pytest
from wrong import WRONG

from npconv import check
from npconv.check import corpus
from npconv.check.examination import Checked, examine


def test_there_are_at_least_forty():
    assert len(WRONG) >= 40


# They take as many numbers to show, or more of the default run's known cases, than a short run has.
NEEDS_THE_DEFAULT_RUN = {"an element wrong in a million", "no empty batch"}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WRONG.keys() - NEEDS_THE_DEFAULT_RUN))
def test_a_short_run_finds_it(name):
    wrong = WRONG[name]
    report = check.run(wrong.op, forward=wrong.forward, backward=wrong.backward, cases=40, shrinking=0)
    assert not report.ok


def test_a_known_case_has_no_images():
    """All known cases are in the default run."""
    checked = Checked(WRONG["no empty batch"].forward, None)
    empty = [case for case in corpus.known_cases("conv2d") if not len(case.args[0])]
    findings = [finding for case in empty for finding in examine(checked, case, [("forward", "exact")])]
    assert findings
    assert all(finding.failures for finding in findings)
