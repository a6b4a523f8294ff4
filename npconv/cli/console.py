"""Where tables are printed."""

from __future__ import annotations

from rich.console import Console

WIDE = 200  # columns where there is no terminal to tell: enough for any row


def table_console() -> Console:
    """Standard output, as wide as its terminal; text is printed as it is, whatever brackets and numbers are in it."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = WIDE
    return console
