"""The reports of a cross-check as one HTML page that needs nothing else: no scripts, no fonts, no pictures of others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from npconv.check.arithmetic import Arithmetic
from npconv.check.comparison import Failure
from npconv.check.figures import border_map, histogram
from npconv.check.report import BORDER, Report, Result
from npconv.printable import printable

STYLE = """
:root { color-scheme: light dark; --ink: #1c2228; --paper: #ffffff; --faint: #5d6975; --line: #d5dbe1; --panel: #f4f6f8;
        --good: #1a7f4b; --bad: #c02b35; --forward: #4477aa; --backward: #ccaa33; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e7eb; --paper: #15191d; --faint: #9aa5b0; --line: #39424b; --panel: #1f252b;
          --good: #55c98a; --bad: #ff7a7f; --forward: #77aadd; --backward: #ddcc77; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 76rem;
       margin: 0 auto; padding: 2rem 1.5rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
h2 { font-size: 1.3rem; margin: 3rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .5rem; }
p { margin: .5rem 0; max-width: 60rem; }
a { color: inherit; }
.faint { color: var(--faint); }
.good { color: var(--good); }
.bad { color: var(--bad); font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2rem .9rem .2rem 0; white-space: nowrap; }
th { font-weight: 600; color: var(--faint); border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; }
tr.first td { border-top: 1px solid var(--line); }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .75rem 1rem; overflow-x: auto;
      font: 13px/1.45 ui-monospace, monospace; }
details { margin: .75rem 0; border-left: 3px solid var(--bad); padding-left: 1rem; }
details.coverage { border-color: var(--line); }
details.coverage td { white-space: normal; vertical-align: top; }
summary { cursor: pointer; overflow-wrap: anywhere; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; align-items: flex-start; }
figure { margin: .5rem 0; }
figure.whole { flex-basis: 100%; }
figcaption { font-weight: 600; margin-bottom: .25rem; }
svg { max-width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--ink); }
svg .faint { fill: var(--faint); }
svg .axis { stroke: var(--line); }
svg .bound { stroke: var(--bad); stroke-dasharray: 4 3; }
svg .beyond { fill: var(--bad); fill-opacity: .1; }
svg .forward { fill: var(--forward); }
svg .backward { fill: var(--backward); }
svg .cell { fill: var(--forward); stroke: var(--line); }
svg .wrong { fill: var(--bad); stroke: var(--bad); }
"""


def _escape(text: str) -> str:
    """Foreign text as HTML has it: neither tags nor control characters, which would forge what is read."""
    return escape(printable(text, keep="\n"))


def page(reports: Sequence[Report], *, heading: str = "npconv check", notes: Sequence[str] = ()) -> str:
    """The page of `reports`, of any number of subjects and operators.

    Parameters
    ----------
    reports : sequence of Report
        Those of one subject stand together; a subject's arithmetic is told by any of its reports.
    heading : str
        What stands above all.
    notes : sequence of str
        Lines below it: the command, versions, the machine.
    """
    subjects = list(dict.fromkeys(report.subject for report in reports))
    anchors = {subject: f"subject{number}" for number, subject in enumerate(subjects)}
    sections = [
        _subject(subject, anchors[subject], [report for report in reports if report.subject == subject])
        for subject in subjects
    ]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_escape(heading)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{_escape(heading)}</h1>
{"".join(f'<p class="faint">{_escape(note)}</p>' for note in notes)}
{_overview(reports, anchors)}
{"".join(sections)}
</body>
</html>
"""


def verdict(reports: Iterable[Report]) -> str:
    """What `Report.verdict` says of all of them together: equal only where each is, or where what was examined is."""
    told = {report.verdict for report in reports}
    for worst in ("different", "interrupted", "equal"):
        if worst in told:
            return worst
    return "nothing examined"


def bits_text(result: Result) -> str:
    """A result's effective bits, to a tenth; "all" where no number that was judged by the bound had an error."""
    if result.mode != "bound" or not _has_numbers(result):
        return ""
    return "all" if result.bits is None else f"{result.bits:.1f}"


