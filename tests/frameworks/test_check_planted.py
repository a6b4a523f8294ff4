"""The cross-check at full length: its default run finds every primitive that is planted wrong, and shows it on a small case.

It needs no framework; it takes too long for the tests that everybody runs.
"""

from __future__ import annotations

import pytest
from finding import found
from required import thorough
from wrong import PRIMITIVES

thorough()
pytestmark = pytest.mark.usefixtures("one_thread", "right_results_are_kept")


@pytest.mark.parametrize("name", sorted(PRIMITIVES, key=lambda name: PRIMITIVES[name].op))
def test_the_default_run_finds_it(name: str) -> None:
    found(PRIMITIVES[name])
