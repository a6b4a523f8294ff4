"""`npconv tables`: the papers' cost tables, each published figure beside the one that walking the network gives."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from npconv import files
from npconv.cli import plots
from npconv.cli.console import print_table, table_console
from npconv.cli.errors import one_line
from npconv.cli.output import AsJson, OutFile, write_json
from npconv.cli.words import completion
from npconv.geometry import one_of
from npconv.papers import PAPERS, SOURCES, Judged, Mark, Paper, judge

STYLES = {Mark.EQUAL: "green", Mark.ROUNDING: "", Mark.ERROR: "bold red"}


def tables(
    paper: Annotated[
        str | None,
        typer.Argument(
            metavar="PAPER",
            help=f"One of {', '.join(PAPERS)}; all where not given.",
            autocompletion=completion(PAPERS),
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw costs and published accuracies into this file.")
    ] = None,
    as_json: AsJson = False,
    out: OutFile = None,
) -> None:
    """Print every cost table of the four papers beside what the code computes, and say where and why they differ.

    Each figure is "equal", a "rounding" of the computed one, or the "paper's error": its own, or that of the code whose
    readme or listing the source names.
    """
    with one_line(ValueError, OSError):
        if paper is not None:
            one_of("PAPER", paper, PAPERS)
        files.check_target("--plot", plot)
        files.check_target("--out", out)
        chosen = PAPERS if paper is None else {paper: PAPERS[paper]}
        judged = {name: [judge(row) for row in told.rows] for name, told in chosen.items()}
        if plot is not None:
            plots.draw(plot, chosen)
        write_json([_described(name, one) for name, rows in judged.items() for one in rows], as_json, out)
    if as_json:
        return
    console = table_console()
    for name, told in chosen.items():
        _print(console, told, judged[name])


def _print(console: Console, paper: Paper, judged: list[Judged]) -> None:
    marks = Counter(one.mark for one in judged)
    console.print(f"{paper.title}: " + ", ".join(f"{marks[mark]} {mark.value}" for mark in Mark), style="bold")
    table = Table("what", "counted", box=None, pad_edge=False)
    table.add_column("published", justify="right")
    table.add_column("computed", justify="right")
    table.add_column("mark")
    table.add_column("why")
    before = None
    for row, computed, mark, note in judged:
        place = (row.table, row.source)
        if place != before:
            table.add_row(f"{row.table} ({row.source}):", style="bold")
        published = f"{row.published} {row.unit}".rstrip()
        table.add_row(
            row.what,
            row.counted,
            published,
            _figure(computed, row.unit),
            mark.value,
            note,
            style=STYLES[mark],
        )
        before = place
    print_table(console, table, spare=("why", "mark"))
    for reason in paper.not_computed:
        console.print(f"Not computed: {reason}", soft_wrap=True)
    for source in dict.fromkeys(one.row.source for one in judged):
        console.print(f"{source}: {SOURCES[source]}", soft_wrap=True)
    console.print()


def _figure(computed: Fraction, unit: str) -> str:
    return f"{float(100 * computed):.4f} %" if unit == "%" else f"{int(computed):,}"


def _described(paper: str, judged: Judged) -> dict[str, Any]:
    row, computed, mark, note = judged
    return {
        "paper": paper,
        "table": row.table,
        "source": row.source,
        "what": row.what,
        "counted": row.counted,
        "published": row.published,
        "unit": row.unit,
        "computed": float(computed) if computed.denominator > 1 else int(computed),
        "mark": mark.value,
        "why": note,
    }