def worst_text(result: Result) -> str:
    """A result's worst error, in units of the bound."""
    return "" if result.mode == "adjoint" or not _has_numbers(result) else short(result.worst)


def _has_numbers(result: Result) -> bool:
    """Whether any number was judged: not where every case fails, but none by an error, as exceptions do."""
    return result.failed < result.cases or result.worst > 0


def short(number: float) -> str:
    """Three digits.

    >>> short(0.03125), short(0.0), short(float("inf"))
    ('0.0312', '0', '∞')
    """
    return "∞" if math.isinf(number) else f"{number:.3g}"


def _overview(reports: Sequence[Report], anchors: dict[str, str]) -> str:
    """A table of operators by subjects: what was equal."""
    ops = list(dict.fromkeys(report.op for report in reports))
    heads = "".join(f'<th><a href="#{anchor}">{_escape(subject)}</a></th>' for subject, anchor in anchors.items())
    rows = []
    for op in ops:
        cells = [
            _verdict_cell([report for report in reports if (report.subject, report.op) == (subject, op)])
            for subject in anchors
        ]
        rows.append(f"<tr><td>{_escape(op)}</td>{''.join(cells)}</tr>")
    return f'<div class="scroll"><table><tr><th>operator</th>{heads}</tr>{"".join(rows)}</table></div>'


def _verdict_cell(reports: list[Report]) -> str:
    if not reports:
        return '<td class="faint">–</td>'
    told = verdict(reports)
    kind = {"equal": "good", "different": "bad"}.get(told, "faint")
    return f'<td class="{kind}">{told}</td>'


def _subject(subject: str, anchor: str, reports: list[Report]) -> str:
    cases, told = sum(report.cases for report in reports), verdict(reports)
    kind = {"equal": "good", "different": "bad"}.get(told, "faint")
    parts = [
        f'<h2 id="{anchor}">{_escape(subject)}: <span class="{kind}">{told}</span></h2>',
        f'<p class="faint">{cases:,} cases in {sum(report.seconds for report in reports):,.0f} s</p>',
        *(_arithmetic(report.op, report.arithmetic) for report in reports if report.arithmetic is not None),
        _results(reports),
        _coverage(reports),
        _figures(reports),
        _failures([failure for report in reports for failure in report.failures]),
        _counted("Unsupported", "in its own words", ((report, report.unsupported) for report in reports)),
        _counted("Choices", "right in another way than npconv", ((report, report.choices) for report in reports)),
    ]
    return "\n".join(part for part in parts if part)


def _arithmetic(op: str, arithmetic: Arithmetic) -> str:
    rows = [f"<tr>{''.join(f'<td>{_escape(cell)}</td>' for cell in row)}</tr>" for row in arithmetic.answers()]
    return (
        f"<h3>Arithmetic of {_escape(op)}: {_escape(arithmetic.name)}</h3>"
        f"<p>{_escape(' '.join(arithmetic.observations()))}</p>"
        f'<div class="scroll"><table>{"".join(rows)}</table></div>'
    )


def _results(reports: list[Report]) -> str:
    numbers = ("cases", "failed", "suspicious", "unsupported", "skipped", "worst error, bounds", "effective bits")
    heads = "".join(f'<th class="number">{number}</th>' for number in numbers)
    rows = []
    for report in reports:
        for place, result in enumerate(report.results):
            kind, op = ("", "") if place else (' class="first"', _escape(report.op))
            failed = f'<td class="number{" bad" if result.failed else ""}">{result.failed}</td>'
            others = (result.suspicious, result.unsupported, result.skipped, worst_text(result), bits_text(result))
            rows.append(
                f"<tr{kind}><td>{op}</td>"
                f'<td>{result.direction}</td><td>{result.mode}</td><td class="number">{result.cases}</td>{failed}'
                + "".join(f'<td class="number">{other}</td>' for other in others)
                + "</tr>"
            )
    return (
        '<h3>Results</h3><div class="scroll"><table><tr><th>operator</th><th>direction</th><th>mode</th>'
        f"{heads}</tr>{''.join(rows)}</table></div>"
    )


