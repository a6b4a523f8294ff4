"""Formulas with one mistake in each, to see that what a formula is compared with tells them from the right one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from npconv.explain import Formula
from npconv.geometry import Array


def mistaken(text: str) -> Iterator[str]:
    """The formula with a mistake: one sign turned round, or the first two indices of one array exchanged."""
    begin = text.index("=")
    for sign in re.finditer(r" [+-] ", text[begin:]):
        place = begin + sign.start() + 1
        yield text[:place] + ("-" if text[place] == "+" else "+") + text[place + 1 :]
    for indices in re.finditer(r"\[([^][]+?), ?([^][]+?)((?:,[^][]+)?)\]", text[begin:]):
        place = begin + indices.start()
        first, second, rest = indices.groups()
        yield f"{text[:place]}[{second}, {first}{rest}]{text[place + len(indices.group()) :]}"


def unnoticed(text: str, calls: Iterable[tuple[tuple[Any, ...], dict[str, Any], Array]]) -> list[str]:
    """The mistakes in the formula that none of the calls, each (arguments, values, right result), tells from it."""
    calls = list(calls)
    return [mistake for mistake in mistaken(text) if not any(_differs(mistake, *call) for call in calls)]


def _differs(mistake: str, arguments: tuple[Any, ...], values: dict[str, Any], right: Array) -> bool:
    try:
        wrong = Formula(mistake).evaluate(*arguments, **values)
    except (ValueError, TypeError, IndexError, KeyError, ArithmeticError):
        return True
    return np.shape(wrong) != np.shape(right) or not np.allclose(wrong, right, rtol=1e-9, atol=0)
