"""What the cross-check's default run has to make of a planted bug."""

from __future__ import annotations

from wrong import Wrong

from npconv import check

SMALL = 40  # numbers in all arrays of a case together


def found(wrong: Wrong, *, on_a_small_case: bool = True) -> None:
    """Assert that the run finds it, and shows it on a case that was made small."""
    report = check.run(wrong.op, forward=wrong.forward, backward=wrong.backward)
    assert not report.ok
    if on_a_small_case:
        assert min(failure.case.size for failure in report.failures) <= SMALL
        assert report.failures[0].shrunk