def _coverage(reports: list[Report]) -> str:
    """What was examined of each operator: a sentence, and a table by feature and level."""
    parts = []
    for report in reports:
        coverage = report.coverage
        if coverage is None:
            continue
        rows = "".join(
            f"<tr><td>{_escape(name)}</td><td>{_levels(levels)}</td></tr>" for name, levels in coverage.counts.items()
        )
        parts.append(
            f'<details class="coverage"><summary>{_escape(report.op)}: {_escape(coverage.sentence())}</summary>'
            f'<div class="scroll"><table><tr><th>feature</th><th>level: cases</th></tr>{rows}</table></div></details>'
        )
    return f"<h3>What was examined</h3>{''.join(parts)}" if parts else ""


def _levels(levels: dict[str, int]) -> str:
    return ", ".join(
        f'<span class="{"level" if count else "bad"}">{_escape(level)}: {count}</span>'
        for level, count in levels.items()
    )


def _figures(reports: list[Report]) -> str:
    """The errors of all operators together: how large they are, and where."""
    figures = []
    counts = {
        direction: [sum(bins) for bins in zip(*told, strict=True)]
        for direction in ("forward", "backward")
        if (told := [report.histogram[direction] for report in reports if direction in report.histogram])
    }
    if counts:
        figures.append(_figure("Errors in units of the rounding bound, real numbers", histogram(counts), "whole"))
    for name, what in (("y", "results"), ("dx", "gradients of x")):
        maps = [report.maps[name] for report in reports if name in report.maps]
        if maps:
            caption = f"Worst error of the {what}, by place on the map"
            figures.append(_figure(caption, border_map(maps)))
    if not figures:
        return ""
    explained = (
        "An error of 1 is what the rounding of the sums can explain at most: more is a wrong result. In the maps, the "
        f"first and last {BORDER} rows and columns have cells of their own, and the middle one is all between; red cells "
        "have wrong numbers."
    )
    return f'<h3>Errors</h3><p class="faint">{explained}</p><div class="figures">{"".join(figures)}</div>'


def _figure(caption: str, svg: str, kind: str = "part") -> str:
    return f'<figure class="{kind}"><figcaption>{_escape(caption)}</figcaption>{svg}</figure>'


def _failures(failures: list[Failure]) -> str:
    if not failures:
        return ""
    parts = ["<h3>Failures</h3>"]
    for failure in failures:
        times = "1 case" if failure.occurrences == 1 else f"{failure.occurrences} cases"
        smallest = "the smallest found" if failure.shrunk else "as it came"
        parts.append(
            f'<details open><summary><span class="bad">{_escape(failure.case.op)}, {failure.direction}, {failure.mode}, '
            f"{_escape(failure.kind)}</span>: {_escape(failure.message)}</summary>"
            f'<p class="faint">{times}; {smallest}: {_escape(str(failure.case))}</p>'
            + "".join(f'<p class="faint">It also shows {_escape(other)}</p>' for other in failure.also)
            + (f"<pre>{_escape(failure.reproduction.rstrip())}</pre>" if failure.reproduction else "")
            + "</details>"
        )
    return "\n".join(parts)


def _counted(heading: str, what: str, counts: Iterable[tuple[Report, dict[str, int]]]) -> str:
    rows = [
        f'<tr><td>{_escape(report.op)}</td><td class="number">{count}</td>'
        f'<td style="white-space: normal">{_escape(message)}</td></tr>'
        for report, messages in counts
        for message, count in messages.items()
    ]
    if not rows:
        return ""
    heads = f'<th>operator</th><th class="number">calls</th><th>{what}</th>'
    return f'<h3>{heading}</h3><div class="scroll"><table><tr>{heads}</tr>{"".join(rows)}</table></div>'
