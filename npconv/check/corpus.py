"""The cases of a run: hand-picked hard ones, layers of the papers' networks, and others chosen to cover every feature."""

from __future__ import annotations

import functools
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npconv.backends import backend, divert
from npconv.check import numbers
from npconv.check.adapters.definitions import arguments
from npconv.check.building import Values, build, completed, is_posed, smallest
from npconv.check.case import Case
from npconv.check.covering import choose
from npconv.check.features import Feature, features
from npconv.check.hard import hard
from npconv.check.layers import layers
from npconv.check.measuring import derived, measure
from npconv.check.memory import C_ORDER
from npconv.costs import zeros_of
from npconv.testing import Problem, named_arrays

LARGE = 200_000  # numbers in the arrays of a case
KNOWN = 4  # one case in so many is a known one, as long as there are enough


def cases(
    op: str, count: int, *, seed: int = 0, dtype: DTypeLike = np.float32, fixed: frozenset[str] = frozenset()
) -> list[Case]:
    """`count` cases of `op`: some of them known, the rest chosen to cover its features. The seed alone decides which.

    The features in `fixed` have their smallest value in all of them. Whoever gets the cases leaves them as they are.
    """
    return list(_cases(op, count, seed, np.dtype(dtype), fixed))


@functools.lru_cache(maxsize=32)  # several implementations are often checked one after another
def _cases(op: str, count: int, seed: int, dtype: np.dtype[Any], fixed: frozenset[str]) -> tuple[Case, ...]:
    known, least = known_cases(op, dtype), smallest(op)
    if fixed:
        known = [case for case in known if all(values_of(case).get(name) == least.get(name) for name in fixed)]
    few = count // KNOWN
    if len(known) > few:  # the large ones are left out, and of the others some are chosen evenly
        known = [case for case in known if case.size < LARGE or few > 60]
    kept = min(len(known), few)
    taken = [known[number * len(known) // kept] for number in range(kept)]
    return (*taken, *chosen_cases(op, count - kept, seed=seed, dtype=dtype, beside=taken, fixed=fixed))


def known_cases(op: str, dtype: DTypeLike = np.float32) -> list[Case]:
    """The hand-picked cases and the networks' layers."""
    return _known(op, np.dtype(dtype))


@functools.lru_cache(maxsize=8)
def _known(op: str, dtype: np.dtype[Any]) -> list[Case]:
    named = [*((f"hard: {label}", problem, kind) for label, problem, kind in hard(op))]
    named += [(label, problem, None) for label, problem in layers(op)]
    return [filled(problem, label, dtype, kind=kind) for label, problem, kind in named]


def network_cases(op: str, dtype: DTypeLike = np.float32, *, fixed: frozenset[str] = frozenset()) -> list[Case]:
    """Every kind of layer of the papers' networks at its real size, for one image of 224 x 224."""
    least = smallest(op)
    found = (filled(problem, f"real size, {label}", dtype) for label, problem in layers(op, capped=False))
    return [case for case in found if all(values_of(case).get(name) == least.get(name) for name in fixed)]


def chosen_cases(
    op: str,
    count: int,
    *,
    seed: int = 0,
    dtype: DTypeLike = np.float32,
    beside: Sequence[Case] = (),
    fixed: frozenset[str] = frozenset(),
) -> list[Case]:
    """Cases in which, together with those of `beside`, every level of every feature of `op` occurs, as far as `count` goes.

    The features in `fixed` have their smallest value.
    """
    least = smallest(op)
    table = {
        name: Feature({str(least[name]): (least[name],)}) if name in fixed else feature
        for name, feature in features(op).items()
    }
    chosen = choose(
        table,
        lambda values: fits(op, values),
        lambda values: fits(op, values, small=True),
        count,
        seed=seed,
        seen=Counter(place for case in beside for place in levels_of(case)),
        derive=lambda values: derived(op, completed(op, values)),
    )
    return [case_of(op, values, f"case {number}", seed, dtype) for number, values in enumerate(chosen)]


def case_of(op: str, values: Values, label: str, seed: int = 0, dtype: DTypeLike = np.float32) -> Case:
    """The case with these values of the features of `op`."""
    orders = {name: values.get(f"memory of {name}", C_ORDER) for name in (*arguments(op), "dy")}
    orders = {name: order for name, order in orders.items() if order not in (C_ORDER, "absent")}
    return filled(build(op, values), label, dtype, kind=values.get("numbers"), orders=orders, seed=seed)


def fits(op: str, values: Values, *, small: bool = False) -> bool:
    """Whether there is such a problem, of a size for one of hundreds, with such numbers in it."""
    return is_posed(op, values, small=small or numbers.is_small(values)) and numbers.fits(op, completed(op, values))


def filled(
    problem: Problem,
    label: str,
    dtype: DTypeLike = np.float32,
    *,
    kind: str | None = None,
    orders: dict[str, str] | None = None,
    seed: int = 0,
) -> Case:
    """The case of a problem of these shapes, with numbers that depend on the label and the seed alone."""
    rng = np.random.default_rng([zlib.crc32(label.encode()), seed])
    with backend("numpy"), np.errstate(over="ignore"):  # what float16 has no room for is not judged
        with divert(zeros_of):
            y = problem.forward()
        made = numbers.fill(problem, y, kind, rng, dtype)
    case = Case.of(problem._replace(args=made.args), made.dy, label)
    case = case._replace(numbers=kind, exponents=made.exponents, orders=orders or {})
    return case.with_arrays(case.arrays) if orders else case


def values_of(case: Case) -> Values:
    """The values of a case's features."""
    found = measure(case.problem) | {"numbers": case.numbers}
    for name, tree in case.arrays.items():
        if tree is not None:
            found[f"memory of {name}"] = case.order(name)
        elif name in ("b", "w_cheap"):
            found[f"memory of {name}"] = "absent"
    return found


def levels_of(case: Case) -> list[tuple[str, str]]:
    """(feature, level) of all levels that a case has; none where there is no number that could be wrong."""
    if not any(array.size for _, array in named_arrays(case.dy)):
        return []
    values, table = values_of(case), features(case.op)
    found = ((name, feature.level(values[name])) for name, feature in table.items() if name in values)
    return [(name, level) for name, level in found if level is not None]
