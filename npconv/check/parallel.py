"""The cases of a run on several processes: in contiguous parts, put together in the order of the cases."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from npconv.check.case import Case
from npconv.check.comparison import Finding
from npconv.check.examination import Checked, Question, examine
from npconv.check.patience import Patience

PARTS = 8  # for each process, so that none waits long for another
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""What joblib sets in its processes."""

Lost = Counter[tuple[str, str, str]]


def examined(
    checked: Checked, cases: Sequence[Case], questions: Sequence[Question], jobs: int
) -> Iterator[list[Finding]]:
    """What each case shows, in their order, found by so many processes.

    That is the same however the cases are cut: where a function has hung or died so often that it is called no more, the
    cases after that are examined again as if nothing else had been.
    """
    if jobs == 1:
        for case in cases:
            yield list(examine(checked, case, questions))
        return
    try:
        import joblib
    except ImportError:
        raise ImportError("several processes need joblib, got no such package: pip install 'npconv[check]'") from None
    size = -(-len(cases) // (PARTS * jobs))
    parts = [cases[start : start + size] for start in range(0, len(cases), size)]
    environment = {name: os.environ.get(name) for name in THREADS}
    backend, _ = joblib.parallel.get_active_backend()
    parallel = joblib.Parallel(jobs, return_as="generator" if backend.supports_return_generator else "list")
    patience = _patience(checked)
    found = parallel(joblib.delayed(_part)(checked, part, questions, environment) for part in parts)
    for part, answers in zip(parts, found, strict=True):
        for case, (findings, lost) in zip(part, answers, strict=True):
            if patience.lasts(lost):
                patience.lost += lost
                yield findings
            else:
                yield list(examine(checked, case, questions))


def _part(
    checked: Checked, cases: Sequence[Case], questions: Sequence[Question], environment: dict[str, str | None]
) -> list[tuple[list[Finding], Lost]]:
    """What each case shows, and what was lost by it; `environment` is that of the checking process.

    joblib says there how many threads libraries may use, which is for the process itself: a checked function in one of its
    own would compute on fewer, and perhaps something else.
    """
    for name, value in environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    patience = _patience(checked)
    kept, patience.lost = patience.lost, Counter()
    found = []
    for case in cases:
        before = patience.lost.copy()
        found.append((list(examine(checked, case, questions)), patience.lost - before))
    patience.lost = kept
    return found


def _patience(checked: Checked) -> Patience:
    """With the functions that are checked: one that is left as it is where they run in this process."""
    functions: list[Any] = [checked.forward, checked.backward]
    return next((function.patience for function in functions if hasattr(function, "patience")), Patience())
