"""A study's diagrams show each outcome where it belongs, with the spread of its seeds where it has one."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from npconv.studies import STUDIES, Finding, Outcome, draw_accuracies, draw_costs, draw_finding

SHUFFLE = STUDIES["shuffle"]


def outcomes(*accuracies: float) -> list[Outcome]:
    """One for each network of the study, the dearest last."""
    return [
        Outcome(variant, 1000 + place, 1, tuple(place / 100 + one for one in accuracies))
        for place, variant in enumerate(SHUFFLE.variants)
    ]


def drawn(axes: Axes) -> dict[str, tuple[list[float], list[float], int]]:
    """Of each series: where its points are, and how many of them have a bar."""
    found = {}
    for container in axes.containers:
        points, _, bars = container.lines
        count = sum(len(bar.get_segments()) for bar in bars)
        found[container.get_label()] = ([float(x) for x in points.get_xdata()], list(points.get_ydata()), count)
    return found


def test_accuracies_stand_over_what_is_varied() -> None:
    axes = Figure().subplots()
    draw_accuracies(axes, SHUFFLE, outcomes(0.5, 0.6))
    found = drawn(axes)
    assert list(found) == ["with shuffle", "without shuffle"]
    assert found["with shuffle"][0] == found["without shuffle"][0] == [1, 2, 3, 4, 8]
    assert found["without shuffle"][1] == pytest.approx([0.55, 0.60, 0.61, 0.62, 0.63])
    assert found["with shuffle"][2] == 5
    assert axes.get_ylabel() == "test accuracy, mean and spread over seeds"
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    assert 0 < left < 1
    assert all(tick == int(tick) for tick in axes.get_xticks())
    assert 8 < right < 10
    assert 0.4 < low < 0.5 - 0.02
    assert 0.68 + 0.02 < high < 0.8
    assert (axes.get_xlabel(), axes.get_legend() is None) == ("groups", False)


def test_accuracies_stand_over_cost() -> None:
    axes = Figure().subplots()
    draw_costs(axes, outcomes(0.5, 0.6))
    assert drawn(axes)["without shuffle"][0] == [1000, 1005, 1006, 1007, 1008]
    assert 990 < axes.get_xlim()[0] < 1000 < 1008 < axes.get_xlim()[1] < 1020


def test_no_accuracy_is_above_one() -> None:
    axes = Figure().subplots(1, 2)
    draw_accuracies(axes[0], SHUFFLE, outcomes(0.8, 0.98))
    draw_costs(axes[1], outcomes(0.8, 0.98))
    assert [one.get_ylim()[1] for one in axes] == [1, 1]


@pytest.mark.parametrize("costs", [False, True])
def test_one_seed_has_no_bars(costs: bool) -> None:
    axes = Figure().subplots()
    if costs:
        draw_costs(axes, outcomes(0.5))
    else:
        draw_accuracies(axes, SHUFFLE, outcomes(0.5))
    assert {count for _, _, count in drawn(axes).values()} == {0}
    assert axes.get_ylabel() == "test accuracy, one seed"


@pytest.mark.parametrize(("logarithmic", "scale"), [(False, "linear"), (True, "log")])
def test_a_finding_is_drawn_line_by_line(logarithmic: bool, scale: str) -> None:
    axes = Figure().subplots()
    x = np.arange(3.0)
    finding = Finding("t", "across", "up", {"a": (x, x / 4), "b": (x, 1 - x / 4)}, "a rises", logarithmic)
    draw_finding(axes, finding)
    assert [line.get_label() for line in axes.lines] == ["a", "b"]
    assert axes.get_yscale() == scale
    np.testing.assert_allclose(axes.lines[1].get_ydata(), 1 - x / 4)
