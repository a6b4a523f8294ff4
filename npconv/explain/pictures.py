"""Arrays of a few numbers as pictures: cells with the numbers in them, coloured by what they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from npconv.geometry import Array

if TYPE_CHECKING:  # whoever draws has it
    from matplotlib.axes import Axes

BLUE, RED, GREEN, YELLOW, PURPLE, GREY = "#4477aa", "#ee6677", "#228833", "#ccbb44", "#aa3377", "#bbbbbb"
"""Six colours that people who see no red, or no green, can tell apart."""


def draw_numbers(
    axes: Axes,
    numbers: Any,
    title: str = "",
    *,
    colours: Mapping[tuple[int, int], str] | None = None,
    frames: Mapping[tuple[int, int], str] | None = None,
    border: int = 0,
) -> None:
    """A matrix as a grid of cells, (0, 0) at the top left.

    Parameters
    ----------
    axes : matplotlib Axes
    numbers : array (H, W) of numbers or of texts
    title : str
    colours, frames : mapping of (row, column) to colour
        What fills a cell, lightly, and what frames it.
    border : int
        So many rows and columns at each side are padding: grey.

    Raises
    ------
    ValueError
        No array of two axes.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> axes = Figure().subplots()
    >>> draw_numbers(axes, np.eye(2), "the identity", frames={(0, 0): "red"})
    >>> axes.get_title()
    'the identity'
    """
    from matplotlib.patches import Rectangle  # here, since it takes a second

    grid = np.asarray(numbers)
    height, width = grid.shape
    for (row, column), number in np.ndenumerate(grid):
        padding = not (border <= row < height - border and border <= column < width - border)
        colour = (colours or {}).get((row, column))
        face = colour or ("0.92" if padding else "white")
        cell = Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=face, edgecolor="0.6", alpha=0.45 if colour else 1)
        axes.add_patch(cell)
        text = number if isinstance(number, str) else f"{number + 0.0:.4g}"  # and no minus before a 0
        axes.text(column, row, text, ha="center", va="center_baseline", color="0.55" if padding else "black")
    for (row, column), colour in (frames or {}).items():
        axes.add_patch(Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, fill=False, edgecolor=colour, linewidth=2.5))
    axes.set(xlim=(-0.6, width - 0.4), ylim=(height - 0.4, -0.6), aspect="equal")
    axes.set_axis_off()
    axes.set_title(title, fontsize=11)


def window(row: int, column: int, kernel: Array | tuple[int, int], colour: str) -> dict[tuple[int, int], str]:
    """The cells under a kernel whose first tap is at (row, column), all in one colour.

    Parameters
    ----------
    row, column : int
    kernel : array (..., kh, kw) of any dtype, or (kh, kw)
    colour : str

    Returns
    -------
    dict of (row, column) to colour

    Examples
    --------
    >>> window(1, 2, (1, 2), "red")
    {(1, 2): 'red', (1, 3): 'red'}
    """
    rows, columns = kernel if isinstance(kernel, tuple) else kernel.shape[-2:]
    return {(row + r, column + s): colour for r in range(rows) for s in range(columns)}
