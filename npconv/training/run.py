"""A run: one training by a recipe, in a folder that has all of it, and from which it goes on after any end."""

from __future__ import annotations

import itertools
import json
import platform
import time
from collections.abc import Callable
from importlib import metadata
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from npconv import costs, files, models, weights
from npconv.data import batch_count, load
from npconv.geometry import Array, positive, shown
from npconv.optim import Average
from npconv.printable import printable
from npconv.training import checkpoint
from npconv.training.evaluation import Evaluation, confusion_matrix, evaluate
from npconv.training.loop import check_batch, train
from npconv.training.options import parse_options, parse_size
from npconv.training.parallel import Processes, alone
from npconv.training.progress import Batch, Epoch, Progress, best_epoch
from npconv.training.recipe import Recipe, as_dtype, read_recipe, transferred
from npconv.version import __version__
from npconv.weights.files import RUN_WEIGHTS

LARGE = 32  # from so many pixels on, the first convolution halves the image
SAVE_SECONDS = 120.0  # between checkpoints inside an epoch
CONFIG, METRICS, SUMMARY, CHECKPOINTS = "config.toml", "metrics.jsonl", "summary.json", "checkpoints"


class Run:
    """One training and its folder: metrics, the best weights, a checkpoint, the configuration.

    Parameters
    ----------
    recipe : Recipe
    out : path, optional
        A new or empty folder; by default the next free one in ``runs``.
    processes : Processes, optional
        Those that train together; the first one writes.

    Raises
    ------
    ValueError, TypeError, ImportError
        A choice that is none, data that are none, a batch too small; there is no folder then.
    OSError
        The folder cannot be written.

    Notes
    -----
    Use it inside ``with npconv.backend(run.recipe.backend):``.

    Examples
    --------
    >>> import pathlib, tempfile, npconv
    >>> from npconv import training
    >>> recipe = training.Recipe(epochs=1, backend="numpy").checked()
    >>> with tempfile.TemporaryDirectory() as folder, npconv.backend(recipe.backend):
    ...     run = training.Run(recipe, pathlib.Path(folder))
    ...     run.fit()
    ...     run.finish().accuracy > 0.5
    True
    """

    def __init__(
        self, recipe: Recipe, out: str | PathLike[str] | None = None, *, processes: Processes | None = None
    ) -> None:
        """Make everything ready, the folder last: what is wrong is found before there is anything on disk."""
        self._prepare(recipe, processes)
        name = f"{self.recipe.model}-{self.dataset.name}-seed{self.recipe.seed}"
        try:
            self.folder = _new_folder(None if out is None else Path(out), name) if self.writes else Path(out or "runs")
            if self.writes:
                files.write(self.folder / CONFIG, f"# {printable(self.recipe.command())}\n{self.recipe.to_toml()}")
            self.save()
            if self.writes:
                (self.folder / METRICS).touch()  # the run can be resumed from here on
        except OSError as error:
            raise _unwritable(error) from None

    @classmethod
    def resume(cls, folder: str | PathLike[str], *, processes: Processes | None = None) -> Run:
        """The run in `folder`, where its last checkpoint was.

        Raises ValueError where there is no run, or where its data are no longer what they were, and OSError where the folder
        can no longer be written.
        """
        folder = Path(folder)
        if not (folder / CONFIG).is_file():
            raise ValueError(f"--resume must be the folder of a run, got {printable(folder)} without {CONFIG}")
        run = cls.__new__(cls)
        run._prepare(read_recipe(folder / CONFIG), processes)
        run.folder = folder
        run.progress = checkpoint.resume(folder / CHECKPOINTS, run.network, run.optimizer, average=run.average)
        about = checkpoint.read_numbers(checkpoint.last_checkpoint(folder / CHECKPOINTS))["about"]
        if about.get("data") != run._data():
            raise ValueError(
                f"the data must be those that the run began with, got {run._data()} for {shown(about.get('data'))}"
            )
        if [epoch.epoch for epoch in run.epochs] != list(range(1, run.progress.epoch)):
            raise ValueError(
                f"the checkpoint must tell of all epochs before {run.progress.epoch}, got {len(run.epochs)}"
            )
        run.before = positive("seconds", about.get("seconds"), zero=True)
        run._meet()  # before the first one writes a checkpoint, and removes this one
        if run.writes:
            try:
                run._write_metrics()  # what was written after the checkpoint comes again
            except OSError as error:
                raise _unwritable(error) from None
        return run

    def _prepare(self, recipe: Recipe, processes: Processes | None) -> None:
        self.recipe = recipe = recipe.checked()
        self.processes = processes or alone()
        self.writes = self.processes.rank == 0
        size = None if recipe.size is None else parse_size(recipe.size)
        self.dataset = load(recipe.data, validation=recipe.validation, test=recipe.test, size=size)
        self.recipe = recipe.anywhere()
        rng = np.random.default_rng(recipe.seed)
        self.image = self.dataset.train.images.shape[1:]
        self._make_network(recipe, rng)
        self.macs = costs.count(self.network, (1, *self.image)).macs
        try:
            check_batch(self.network, self.dataset, recipe.batch, self.processes)
        except ValueError as error:
            raise ValueError(f"--{error}" if str(error).startswith("batch") else str(error)) from None
        self.steps_per_epoch = batch_count(len(self.dataset.train.labels), recipe.batch)
        self.optimizer = recipe.make_optimizer(recipe.epochs * self.steps_per_epoch)
        self.average = None if recipe.ema is None else Average(self.network, recipe.ema)
        self.progress = Progress.start(rng)
        self.test_accuracy: float | None = None
        self.started = self.saved = time.perf_counter()
        self.before = 0.0  # seconds of earlier parts of the run

    def _make_network(self, recipe: Recipe, rng: np.random.Generator) -> None:
        """The network for these images, with new weights or those of a file, and frozen where it is to be."""
        image = self.image
        self.architecture = {"num_classes": self.dataset.classes, "in_channels": image[0]}
        make = models.NETWORKS[recipe.model]
        if make in models.MODELS.values():
            self.architecture["stem_stride"] = 1 if max(image[1:]) < LARGE else 2
        self.architecture |= parse_options(recipe.option)
        self.network = make(**self.architecture, rng=rng, dtype=as_dtype(recipe))
        self.new_head: list[str] = []
        if recipe.weights is not None:
            arrays = weights.read(recipe.weights)[1]
            state, self.new_head = transferred(self.network.state(), arrays, recipe.weights)
            self.network.load_state(state)
        if recipe.freeze:
            self.network.freeze(*recipe.freeze)

    def _meet(self) -> None:
        """Wait until all processes are here."""
        self.processes.total(np.zeros(1))

    @property
    def epochs(self) -> list[Epoch]:
        """What is known of the epochs so far."""
        return self.progress.records

    @property
    def finished(self) -> bool:
        """Whether all epochs are made."""
        return self.progress.epoch > self.recipe.epochs

    def fit(
        self,
        *,
        stop: Callable[[], bool] | None = None,
        on_batch: Callable[[Batch], None] | None = None,
        on_epoch: Callable[[Epoch], None] | None = None,
    ) -> None:
        """Train to the end; a checkpoint is written after each epoch, and inside of long ones.

        Raises
        ------
        npconv.training.Interrupted
            `stop` was true; then `save` keeps the step.
        FloatingPointError
            As by `npconv.training.train`; the last good checkpoint stays.
        OSError
            The folder can no longer be written.
        """

        def after_batch(batch: Batch) -> None:
            if on_batch is not None:
                on_batch(batch)
            if time.perf_counter() - self.saved > SAVE_SECONDS:
                self.save()

        def after_epoch(epoch: Epoch) -> None:
            self._add(epoch)
            if on_epoch is not None:
                on_epoch(epoch)

        train(
            self.network,
            self.dataset,
            self.optimizer,
            self.recipe.plan(),
            progress=self.progress,
            average=self.average,
            processes=self.processes,
            stop=stop,
            on_batch=after_batch,
            on_epoch=after_epoch,
        )

    def _add(self, epoch: Epoch) -> None:
        """Write down an epoch, and the weights if they are the best so far on the validation images."""
        if epoch is best_epoch(self.epochs):
            self.save_weights()
        if self.writes:
            self._write_metrics()
        self.save()

    def _write_metrics(self) -> None:
        files.write(self.folder / METRICS, "".join(json.dumps(epoch._asdict()) + "\n" for epoch in self.epochs))

    def save(self) -> None:
        """Write a checkpoint."""
        self.saved = time.perf_counter()
        if self.writes:
            about = {"data": self._data(), "seconds": self.seconds()}
            checkpoint.save(
                self.folder / CHECKPOINTS,
                self.network,
                self.optimizer,
                self.progress,
                average=self.average,
                about=about,
            )

    def _data(self) -> dict[str, Any]:
        """By what the data are known again."""
        parts = self.dataset.train, self.dataset.validation, self.dataset.test
        sums = [round(float(part.images[:: max(len(part.labels) // 64, 1)].sum(dtype=np.float64)), 3) for part in parts]
        return {"images": [len(part.labels) for part in parts], "classes": self.dataset.classes, "sums": sums}

    def save_weights(self) -> None:
        """Write the weights as they are now, or their average, with what it takes to use them."""
        if not self.writes:
            return
        dtype = {} if self.recipe.dtype == "float32" else {"dtype": self.recipe.dtype}
        about = {
            "model": self.recipe.model,
            "architecture": self.architecture | dtype,
            "image": self.image,
            "white": self.dataset.white,
            "mean": self.dataset.mean.tolist(),
            "std": self.dataset.std.tolist(),
            "classes": self.dataset.class_names,
        }
        own = self.network.state()
        state: dict[str, Array] = (
            own
            if self.average is None
            else {name: array.astype(own[name].dtype) for name, array in self.average.arrays.items()}
        )
        # One entry, since safetensors writes several in random order, and equal runs would differ.
        weights.save(state, self.folder / RUN_WEIGHTS, {"npconv": json.dumps(about)})

    def finish(self) -> Evaluation:
        """Try the best weights, read back from their file, on the test images, which nothing has seen so far."""
        self._meet()
        weights.load(self.network, self.folder / RUN_WEIGHTS)
        test = evaluate(self.network, *self.dataset.test, self.recipe.batch)
        self.test_accuracy = test.accuracy
        self.summarize(interrupted=False, confusion=self.confusion(test))
        return test

    def confusion(self, test: Evaluation) -> Array:
        """Test images by (class, prediction)."""
        return confusion_matrix(self.dataset.test.labels, test.predictions, self.dataset.classes)

    def interrupt(self) -> None:
        """Keep what there is."""
        self.save()
        if self.writes and not (self.folder / RUN_WEIGHTS).exists():
            self.save_weights()
        self.summarize(interrupted=True)

    def seconds(self) -> float:
        """How long the run has taken, in all its parts."""
        return self.before + time.perf_counter() - self.started

    def summarize(self, *, interrupted: bool, confusion: Array | None = None) -> None:
        """Write what other programs may want to know of the run."""
        if not self.writes:
            return
        recipe, best = self.recipe, best_epoch(self.epochs)
        versions = {"npconv": __version__, "python": platform.python_version(), "numpy": np.__version__}
        if recipe.backend == "numba":
            versions["numba"] = metadata.version("numba")
        summary = {
            "model": recipe.model,
            "data": recipe.data,
            "seed": recipe.seed,
            "epochs": len(self.epochs),
            "test_accuracy": self.test_accuracy,
            "seconds": round(self.seconds(), 3),
            "parameters": self.network.parameter_count(),
            "macs": self.macs,
            "interrupted": interrupted,
            "best_epoch": None if best is None else best.epoch,
            "validation_accuracy": None if best is None else best.validation_accuracy,
            "batch": recipe.batch,
            "lr": recipe.lr,
            "architecture": self.architecture,
            "backend": recipe.backend,
            "processes": self.processes.size,
            "class_names": self.dataset.class_names,
            "confusion": None if confusion is None else confusion.tolist(),
            "command": recipe.command(),
            "versions": versions,
        }
        files.write(self.folder / SUMMARY, json.dumps(summary, indent=2) + "\n")


def _unwritable(error: OSError) -> OSError:
    """What a user is told of an error while a file of the run is written."""
    return OSError(f"the run folder must be writable, got {error.filename} ({error.strerror})")


def _new_folder(out: Path | None, name: str) -> Path:
    """Make `out`, which must be new or empty, or else the first of runs/name, runs/name-2, ... that does not exist."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise ValueError(f"--out must be a new or empty folder, got {out}, which holds files")
        return out
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    for folder in map(Path("runs").joinpath, names):
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise
            continue
        return folder
    raise AssertionError
