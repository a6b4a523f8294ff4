"""What a cross-check found: counts, worst errors, failures, and where the errors are."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, NamedTuple

import numpy as np

from npconv.check.arithmetic import Arithmetic
from npconv.check.case import Case, describe, named_trees
from npconv.check.comparison import Comparison, Direction, Failure, Finding, Mode
from npconv.check.coverage import Counting, Coverage
from npconv.costs.text import html_table
from npconv.geometry import Array

HISTOGRAM_EDGES = np.array([0.0, *2.0 ** np.arange(-12, 5), np.inf])
"""In units of the rounding bound: bin i holds errors above edge i and up to edge i + 1; the first also holds errors of 0."""

BORDER = 3
"""So many rows and columns at each border have a cell of their own in a `BorderMap`; all others share the middle one."""


class Result(NamedTuple):
    """One direction in one mode.

    Attributes
    ----------
    direction, mode
        The adjoint identity, which is about both directions, is counted under "backward".
    cases : int
        That were judged.
    failed : int
        Of these.
    unsupported : int
        That the checked function says it cannot do: not among `cases`.
    skipped : int
        That this mode says nothing about, for example whole numbers whose quotients are none: not among `cases`.
    suspicious : int
        Judged right by the rigorous bound, but with errors larger than chance would have them. No failures.
    worst : float
        The largest error in units of the rounding bound: at most 1 where all is right. 0.0 for "adjoint".
    bits : float or None
        -log2 of the largest error relative to its magnitude sum|x||w|: the bits that a result can be relied on for, 24
        being a float32 rounded once. Only in the mode "bound", and None where there was no error at all.
    """

    direction: Direction
    mode: Mode
    cases: int = 0
    failed: int = 0
    unsupported: int = 0
    skipped: int = 0
    suspicious: int = 0
    worst: float = 0.0
    bits: float | None = None


class BorderMap(NamedTuple):
    """Where on a feature map errors sit, as three arrays of 2 * BORDER + 1 rows and columns.

    Rows 0, 1, 2 are the first three of a map, the last three its last, and row 3 is all between; columns likewise. A map
    of fewer rows has only the outer ones.

    Attributes
    ----------
    worst : array (2 * BORDER + 1, 2 * BORDER + 1)
        float64: the largest error, in rounding bounds.
    wrong, count : arrays of the same shape
        int64: how many numbers were wrong, of how many.
    """

    worst: Array  # the largest error in units of the bound
    wrong: Array  # how many numbers failed
    count: Array  # type: ignore[assignment]  # how many numbers there were; it hides the tuple's method


@dataclass(frozen=True)
class Report:
    """The outcome of `npconv.check.run`.

    Attributes
    ----------
    subject : str
        What was checked.
    op, dtype, seed, modes
        As asked for.
    cases : int
        How many were run; fewer than asked for where `interrupted`.
    results : tuple of Result
        One for each direction and mode that was asked for.
    failures : tuple of Failure
        One for each way of failing, worst first, each with its reproduction.
    unsupported : dict of str to int
        The messages of what the checked function cannot do, each with its number of calls.
    choices : dict of str to int
        By which choices other than npconv's results are right, each with their number: no differences.
    coverage : Coverage or None
        What was examined, and what was not.
    histogram : dict of str to list of int
        "forward" and "backward": how many numbers had an error in each bin of `HISTOGRAM_EDGES`, in the mode "bound".
    maps : dict of str to BorderMap
        "y" and "dx": errors by distance from the border, in the modes "exact" and "bound" together.
    arithmetic : Arithmetic or None
        The fingerprint, where one was taken.
    seconds : float
        That the run took.
    interrupted : bool
        Whether it was ended by Ctrl-C, so that there may be more to find.
    declared : str or None
        The arithmetic by which it was judged, where that is another one than `dtype`.
    """

    subject: str
    op: str
    dtype: str
    seed: int
    modes: tuple[Mode, ...]
    cases: int
    results: tuple[Result, ...]
    failures: tuple[Failure, ...]
    unsupported: dict[str, int] = field(default_factory=dict)
    choices: dict[str, int] = field(default_factory=dict)
    histogram: dict[str, list[int]] = field(default_factory=dict)
    maps: dict[str, BorderMap] = field(default_factory=dict)
    coverage: Coverage | None = None
    arithmetic: Arithmetic | None = None
    seconds: float = 0.0
    interrupted: bool = False
    declared: str | None = None

    @property
    def judged(self) -> int:
        """How many results were judged."""
        return sum(result.cases for result in self.results)

    @property
    def verdict(self) -> str:
        """ "different"; "interrupted", so that there may be more to find; "nothing examined"; or "equal"."""
        if self.failures:
            return "different"
        if self.interrupted:
            return "interrupted"
        return "equal" if self.judged else "nothing examined"

    @property
    def ok(self) -> bool:
        """Whether the run came to its end, something was judged, and nothing of it differs."""
        return self.verdict == "equal"

    def to_json(self, *, indent: int | None = 2) -> str:
        """Everything as JSON; arrays of more than 256 numbers by their shape alone, numbers that are not finite as text."""
        return json.dumps(_plain(self.as_dict()), indent=indent)

    def as_dict(self) -> dict[str, Any]:
        """The attributes as dicts, lists and numbers, `ok` among them."""
        return {
            "subject": self.subject,
            "op": self.op,
            "dtype": self.dtype,
            "declared": self.declared,
            "seed": self.seed,
            "modes": list(self.modes),
            "cases": self.cases,
            "ok": self.ok,
            "verdict": self.verdict,
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 3),
            "results": [result._asdict() for result in self.results],
            "failures": [_failure_dict(failure) for failure in self.failures],
            "unsupported": self.unsupported,
            "choices": self.choices,
            "coverage": None if self.coverage is None else self.coverage.as_dict(),
            "histogram": {"edges": HISTOGRAM_EDGES.tolist(), **self.histogram},
            "maps": {
                name: {part: array.tolist() for part, array in cells._asdict().items()}
                for name, cells in self.maps.items()
            },
            "arithmetic": None if self.arithmetic is None else self.arithmetic.to_dict(),
        }

    def __str__(self) -> str:
        verdict = "DIFFERENT" if self.failures else self.verdict
        judged = f" judged as {self.declared}" if self.declared else ""
        interrupted = " (interrupted)" if self.interrupted and self.failures else ""
        lines = [
            f"{self.subject}: {self.op} in {self.dtype}{judged}, {self.cases} cases: {verdict}{interrupted}",
            *([] if self.coverage is None else [self.coverage.sentence()]),
            *(
                f"{row[0]:<10}{row[1]:<9}{row[2]:>7}{row[3]:>8}{row[4]:>13}{row[5]:>12}{row[6]:>10}{row[7]:>7}"
                for row in _rows(self)
            ),
        ]
        lines += [f"unsupported {count} times: {message}" for message, count in self.unsupported.items()]
        lines += [f"choice, {count} times: {sentence}" for sentence, count in self.choices.items()]
        for failure in self.failures:
            lines += [
                "",
                f"{failure.direction}, {failure.mode}, {failure.kind}: {failure.message}",
                f"  {failure.occurrences} cases, the smallest: {failure.case}",
                *(f"  it also shows {other}" for other in failure.also),
                *(f"    {line}" for line in failure.reproduction.splitlines()),
            ]
        if self.arithmetic is not None:
            lines += ["", str(self.arithmetic)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The verdict, the results and the smallest failing cases, for a notebook."""
        verdict = str(self).partition("\n")[0]
        failures = "".join(
            f"<p>{escape(f'{failure.direction}, {failure.mode}, {failure.kind}: {failure.message}')}</p>"
            f"<pre>{escape(failure.reproduction.rstrip())}</pre>"
            for failure in self.failures
        )
        return f"<p><b>{escape(verdict)}</b></p>{html_table(_rows(self), numbers=2)}{failures}"


