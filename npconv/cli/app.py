"""The commands of `npconv`, put together."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from npconv import __version__
from npconv.cli import accuracy
from npconv.cli.bench import bench
from npconv.cli.cases import cases
from npconv.cli.check import check
from npconv.cli.compile import compile_kernels
from npconv.cli.config import config
from npconv.cli.explain import explain
from npconv.cli.predict import predict
from npconv.cli.runs import evaluate_run, plot, runs
from npconv.cli.show import show
from npconv.cli.study import study
from npconv.cli.summary import summary
from npconv.cli.sweep import sweep
from npconv.cli.tables import tables
from npconv.cli.train import train

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(train)
app.command()(predict)
app.command("evaluate")(evaluate_run)
app.command()(plot)
app.command()(runs)
app.command()(study)
app.command()(sweep)
app.command()(summary)
app.command()(tables)
app.command()(explain)
app.command()(show)
app.command()(check)
app.command()(cases)
app.command("compile")(compile_kernels)
app.command()(config)
assert accuracy  # a command of `bench`
app.add_typer(bench, name="bench")
for command in (*app.registered_commands, *bench.registered_commands):
    # One line for each paragraph: Typer keeps all line breaks but the first paragraph's, which fit no terminal but our own.
    paragraphs = (inspect.getdoc(command.callback) or "").split("\n\n")
    command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def npconv(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Efficient convolutions, forward and backward, in NumPy and Numba."""
