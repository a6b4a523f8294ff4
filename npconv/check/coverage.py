"""What a run has examined: how often each level of each feature, and which levels not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from npconv.check.case import Case
from npconv.check.comparison import Finding
from npconv.check.corpus import levels_of, values_of
from npconv.check.features import Feature, features

FOUR = "four numbers"
"""The level of any padding whose sides differ, whatever it was before it was written so."""

MOST_NAMED = 8  # levels of a feature that a sentence names; the table has all


class Coverage(NamedTuple):
    """What was examined of an operator.

    Attributes
    ----------
    counts : dict of str to dict of str to int
        Feature -> level -> cases in which a result was judged.
    largest : dict of str to Any
        Of the features that are numbers or pairs, the largest value that was judged.
    cases : int
        In which a result was judged.
    declined : int
        In which the checked function said that it cannot do what was asked, in one direction at least.
    """

    counts: dict[str, dict[str, int]]
    largest: dict[str, Any]
    cases: int
    declined: int

    def missing(self) -> dict[str, list[str]]:
        """Feature -> the levels that no judged case has."""
        lacking = {
            name: [level for level, count in levels.items() if not count] for name, levels in self.counts.items()
        }
        return {name: levels for name, levels in lacking.items() if levels}

    def examined(self) -> str:
        """As "kernel to 11x11, stride to 8, memory of x in 8 orders, 41 kinds of numbers"."""
        parts = []
        for name, levels in self.counts.items():
            seen = [level for level, count in levels.items() if count]
            if not seen:
                continue
            if name in self.largest:
                parts.append(f"{name} to {_shown(self.largest[name])}")
            elif name == "numbers":
                parts.append(f"{len(seen)} kinds of numbers")
            elif len(seen) > MOST_NAMED or name.startswith("memory"):
                parts.append(f"{name} in {len(seen)} orders" if name.startswith("memory") else f"{len(seen)} {name}")
            else:
                parts.append(f"{name} {', '.join(seen)}")
        return "; ".join(parts)

    def not_examined(self) -> str:
        """The levels that are missing, or "" where none is."""
        parts = []
        for name, levels in self.missing().items():
            few = levels[:MOST_NAMED]
            rest = f" and {len(levels) - len(few)} more" if len(levels) > len(few) else ""
            parts.append(f"{name} {', '.join(few)}{rest}")
        return "; ".join(parts)

    def sentence(self) -> str:
        """Both, and how many cases were declined."""
        lacking = self.not_examined()
        declined = f"; declined in {self.declined} cases" if self.declined else ""
        if not self.cases:
            return f"nothing was examined{declined}"
        return f"examined: {self.examined()}; not examined: {lacking or 'no level of these'}{declined}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "cases": self.cases,
            "declined": self.declined,
            "examined": self.counts,
            "largest": {name: str(value) for name, value in self.largest.items()},
            "not_examined": self.missing(),
        }


class Counting:
    """Counts case by case what is examined."""

    def __init__(self, op: str) -> None:
        self._op = op
        self._counts: Counter[tuple[str, str]] = Counter()
        self._largest: dict[str, Any] = {}
        self._cases = self._declined = 0

    def add(self, case: Case, findings: Iterable[Finding]) -> None:
        """A case, and what it has shown."""
        findings = list(findings)
        self._declined += any(finding.unsupported is not None for finding in findings)
        if all(finding.skipped or finding.unsupported is not None for finding in findings):
            return
        self._cases += 1
        case = _by_the_table(case)
        levels = levels_of(case)
        if levels and FOUR in features(self._op).get("padding", Feature({})).levels and _is_four_numbers(case):
            levels = [*((name, level) for name, level in levels if name != "padding"), ("padding", FOUR)]
        self._counts.update(levels)
        for name, value in values_of(case).items():
            if isinstance(value, bool) or not _is_number(value):
                continue
            before = self._largest.get(name)
            if before is None or _size(value) > _size(before):
                self._largest[name] = value

    def coverage(self) -> Coverage:
        """So far."""
        counts = {
            name: {level: self._counts[name, level] for level in feature.levels}
            for name, feature in features(self._op).items()
        }
        known = {name: value for name, value in self._largest.items() if name in counts}
        return Coverage(counts, known, self._cases, self._declined)


def _by_the_table(case: Case) -> Case:
    """The case with padding as the table has it: as one number for each axis where both its sides have the same."""
    if not _is_four_numbers(case) or any(low != high for low, high in case.options["padding"]):
        return case
    rows, columns = (low for low, _ in case.options["padding"])
    return case._replace(options=case.options | {"padding": rows if rows == columns else (rows, columns)})


def _is_four_numbers(case: Case) -> bool:
    padding = case.options.get("padding")
    return isinstance(padding, tuple) and isinstance(padding[0], tuple)


def _is_number(value: Any) -> bool:
    """An int, or a pair of them."""
    return isinstance(value, int) or (
        isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, int) for part in value)
    )


def _size(value: Any) -> int:
    return int(value * value) if isinstance(value, int) else int(value[0] * value[1])


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "x".join(map(str, value))
