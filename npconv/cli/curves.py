"""One picture of a run: loss and accuracy by epoch, and what was taken for what on the test images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from npconv.figures import drawable, write_figure
from npconv.geometry import Array
from npconv.training import Epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAINING, VALIDATION = "#4477aa", "#cc6677"  # told apart by the colour-blind too


def draw(
    path: Path,
    title: str,
    epochs: Sequence[Epoch],
    best: int,
    confusion: Array,
    class_names: Sequence[str],
    *,
    smoothed: bool,
) -> None:
    """Write the PNG.

    `best` is the epoch whose weights were kept, `confusion` counts images by (class, prediction), and `smoothed` says whether
    the training loss has smoothed labels.
    """
    from matplotlib.figure import Figure  # here, since it takes a second; without pyplot there is no global state
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    figure.suptitle(drawable(title))
    losses, accuracies, matrix = figure.subplots(1, 3)
    numbers = [epoch.epoch for epoch in epochs]
    for axes, what, label in (
        (losses, "loss", "nats (training: with smoothed labels)" if smoothed else "nats"),
        (accuracies, "accuracy", "share of the images that are recognised"),
    ):
        training, validation = ([getattr(epoch, name) for epoch in epochs] for name in (what, f"validation_{what}"))
        axes.plot(numbers, training, ".-", color=TRAINING, label="training")
        axes.plot(numbers, validation, ".-", color=VALIDATION, label="validation")
        axes.axvline(best, color="0.6", linestyle=":", label="weights kept")
        axes.set(title=what, xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    losses.set_ylim(bottom=0)
    accuracies.set_ylim(top=1.02)

    draw_confusion(matrix, confusion, class_names)
    write_figure(path, figure)


def draw_confusion(matrix: Axes, confusion: Array, class_names: Sequence[str]) -> None:
    """Test images by (class, prediction): the shares in blue, the counts as numbers where there is room."""
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    matrix.imshow(share, cmap="Blues", vmin=0, vmax=1)
    matrix.set(title="test images by class and prediction", xlabel="predicted class", ylabel="class")
    classes = len(confusion)
    if classes <= 20:  # more do not fit
        class_names = list(map(drawable, class_names))
        matrix.set(xticks=range(classes), yticks=range(classes), yticklabels=class_names)
        long = max(map(len, class_names)) > 2
        matrix.set_xticklabels(class_names, rotation=60 if long else 0, ha="right" if long else "center")
        for row, column in np.argwhere(confusion):
            colour = "white" if share[row, column] > 0.5 else "black"
            matrix.text(column, row, confusion[row, column], ha="center", va="center", color=colour, fontsize="small")
