"""Pictures of runs: curves of several, what was taken for what, and the worst mistakes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from npconv.cli.curves import draw_confusion
from npconv.figures import COLOURS, drawable, write_figure
from npconv.geometry import Array
from npconv.training.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 6  # of mistakes


class Mistake(NamedTuple):
    """An image (C, H, W) of the class `truth` that was taken for `answer` with this probability."""

    image: Array
    truth: str
    answer: str
    probability: float


def worst_mistakes(
    images: Array, labels: Array, logits: Array, class_names: Sequence[str], count: int
) -> list[Mistake]:
    """The `count` mistakes that the network was surest of."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    answers = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(answers != labels)
    order = wrong[np.argsort(-probabilities[wrong, answers[wrong]], kind="stable")][:count]
    return [
        Mistake(images[k], class_names[labels[k]], class_names[answers[k]], float(probabilities[k, answers[k]]))
        for k in order
    ]


def draw_runs(path: Path, runs: Sequence[Results], mistakes: Sequence[Mistake] | None) -> None:
    """Write the PNG: losses and accuracies by epoch, a confusion matrix for each finished run, the mistakes of the first."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = run_names([run.folder for run in runs])
    confusions = [
        (run, name) for run, name in zip(runs, names, strict=True) if run.summary.get("confusion") is not None
    ]
    rows = 1 + math.ceil(len(confusions) / 3) + (1 if mistakes else 0)
    figure = Figure(figsize=(13, 4.4 * rows), layout="constrained")
    parts = figure.subfigures(rows, 1, squeeze=False).ravel()
    losses, accuracies = parts[0].subplots(1, 2)
    for axes, what, label in (
        (losses, "loss", "nats"),
        (accuracies, "accuracy", "share of the images that are recognised"),
    ):
        for place, (run, name) in enumerate(zip(runs, names, strict=True)):
            numbers = [epoch.epoch for epoch in run.epochs]
            colour = COLOURS[place % len(COLOURS)]
            training, validation = (
                [getattr(epoch, field) for epoch in run.epochs] for field in (what, f"validation_{what}")
            )
            axes.plot(numbers, training, ":", color=colour)
            axes.plot(numbers, validation, ".-", color=colour, label=drawable(name))
        axes.set(title=f"{what}: validation, training dotted", xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    losses.set_ylim(bottom=0)
    for row in range(math.ceil(len(confusions) / 3)):
        places = parts[1 + row].subplots(1, 3)
        for axes, (run, name) in zip(places, confusions[3 * row : 3 * row + 3], strict=False):
            draw_confusion(axes, np.array(run.summary["confusion"]), run.summary["class_names"])
            axes.set_title(f"{drawable(name)}: test accuracy {run.summary['test_accuracy']:.4f}", fontsize="medium")
        for axes in places[len(confusions[3 * row : 3 * row + 3]) :]:
            axes.set_axis_off()
    if mistakes:
        parts[-1].suptitle(f"the worst mistakes of {drawable(names[0])}")
        _mistakes(parts[-1], mistakes)
    write_figure(path, figure)


def run_names(folders: Sequence[Path]) -> list[str]:
    """What the runs are called: by their folders' names, or by whole paths where these are alike.

    >>> run_names([Path("a/first"), Path("a/second")]), run_names([Path("a/run"), Path("b/run")])
    (['first', 'second'], ['a/run', 'b/run'])
    """
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def draw_mistakes(
    path: Path, title: str, confusion: Array, class_names: Sequence[str], images: Array, labels: Array, logits: Array
) -> None:
    """Write the PNG: what was taken for what, and the worst mistakes beside it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5), layout="constrained")
    figure.suptitle(drawable(title))
    left, right = figure.subfigures(1, 2, squeeze=False).ravel()
    draw_confusion(left.subplots(), confusion, class_names)
    _mistakes(right, worst_mistakes(images, labels, logits, class_names, 2 * COLUMNS))
    write_figure(path, figure)


def _mistakes(figure: Any, mistakes: Sequence[Mistake]) -> None:
    """Each image with its class and what it was taken for."""
    places = np.atleast_1d(figure.subplots(max(math.ceil(len(mistakes) / COLUMNS), 1), COLUMNS)).ravel()
    for axes in places:
        axes.set_axis_off()
    for axes, mistake in zip(places, mistakes, strict=False):
        _show(axes, mistake.image)
        truth, answer = drawable(mistake.truth), drawable(mistake.answer)
        axes.set_title(f"{truth}\ntaken for {answer}\n({mistake.probability:.2f})", fontsize="x-small")


def _show(axes: Axes, image: Array) -> None:
    """A normalised image (C, H, W), from its darkest number to its brightest."""
    pixels = image[:3] if len(image) >= 3 else image[:1]
    low, high = float(pixels.min()), float(pixels.max())
    shown = (pixels.transpose(1, 2, 0) - low) / max(high - low, 1e-6)
    axes.imshow(shown if len(pixels) == 3 else shown[..., 0], cmap="gray", vmin=0, vmax=1)
