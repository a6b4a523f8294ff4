"""Where the commands print: what comes from elsewhere, brackets, numbers and control characters, is text and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from npconv.printable import printable

WIDE = 200  # columns where there is no terminal to tell: enough for any row


class PlainConsole(Console):
    """Standard output without markup; a control character is shown and not obeyed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """What Rich makes of every string that is printed, those in the cells of tables too."""
        return super().render_str(printable(text, keep="\n\t"), **options)


def line_console(*, quiet: bool = False) -> PlainConsole:
    """Standard output for lines that a program may read: none is wrapped."""
    return PlainConsole(soft_wrap=True, quiet=quiet)


def table_console(*, quiet: bool = False) -> PlainConsole:
    """Standard output for tables, as wide as its terminal."""
    console = PlainConsole(quiet=quiet)
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
