"""What is asked of every adapter: npconv's results, in both directions, and lines of code that give its own again."""

from __future__ import annotations

from typing import Any

import numpy as np
from checks import INEXACT
from hypothesis import given, settings

from npconv.check.adapters import Unsupported
from npconv.check.adapters.definitions import arguments
from npconv.testing import map_arrays, named_arrays
from npconv.testing.gradients import Tree
from npconv.testing.strategies import Problem, problems_with_dy


def check_adapter(adapter: Any, op: str, *, examples: int, tolerance: float = 1e-11) -> None:
    """On random problems in float64: equal on whole numbers, within `tolerance` where the operator leaves those.

    Raises AssertionError also where the adapter has refused every problem.
    """
    done = 0

    @settings(max_examples=examples, derandomize=True, deadline=None, database=None)
    @given(problems_with_dy(op, np.float64))
    def check(problem_and_dy: tuple[Problem, Tree]) -> None:
        nonlocal done
        problem, dy = problem_and_dy
        for direction in adapter.DIRECTIONS[op]:
            try:
                check_direction(adapter, problem, dy, direction, tolerance if op in INEXACT else 0.0)
                done += 1
            except Unsupported:
                pass

    check()
    assert done, f"{adapter.NAME} has refused every problem of {op}"


def check_direction(adapter: Any, problem: Problem, dy: Tree, direction: str, tolerance: float) -> None:
    op, args, options = problem.op, problem.args, problem.options
    if direction == "forward":
        got, expected = adapter.forward(op, args, options), problem.forward()
    else:
        got, gradients = adapter.backward(op, dy, args, options), problem.backward(dy)
        expected = gradients if len(args) > 1 else (gradients,)
    check_same(f"{op} {direction}", got, expected, tolerance)
    text = adapter.source(op, args, options, direction)
    check_same(f"{op} {direction} by its source", run(text, problem, dy), got, tolerance)


def run(text: str, problem: Problem, dy: Tree) -> Tree:
    """The `got` of a reproduction: the arrays have the names of the operator's arguments, and are in plain tuples."""
    named = dict(zip(arguments(problem.op), problem.args, strict=True)) | {"dy": dy}
    arrays = {name: value for name, value in problem.options.items() if isinstance(value, np.ndarray)}
    namespace: dict[str, Any] = {name: plain(tree) for name, tree in named.items()} | arrays | {"np": np}
    exec(text, namespace)
    return namespace["got"]


def check_same(name: str, got: Tree, expected: Tree, tolerance: float) -> None:
    """The same arrays in the same places, each within `tolerance` of 1 or, where it is larger, the largest number of the expected
    one: a batch norm's gradient may be all that is left of numbers that cancel.
    """
    assert plain(map_arrays(np.shape, got)) == plain(map_arrays(np.shape, expected)), name
    for (place, a), (_, b) in zip(named_arrays(got, name), named_arrays(expected), strict=True):
        assert a.dtype == b.dtype, f"{place} has the dtype {a.dtype}, not {b.dtype}"
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max(initial=1.0), err_msg=place)


def plain(tree: Tree) -> Tree:
    """`tree` without named tuples, which a reproduction does not know."""
    return tuple(map(plain, tree)) if isinstance(tree, tuple) else tree
