"""The cases of a run: hand-picked hard ones, the layers of the papers' networks, and random ones that shrink."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npconv.backends import backend, current_backend, divert
from npconv.check.case import Case
from npconv.check.hard import hard
from npconv.check.layers import layers
from npconv.costs import zeros_of
from npconv.geometry import Array
from npconv.testing import Problem, map_arrays

LARGE = 100_000  # numbers in the arrays of a case


def cases(op: str, count: int, *, seed: int = 0, dtype: DTypeLike = np.float32) -> list[Case]:
    """`count` cases of `op`: up to half of them known ones, the rest random. Whoever gets them leaves them as they are.

    Where there are more known ones than that, the large ones are left out, and of the others some are chosen evenly.
    """
    known = known_cases(op, dtype)
    if len(known) > count // 2:
        known = [case for case in known if case.size < LARGE]
    kept = min(len(known), count // 2)
    chosen = [known[number * len(known) // kept] for number in range(kept)]
    return [*chosen, *random_cases(op, count - kept, seed=seed, dtype=dtype)]


def known_cases(op: str, dtype: DTypeLike = np.float32) -> list[Case]:
    """The hand-picked cases and the networks' layers."""
    return _known(op, np.dtype(dtype))


@functools.lru_cache(maxsize=8)  # several implementations are often checked one after another
def _known(op: str, dtype: np.dtype[Any]) -> list[Case]:
    named = [*((f"hard: {label}", problem) for label, problem in hard(op)), *layers(op)]
    return [filled(problem, label, dtype) for label, problem in named]


def filled(problem: Problem, label: str, dtype: DTypeLike = np.float32) -> Case:
    """The case of a problem of these shapes, with whole numbers that depend on the label alone."""
    rng = np.random.default_rng(seed_of(label))

    def whole(array: Array) -> Array:
        return np.asarray(rng.integers(-4, 4, array.shape, endpoint=True) * problem.unit, dtype)

    with backend("numpy"), divert(zeros_of):
        y = problem.forward()
    numbers = problem.map(whole)
    if problem.op == "batch_norm2d" and numbers.args[4] is not None:
        numbers = numbers._replace(args=(*numbers.args[:4], np.abs(numbers.args[4]) + 1))  # a variance is above 0
    return Case.of(numbers, map_arrays(whole, y), label)


def seed_of(label: str) -> int:
    """The seed of a known case's numbers."""
    return zlib.crc32(label.encode())


def random_cases(op: str, count: int, *, seed: int = 0, dtype: DTypeLike = np.float32) -> list[Case]:
    """Cases of small whole numbers, drawn by `npconv.testing.strategies`: the same for the same seed."""
    return _drawn(op, count, seed, np.dtype(dtype))


@functools.lru_cache(maxsize=32)
def _drawn(op: str, count: int, seed: int, dtype: np.dtype[Any]) -> list[Case]:
    drawn: list[Case] = []
    _search(op, drawn.append, count, seed, dtype, shrink=False)
    return drawn


def smallest(
    op: str, fails: Callable[[Case], bool], *, most: int, seed: int = 0, dtype: DTypeLike = np.float32
) -> Case | None:
    """The smallest random case that `fails`, as far as Hypothesis gets, or None where none of `most` does.

    The search begins with the cases that `random_cases` draws for the same seed.
    """
    return _search(op, fails, most, seed, dtype, shrink=True)


def _search(
    op: str, wanted: Callable[[Case], Any], most: int, seed: int, dtype: DTypeLike, *, shrink: bool
) -> Case | None:
    try:
        import hypothesis
    except ImportError:
        raise ImportError('npconv.check draws its cases with Hypothesis: pip install "npconv[check]"') from None
    from npconv.testing.strategies import problems_with_dy

    outside = current_backend()

    def judged(case: Case) -> bool:
        with backend(outside):
            return bool(wanted(case))

    phases = [hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if shrink else [])]
    with backend("numpy"):  # for the shape of dy
        strategy = problems_with_dy(op, dtype).map(lambda drawn: Case.of(*drawn, "random"))
        try:
            return hypothesis.find(
                strategy,
                judged,
                settings=hypothesis.settings(
                    max_examples=most,
                    database=None,
                    deadline=None,
                    derandomize=False,
                    phases=phases,
                    suppress_health_check=list(hypothesis.HealthCheck),
                ),
                random=Random(seed),
            )
        except hypothesis.errors.NoSuchExample:
            return None
