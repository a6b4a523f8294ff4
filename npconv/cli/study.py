"""`npconv study`: a finding of the papers, on a desk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from npconv import backends, files
from npconv.backends import BACKENDS
from npconv.cli.console import line_console, print_table, table_console
from npconv.cli.errors import one_line
from npconv.cli.output import AsJson, write_json
from npconv.cli.plots import COLOURS, MARKERS
from npconv.cli.words import completion
from npconv.data import Dataset, load
from npconv.data.loading import NAMES
from npconv.figures import write_figure
from npconv.geometry import integer, one_of
from npconv.nn import Sequential
from npconv.printable import printable
from npconv.studies import STUDIES, Outcome, Study, Variant, band_energies, compare, pair_errors, run_study
from npconv.studies.maps import maps_of

KERNELS = (1, 3, 5, 7)  # of the filters that predict one map from another
IMAGES = 64  # whose maps are looked at


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
        extra = {"ghost": _ghost_pairs, "octave": _photograph}.get(name)
        found = extra(kept, dataset) if extra else None
        sentences = [f"{chosen.source}: the trend {sentence}" for sentence in compare(chosen, outcomes)]
        _draw(plot, name, chosen, outcomes, found)
        write_json(_described(chosen, outcomes, sentences, found), as_json, out)
    if as_json:
        return
    _print(outcomes)
    for sentence in [*sentences, *([] if found is None else [found["sentence"]])]:
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
            f"{outcome.spread:.4f}",
        )
    print_table(table_console(), table, spare=("parameters", "MACs"))


def _ghost_pairs(kept: dict[str, Sequential], dataset: Dataset) -> dict[str, Any]:
    """GhostNet's toy experiment on the plain network that was trained."""
    maps = maps_of(kept["s = 1, plain"], "block1", dataset.test.images[:IMAGES])
    errors = {kernel: pair_errors(maps, kernel) for kernel in KERNELS}
    medians = {kernel: float(np.nanmedian(error)) for kernel, error in errors.items()}
    listed = ", ".join(f"{median:.2f} with d = {kernel}" for kernel, median in medians.items())
    sentence = f"of the maps of block1, a d x d filter of the best other map leaves this share of the variance (median): {listed}"
    return {
        "kind": "pairs",
        "errors": {kernel: np.sort(error) for kernel, error in errors.items()},
        "sentence": sentence,
    }


def _photograph(kept: dict[str, Sequential], dataset: Dataset) -> dict[str, Any]:
    """Where the energy of a photograph lies, and that of its half-size version."""
    from sklearn.datasets import load_sample_image

    image = load_sample_image("china.jpg")[:420, :640].mean(axis=2) / 255
    low = image.reshape(210, 2, 320, 2).mean(axis=(1, 3)).repeat(2, axis=0).repeat(2, axis=1)
    frequencies, whole = band_energies(image)
    total = float(np.square(image - image.mean()).sum())
    parts = {"photograph": whole, "what half the size keeps": band_energies(low)[1] * np.square(low - low.mean()).sum() / total,
             "what it loses": band_energies(image - low)[1] * np.square(image - low).sum() / total}  # fmt: skip
    below = float(whole[frequencies < 0.25].sum())
    sentence = f"{below:.1%} of the photograph's energy lies below a quarter of a cycle per pixel, which half the size can show"
    return {"kind": "bands", "frequencies": frequencies, "parts": parts, "sentence": sentence}


def _draw(path: Path, name: str, chosen: Study, outcomes: Sequence[Outcome], found: dict[str, Any] | None) -> None:
    """Write the PNG: accuracy over what is varied and over cost, and what was found in maps beside it."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

    count = 2 if found is None else 3
    figure = Figure(figsize=(6 * count, 4.6), layout="constrained")
    figure.suptitle(f"{name}: {chosen.question}")
    axes = figure.subplots(1, count)
    lines = list(dict.fromkeys(label for outcome in outcomes for label in outcome.variant.points))
    for colour, marker, label in zip(COLOURS, MARKERS, lines, strict=False):
        some = [one for one in outcomes if label in one.variant.points]
        some.sort(key=lambda one: one.variant.points[label])
        means, spreads = [one.mean for one in some], [one.spread for one in some]
        options: dict[str, Any] = {"color": colour, "label": label, "capsize": 3}
        axes[0].errorbar([one.variant.points[label] for one in some], means, spreads, fmt=f"{marker}-", **options)
        axes[1].errorbar([one.macs for one in some], means, spreads, fmt=marker, **options)
    axes[0].set(xlabel=chosen.axis, ylabel="test accuracy, mean and spread over seeds")
    axes[1].set(xlabel="multiply-accumulates for an image", xscale="log")
    macs = [one.macs for one in outcomes]
    wide = max(macs) > 5 * min(macs)
    # A logarithm's own ticks lie on each other, or there is none.
    axes[1].xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if wide else MaxNLocator(5))
    axes[1].xaxis.set_major_formatter(EngFormatter(sep=""))
    axes[1].xaxis.set_minor_locator(NullLocator())
    for place in axes[:2]:
        place.grid(alpha=0.3)
        place.legend(fontsize="small")
    if found is not None and found["kind"] == "pairs":
        for colour, (kernel, errors) in zip(COLOURS, found["errors"].items(), strict=False):
            axes[2].plot(np.linspace(0, 1, len(errors)), errors, ".-", color=colour, label=f"d = {kernel}")
        axes[2].set(
            title="one map predicted from another",
            xlabel="share of the maps",
            ylabel="variance that is left",
            ylim=(0, 1),
        )
    elif found is not None:
        for colour, (label, energies) in zip(COLOURS, found["parts"].items(), strict=False):
            axes[2].semilogy(found["frequencies"], np.maximum(energies, 1e-9), color=colour, label=label)
        axes[2].set(title="energy of a photograph", xlabel="cycles per pixel", ylabel="share of the energy")
    if found is not None:
        axes[2].grid(alpha=0.3)
        axes[2].legend(fontsize="small")
    write_figure(path, figure)


def _described(
    chosen: Study, outcomes: Sequence[Outcome], sentences: Sequence[str], found: dict[str, Any] | None
) -> dict[str, Any]:
    """Everything, for other programs."""
    rows = [
        {
            "network": outcome.variant.label,
            "macs": outcome.macs,
            "parameters": outcome.parameters,
            "accuracies": outcome.accuracies,
        }
        for outcome in outcomes
    ]
    return {"source": chosen.source, "networks": rows, "trends": list(sentences), "found": found}
