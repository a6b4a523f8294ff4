"""The cross-check at full length: its default run finds every function that is wrong, and shows it on a small case.

It needs no framework; it takes too long for the tests that everybody runs.
"""

from __future__ import annotations

import pytest
from finding import found
from required import thorough
from wrong import SUBJECTS

thorough()
pytestmark = pytest.mark.usefixtures("one_thread", "right_results_are_kept")

NO_SMALL_CASE = {"an element wrong in a million"}


@pytest.mark.parametrize("name", sorted(SUBJECTS, key=lambda name: SUBJECTS[name].op))
def test_the_default_run_finds_it(name: str) -> None:
    found(SUBJECTS[name], on_a_small_case=name not in NO_SMALL_CASE)
