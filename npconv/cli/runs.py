"""`npconv runs`, `npconv evaluate` and `npconv plot`: what came of trainings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from npconv import backends, files
from npconv.cli import pictures
from npconv.cli.console import line_console, print_table, table_console
from npconv.cli.errors import FAILED, one_line
from npconv.cli.output import AsJson, OutFile, write_json
from npconv.cli.words import completion
from npconv.data.loading import NAMES
from npconv.geometry import Array, integer, one_of
from npconv.printable import printable
from npconv.training import Evaluation, best_epoch, confusion_matrix, evaluate
from npconv.training.results import Results, find_runs, images_of, load_trained, read_results

PARTS = "train", "validation", "test"
BATCH = 256


def runs(
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = Path("runs"),
    as_json: AsJson = False,
    out: OutFile = None,
) -> None:
    """List the runs in a folder: what was trained, how far, and how well it does."""
    with one_line(ValueError, OSError):
        if not folder.is_dir():
            raise ValueError(f"FOLDER must be a folder that exists, got {folder}")
        files.check_target("--out", out)
        found, wrong = find_runs(folder)
        if not found and not wrong:
            raise ValueError(f"FOLDER must hold a run of npconv train, got none in {printable(folder)}")
        listed = [_listed(run, folder) for run in found]
        write_json(listed, as_json, out)
    if not as_json:
        _print_runs(listed)
    if wrong:
        with one_line(ValueError, status=FAILED):
            raise ValueError("; ".join(wrong))


def _print_runs(listed: Sequence[dict[str, Any]]) -> None:
    table = Table("run", "model", "data", "state", box=None, pad_edge=False)
    for heading in ("epochs", "validation\naccuracy", "test\naccuracy", "seconds"):
        table.add_column(heading, justify="right")
    for run in listed:
        table.add_row(
            printable(run["run"]),
            run["model"],
            printable(Path(run["data"]).name),
            run["state"],
            f"{run['epochs']}/{run['of_epochs']}",
            _number(run["validation_accuracy"]),
            _number(run["test_accuracy"]),
            f"{run['seconds']:.1f}",
        )
    print_table(table_console(), table, spare=("seconds", "data", "epochs", "model"))


def _listed(run: Results, folder: Path) -> dict[str, Any]:
    """A run as JSON has it; the validation accuracy is the best epoch's."""
    best = best_epoch(run.epochs)
    return {
        "run": str(run.folder.relative_to(folder)),
        "model": run.recipe.model,
        "data": run.recipe.data,
        "state": run.state,
        "epochs": len(run.epochs),
        "of_epochs": run.recipe.epochs,
        "validation_accuracy": None if best is None else best.validation_accuracy,
        "test_accuracy": run.summary.get("test_accuracy"),
        "seconds": run.summary.get("seconds", sum(epoch.seconds for epoch in run.epochs)),
        "seed": run.recipe.seed,
        "lr": run.recipe.lr,
    }


def evaluate_run(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    data: Annotated[
        str | None,
        typer.Option(
            help="Images and labels of any kind that train takes.",
            show_default="the run's own",
            autocompletion=completion(NAMES),
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            help=f"Of the run's own data: {', '.join(PARTS)}.", show_default="test", autocompletion=completion(PARTS)
        ),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw the confusions and the worst mistakes.")
    ] = None,
    as_json: AsJson = False,
    out: OutFile = None,
) -> None:
    """Say how the best network of a run does on images, class by class."""
    with one_line(ValueError, TypeError, ImportError, OSError):
        if part is not None:
            one_of("--part", part, PARTS)
            if data is not None:
                raise ValueError(f"--part must not come with --data, all of which is looked at, got --part {part}")
        files.check_target("--plot", picture)
        files.check_target("--out", out)
        images, labels, result, names = _evaluated(run, data, part or "test")
        confusion = confusion_matrix(labels, result.predictions, len(names))
        if picture is not None:
            pictures.draw_mistakes(picture, str(run), confusion, names, images, labels, result.logits)
        classes = [_class(number, name, confusion) for number, name in enumerate(names)]
        told = {"accuracy": result.accuracy, "loss": result.loss, "classes": classes, "confusion": confusion.tolist()}
        write_json(told, as_json, out)
    if as_json:
        return
    table = Table("class", box=None, pad_edge=False)
    for heading in ("images", "right", "precision", "recall"):
        table.add_column(heading, justify="right")
    for one in classes:
        table.add_row(
            printable(one["class"]),
            str(one["images"]),
            str(one["right"]),
            _number(one["precision"]),
            _number(one["recall"]),
        )
    console = table_console()
    print_table(console, table, spare=("images", "right"))
    console.print(f"accuracy {result.accuracy:.4f} ({confusion.trace()} of {confusion.sum()}), loss {result.loss:.4f}")


def _class(number: int, name: str, confusion: Array) -> dict[str, Any]:
    """How one class does; what is a share of no images is None."""
    right, count, taken = (
        int(n) for n in (confusion[number, number], confusion[number].sum(), confusion[:, number].sum())
    )
    precision, recall = (right / whole if whole else None for whole in (taken, count))
    return {"class": name, "images": count, "right": right, "precision": precision, "recall": recall}


def plot(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="The folders of runs.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.png", help="The picture to write.")] = Path(
        "plot.png"
    ),
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
    return "" if value is None else f"{value:.4f}"
