"""Where the commands print: what comes from elsewhere, brackets, numbers and control characters, is text and nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from npconv.printable import printable

WIDE = 200  # columns where there is no terminal to tell: enough for any row
READABLE = 15  # columns in which a text of several words can be read, in several lines
GAP = 2  # columns between two of a table's


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
    """Standard output for tables, as wide as its terminal, or as COLUMNS in the environment says."""
    console = PlainConsole(quiet=quiet)
    if not (console.is_terminal or os.environ.get("COLUMNS", "").isdecimal()):
        console.width = WIDE
    return console


def print_table(console: Console, table: Table, *, spare: Sequence[str] = ()) -> None:
    """Print the table; where the window is too narrow for it, without columns of `spare`, in this order, as many as it takes.

    Nothing is cut off: texts go on in a second line if they must, numbers stand in one. What was left out is said.
    """
    left_out = [heading for heading in spare if not any(column.header == heading for column in table.columns)]
    kept = [heading for heading in spare if heading not in left_out]
    dropped: list[str] = []
    while kept and _width(without(table, dropped)) > console.width:
        dropped.append(kept.pop(0))
    shown = without(table, dropped)
    _fit(shown, console.width)
    console.print(shown)
    if dropped:
        names = ", ".join(" ".join(heading.split()) for heading in dropped)
        console.print(f"(a wider window shows {names} too; --json has everything)")


def without(table: Table, headings: Sequence[str]) -> Table:
    """The table without some columns."""
    columns = [column for column in table.columns if column.header not in headings]
    made = Table(box=table.box, pad_edge=table.pad_edge)
    for column in columns:
        made.add_column(column.header, justify=column.justify, no_wrap=column.no_wrap)
    for row, cells in zip(table.rows, zip(*(column.cells for column in columns), strict=True), strict=True):
        made.add_row(*cells, style=row.style, end_section=row.end_section)
    return made


def _width(table: Table) -> int:
    """How many columns of a window the table needs."""
    return GAP * (len(table.columns) - 1) + sum(map(_least, table.columns))


def _fit(table: Table, width: int) -> None:
    """Give each column its width: as it wants, but for texts, which give way, the widest first, where a window has no more."""
    columns = table.columns
    least, widths = [*map(_least, columns)], [*map(_longest, columns)]
    room = width - GAP * (len(columns) - 1)
    while sum(widths) > room and max(widths) > 1:
        slack = [now if now > enough else 0 for now, enough in zip(widths, least, strict=True)]
        widths[(slack if any(slack) else widths).index(max(slack if any(slack) else widths))] -= 1
    for column, chosen in zip(columns, widths, strict=True):
        column.width, column.overflow = chosen, "fold"


def _least(column: Column) -> int:
    """How wide a column must be: all of its numbers fit, and of its texts the longest word and a readable part."""
    if column.justify == "right":
        return _longest(column)
    return max([min(_longest(column), READABLE), *(cell_len(word) for text in _texts(column) for word in text.split())])


def _longest(column: Column) -> int:
    return max(cell_len(line) for text in _texts(column) for line in text.split("\n"))


def _texts(column: Column) -> list[str]:
    return [printable(str(text), keep="\n\t") for text in (column.header, *column.cells)]
