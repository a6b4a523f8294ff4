"""`npconv train`: teach a tiny network to classify images, and keep what came of it in a run folder."""

from __future__ import annotations

import contextlib
import itertools
import json
import platform
import signal
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from npconv import __version__, backends, costs, optim, training, weights
from npconv.cli import curves
from npconv.cli.errors import one_line
from npconv.data import batch_count, load, random_shift
from npconv.geometry import integer, positive
from npconv.models import MODELS

# What is no option: good for all five networks.
LABEL_SMOOTHING, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-4
LARGE = 32  # from so many pixels on, the first convolution halves the image


class Settings(NamedTuple):
    """What the command was asked to do, with the defaults filled in."""

    model: str
    data: str
    seed: int
    epochs: int
    batch: int
    lr: float
    backend: str


def train(
    model: Annotated[str, typer.Option(help=f"The network: {', '.join(MODELS)}.")] = "mobilenet",
    data: Annotated[
        str,
        typer.Option(
            help="digits, or an .npz file with the arrays images, (N, H, W) or (N, C, H, W), and labels, (N,)."
        ),
    ] = "digits",
    epochs: Annotated[int, typer.Option(help="How often every training image is seen.")] = 12,
    batch: Annotated[int, typer.Option(help="At most how many images make one step.")] = 32,
    lr: Annotated[float, typer.Option(help="The highest learning rate; it falls to 0 along a cosine.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation; the split stays the same.")] = 0,
    backend: Annotated[
        str | None, typer.Option(help="numpy or numba.", show_default="numba where it is installed")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write to.", show_default="runs/MODEL-DATA-seedSEED")
    ] = None,
) -> None:
    """Train a tiny network on real handwritten digits, or on your own images.

    Writes metrics.jsonl (a line per epoch), summary.json, weights.safetensors (of the best epoch) and curves.png.
    """
    run = None
    try:
        with contextlib.ExitStack() as stack:
            with one_line(ValueError, TypeError, ImportError, OSError):
                if backend is not None:
                    if backend not in backends.BACKENDS:
                        raise ValueError(f"--backend must be one of {', '.join(backends.BACKENDS)}, got {backend!r}")
                    stack.enter_context(backends.backend(backend))
                run = Run(Settings(model, data, seed, epochs, batch, lr, backends.current_backend()), out)
            with one_line(ValueError, FloatingPointError, OSError):
                run.introduce()
                run.fit()
                run.finish()
    except KeyboardInterrupt:
        print("interrupted before training began: nothing was kept" if run is None else run.interrupt())
        raise typer.Exit(130) from None


