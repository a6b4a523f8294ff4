"""What a run's folder says of it, and its network on images."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from npconv import files, models
from npconv.data import Part, load, load_all
from npconv.geometry import integer, positive, shown
from npconv.nn import Sequential
from npconv.printable import printable
from npconv.training.options import parse_size
from npconv.training.progress import Epoch, checked_epoch
from npconv.training.recipe import Recipe, read_recipe
from npconv.training.run import CONFIG, METRICS, SUMMARY


class Results(NamedTuple):
    """A run as its folder has it: `summary` is empty where it has not ended yet, or was killed."""

    folder: Path
    recipe: Recipe
    epochs: list[Epoch]
    summary: dict[str, Any]

    @property
    def state(self) -> str:
        """ "finished", "interrupted", or "unfinished": running, or killed."""
        if not self.summary:
            return "unfinished"
        return "interrupted" if self.summary.get("interrupted") else "finished"


def read_results(folder: str | PathLike[str]) -> Results:
    """The run in `folder`. Raises ValueError where there is none, or where a file of it is damaged."""
    folder = files.as_path("folder", folder)
    if not (folder / CONFIG).is_file():
        raise ValueError(f"RUN must be the folder of a run, got {printable(folder)} without {CONFIG}")
    recipe = read_recipe(folder / CONFIG)
    try:
        lines = files.read(METRICS, folder / METRICS).decode().splitlines()
        epochs = [checked_epoch(Epoch(**json.loads(line))) for line in lines]
        summary = folder / SUMMARY
        about = json.loads(files.read(SUMMARY, summary)) if summary.exists() else {}
        if not isinstance(about, dict):
            raise TypeError("the summary must be an object")
        if about:
            _check_summary(about)
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"RUN must be the folder of a run, got {printable(folder)} with damaged files ({error})"
        ) from None
    return Results(folder, recipe, epochs, about)


def _check_summary(about: dict[str, Any]) -> None:
    """Raise KeyError, TypeError or ValueError where what is printed and drawn of a summary is not there or of another kind."""
    for name in ("test_accuracy", "seconds"):
        if not isinstance(about[name], int | float | None):
            raise TypeError(f"{name} must be a number, got {shown(about[name])}")
    confusion, names = about["confusion"], about["class_names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError("class_names must be a list of names")
    if confusion is not None and about["test_accuracy"] is None:
        raise ValueError("test_accuracy must be there where confusion is")
    if confusion is not None and np.array(confusion, np.int64).shape != (len(names), len(names)):
        raise ValueError("confusion must have a row and a column for each class")


def find_runs(folder: str | PathLike[str]) -> tuple[list[Results], list[str]]:
    """All runs below `folder`, by name, and what is wrong with those that cannot be read."""
    found, wrong = [], []
    for path in sorted(Path(folder).glob(f"**/{CONFIG}")):
        try:
            found.append(read_results(path.parent))
        except ValueError as error:
            wrong.append(str(error))
    return found, wrong


class Trained(NamedTuple):
    """The best network of a run, what its images were normalised by, what was white, its classes' names, (rows, columns)."""

    network: Sequential
    mean: np.ndarray[Any, Any]
    std: np.ndarray[Any, Any]
    white: float
    class_names: list[str]
    size: tuple[int, int]


def load_trained(results: Results) -> Trained:
    """The best network of a run. Raises ValueError where it has no weights yet."""
    path = results.folder
    noted = models.noted(path)
    if noted is None:
        raise ValueError(f"the weights must say what `npconv train` notes, got {printable(path)}")
    try:
        with np.errstate(over="ignore"):  # it is found below
            mean, std = (np.array(noted[name], np.float32) for name in ("mean", "std"))
        white = positive("white", noted["white"])
        classes = list(map(str, noted["classes"]))
        rows, columns = (integer("image", side, minimum=1) for side in noted["image"][1:])
        if mean.ndim != 1 or mean.shape != std.shape:
            raise ValueError("mean and std must have a number for each channel")
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise ValueError("mean and std must be finite, and std above 0")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the weights must say what `npconv train` notes, got {printable(path)} ({error!r})") from None
    return Trained(models.load(path), mean, std, white, classes, (rows, columns))


def images_of(results: Results, trained: Trained, data: str | None, part: str = "test") -> Part:
    """The images of a run's own `part`, or all of other `data`, normalised as the network learned."""
    recipe = results.recipe
    if data is None:
        size = None if recipe.size is None else parse_size(recipe.size)
        dataset = load(recipe.data, validation=recipe.validation, test=recipe.test, size=size)
        return {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}[part]
    return load_all(
        data,
        class_names=trained.class_names,
        mean=trained.mean,
        std=trained.std,
        white=trained.white,
        size=trained.size,
    )
