"""`npconv bench`: operators and networks beside the same work in other frameworks, in one run."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from npconv import files
from npconv.backends import current_backend
from npconv.bench import machine, report
from npconv.bench.cases import DIRECTIONS, Case, cases
from npconv.bench.networks import NETWORK_CASES, PASSES, Network
from npconv.bench.peers import NETWORK_PEERS, PEERS, TORCH_LAYOUTS
from npconv.bench.plot import roofline
from npconv.bench.run import Plan, Row, installed, run
from npconv.cli.console import print_table, table_console
from npconv.cli.errors import FAILED, INTERRUPTED, one_line
from npconv.cli.output import AsJson, OutFile, write_json
from npconv.cli.words import completion, some
from npconv.geometry import nearest, one_of

bench = typer.Typer(no_args_is_help=True, help="Time operators and networks beside other frameworks.")

DTYPES = "float32", "float64"
SPARE = (
    "min..max",
    "of",
    "GB/s",
    "its ms",
    "network",
    "scaling",
    "best peer",
    "GF/s",
)  # for narrow windows, the first first

AnyCase = TypeVar("AnyCase", Case, Network)

Threads = Annotated[
    str, typer.Option(help="How many, or several such as 1,2 for a column of scaling; 0 is one per core.")
]
Dtype = Annotated[str, typer.Option(metavar="|".join(DTYPES), autocompletion=completion(DTYPES))]
Rounds = Annotated[int, typer.Option(min=1, help="How often the frameworks take turns.")]
Seconds = Annotated[float, typer.Option(min=0.0, help="How long a turn is.")]
Filter = Annotated[
    str, typer.Option(help="A regular expression; only operators, networks and shapes that have it are timed.")
]


@bench.command()
def ops(
    direction: Annotated[
        str,
        typer.Option(
            help=f"Some of {','.join(DIRECTIONS)}; backward is all gradients at once.",
            autocompletion=completion(DIRECTIONS, several=True),
        ),
    ] = "forward,backward",
    threads: Threads = "0",
    dtype: Dtype = "float32",
    filter: Filter = "",
    peers: Annotated[
        str | None,
        typer.Option(
            help=f"Some of {','.join(PEERS)}, or '' for none; by default all that are installed.",
            autocompletion=completion(PEERS, several=True),
        ),
    ] = None,
    rounds: Rounds = 5,
    seconds: Seconds = 0.1,
    as_json: AsJson = False,
    out: OutFile = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw a roofline with every shape on it.")
    ] = None,
) -> None:
    """Time every convolution, forward and backward, in the shapes that the networks have.

    Each framework runs in a process of its own, and values are compared before anything is timed. A ratio is the other
    framework's time by npconv's: above 1, npconv is faster.
    """
    with one_line(ValueError, ImportError, OSError):
        current_backend()  # which a word in the environment may have made impossible
        directions = some("--direction", direction, DIRECTIONS)
        picked = _filtered(filter, cases())
        chosen = _peers(peers, PEERS)
        plan = Plan(picked, directions, chosen, _threads(threads), _dtype(dtype), rounds, seconds)
        files.check_target("--out", out)
        files.check_target("--plot", plot)
    _time(plan, as_json, out, plot)


@bench.command()
def networks(
    direction: Annotated[
        str,
        typer.Option(
            help=f"Some of {','.join(PASSES)}; a step is forward, backward and an SGD update.",
            autocompletion=completion(PASSES, several=True),
        ),
    ] = "forward,step",
    threads: Threads = "0",
    dtype: Dtype = "float32",
    filter: Filter = "",
    peers: Annotated[
        str,
        typer.Option(
            help=f"Some of {','.join(NETWORK_PEERS)}, or '' for none.",
            autocompletion=completion(NETWORK_PEERS, several=True),
        ),
    ] = ",".join(TORCH_LAYOUTS),
    rounds: Rounds = 5,
    seconds: Seconds = 0.5,
    as_json: AsJson = False,
    out: OutFile = None,
) -> None:
    """Time whole networks beside the same networks in PyTorch: predicting a batch, and one training step.

    A forward is npconv's with batch norms folded into the convolutions, as `predict` does it, beside PyTorch's modules in
    evaluation mode.

    Tiny networks have 64 images of 32 x 32, the others 8 of 224 x 224. Values are compared before anything is timed: logits,
    loss and gradients, in float64. With the peer torch_compile PyTorch compiles them first, which takes minutes.
    """
    with one_line(ValueError, ImportError, OSError):
        current_backend()  # which a word in the environment may have made impossible
        directions = some("--direction", direction, PASSES)
        picked = _filtered(filter, NETWORK_CASES)
        chosen = _peers(peers, NETWORK_PEERS)
        plan = Plan(picked, directions, chosen, _threads(threads), _dtype(dtype), rounds, seconds)
        files.check_target("--out", out)
    _time(plan, as_json, out, None)


def _time(plan: Plan, as_json: bool, out: Path | None, plot: Path | None) -> None:
    """Run the plan and say what came out; after Ctrl-C, what came out so far."""
    console = table_console(quiet=as_json)
    rows: list[Row] = []
    machines: report.Machines = {}
    interrupted = False
    with _progress() as progress:
        bar = progress.add_task("the machine itself", total=len(plan.rows))
        try:
            for number in plan.threads:
                machines[number] = machine.measure(number, plan.dtype)
            progress.update(bar, description="starting the frameworks")
            for together in run(plan):
                rows += together
                progress.update(bar, advance=1, description=f"{rows[-1].case.op} {rows[-1].direction}")
        except KeyboardInterrupt:
            interrupted = True
    if rows:
        _print(console, rows, machines, plan.dtype)
        with one_line(ValueError, OSError, status=FAILED):
            write_json(report.as_json(rows, machines, plan.dtype), as_json, out)
            if plot is not None:
                roofline(plot, rows, machines[max(machines)], plan.dtype)
    if interrupted:
        print(f"interrupted after {len(rows) // len(plan.threads)} of {len(plan.rows)} cases", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)


def _print(console: Console, rows: list[Row], machines: report.Machines, dtype: str) -> None:
    # Rows of one operator are told apart by their networks, others by operator and shape.
    one = len({row.case.op for row in rows}) == 1
    spare = ("op", *(heading for heading in SPARE if heading != "network")) if one else SPARE
    print_table(console, report.table(rows, machines, dtype), spare=spare)
    for line in report.problems(rows):
        console.print(line)
    console.print()
    console.print("ratios to each: geometric mean (least, number of shapes)")
    print_table(console, report.means(rows, machines), spare=("rows",))
    console.print()
    for line in [
        *report.notes(rows),
        *report.shares(rows, machines, dtype),
        *report.machine_lines(machines, dtype),
        *report.scalings(rows, machines),
    ]:
        console.print(line)


def _progress() -> Progress:
    columns: list[Any] = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    ]
    return Progress(*columns, console=Console(stderr=True))


# --- options -----------------------------------------------------------------------------------------------------


def _filtered(pattern: str, known: Sequence[AnyCase]) -> list[AnyCase]:
    """Those of the known cases in whose operator, network and shape the pattern is found."""
    try:
        chosen = [case for case in known if re.search(pattern, f"{case.op} {case.network} {case.shape}")]
    except re.error as error:
        raise ValueError(f"--filter must be a regular expression, got {pattern!r}: {error}") from None
    if not chosen:
        names = dict.fromkeys(case.op for case in known)
        if len(names) == 1:
            names = dict.fromkeys(case.network for case in known)
        raise ValueError(
            f"--filter must match an operator, a network or a shape, such as {', '.join(names)}, got {pattern!r}"
            + nearest(pattern, names)
        )
    return chosen


def _peers(given: str | None, known: Mapping[str, str]) -> tuple[str, ...]:
    """The frameworks to time: those given, or all that are installed; the empty text is npconv alone."""
    if given is None:
        return tuple(peer for peer in known if installed(peer))
    chosen = some("--peers", given, tuple(known)) if given else ()
    for peer in chosen:
        if not installed(peer):
            raise ValueError(f"--peers must be installed frameworks, got {peer!r}")
    return chosen


def _threads(given: str) -> tuple[int, ...]:
    """The numbers of threads in rising order, 0 having become that of the cores."""
    cores = os.cpu_count() or 1
    try:
        numbers = tuple(dict.fromkeys(int(word) or cores for word in given.split(",")))
    except ValueError:
        numbers = ()
    if not numbers or not all(0 < number <= cores for number in numbers):
        raise ValueError(f"--threads must be numbers from 0 (all) to {cores}, such as 1,{cores}, got {given!r}")
    return tuple(sorted(numbers))


def _dtype(given: str) -> str:
    return one_of("--dtype", given, DTYPES)