class Run:
    """One training and its folder. All is written as soon as it is known, so that an interrupted run leaves what it had."""

    def __init__(self, settings: Settings, out: Path | None) -> None:
        """Make everything ready, the folder last: what is wrong is found before there is anything on disk."""
        if settings.model not in MODELS:
            raise ValueError(f"--model must be one of {', '.join(MODELS)}, got {settings.model!r}")
        integer("--epochs", settings.epochs, minimum=1)
        integer("--batch", settings.batch, minimum=1)
        integer("--seed", settings.seed, minimum=0)
        positive("--lr", settings.lr)
        self.settings = settings
        self.dataset = load(settings.data)
        self.rng = np.random.default_rng(settings.seed)
        image = self.dataset.train.images.shape[1:]
        self.architecture = {
            "num_classes": self.dataset.classes,
            "in_channels": image[0],
            "stem_stride": 1 if max(image[1:]) < LARGE else 2,
        }
        self.network = MODELS[settings.model](**self.architecture, rng=self.rng)
        self.macs = costs.count(self.network, (1, *image)).macs
        self.epochs: list[training.Epoch] = []
        self.test_accuracy: float | None = None
        self.console = Console(highlight=False, markup=False, soft_wrap=True)
        self.started = time.perf_counter()
        try:
            self.folder = _new_folder(out, f"{settings.model}-{self.dataset.name}-seed{settings.seed}")
            self.metrics = self.folder / "metrics.jsonl"
            self.metrics.touch()
        except OSError as error:
            raise OSError(f"the run folder must be writable, got {error.filename} ({error.strerror})") from None

    def introduce(self) -> None:
        """Say what is about to happen."""
        settings, dataset = self.settings, self.dataset
        counts = [len(part.labels) for part in (dataset.train, dataset.validation, dataset.test)]
        channels, height, width = dataset.train.images.shape[1:]
        self.console.print(
            f"{settings.model}: {self.network.parameter_count():,} parameters, {self.macs:,} MACs for an image"
        )
        self.console.print(
            f"{dataset.name}: {counts[0]} training, {counts[1]} validation and {counts[2]} test images "
            f"of {channels}x{height}x{width} in {dataset.classes} classes"
        )
        self.console.print(f"{settings.backend} backend, seed {settings.seed}, writing to {self.folder}")
        if settings.backend == "numba":
            self.console.print("compiling kernels with the first batch, once per machine; Ctrl-C waits for it")
        self.console.print("epoch     loss  accuracy  validation loss  accuracy  seconds")

    def fit(self) -> None:
        """Train, with a progress bar on a terminal and a line for each epoch everywhere."""
        settings, dataset = self.settings, self.dataset
        steps = settings.epochs * batch_count(len(dataset.train.labels), settings.batch)
        optimizer = optim.SGD(
            optim.cosine(settings.lr, steps, warmup=steps // 10),
            momentum=MOMENTUM,
            nesterov=True,
            weight_decay=WEIGHT_DECAY,
            no_decay=lambda name, array: array.ndim == 1,  # biases, and batch norm's scale and shift
        )
        columns = BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn()
        progress = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        with progress, _interrupt_deferred() as raise_interrupt:
            bar = progress.add_task("first batch", total=steps)

            def on_batch(now: training.Batch) -> None:
                done = (now.epoch - 1) * now.batches + now.batch
                text = f"epoch {now.epoch}  loss {now.loss:.3f}  accuracy {now.accuracy:.3f}"
                progress.update(bar, completed=done, description=text)
                raise_interrupt()

            training.train(
                self.network,
                dataset,
                optimizer,
                epochs=settings.epochs,
                batch=settings.batch,
                rng=self.rng,
                label_smoothing=LABEL_SMOOTHING,
                augment=random_shift,
                on_batch=on_batch,
                on_epoch=self.add,
            )

    def add(self, epoch: training.Epoch) -> None:
        """Write down an epoch, and the weights if they are the best so far on the validation images."""
        if epoch is max([*self.epochs, epoch], key=_goodness):
            self.save_weights()
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(epoch._asdict()) + "\n")
        self.epochs.append(epoch)
        self.console.print(
            f"{epoch.epoch:5d} {epoch.loss:8.4f} {epoch.accuracy:9.4f} "
            f"{epoch.validation_loss:16.4f} {epoch.validation_accuracy:9.4f} {epoch.seconds:8.2f}"
        )

    def finish(self) -> None:
        """Try the best weights, read back from their file, on the test images, which nothing has seen so far."""
        weights.load(self.network, self.folder / "weights.safetensors")
        test = training.evaluate(self.network, *self.dataset.test, self.settings.batch)
        self.test_accuracy = test.accuracy
        confusion = training.confusion_matrix(self.dataset.test.labels, test.predictions, self.dataset.classes)
        title = f"{self.settings.model} on {self.dataset.name}, seed {self.settings.seed}"
        best = max(self.epochs, key=_goodness).epoch
        curves.draw(
            self.folder / "curves.png", f"{title}: test accuracy {test.accuracy:.4f}", self.epochs, best, confusion
        )
        self.summarize(interrupted=False)
        self.console.print(
            f"test accuracy {test.accuracy:.4f} ({confusion.trace()} of {confusion.sum()}) with the weights of epoch {best}"
        )

    def interrupt(self) -> str:
        """Keep what there is, and say what that is."""
        if not self.epochs:
            self.save_weights()
        self.summarize(interrupted=True)
        return (
            f"interrupted after {len(self.epochs)} of {self.settings.epochs} epochs: "
            f"their metrics, the summary and the weights so far are in {self.folder}"
        )

    def save_weights(self) -> None:
        """Write the weights as they are now, with what it takes to use them."""
        about = {
            "model": self.settings.model,
            "architecture": self.architecture,
            "image": self.dataset.train.images.shape[1:],
            "white": self.dataset.white,
            "mean": self.dataset.mean.tolist(),
            "std": self.dataset.std.tolist(),
        }
        # One entry, since safetensors writes several in random order, and equal runs would differ.
        weights.save(self.network, self.folder / "weights.safetensors", {"npconv": json.dumps(about)})

    def summarize(self, *, interrupted: bool) -> None:
        """Write what other programs may want to know of the run."""
        settings, best = self.settings, max(self.epochs, key=_goodness, default=None)
        versions = {"npconv": __version__, "python": platform.python_version(), "numpy": np.__version__}
        if settings.backend == "numba":
            versions["numba"] = metadata.version("numba")
        summary = {
            "model": settings.model,
            "data": settings.data,
            "seed": settings.seed,
            "epochs": len(self.epochs),
            "test_accuracy": self.test_accuracy,
            "seconds": round(time.perf_counter() - self.started, 3),
            "parameters": self.network.parameter_count(),
            "macs": self.macs,
            "interrupted": interrupted,
            "best_epoch": None if best is None else best.epoch,
            "validation_accuracy": None if best is None else best.validation_accuracy,
            "batch": settings.batch,
            "lr": settings.lr,
            "architecture": self.architecture,
            "backend": settings.backend,
            "versions": versions,
        }
        (self.folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def _new_folder(out: Path | None, name: str) -> Path:
    """Make `out`, which must be new or empty, or else the first of runs/name, runs/name-2, ... that does not exist."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise ValueError(f"--out must be a new or empty folder, got {out}, which holds files")
        return out
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    folder = next(folder for folder in map(Path("runs").joinpath, names) if not folder.exists())
    folder.mkdir(parents=True)
    return folder


@contextlib.contextmanager
def _interrupt_deferred() -> Iterator[Callable[[], None]]:
    """Make a Ctrl-C wait for the next call of the function that this gives; a second one does not wait.

    A batch is over soon, half of one leaves no network worth keeping, and Numba loses an interrupt while it compiles.
    """
    before = signal.getsignal(signal.SIGINT)
    pressed = False

    def remember(number: int, frame: object) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, before)

    def raise_interrupt() -> None:
        if pressed:
            raise KeyboardInterrupt

    if before is not signal.SIG_IGN:  # as for a job in the background
        signal.signal(signal.SIGINT, remember)
    try:
        yield raise_interrupt
    finally:
        signal.signal(signal.SIGINT, before)
    raise_interrupt()


def _goodness(epoch: training.Epoch) -> tuple[float, float]:
    """The higher the better: accuracy is coarse on few validation images, so the loss decides between equals."""
    return epoch.validation_accuracy, -epoch.validation_loss
