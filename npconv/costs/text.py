"""Tables of a few columns, as text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def text_table(rows: Sequence[Sequence[str]], numbers: int) -> str:
    """Rows of cells, the first being the headings; from column `numbers` on they stand to the right.

    >>> print(text_table([("layer", "MACs"), ("conv", "1,024"), ("all", "1,024")], numbers=1))
    layer   MACs
    conv   1,024
    all    1,024
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column >= numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def html_table(rows: Sequence[Sequence[str]], numbers: int) -> str:
    """The same, for a notebook.

    >>> html_table([("a",), ("1",)], numbers=0)
    '<table><tr><th style="text-align: right">a</th></tr><tr><td style="text-align: right">1</td></tr></table>'
    """

    def line(row: Sequence[str], tag: str) -> str:
        sides = ["left"] * numbers + ["right"] * (len(row) - numbers)
        cells = "".join(
            f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>' for cell, side in zip(row, sides, strict=True)
        )
        return f"<tr>{cells}</tr>"

    headings, *others = rows
    return f"<table>{line(headings, 'th')}{''.join(line(row, 'td') for row in others)}</table>"
