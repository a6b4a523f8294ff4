"""The roofline picture: what each shape reaches, below what the machine can do at its arithmetic intensity."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from npconv.bench.cases import OPS
from npconv.bench.machine import Machine
from npconv.bench.peers import OWN
from npconv.bench.run import Row
from npconv.figures import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ["#4477aa", "#cc6677", "#228833", "#ddaa33", "#aa3377", "#66ccee", "#777777"]  # by OPS


def roofline(path: Path, rows: Sequence[Row], machine: Machine, dtype: str) -> None:
    """Write the PNG: a panel for each direction, npconv filled and the best peer hollow, those of one shape joined.

    Only the rows on the machine's number of threads are drawn, and of those only the ones that compute something: a
    shuffle only moves.
    """
    from matplotlib.figure import Figure  # here, since it takes a second; without pyplot there is no global state

    drawn = [row for row in rows if row.threads == machine.threads and row.case.op != "shuffle" and OWN in row.seconds]
    directions = list(dict.fromkeys(row.direction for row in drawn))
    figure = Figure(figsize=(7.5 * max(len(directions), 1), 6), layout="constrained")
    panels = figure.subplots(1, max(len(directions), 1), sharey=True, squeeze=False).ravel()
    for axes, direction in zip(panels, directions, strict=False):
        _panel(axes, [row for row in drawn if row.direction == direction], machine, dtype)
        axes.set_title(f"{direction}, {dtype}, {machine.threads} thread{'s' * (machine.threads > 1)}")
    write_figure(path, figure)


def _panel(axes: Axes, rows: Sequence[Row], machine: Machine, dtype: str) -> None:
    costs = [row.case.cost(row.direction, np.dtype(dtype).itemsize) for row in rows]
    intensities = [cost.arithmetic_intensity for cost in costs]
    line = np.geomspace(0.5 * min(intensities), 2 * max(intensities), 200)
    rates = [rate for _, rate in machine.copies]
    for rate, style, label in ((max(rates), ":", "fastest copy, in cache"), (rates[-1], "--", "copy in memory")):
        axes.plot(line, np.minimum(machine.flops, line * rate) / 1e9, style, color="black", lw=1, label=label)
    axes.axhline(machine.flops / 1e9, color="black", lw=1.5, label="fused multiply-adds")
    for op, colour in zip(OPS, COLOURS, strict=True):
        first = True
        for row, cost, intensity in zip(rows, costs, intensities, strict=True):
            if row.case.op != op:
                continue
            own = cost.flops / statistics.median(row.seconds[OWN]) / 1e9
            axes.plot(intensity, own, "o", color=colour, ms=6, alpha=0.8, label=op if first else None)
            if row.best:
                best = cost.flops / statistics.median(row.seconds[row.best]) / 1e9
                axes.plot([intensity] * 2, [own, best], "-", color=colour, lw=0.7, alpha=0.6)
                axes.plot(intensity, best, "o", color=colour, ms=6, mfc="none", alpha=0.8)
            first = False
    axes.plot([], [], "o", color="black", mfc="none", ms=6, label="the best peer")
    axes.set(xscale="log", yscale="log", xlabel="FLOPs per byte of compulsory traffic", ylabel="GF/s")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="lower right")
