"""`npconv show`: the source of an operator's primitives, the reference and the kernel side by side."""

from __future__ import annotations

import importlib
import inspect
import textwrap
from types import ModuleType
from typing import Annotated

import typer
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

from npconv import files, ops
from npconv.cli.console import table_console
from npconv.cli.errors import one_line
from npconv.cli.output import AsJson, OutFile, write_json
from npconv.cli.words import completion
from npconv.explain import EXPLANATIONS
from npconv.geometry import one_of

SIDE = 100  # columns that a side needs, as code has at most so many


def show(
    op: Annotated[
        str, typer.Argument(metavar="OP", help="An operator, such as conv2d.", autocompletion=completion(EXPLANATIONS))
    ],
    side_by_side: Annotated[
        bool | None,
        typer.Option("--side-by-side/--below", help="How the two stand.", show_default="as the window allows"),
    ] = None,
    as_json: AsJson = False,
    out: OutFile = None,
) -> None:
    """Print the source of an operator and of its gradients: the reference in NumPy, and the kernel in Numba.

    The two have the same names and arguments. An operator that is made of others has its own source alone.
    """
    with one_line(ValueError, ImportError, OSError):
        one_of("OP", op, EXPLANATIONS)
        files.check_target("--out", out)
        twins = [importlib.import_module(f"npconv.{room}") for room in ("reference", "kernels")]
        names = primitives(op, twins[0])
        if names:
            sources = [_sources(name, twins) for name in names]
        else:
            sources = [_sources(name, [ops]) for name in (op, f"{op}_backward")]
        write_json({title: source for some in sources for title, source in some}, as_json, out)
    if as_json:
        return
    console = table_console()
    for some in sources:
        _print(console, some, side_by_side)


def primitives(op: str, reference: ModuleType) -> list[str]:
    """The primitives that are the operator and its gradients: those that begin with its name, but for another operator's."""
    longer = [other for other in EXPLANATIONS if other.startswith(op) and other != op]
    return [
        name
        for name in reference.__all__
        if (name == op or name.startswith(f"{op}_")) and not any(name.startswith(other) for other in longer)
    ]


def _sources(name: str, rooms: list[ModuleType]) -> list[tuple[str, str]]:
    """The function of that name in each of the rooms: where it stands, and its source."""
    sources = []
    for room in rooms:
        function = inspect.unwrap(getattr(room, name))
        place = function.__module__
        sources.append((f"{place}.{name}", textwrap.dedent(inspect.getsource(function)).rstrip()))
    return sources


def _print(console: Console, sources: list[tuple[str, str]], beside: bool | None) -> None:
    """The functions, beside each other where the window has the width."""
    if beside is None:
        beside = console.width >= 2 * SIDE
    if beside and len(sources) > 1:
        table = Table(*(title for title, _ in sources), padding=(0, 1), expand=True)
        table.add_row(*(_coloured(console, source) for _, source in sources))
        console.print(table)
        return
    for title, source in sources:
        console.print(f"# {title}", style="bold")
        console.print(_coloured(console, source), soft_wrap=True)
        console.print()


def _coloured(console: Console, source: str) -> Syntax | str:
    """In colours on a terminal, and as it is anywhere else."""
    return Syntax(source, "python", theme="ansi_light", background_color="default") if console.is_terminal else source
