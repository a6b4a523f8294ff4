"""Where tables are printed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

WIDE = 200  # columns where there is no terminal to tell: enough for any row


def table_console(*, quiet: bool = False) -> Console:
    """Standard output, as wide as its terminal; text is printed as it is, whatever brackets and numbers are in it."""
    console = Console(highlight=False, markup=False, quiet=quiet)
    if not console.is_terminal:
        console.width = WIDE
    return console


def print_table(console: Console, table: Table, *, spare: Sequence[str] = ()) -> None:
    """Print the table; where the window is too narrow for it, without columns of `spare`, in this order, as many as it takes.

    What tells rows apart is never cut off: the first column goes on in a second line if it must. What was left out is said.
    """
    left_out = [heading for heading in spare if not any(column.header == heading for column in table.columns)]
    kept = [heading for heading in spare if heading not in left_out]
    dropped: list[str] = []
    while kept and _width(console, without(table, dropped)) > console.width:
        dropped.append(kept.pop(0))
    shown = without(table, dropped)
    shown.columns[0].overflow = "fold"
    console.print(shown)
    if dropped:
        console.print(f"(a wider window shows {', '.join(dropped)} too; --json has everything)")


def without(table: Table, headings: Sequence[str]) -> Table:
    """The table without some columns."""
    columns = [column for column in table.columns if column.header not in headings]
    made = Table(box=table.box, pad_edge=table.pad_edge)
    for column in columns:
        made.add_column(column.header, justify=column.justify, no_wrap=column.no_wrap)
    for row, cells in zip(table.rows, zip(*(column.cells for column in columns), strict=True), strict=True):
        made.add_row(*cells, style=row.style, end_section=row.end_section)
    return made


def _width(console: Console, table: Table) -> int:
    """How many columns of a window the table wants."""
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum
