"""`npconv bench accuracy`: how large the errors of each operator are, by each algorithm, beside PyTorch's."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from npconv import files
from npconv.check.accuracy import ALGORITHMS, Accuracy, measure
from npconv.cli.bench import bench
from npconv.cli.console import line_console, print_table, table_console
from npconv.cli.errors import one_line
from npconv.cli.output import AsJson, write_json
from npconv.cli.words import completion, some
from npconv.geometry import integer


@bench.command()
def accuracy(
    algorithms: Annotated[
        str,
        typer.Option(help=f"Some of {','.join(ALGORITHMS)}.", autocompletion=completion(ALGORITHMS, several=True)),
    ] = ",".join(ALGORITHMS),
    filter: Annotated[str, typer.Option(help="Only operators that have this in their names.")] = "",
    seed: Annotated[int, typer.Option(help="Of the numbers.")] = 0,
    as_json: AsJson = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Write the table into this file, too: CSV for .csv, else JSON."
        ),
    ] = None,
) -> None:
    """Measure how accurate every operator is: its largest error in units of the bound, and the bits that are right.

    All algorithms get the same real numbers in float32, and are compared with float64. An error of 1 is what the rounding of
    the sums can explain at most. Bits are relative to the sum of the absolute values of the terms: float32 has 24.
    """
    with one_line(ValueError, TypeError, ImportError, OSError):
        chosen = some("--algorithms", algorithms, tuple(ALGORITHMS))
        integer("--seed", seed, minimum=0)
        files.check_target("--out", out)
        console = line_console(quiet=as_json)
        with console.status("measuring"):
            rows = list(measure(chosen, seed=seed, only=filter))
        if not rows:
            raise ValueError(f"--filter must be in the name of an operator, got {filter!r}")
        if out is not None and out.suffix == ".csv":
            files.write(out, _csv(rows, chosen))
            out = None
        write_json([row._asdict() | {"bits": _finite(row.bits)} for row in rows], as_json, out)
    if not as_json:
        heads, *lines = _cells(rows, chosen)
        table = Table(*heads, box=None, pad_edge=False)
        for line in lines:
            table.add_row(*line)
        console.print("the largest error, in units of its bound (and the bits that are right)")
        print_table(table_console(), table, spare=("terms", "arrays"))


def _finite(bits: dict[str, float]) -> dict[str, float | None]:
    """Bits as JSON has them: none where there was no error."""
    return {name: None if math.isinf(number) else number for name, number in bits.items()}


def _cells(rows: Sequence[Accuracy], chosen: Sequence[str]) -> list[list[str]]:
    """The table with its headings."""
    heads = ["operator", "arrays", "result", "terms", *(ALGORITHMS[name] for name in chosen)]
    return [
        heads,
        *([row.op, row.sizes, row.array, f"{row.terms:,}", *(_cell(row, name) for name in chosen)] for row in rows),
    ]


def _cell(row: Accuracy, name: str) -> str:
    if name not in row.worst:
        return ""
    return "exact" if row.worst[name] == 0 else f"{row.worst[name]:.2g} ({row.bits[name]:.1f})"


def _csv(rows: Sequence[Accuracy], chosen: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(_cells(rows, chosen))
    return text.getvalue()
