"""The pictures of a cross-check's page as SVG: how large the errors are, and where they sit.

The colours are classes of the page's style sheet, so that they follow its light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from npconv.check.report import BORDER, HISTOGRAM_EDGES, BorderMap

CELL = 46  # pixels that a cell of a border map is wide
FAINTEST = -math.log2(HISTOGRAM_EDGES[1])  # factors of 2 below the bound at which a cell has no colour


def histogram(counts: Mapping[str, Sequence[int]]) -> str:
    """Bars of how many numbers have which error, over `HISTOGRAM_EDGES`; one row of bars for each of `counts`.

    Both axes are logarithmic: one wrong number in a million is seen as well.
    """
    left, top, width, height = 72, 24, 640, 190
    bins = len(HISTOGRAM_EDGES) - 1
    step = width / bins
    decades = max(1, math.ceil(math.log10(1 + max(max(row) for row in counts.values()))))

    def y_of(count: float) -> float:
        """One number stands a little above the axis."""
        return top + height - (0 if count == 0 else height * (math.log10(count) + 0.2) / (decades + 0.2))

    bound = left + step * int(np.searchsorted(HISTOGRAM_EDGES, 1.0))
    parts = [
        f'<rect class="beyond" x="{bound:.1f}" y="{top}" width="{left + width - bound:.1f}" height="{height}"/>',
        f'<line class="bound" x1="{bound:.1f}" y1="{top - 8}" x2="{bound:.1f}" y2="{top + height}"/>',
        f'<text x="{bound + 5:.1f}" y="{top - 2}">wrong</text>',
    ]
    for decade in range(decades + 1):
        y = y_of(10**decade)
        parts.append(f'<line class="axis" x1="{left}" y1="{y:.1f}" x2="{left + width}" y2="{y:.1f}"/>')
        parts.append(_text(left - 6, y + 4, _power(10, decade), anchor="end"))
    bar = (step - 4) / len(counts)
    for place, (direction, row) in enumerate(counts.items()):
        for index, count in enumerate(row):
            if count:
                y = y_of(count)
                low, high = HISTOGRAM_EDGES[index : index + 2]
                parts.append(
                    f'<rect class="{direction}" x="{left + index * step + 2 + place * bar:.1f}" y="{y:.1f}" '
                    f'width="{bar:.1f}" height="{top + height - y:.1f}">'
                    f"<title>{direction}: {count:,} numbers between {low:.3g} and {high:.3g}</title></rect>"
                )
        x = left + 12 + 90 * place
        parts.append(f'<rect class="{direction}" x="{x}" y="{top - 16}" width="10" height="10"/>')
        parts.append(_text(x + 15, top - 7, direction))
    parts.append(f'<line class="axis" x1="{left}" y1="{top + height}" x2="{left + width}" y2="{top + height}"/>')
    for index in range(1, bins, 2):
        exponent = round(math.log2(HISTOGRAM_EDGES[index]))
        parts.append(_text(left + index * step, top + height + 16, _power(2, exponent), anchor="middle"))
    parts.append(_text(left + width / 2, top + height + 36, "error / bound; the bars count numbers", "faint", "middle"))
    return _svg(left + width + 10, top + height + 44, parts)


def border_map(maps: Sequence[BorderMap]) -> str:
    """A cell for each of the first and last rows and columns of a feature map; of several maps, the worst."""
    worst = np.max([cells.worst for cells in maps], axis=0)
    wrong, count = (np.sum([getattr(cells, part) for cells in maps], axis=0) for part in ("wrong", "count"))
    left, top = 62, 24
    names = [*(f"{row}" for row in range(BORDER)), "between", *(f"-{BORDER - row}" for row in range(BORDER))]
    parts = []
    for index, name in enumerate(names):
        middle = (index + 0.5) * CELL
        parts.append(_text(left + middle, top - 8, name, "faint", "middle"))
        parts.append(_text(left - 8, top + middle + 4, name, "faint", "end"))
    for (row, column), error in np.ndenumerate(worst):
        x, y = left + CELL * column, top + CELL * row
        bad, among = int(wrong[row, column]), int(count[row, column])
        told = f"{among:,} numbers, {bad:,} wrong, the worst error {error:.3g} bounds"
        parts.append(
            f'<g><title>{told}</title><rect class="{"wrong" if bad else "cell"}" x="{x}" y="{y}" width="{CELL}" '
            f'height="{CELL}" fill-opacity="{_shade(error):.2f}"/>'
            + (_text(x + CELL / 2, y + CELL / 2 + 4, _brief(error), anchor="middle") if among else "")
            + "</g>"
        )
    return _svg(left + CELL * len(names) + 4, top + CELL * len(names) + 4, parts)


def _shade(error: float) -> float:
    """From 0 for small errors to a half, on which text is still read, for those from the bound up."""
    if error == 0:
        return 0.0
    return 0.5 * min(1.0, max(0.0, 1 + math.log2(min(error, 1.0)) / FAINTEST))


def _brief(error: float) -> str:
    """In a cell's width: two digits, or one and the power of ten."""
    if math.isinf(error):
        return "∞"
    if error == 0 or 0.01 <= error < 1000:
        return f"{error:.2g}" if error < 100 else f"{error:.0f}"
    digit, exponent = f"{error:.0e}".split("e")
    return f"{digit}e{int(exponent)}"


def _power(base: int, exponent: int) -> str:
    """The power itself where that is short."""
    return f"{base**exponent:,}" if 0 <= exponent < 7 else f'{base}<tspan dy="-4" font-size="9">{exponent}</tspan>'


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    kind = f' class="{kind}"' if kind else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">{"".join(parts)}</svg>'
