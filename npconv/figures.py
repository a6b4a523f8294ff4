"""Figures of Matplotlib as PNG files: colours, foreign text drawn as it is, and the library's warnings kept here."""

from __future__ import annotations

import io
import logging
import warnings
from os import PathLike
from typing import TYPE_CHECKING

from npconv import files
from npconv.printable import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logging.getLogger("matplotlib").setLevel(
    logging.ERROR
)  # where there is no home, it says at length where it puts its cache

# Told apart by the colour-blind too.
COLOURS = ("#4477aa", "#cc6677", "#228833", "#ddaa33", "#aa3377", "#66ccee", "#777777")
MARKERS = "os^vDP*X"  # beside colours, which not all eyes tell apart
LONGEST = 60  # characters of a name: more would leave no room for what it names


def drawable(text: str) -> str:
    r"""`text` of foreign origin as Matplotlib draws it letter by letter: in one line, without control characters or formulas.

    Between two dollars Matplotlib sets a formula, and raises where it is none.

    >>> print(drawable("$x$"), drawable("a\x1b\nb"), len(drawable("long" * 99)))
    \$x\$ a\x1b\nb 60
    """
    text = printable(text)
    return (text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}...").replace("$", r"\$")


def write_figure(path: str | PathLike[str], figure: Figure) -> None:
    """Write the figure as a PNG, as `npconv.files.write` does it."""
    png = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that its fonts lack, which it draws as boxes
        figure.savefig(png, format="png", dpi=100)
    files.write(path, png.getvalue())
