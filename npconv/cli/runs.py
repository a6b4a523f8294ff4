"""`npconv runs`, `npconv evaluate` and `npconv plot`: what came of trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from npconv import backends, files
from npconv.cli import pictures
from npconv.cli.console import line_console, table_console
from npconv.cli.errors import one_line
from npconv.geometry import Array, integer
from npconv.printable import printable
from npconv.training import Evaluation, confusion_matrix, evaluate
from npconv.training.results import find_runs, images_of, load_trained, read_results

PARTS = "train", "validation", "test"
BATCH = 256


def runs(
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = Path("runs"),
) -> None:
    """List the runs in a folder: what was trained, how far, and how well it does."""
    with one_line(ValueError, OSError):
        if not folder.is_dir():
            raise ValueError(f"FOLDER must be a folder that exists, got {folder}")
        found = find_runs(folder)
    table = Table(box=None, pad_edge=False)
    for heading in ("run", "model", "data", "state"):
        table.add_column(heading)
    for heading in ("epochs", "validation accuracy", "test accuracy", "seconds"):
        table.add_column(heading, justify="right")
    for run in found:
        best = max((epoch.validation_accuracy for epoch in run.epochs), default=None)
        table.add_row(
            printable(run.folder.relative_to(folder)),
            run.recipe.model,
            printable(Path(run.recipe.data).name),
            run.state,
            f"{len(run.epochs)}/{run.recipe.epochs}",
            _number(best),
            _number(run.summary.get("test_accuracy")),
            f"{run.summary.get('seconds', sum(epoch.seconds for epoch in run.epochs)):.1f}",
        )
    table_console().print(table)


def evaluate_run(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    data: Annotated[
        str | None, typer.Option(help="Images and labels of any kind that train takes.", show_default="the run's own")
    ] = None,
    part: Annotated[str, typer.Option(help=f"Of the run's own data: {', '.join(PARTS)}.")] = "test",
    picture: Annotated[
        Path | None, typer.Option("--plot", metavar="PNG", help="Draw the confusions and the worst mistakes.")
    ] = None,
) -> None:
    """Say how the best network of a run does on images, class by class."""
    with one_line(ValueError, TypeError, ImportError, OSError):
        if part not in PARTS:
            raise ValueError(f"--part must be one of {', '.join(PARTS)}, got {part!r}")
        files.check_target("--plot", picture)
        images, labels, result, names = _evaluated(run, data, part)
        confusion = confusion_matrix(labels, result.predictions, len(names))
        if picture is not None:
            pictures.draw_mistakes(picture, str(run), confusion, names, images, labels, result.logits)
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for heading in ("images", "right", "precision", "recall"):
        table.add_column(heading, justify="right")
    for number, name in enumerate(names):
        right, count, taken = confusion[number, number], confusion[number].sum(), confusion[:, number].sum()
        table.add_row(
            printable(name),
            str(count),
            str(right),
            _number(right / taken if taken else None),
            _number(right / count if count else None),
        )
    console = table_console()
    console.print(table)
    console.print(f"accuracy {result.accuracy:.4f} ({confusion.trace()} of {confusion.sum()}), loss {result.loss:.4f}")


def plot(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="The folders of runs.")],
    out: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("plot.png"),
    mistakes: Annotated[int, typer.Option(help="How many of the worst mistakes to show, of the first run.")] = 12,
) -> None:
    """Draw the curves of one or several runs, their confusions, and the worst mistakes of the first."""
    with one_line(ValueError, TypeError, ImportError, OSError):
        integer("--mistakes", mistakes, minimum=0)
        files.check_target("--out", out)
        found = [read_results(folder) for folder in folders]
        for run in found:
            if not run.epochs:
                raise ValueError(f"RUN must have made an epoch, got none in {run.folder}")
        worst = None
        if mistakes:
            images, labels, result, names = _evaluated(folders[0], None, "test")
            worst = pictures.worst_mistakes(images, labels, result.logits, names, mistakes)
        pictures.draw_runs(out, found, worst)
    line_console().print(f"{printable(out)} shows {len(found)} run{'s' if len(found) > 1 else ''}")


def _evaluated(folder: Path, data: str | None, part: str) -> tuple[Array, Array, Evaluation, list[str]]:
    """Images, labels, the network's answers and the names of the classes."""
    results = read_results(folder)
    trained = load_trained(results)
    images, labels = images_of(results, trained, data, part)
    with backends.backend(results.recipe.backend or backends.current_backend()):
        return images, labels, evaluate(trained.network, images, labels, BATCH), trained.class_names


def _number(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.4f}"
