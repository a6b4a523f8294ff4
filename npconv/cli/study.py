"""`npconv study`: a finding of the papers, on a desk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from npconv import backends, files
from npconv.backends import BACKENDS
from npconv.cli.console import line_console, print_table, table_console
from npconv.cli.errors import one_line
from npconv.cli.output import AsJson, write_json
from npconv.cli.words import completion
from npconv.data import Dataset, load
from npconv.data.loading import NAMES
from npconv.figures import write_figure
from npconv.geometry import integer, one_of
from npconv.nn import Sequential
from npconv.printable import printable
from npconv.studies import (
    FINDINGS,
    STUDIES,
    Finding,
    Outcome,
    Study,
    Variant,
    compare,
    draw_accuracies,
    draw_costs,
    draw_finding,
    run_study,
)


def study(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help=f"{', '.join(STUDIES)}.", autocompletion=completion(STUDIES))
    ],
    data: Annotated[
        str, typer.Option(help="What the networks learn, as `npconv train` takes it.", autocompletion=completion(NAMES))
    ] = "digits",
    seeds: Annotated[int, typer.Option(help="With how many seeds each network is trained.")] = 3,
    epochs: Annotated[int, typer.Option(help="How long each time.")] = 8,
    backend: Annotated[
        str | None,
        typer.Option(
            help="numpy or numba.", show_default="numba where it is installed", autocompletion=completion(BACKENDS)
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw it into this file.", show_default="study-NAME.png")
    ] = None,
    as_json: AsJson = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Write everything as JSON into this file.",
            show_default="study-NAME.json",
        ),
    ] = None,
) -> None:
    """Train small networks that differ in one thing, and say whether the paper's trend is visible at this scale.

    Prints a table with mean and spread over the seeds, and writes a picture and a JSON file with the numbers.
    """
    os.environ.setdefault("NPCONV_QUIET", "1")  # the bar shows that something is done
    plot = Path(f"study-{name}.png") if plot is None else plot
    out = Path(f"study-{name}.json") if out is None else out
    with one_line(ValueError, TypeError, ImportError, OSError):
        one_of("NAME", name, STUDIES)
        files.check_target("--plot", plot)
        files.check_target("--out", out)
        integer("--seeds", seeds, minimum=1)
        integer("--epochs", epochs, minimum=1)
        dataset = load(data)
    with (
        one_line(ValueError, FloatingPointError, OSError, ImportError),
        backends.backend(backend or backends.current_backend()),
    ):
        chosen = STUDIES[name]
        outcomes, kept = _trained(chosen, dataset, seeds, epochs, quiet=as_json)
        finding = FINDINGS[name](kept, dataset) if name in FINDINGS else None
        sentences = [f"{chosen.source}: the trend {sentence}" for sentence in compare(chosen, outcomes)]
        _draw(plot, name, chosen, outcomes, finding)
        trained = {"data": data, "seeds": seeds, "epochs": epochs}
        write_json(_described(chosen, trained, outcomes, sentences, finding), as_json, out)
    if as_json:
        return
    _print(outcomes)
    for sentence in [*sentences, *([] if finding is None else [finding.sentence])]:
        print(sentence)
    print(f"the picture is {printable(plot)}, the numbers are in {printable(out)}")


def _trained(
    chosen: Study, dataset: Dataset, seeds: int, epochs: int, *, quiet: bool
) -> tuple[list[Outcome], dict[str, Sequential]]:
    console = line_console(quiet=quiet)
    console.print(chosen.question)
    columns = (
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    kept: dict[str, Sequential] = {}
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(chosen.variants[0].label, total=len(chosen.variants) * seeds)

        def on_run(variant: Variant, seed: int, accuracy: float) -> None:
            progress.update(bar, advance=1, description=f"{variant.label}, seed {seed}: {accuracy:.4f}")

        outcomes = run_study(
            chosen, dataset, seeds=seeds, epochs=epochs, on_run=on_run,
            keep=lambda variant, network: kept.update({variant.label: network}),
        )  # fmt: skip
    return outcomes, kept


def _print(outcomes: Sequence[Outcome]) -> None:
    table = Table("network", box=None, pad_edge=False)
    for heading in ("MACs", "parameters", "test accuracy", "spread"):
        table.add_column(heading, justify="right")
    for outcome in outcomes:
        table.add_row(
            outcome.variant.label,
            f"{outcome.macs:,}",
            f"{outcome.parameters:,}",
            f"{outcome.mean:.4f}",
            "one seed" if outcome.spread is None else f"{outcome.spread:.4f}",
        )
    print_table(table_console(), table, spare=("parameters", "MACs"))


def _draw(path: Path, name: str, chosen: Study, outcomes: Sequence[Outcome], finding: Finding | None) -> None:
    """Write the PNG: accuracy over what is varied and over cost, and what was found in maps beside it."""
    from matplotlib.figure import Figure

    count = 2 if finding is None else 3
    figure = Figure(figsize=(6 * count, 4.6), layout="constrained")
    figure.suptitle(f"{name}: {chosen.question}")
    axes = figure.subplots(1, count)
    draw_accuracies(axes[0], chosen, outcomes)
    draw_costs(axes[1], outcomes)
    if finding is not None:
        draw_finding(axes[2], finding)
    write_figure(path, figure)


def _described(
    chosen: Study,
    trained: dict[str, Any],
    outcomes: Sequence[Outcome],
    sentences: Sequence[str],
    finding: Finding | None,
) -> dict[str, Any]:
    """Everything, for other programs; `trained` is on what and how long."""
    rows = [
        {
            "network": outcome.variant.label,
            "macs": outcome.macs,
            "parameters": outcome.parameters,
            "accuracies": outcome.accuracies,
        }
        for outcome in outcomes
    ]
    found = None if finding is None else finding._asdict()
    return {"source": chosen.source, **trained, "networks": rows, "trends": list(sentences), "found": found}
