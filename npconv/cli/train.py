"""`npconv train`: teach a tiny network to classify images, and keep what came of it in a run folder."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from npconv import backends, files
from npconv.cli import curves
from npconv.cli.choices import chosen, with_choices
from npconv.cli.console import line_console
from npconv.cli.errors import BAD_USAGE, FAILED, INTERRUPTED, one_line
from npconv.cli.events import summary_writer
from npconv.cli.signals import signals_deferred
from npconv.printable import printable
from npconv.training import Batch, Epoch, Interrupted, Processes, Recipe, Run, best_epoch, read_recipe, world
from npconv.training.recipe import option_name

NARROW = 100  # columns, below which the progress has no bar


@with_choices()
def train(
    *,
    config: Annotated[
        Path | None, typer.Option(help="A TOML file with any of these options; the command line goes first.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="The folder to write to.", show_default="runs/MODEL-DATA-seedSEED"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON instead of text.")] = False,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with the run in this folder, bit for bit.")
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard's event files too.")] = False,
    **given: Any,
) -> None:
    """Train a tiny network on real handwritten digits, or on your own images.

    Writes metrics.jsonl (a line per epoch), summary.json, config.toml, weights.safetensors (of the best epoch), curves.png and a
    checkpoint, from which --resume goes on after Ctrl-C, SIGTERM or a crash.
    """
    os.environ.setdefault("NPCONV_QUIET", "1")  # it says itself when kernels are compiled
    run = None
    with one_line(ImportError):
        processes = world()
    with contextlib.ExitStack() as stack:
        try:
            with one_line(ValueError, TypeError, ImportError, OSError), _first_one_speaks(processes):
                _share_cores(processes)
                writer = summary_writer() if tensorboard else None
                if resume is None:
                    recipe = chosen(config, given)
                else:
                    others = [option_name(name) for name in given]
                    others += ["--config"] * (config is not None) + ["--out"] * (out is not None)
                    if others:
                        raise ValueError(f"--resume must come without other choices, got {', '.join(others)}")
                    recipe = read_recipe(resume / "config.toml") if (resume / "config.toml").is_file() else Recipe()
                if recipe.backend is not None:
                    stack.enter_context(backends.backend(recipe.backend))
                if resume is None:
                    run = Run(recipe, out, processes=processes)
                else:
                    run = Run.resume(resume, processes=processes)
                session = Session(run, writer, quiet=as_json)
            with (
                one_line(ValueError, FloatingPointError, OSError, status=FAILED),
                _first_one_speaks(processes),
            ):
                session.introduce()
                session.fit()
                session.finish()
            if as_json and run.writes:
                print(files.read("summary.json", run.folder / "summary.json").decode(), end="")
        except typer.Exit as end:
            if end.exit_code in (BAD_USAGE, FAILED) and processes.size > 1:  # the others wait for this one
                processes.abort()
            raise
        except KeyboardInterrupt:
            print(
                "interrupted before training began: nothing was kept" if run is None else printable(session.interrupt())
            )
            raise typer.Exit(INTERRUPTED) from None


class Session:
    """What a user sees of a run."""

    def __init__(self, run: Run, writer: Any, *, quiet: bool) -> None:
        self.run = run
        self.console = line_console(quiet=quiet or not run.writes)
        self.events = writer(str(run.folder)) if writer is not None and run.writes else None

    def introduce(self) -> None:
        """Say what is about to happen."""
        run, say = self.run, self.console.print
        counts = [len(part.labels) for part in (run.dataset.train, run.dataset.validation, run.dataset.test)]
        channels, height, width = run.image
        say(f"{run.recipe.model}: {run.network.parameter_count():,} parameters, {run.macs:,} MACs for an image")
        say(
            f"{printable(run.dataset.name)}: {counts[0]} training, {counts[1]} validation and {counts[2]} test images "
            f"of {channels}x{height}x{width} in {run.dataset.classes} classes"
        )
        if run.new_head:
            say(f"new for these classes: {printable(', '.join(run.new_head))}")
        many = "" if run.processes.size == 1 else f"{run.processes.size} processes, "
        say(f"{run.recipe.backend} backend, {many}seed {run.recipe.seed}, writing to {printable(run.folder)}")
        if run.processes.size > 1:
            say(f"if one of them dies, all end, and {printable(self.how_to_go_on())}")
        if run.progress.epoch > 1 or run.progress.step:
            say(f"going on in epoch {run.progress.epoch} after {run.progress.step} of {run.steps_per_epoch} steps")
        if run.recipe.backend == "numba":
            say("the first batch compiles the kernels that this machine has not compiled yet; Ctrl-C waits for it")
        smoothed = " (loss: with smoothed labels)" if run.recipe.label_smoothing else ""
        say(f"epoch     loss  accuracy  validation loss  accuracy  seconds{smoothed}")
        for epoch in run.epochs:
            self.show(epoch)

    def fit(self) -> None:
        """Train, with a progress bar on a terminal and a line for each epoch everywhere."""
        run = self.run
        steps, images = run.recipe.epochs * run.steps_per_epoch, len(run.dataset.train.labels)
        narrow = self.console.width < NARROW
        bars = [] if narrow else [BarColumn(bar_width=20)]
        times = TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()
        columns = SpinnerColumn(), *bars, TextColumn("{task.description}"), *times
        progress = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        started, first = time.perf_counter(), (run.progress.epoch - 1) * images + run.progress.seen
        try:
            with progress, signals_deferred() as asked:
                bar = progress.add_task("first batch", total=steps)

                def on_batch(now: Batch) -> None:
                    done = (now.epoch - 1) * images + run.progress.seen - first
                    speed = done / (time.perf_counter() - started)
                    accuracy = "" if narrow else f"  accuracy {now.accuracy:.3f}"
                    text = f"epoch {now.epoch}  loss {now.loss:.3f}{accuracy}  {speed:.0f} images/s"
                    made = (now.epoch - 1) * now.batches + now.batch
                    progress.update(bar, completed=made, description=text)

                run.fit(stop=lambda: asked() is not None, on_batch=on_batch, on_epoch=self.add)
                if asked() is not None:  # during the last validation
                    raise Interrupted
        except OSError as error:
            raise OSError(
                f"the run folder must stay writable, got {error.strerror or error}: {self.how_to_go_on()}"
            ) from None
        except Interrupted:
            print(printable(self.interrupt()), flush=True) if run.writes else None
            raise typer.Exit(128 + (asked() or signal.SIGINT)) from None

    def add(self, epoch: Epoch) -> None:
        """Tell of an epoch."""
        self.show(epoch)
        for name, value in epoch._asdict().items():
            if self.events is not None and name != "epoch":
                self.events.add_scalar(name, value, epoch.epoch)

    def show(self, epoch: Epoch) -> None:
        self.console.print(
            f"{epoch.epoch:5d} {epoch.loss:8.4f} {epoch.accuracy:9.4f} "
            f"{epoch.validation_loss:16.4f} {epoch.validation_accuracy:9.4f} {epoch.seconds:8.2f}"
        )

    def finish(self) -> None:
        """Say how the best weights do on the test images, and draw the run."""
        run = self.run
        test = run.finish()
        best = best_epoch(run.epochs)
        assert best is not None
        confusion = run.confusion(test)
        if self.events is not None:
            self.events.add_scalar("test_accuracy", test.accuracy, best.epoch)
            self.events.close()
        if run.writes:
            title = (
                f"{run.recipe.model} on {run.dataset.name}, seed {run.recipe.seed}: test accuracy {test.accuracy:.4f}"
            )
            curves.draw(
                run.folder / "curves.png", title, run.epochs, best.epoch, confusion, run.dataset.class_names,
                smoothed=run.recipe.label_smoothing > 0,
            )  # fmt: skip
        self.console.print(
            f"test accuracy {test.accuracy:.4f} ({confusion.trace()} of {confusion.sum()}) with the weights of epoch {best.epoch}"
        )

    def interrupt(self) -> str:
        """Keep what there is, and say how to go on."""
        run = self.run
        run.interrupt()
        return (
            f"interrupted after {len(run.epochs)} of {run.recipe.epochs} epochs and {run.progress.step} steps: "
            f"{self.how_to_go_on()}"
        )

    def how_to_go_on(self) -> str:
        return f"npconv train --resume {shlex.quote(str(self.run.folder))} goes on"


@contextlib.contextmanager
def _first_one_speaks(processes: Processes) -> Iterator[None]:
    """Let the other processes wait before they tell of an error, which the first one has told if it is everybody's."""
    try:
        yield
    except Exception:
        if processes.rank:
            time.sleep(1)
        raise


def _share_cores(processes: Processes) -> None:
    """Let the processes of one machine share its cores, before Numba is loaded and takes all of them."""
    if processes.size > 1:
        local = int(os.environ.get("MPI_LOCALNRANKS", os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE", processes.size)))
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        os.environ.setdefault("NUMBA_NUM_THREADS", str(max(1, cores // local)))
