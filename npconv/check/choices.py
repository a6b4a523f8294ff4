"""Choices that are written down: results that are as right as npconv's, and are named where they are met.

A maximum has one gradient only where one pixel is the largest, and a function with a kink no slope there: whoever computes it
chooses. A mean may be one of what came before and the next number, which rounds more often than a sum. A result that is right by
one such choice throughout is no difference; the report says which choice it is.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from math import prod
from typing import NamedTuple

import numpy as np

from npconv import reference
from npconv.backends import backend, divert
from npconv.check.case import Case
from npconv.geometry import Array, Pool2dGeometry
from npconv.reference.windows import input_windows, scatter_windows
from npconv.testing import Exact, exact_backward


class Choice(NamedTuple):
    """What is right by a choice: a sentence, and the arrays; `rounds` where no sum of whole numbers is exact by it."""

    sentence: str
    rows: list[Exact]
    rounds: bool = False


def choices(case: Case, direction: str, rows: list[Exact]) -> Iterator[Choice]:
    """Those that there are beside npconv's own, by which `rows` are."""
    given = case.multiplied()
    if direction == "forward" and case.op in ("avg_pool2d", "global_avg_pool2d"):
        yield _of_means(rows)
    elif direction == "backward" and case.op == "max_pool2d" and case.is_finite:
        yield from _of_ties(given, rows)
    elif direction == "backward" and case.op in KINKS and case.is_finite:
        yield from _of_slopes(given, rows)


def _of_means(rows: list[Exact]) -> Choice:
    """A mean so far rounds three times for each number, and from an infinity there is no way to the next one."""
    found = [
        row._replace(terms=3 * row.terms + 2, other=np.where(np.isinf(row.value), np.nan, row.value)) for row in rows
    ]
    return Choice("means are running ones, which round after each number (npconv: sums, divided once)", found, True)


# --- ties of a maximum -------------------------------------------------------------------------------------------

_Winners = Callable[[Array], Array]
"""From which pixels of a window are the largest (..., R, S) to the part of dy that each of them gets."""


def _one(largest: Array, *, last: bool, by_column: bool) -> Array:
    turned = largest.swapaxes(-1, -2) if by_column else largest
    flat = turned.reshape(*turned.shape[:-2], prod(turned.shape[-2:]))
    places = flat.shape[-1]
    winner = places - 1 - flat[..., ::-1].argmax(axis=-1) if last else flat.argmax(axis=-1)
    part = (winner[..., None] == np.arange(places)).reshape(turned.shape)
    return part.swapaxes(-1, -2) if by_column else part


def _shared(largest: Array) -> Array:
    return largest / np.maximum(largest.sum(axis=(-1, -2), keepdims=True), 1)


TIES: dict[str, _Winners] = {
    "the gradient of a tie goes to the last maximum (npconv: the first)": functools.partial(
        _one, last=True, by_column=False
    ),
    "the gradient of a tie is shared by all maxima (npconv: the first has it)": _shared,
    "the gradient of a tie goes to the first maximum of the columns (npconv: of the rows)": functools.partial(
        _one, last=False, by_column=True
    ),
    "the gradient of a tie goes to the last maximum of the columns (npconv: the first of the rows)": functools.partial(
        _one, last=True, by_column=True
    ),
}


def _of_ties(case: Case, rows: list[Exact]) -> Iterator[Choice]:
    for sentence, winners in TIES.items():

        def gradient(dy: Array, x: Array, geometry: Pool2dGeometry, winners: _Winners = winners) -> Array:
            windows = input_windows(x, geometry.axes, -np.inf)
            inside = input_windows(np.ones(x.shape, np.bool_), geometry.axes, False)
            part = winners(inside & (windows == windows.max(axis=(4, 5), keepdims=True)))
            return scatter_windows(part * dy[..., None, None], geometry.axes)

        def run(primitive: str, *arguments: object, gradient: Callable[..., Array] = gradient) -> object:
            known = gradient if primitive == "max_pool2d_input_grad" else getattr(reference, primitive)
            return known(*arguments)

        with backend("numpy"), divert(run, stands_in=False):
            found = exact_backward(case.problem, case.dy, rows[0].precision)
        shared = winners is _shared
        yield Choice(sentence, [row._replace(terms=row.terms + shared) for row in found], shared)


# --- slopes at a kink --------------------------------------------------------------------------------------------

KINKS: dict[str, dict[float, tuple[float, float]]] = {
    "relu": {0: (0, 1)},
    "relu6": {0: (0, 1), 6: (0, 1)},
    "hard_sigmoid": {-3: (0, 1 / 6), 3: (0, 1 / 6)},
    "hard_swish": {-3: (0, -1 / 2), 3: (1, 3 / 2)},
}
"""Operator -> where it has a kink -> the slopes of both sides there: of the flat side, which npconv takes, and of the other."""


def _of_slopes(case: Case, rows: list[Exact]) -> Iterator[Choice]:
    x, (row,), dy = case.args[0], rows, case.dy
    met = {kink: slopes for kink, slopes in KINKS[case.op].items() if (x == kink).any()}
    every = [((own, own), (own, other), (own, (own + other) / 2)) for own, other in met.values()]
    for slopes in itertools.product(*every):
        value, magnitude, words = row.value, row.magnitude, []
        for kink, (own, slope) in zip(met, slopes, strict=True):
            if slope != own:
                value = np.where(x == kink, dy.astype(np.float64) * slope, value)
                magnitude = np.where(x == kink, np.maximum(magnitude, np.abs(value)), magnitude)
                words.append(f"at {kink} is {slope:.3g} (npconv: {own:.3g})")
        if words:  # half of the smallest number is none
            found = row._replace(value=value, magnitude=magnitude, terms=row.terms + 1)
            yield Choice(f"the slope {' and '.join(words)}", [found], True)
