"""The diagrams of a study: accuracy over what is varied and over what it costs, and what was found besides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from npconv.figures import COLOURS, MARKERS
from npconv.studies.findings import Finding
from npconv.studies.running import Outcome
from npconv.studies.variants import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMALLEST = 1e-9  # on a logarithmic axis
APART = 5  # points between the bars of two series at the same place


def draw_accuracies(axes: Axes, study: Study, outcomes: Sequence[Outcome]) -> None:
    """Draw accuracy over what is varied, each series as a line with the spread of the seeds, where there are several.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    study : Study
    outcomes : sequence of Outcome

    Raises
    ------
    ImportError
        Matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from npconv.studies import STUDIES
    >>> axes = Figure().subplots()
    >>> draw_accuracies(axes, STUDIES["width"], [Outcome(STUDIES["width"].variants[0], 10, 1, (0.5, 0.6))])
    >>> axes.get_xlabel()
    'width multiplier'
    """
    from matplotlib.ticker import MaxNLocator

    for series, some in _series(outcomes).items():
        _points(axes, series, [one.variant.points[series] for one in some], some, "-")
    if all(point == int(point) for outcome in outcomes for point in outcome.variant.points.values()):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # half a group means nothing
    axes.set(xlabel=study.axis)
    _accuracy_axis(axes, outcomes)


def draw_costs(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    """Draw accuracy over multiply-accumulates, in the colours and markers of `draw_accuracies`.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    outcomes : sequence of Outcome

    Raises
    ------
    ImportError
        Matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from npconv.studies import STUDIES
    >>> axes = Figure().subplots()
    >>> draw_costs(axes, [Outcome(STUDIES["width"].variants[0], 10, 1, (0.5, 0.6))])
    >>> axes.get_xscale()
    'log'
    """
    from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

    for series, some in _series(outcomes).items():
        _points(axes, series, [one.macs for one in some], some, "")
    axes.set(xlabel="multiply-accumulates for an image", xscale="log")
    _accuracy_axis(axes, outcomes)
    macs = [one.macs for one in outcomes]
    wide = max(macs) > 5 * min(macs)
    # A logarithm's own ticks lie on each other, or there is none.
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if wide else MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_locator(NullLocator())


def draw_finding(axes: Axes, finding: Finding) -> None:
    """Draw what a study found besides accuracies.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    finding : Finding

    Raises
    ------
    ImportError
        Matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> axes = Figure().subplots()
    >>> draw_finding(axes, Finding("t", "x", "y", {"a line": (np.arange(2), np.arange(2))}, "it rises"))
    >>> axes.get_title()
    't'
    """
    for colour, (label, (x, y)) in zip(COLOURS, finding.lines.items(), strict=False):
        axes.plot(x, np.maximum(y, SMALLEST), ".-", color=colour, label=label)
    axes.set(title=finding.title, xlabel=finding.xlabel, ylabel=finding.ylabel)
    if finding.logarithmic:
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def _series(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """The outcomes on each line of the diagram, in the order of what is varied."""
    labels = dict.fromkeys(label for outcome in outcomes for label in outcome.variant.points)
    return {
        label: sorted(
            (one for one in outcomes if label in one.variant.points), key=lambda one: one.variant.points[label]
        )
        for label in labels
    }


def _points(axes: Axes, series: str, x: Sequence[float], outcomes: Sequence[Outcome], line: str) -> None:
    """Means with their spreads, in the colour and the marker of the series, and beside those of the others."""
    from matplotlib.transforms import offset_copy

    place = len(axes.containers)
    spreads = [one.spread for one in outcomes]
    several: Any = None if None in spreads else spreads
    style: dict[str, Any] = {"color": COLOURS[place % len(COLOURS)], "label": series, "capsize": 3}
    style["transform"] = offset_copy(axes.transData, axes.get_figure(root=True), x=APART * place, units="points")
    means = [one.mean for one in outcomes]
    axes.errorbar(x, means, several, fmt=f"{MARKERS[place % len(MARKERS)]}{line}", **style)
    ends = [
        (at, mean + sign * (spread or 0))
        for at, mean, spread in zip(x, means, spreads, strict=True)
        for sign in (-1, 1)
    ]
    axes.update_datalim(ends)  # which Matplotlib does not do for points that are moved aside
    axes.autoscale_view()


def _accuracy_axis(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    """Say what a point shows; no accuracy is above 1, though a mean and its spread may be."""
    shown = "one seed" if any(one.spread is None for one in outcomes) else "mean and spread over seeds"
    axes.set(ylabel=f"test accuracy, {shown}", ylim=(None, min(axes.get_ylim()[1], 1.0)))
    axes.grid(alpha=0.3)
    above: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2, "frameon": False}
    axes.legend(fontsize="small", **above)  # inside, it would cover bars
