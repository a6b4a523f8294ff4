"""`npconv sweep`: which learning rate suits which network on these data."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from npconv import backends
from npconv.cli.choices import chosen, with_choices
from npconv.cli.console import line_console, print_table, table_console
from npconv.cli.errors import FAILED, one_line
from npconv.cli.output import AsJson, write_json
from npconv.cli.words import completion
from npconv.geometry import integer, one_of, positive
from npconv.models import NETWORKS
from npconv.training import Recipe, Run, best_epoch, read_recipe
from npconv.training.recipe import TINY, option_name

DIVERGED = 0.0  # the accuracy that counts for a run whose loss was no number any more


@with_choices("lr", "model", "seed")
def sweep(
    *,
    models: Annotated[
        str,
        typer.Option(help="Networks, with commas between.", autocompletion=completion(sorted(NETWORKS), several=True)),
    ] = ",".join(TINY),
    rates: Annotated[str, typer.Option(help="Learning rates, with commas between.")] = "0.05,0.1,0.2,0.4",
    seeds: Annotated[int, typer.Option(help="With how many seeds each network is trained at each rate.")] = 3,
    config: Annotated[
        Path | None, typer.Option(help="A TOML file with any of these options; the command line goes first.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="For the runs and sweep.json.")] = Path(
        "sweep"
    ),
    as_json: AsJson = False,
    **given: Any,
) -> None:
    """Train networks at several learning rates, and print how they do on the validation images: mean and spread over the seeds.

    Each training is a run of its own in the folder, for `npconv runs` and `npconv plot`; one that is there and finished is not
    made again, so a sweep that was interrupted goes on.
    """
    os.environ.setdefault("NPCONV_QUIET", "1")
    with one_line(ValueError, TypeError, ImportError, OSError):
        integer("--seeds", seeds, minimum=1)
        listed = [positive("--rates", _number(rate)) for rate in rates.split(",")]
        recipes = {
            (model, lr): [chosen(config, {**given, "model": model, "lr": lr, "seed": seed}) for seed in range(seeds)]
            for model in (one_of("--models", word, sorted(NETWORKS)) for word in models.split(","))
            for lr in listed
        }
        out.mkdir(parents=True, exist_ok=True)
    console = line_console(quiet=as_json)
    found: dict[tuple[str, float], list[float]] = {}
    with one_line(ValueError, TypeError, ImportError, OSError, status=FAILED):
        for (model, lr), some in recipes.items():
            with console.status(f"{model} at {lr:g}"):
                found[model, lr] = [_accuracy(recipe, out / f"{model}-{lr:g}-seed{recipe.seed}") for recipe in some]
            console.print(f"{model} at {lr:g}: {_told(found[model, lr])}")
        rows = [{"model": model, "lr": lr, "accuracies": some} for (model, lr), some in found.items()]
        write_json(rows, as_json, out / "sweep.json")
    if as_json:
        return
    table = Table("network", *(f"{lr:g}" for lr in listed), "best", box=None, pad_edge=False)
    for model in dict.fromkeys(model for model, _ in found):
        best = max(listed, key=lambda lr: float(np.mean(found[model, lr])))
        table.add_row(model, *(_told(found[model, lr]) for lr in listed), f"{best:g}")
    print_table(table_console(), table)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--rates must be numbers with commas between, got {text!r}") from None


def _accuracy(recipe: Recipe, folder: Path) -> float:
    """Of the best epoch on the validation images; the run is made, or gone on with, or only read."""
    if (folder / "config.toml").is_file():
        kept, wanted = dataclasses.asdict(read_recipe(folder / "config.toml")), dataclasses.asdict(recipe.anywhere())
        other = next((name for name in wanted if kept[name] != wanted[name]), None)
        if other is not None:
            raise ValueError(
                f"--out must hold runs by the same choices, got {option_name(other)} {kept[other]} in {folder}, not {wanted[other]}"
            )
    with backends.backend(recipe.backend or backends.current_backend()):
        run = Run.resume(folder) if (folder / "config.toml").is_file() else Run(recipe, folder)
        try:
            if not run.finished:
                run.fit()
        except FloatingPointError:
            return DIVERGED
    best = best_epoch(run.epochs)
    assert best is not None
    return best.validation_accuracy


def _told(accuracies: list[float]) -> str:
    diverged = accuracies.count(DIVERGED)
    if diverged:
        return f"{diverged} of {len(accuracies)} diverged"
    spread = f" +- {np.std(accuracies, ddof=1):.4f}" if len(accuracies) > 1 else ""
    return f"{np.mean(accuracies):.4f}{spread}"