def _rows(report: Report) -> list[tuple[str, ...]]:
    """The table of a report: its headings, and a row for each direction and mode."""
    rows: list[tuple[str, ...]] = [
        ("direction", "mode", "cases", "failed", "unsupported", "suspicious", "worst", "bits")
    ]
    for result in report.results:
        bits = "" if result.bits is None else f"{result.bits:.1f}"
        worst = "" if result.mode == "adjoint" else f"{result.worst:.3g}"
        counts = result.cases, result.failed, result.unsupported, result.suspicious
        rows.append((result.direction, result.mode, *map(str, counts), worst, bits))
    return rows


class Recorder:
    """Adds up what a run finds."""

    def __init__(self, op: str) -> None:
        self._counting = Counting(op)
        self._results: dict[tuple[Direction, Mode], Result] = {}
        self._relative: dict[Direction, float] = {}
        self.unsupported: dict[str, int] = {}
        self.choices: dict[str, int] = {}
        self.histogram: dict[str, list[int]] = {}
        self.maps: dict[str, BorderMap] = {}

    @property
    def coverage(self) -> Coverage:
        """What was examined so far."""
        return self._counting.coverage()

    def add_case(self, case: Case, findings: Sequence[Finding]) -> None:
        """What one case has shown."""
        self._counting.add(case, findings)
        for finding in findings:
            self.add(finding, plain=case.numbers is None)

    def add(self, finding: Finding, *, plain: bool = True) -> None:
        """What one case has shown in one direction and mode; effective bits are told by `plain` numbers."""
        direction, mode = finding.direction, finding.mode
        result = self._results.get((direction, mode), Result(direction, mode))
        if finding.unsupported is not None:
            self.unsupported[finding.unsupported] = self.unsupported.get(finding.unsupported, 0) + 1
            result = result._replace(unsupported=result.unsupported + 1)
        elif finding.skipped:
            result = result._replace(skipped=result.skipped + 1)
        else:
            result = result._replace(
                cases=result.cases + 1,
                failed=result.failed + bool(finding.failures),
                suspicious=result.suspicious + any(comparison.suspicious for comparison in finding.comparisons),
                worst=max(result.worst, *(comparison.worst for comparison in finding.comparisons), 0.0),
            )
        if finding.choice is not None:
            self.choices[finding.choice] = self.choices.get(finding.choice, 0) + 1
        self._results[direction, mode] = result
        for comparison in finding.comparisons:
            self._add_to_map(comparison)
            if mode == "bound":
                self._add_errors(direction, comparison, plain)

    def _add_errors(self, direction: Direction, comparison: Comparison, plain: bool) -> None:
        if plain:
            self._relative[direction] = max(self._relative.get(direction, 0.0), comparison.relative)
        bins = np.searchsorted(HISTOGRAM_EDGES[1:], comparison.errors.ravel())
        counts = np.bincount(bins, minlength=len(HISTOGRAM_EDGES) - 1)
        before = self.histogram.get(direction, [0] * len(counts))
        self.histogram[direction] = [old + int(new) for old, new in zip(before, counts, strict=True)]

    def results(self, wanted: Iterable[tuple[Direction, Mode]]) -> tuple[Result, ...]:
        """The results of these directions and modes, in this order."""
        rows = []
        for direction, mode in wanted:
            result = self._results.get((direction, mode), Result(direction, mode))
            relative = self._relative.get(direction, 0.0)
            if mode == "bound" and relative:
                result = result._replace(bits=max(0.0, -math.log2(relative)))
            rows.append(result)
        return tuple(rows)

    def _add_to_map(self, comparison: Comparison) -> None:
        name = comparison.exact.name.partition(".")[0]
        errors = comparison.errors
        if name not in ("y", "dx") or errors.ndim != 4 or not errors.size:
            return
        side = 2 * BORDER + 1
        cells = self.maps.setdefault(
            name, BorderMap(np.zeros((side, side)), np.zeros((side, side), int), np.zeros((side, side), int))
        )
        at = np.ix_(_border_cells(errors.shape[2]), _border_cells(errors.shape[3]))
        np.maximum.at(cells.worst, at, errors.max(axis=(0, 1)))
        np.add.at(cells.wrong, at, comparison.wrong.sum(axis=(0, 1)))
        np.add.at(cells.count, at, errors.shape[0] * errors.shape[1])


def _border_cells(length: int) -> Array:
    """The cell of each of `length` rows: its distance from the nearer border, up to BORDER."""
    from_start = np.arange(length)
    from_end = from_start[::-1]
    return np.where(from_start <= from_end, np.minimum(from_start, BORDER), 2 * BORDER - np.minimum(from_end, BORDER))


def _failure_dict(failure: Failure) -> dict[str, Any]:
    case = failure.case
    arrays = {
        name: {"shape": list(array.shape), **({"values": array.tolist()} if array.size <= 256 else {})}
        for name, array in named_trees(case.multiplied().arrays)
    }
    described = {
        "label": case.label,
        "numbers": case.numbers,
        "memory": dict(case.orders),
        "arrays": arrays,
        "options": {name: describe(value) for name, value in case.options.items()},
    }
    return failure._asdict() | {"case": described}


def _plain(value: Any) -> Any:
    """`value` as JSON has it."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
