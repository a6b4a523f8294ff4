"""One line that makes tests: an operator and somebody's implementation of it, for somebody's own pytest suite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npconv.check.comparison import MODES, Direction, Mode
from npconv.check.examination import Checked
from npconv.check.running import run
from npconv.testing.gradients import Tree


def cases_for(
    op: str,
    forward: Callable[..., Tree] | None = None,
    backward: Callable[..., Tree] | None = None,
    *,
    cases: int = 100,
    seed: int = 0,
    dtype: DTypeLike = np.float32,
) -> Callable[..., None]:
    """A parametrised pytest test of an implementation of `op`: one test for each direction and mode of `npconv.check.run`.

        test_conv = npconv.check.cases_for("conv2d", my_conv, my_conv_backward)

    A test fails with the report, in which each failure has its smallest case and a program that shows it; it is skipped where
    all is `Unsupported`.

    Parameters
    ----------
    op, forward, backward, cases, seed, dtype
        As in `npconv.check.run`, with the same signatures of both functions.

    Returns
    -------
    function
        For a name in a test module that begins with ``test_``.

    Raises
    ------
    ImportError
        pytest is not installed.
    TypeError, ValueError
        As by `npconv.check.run`.

    Examples
    --------
    >>> import npconv
    >>> callable(cases_for("relu", npconv.relu, cases=5))
    True
    """
    import pytest

    def test(direction: Direction, mode: Mode) -> None:
        __tracebackhide__ = True
        both = mode == "adjoint"
        report = run(
            op,
            forward=forward if both or direction == "forward" else None,
            backward=backward if both or direction == "backward" else None,
            cases=cases,
            seed=seed,
            dtype=dtype,
            modes=(mode,),
        )
        if report.failures:
            raise AssertionError(str(report))
        if not sum(result.cases for result in report.results):
            pytest.skip("; ".join(report.unsupported) or f"{op} has no result for the mode {mode}")

    questions = Checked(forward, backward).questions(MODES)
    marked: Any = pytest.mark.parametrize(("direction", "mode"), questions)(test)
    return marked
