"""Where the commands print: what comes from elsewhere, brackets, numbers and control characters, is text and nothing else."""

from __future__ import annotations

from typing import Any

from rich.console import Console
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


def line_console() -> PlainConsole:
    """Standard output for lines that a program may read: none is wrapped."""
    return PlainConsole(soft_wrap=True)


def table_console() -> PlainConsole:
    """Standard output for tables, as wide as its terminal."""
    console = PlainConsole()
    if not console.is_terminal:
        console.width = WIDE
    return console
