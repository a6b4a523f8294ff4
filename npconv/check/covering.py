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

CANDIDATES = 4
SMALLEST = 7 / 8  # of the values of a level that are the smallest of it
PLAINLY = 7 / 8  # of the features in PLAIN that are so once they may be
TRIES = 24  # levels of an unpaired feature that are tried where no small case has any
PLAIN = ("numbers", "kernel", "stride", "dilation", "padding", "batch", "groups")
"""Features whose first level is plain. Once all their levels were there, most cases are: that leaves long rows of results room."""


def choose(
    features: Mapping[str, Feature],
    is_posed: Callable[[Values], bool],
    is_small: Callable[[Values], bool],
    count: int,
    *,
    seed: int,
    seen: Counter[tuple[str, str]],
    derive: Callable[[Values], Values] = lambda values: {},
) -> Iterator[Values]:
    """`count` times one value for each feature; `seen` counts the levels that other cases have, and is added to.

    ``is_posed(values)`` says whether some features can have these values, the others being as small as can be;
    ``is_small(values)`` whether they even make a small case, as half of them should be; ``derive(values)`` gives the features
    that follow from the others.
    """
    rng = Random(seed)
    free = {name: feature for name, feature in features.items() if not feature.follows}
    rarity = _Rarity(features, derive, seen)
    paired = {name: feature for name, feature in features.items() if feature.paired}
    every = list(_pairs(paired, is_posed, rng))
    missing = set(every)
    for number in range(count):
        every = [pair for pair in every if pair in missing]
        small = number % 5 < 3 if not every else number % 3 == 0  # a pair of features leaves a long row less room
        several = range(CANDIDATES if every else 0)
        candidates = [_candidate(paired, is_posed, every, missing, seen, rng) for _ in several]
        values = max(candidates, key=lambda values: len(_pairs_of(paired, values) & missing), default={})
        for name in sorted(free, key=lambda name: (_rank(name), -rarity.lacking(name))):
            if name not in values:
                _add(values, name, free[name], is_posed, is_small if small else is_posed, rarity, rng)
        missing -= _pairs_of(paired, values)
        for name, value in (values | derive(values)).items():
            level = features[name].level(value)
            if level is not None:
                seen[name, level] += 1
        yield values


def _rank(name: str) -> int:
    """What others must fit to is chosen first: orders of memory, since a bias may be absent; kernels; kinds of numbers."""
    return 0 if name.startswith("memory") else {"kernel": 1, "numbers": 2, "stride": 1}.get(name, 3)


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
    first: Any = None,
) -> Values | None:
    """`values` with one of `level` for the feature `name` (and one for another), or None where none of them fits.

    If `first` fits, it is the one.
    """
    if first is not None and is_posed(found := values | {name: first}):
        return found
    for value in _tried(feature.levels[level], rng):
        for added in (
            [{}] if other is None else [{other[0]: beside} for beside in _tried(other[1].levels[other[2]], rng)]
        ):
            found = values | {name: value} | added
            if is_posed(found):
                return found
    return None


def _tried(values: Sequence[Any], rng: Random) -> list[Any]:
    """Some of a level's values in the order in which they are tried, the first of them in any case, and often first.

    The first is the smallest, which leaves the other features room.
    """
    tried = rng.sample(list(values), len(values)) if len(values) <= 4 else rng.sample(values, 3)
    return [values[0], *tried] if rng.random() < SMALLEST else [*tried, values[0]]


class _Rarity:
    """How rare a level is, and those that come with it of the features that follow from its own."""

    def __init__(
        self, features: Mapping[str, Feature], derive: Callable[[Values], Values], seen: Counter[tuple[str, str]]
    ) -> None:
        self._features, self._derive, self._seen = features, derive, seen
        self._following: dict[str, list[str]] = {name: [] for name in features}
        for name, feature in features.items():
            for other in feature.follows:
                self._following[other].append(name)

    def lacks(self, name: str, level: str) -> int:
        """How many occurrences are still to come."""
        return max(0, LEAST - self._seen[name, level])

    def lacking(self, name: str) -> int:
        """Those of all its levels, and of what follows from it."""
        names = (name, *self._following[name])
        return sum(self.lacks(each, level) for each in names for level in self._features[each].levels)

    def of(self, values: Values, name: str, level: str) -> tuple[int, int]:
        """The smaller, the rarer: `values` has `level` of `name`."""
        lacks = self.lacks(name, level)
        if following := self._following[name]:
            derived = self._derive(values)
            found = ((other, self._features[other].level(derived[other])) for other in following)
            lacks += sum(self.lacks(other, that) for other, that in found if that is not None)
        return -lacks, self._seen[name, level]


def _add(
    values: Values,
    name: str,
    feature: Feature,
    is_posed: Callable[[Values], bool],
    is_wanted: Callable[[Values], bool],
    rarity: _Rarity,
    rng: Random,
) -> None:
    """Give an unpaired feature the rarest level that fits, if that can be to a case as wanted."""
    tried = {level: _tried(feature.levels[level], rng)[0] for level in feature.levels}
    order = sorted(
        feature.levels, key=lambda level: (*rarity.of(values | {name: tried[level]}, name, level), rng.random())
    )
    if name in PLAIN and not rarity.lacking(name) and rng.random() < PLAINLY:
        order = list(feature.levels)  # the first of which is the plain one
    for level, fits in [*((level, is_wanted) for level in order), *((level, is_posed) for level in order[:TRIES])]:
        found = _value(values, name, feature, level, fits, rng, first=tried[level])
        if found is not None:
            values.update(found)
            return
