"""A choice of cases in which every level of every feature occurs, and with every level of every other paired feature.

A greedy choice, one case after another: of a few candidates that each contain a pair that no case has yet, the one with most
such pairs. The features that are not paired are chosen afterwards, the rarest level first that fits to the rest. The seed
alone decides.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, TypeAlias

from npconv.check.features import LEAST, Feature

Choice: TypeAlias = dict[str, str]
"""Feature -> level."""
Values: TypeAlias = dict[str, Any]

CANDIDATES = 3
TRIES = 24  # levels of an unpaired feature that are tried where no small case has any


def choose(
    features: Mapping[str, Feature],
    is_posed: Callable[[Values], bool],
    is_small: Callable[[Values], bool],
    count: int,
    *,
    seed: int,
    seen: Counter[tuple[str, str]],
    is_plain: Callable[[Values], bool] = lambda values: True,
) -> Iterator[Values]:
    """`count` times one value for each feature; `seen` counts the levels that other cases have, and is added to.

    ``is_posed(values)`` says whether some features can have these values, the others being as small as can be;
    ``is_small(values)`` whether they even make a small case, as half of them should be; ``is_plain(values)`` whether they
    count for other features than the kind of numbers.
    """
    rng = Random(seed)
    paired = {name: feature for name, feature in features.items() if feature.paired}
    every = list(_pairs(paired, is_posed, rng))
    missing = set(every)
    for number in range(count):
        small = number % 2 == 0
        every = [pair for pair in every if pair in missing]
        several = range(CANDIDATES if every else 0)
        candidates = [_candidate(paired, is_posed, every, missing, seen, rng) for _ in several]
        values = max(candidates, key=lambda values: len(_pairs_of(paired, values) & missing), default={})
        for name in sorted(features, key=lambda name: (_rank(name), -_lacking(name, features[name], seen))):
            if name not in values:
                _add(values, name, features[name], is_posed, is_small if small else is_posed, seen, rng)
        missing -= _pairs_of(paired, values)
        whole = is_plain(values)
        for name, value in values.items():
            level = features[name].level(value)
            if level is not None and (whole or name == "numbers"):
                seen[name, level] += 1
        yield values


def _rank(name: str) -> int:
    """What others must fit to is chosen first: orders of memory, since a bias may be absent; kernels; kinds of numbers."""
    return 0 if name.startswith("memory") else {"kernel": 1, "numbers": 2, "stride": 1}.get(name, 3)


def _lacking(name: str, feature: Feature, seen: Counter[tuple[str, str]]) -> int:
    """How many occurrences of its levels are still to come."""
    return sum(max(0, LEAST - seen[name, level]) for level in feature.levels)


_Pair: TypeAlias = tuple[tuple[str, str], tuple[str, str]]


def _pairs(paired: Mapping[str, Feature], is_posed: Callable[[Values], bool], rng: Random) -> Iterator[_Pair]:
    """All pairs of levels of two features that are allowed."""
    for (one, first), (other, second) in itertools.combinations(sorted(paired.items()), 2):
        for a, b in itertools.product(first.levels, second.levels):
            if _value({}, one, first, a, is_posed, rng, other=(other, second, b)) is not None:
                yield (one, a), (other, b)


def _pairs_of(paired: Mapping[str, Feature], values: Values) -> set[_Pair]:
    chosen = sorted((name, level) for name in paired if name in values and (level := paired[name].level(values[name])))
    return set(itertools.combinations(chosen, 2))


def _candidate(
    paired: Mapping[str, Feature],
    is_posed: Callable[[Values], bool],
    every: list[_Pair],
    missing: set[_Pair],
    seen: Counter[tuple[str, str]],
    rng: Random,
) -> Values:
    """A pair that is missing, then feature by feature the level that adds most of the missing pairs."""
    (one, a), (other, b) = rng.choice(every)
    values = _value({}, one, paired[one], a, is_posed, rng, other=(other, paired[other], b)) or {}
    for name in sorted(
        paired, key=lambda name: (name != "kernel", rng.random())
    ):  # large kernels leave others less room
        if name in values:
            continue
        chosen = [(key, level) for key in values if (level := paired[key].level(values[key])) is not None]

        def gain(level: str, name: str = name, chosen: list[tuple[str, str]] = chosen) -> tuple[int, int, float]:
            pairs = (tuple(sorted(((name, level), other))) for other in chosen)
            return -sum(pair in missing for pair in pairs), seen[name, level], rng.random()

        for level in sorted(paired[name].levels, key=gain):
            added = _value(values, name, paired[name], level, is_posed, rng)
            if added is not None:
                values = added
                break
    return values


def _value(
    values: Values,
    name: str,
    feature: Feature,
    level: str,
    is_posed: Callable[[Values], bool],
    rng: Random,
    *,
    other: tuple[str, Feature, str] | None = None,
) -> Values | None:
    """`values` with one of `level` for the feature `name` (and one for another), or None where none of them fits."""
    for value in _tried(feature.levels[level], rng):
        for added in (
            [{}] if other is None else [{other[0]: beside} for beside in _tried(other[1].levels[other[2]], rng)]
        ):
            found = values | {name: value} | added
            if is_posed(found):
                return found
    return None


def _tried(values: Sequence[Any], rng: Random) -> list[Any]:
    """Some of a level's values in the order in which they are tried, the first of them in any case."""
    if len(values) <= 4:
        return rng.sample(list(values), len(values))
    return [*rng.sample(values, 3), values[0]]


def _add(
    values: Values,
    name: str,
    feature: Feature,
    is_posed: Callable[[Values], bool],
    is_wanted: Callable[[Values], bool],
    seen: Counter[tuple[str, str]],
    rng: Random,
) -> None:
    """Give an unpaired feature the rarest level that fits, if that can be to a case as wanted."""
    order = sorted(feature.levels, key=lambda level: (seen[name, level], rng.random()))
    if name == "numbers" and seen[name, order[0]] > LEAST:
        order = list(feature.levels)  # the first of which is the plain one
    for level, fits in [*((level, is_wanted) for level in order), *((level, is_posed) for level in order[:TRIES])]:
        found = _value(values, name, feature, level, fits, rng)
        if found is not None:
            values.update(found)
            return
