"""`check_adapter` in float32, which is all that some frameworks compute in, beside what they are known to do otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from adapter_checks import check_direction
from checks import INEXACT
from hypothesis import HealthCheck, given, settings

from npconv.check.adapters import Unsupported
from npconv.testing import named_arrays
from npconv.testing.gradients import Tree
from npconv.testing.strategies import Problem, problems_with_dy


def check_in_float32(
    adapter: Any, op: str, *, examples: int, deviates: Callable[[Problem, str], bool] = lambda *_: False
) -> None:
    """Equal on whole numbers, to 1e-5 where the operator leaves those, unless `deviates` of the problem and direction."""
    done = 0

    @settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(problems_with_dy(op, np.float32))
    def check(problem_and_dy: tuple[Problem, Tree]) -> None:
        nonlocal done
        problem, dy = problem_and_dy
        for direction in adapter.DIRECTIONS[op]:
            if deviates(problem, direction):
                continue
            try:
                check_direction(adapter, problem, dy, direction, 1e-5 if op in INEXACT else 0.0)
                done += 1
            except Unsupported:
                pass

    check()
    assert done, f"{adapter.NAME} has refused every problem of {op}"


def is_empty(problem: Problem) -> bool:
    return any(array.size == 0 for _, array in named_arrays(problem.args))
