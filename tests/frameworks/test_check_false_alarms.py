"""The cross-check at full length gives no false alarm.

It needs no framework; it takes too long for the tests that everybody runs.
"""

from __future__ import annotations

import pytest
from required import thorough

import npconv
from npconv import check, ops
from npconv.check import corpus
from npconv.check.examination import Checked, examine
from npconv.testing.strategies import OPERATORS

thorough()
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("op", OPERATORS)
def test_no_false_alarm(op: str) -> None:
    """Kernels against reference: 5,000 cases in all."""
    checked = Checked(getattr(ops, op), getattr(ops, f"{op}_backward"))
    with npconv.backend("numba"):
        for case in corpus.chosen_cases(op, 5000 // len(OPERATORS), seed=1):
            for finding in examine(checked, case, checked.questions(check.MODES)):
                assert not finding.failures, str(case)
