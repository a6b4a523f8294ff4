"""`npconv check`: is another implementation right, how right, and which arithmetic does it use?"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from npconv import __version__, files
from npconv.backends import current_backend
from npconv.cli.console import print_table, table_console
from npconv.cli.errors import FAILED, INTERRUPTED, one_line
from npconv.cli.output import AsJson, OutFile, write_json
from npconv.cli.subjects import isolated, print_adapters
from npconv.cli.words import completion, some
from npconv.geometry import integer, one_of, positive
from npconv.printable import printable

if TYPE_CHECKING:  # they load half of npconv, which no other command needs
    from npconv.check import Report
    from npconv.check.isolation import Description, Isolated

DTYPES = "float16", "bfloat16", "float32", "float64"


def check(
    subjects: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SUBJECT",
            help="Frameworks, see --list, or module:function of your own.",
            autocompletion=completion("npconv.check.adapters:known"),
        ),
    ] = None,
    op: Annotated[
        list[str] | None,
        typer.Option(
            help="The operator to check; repeatable.",
            show_default="all it has",
            autocompletion=completion("npconv.check.hard:OPERATORS"),
        ),
    ] = None,
    backward: Annotated[
        str | None, typer.Option(metavar="MODULE:FUNCTION", help="The gradients of your own function.")
    ] = None,
    cases: Annotated[int, typer.Option(help="How many problems for each operator.")] = 300,
    networks: Annotated[
        bool, typer.Option("--networks", help="Check the layers of the papers' networks at their real size, too.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the random problems.")] = 0,
    dtype: Annotated[
        str, typer.Option(help=f"Of all arrays: {', '.join(DTYPES)}.", autocompletion=completion(DTYPES))
    ] = "float32",
    arithmetic: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Judge by float16, bfloat16, tf32, float32, float64, winograd-2x2, winograd-4x4, fft, or both: tf32+fft.",
            show_default="as --dtype",
            autocompletion=completion("npconv.testing.precision:names"),
        ),
    ] = None,
    modes: Annotated[
        str,
        typer.Option(
            help="What is compared, any of the three.",
            autocompletion=completion("npconv.check.comparison:MODES", several=True),
        ),
    ] = "exact,bound,adjoint",
    timeout: Annotated[float, typer.Option(help="Seconds that a single call may take.")] = 30.0,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", help="Processes that share the cases; the report is the same.")
    ] = 1,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Where it computes, such as cuda:0: torch, jax, functions of tensors."),
    ] = None,
    fingerprint: Annotated[bool, typer.Option(help="Find out which arithmetic the convolution uses.")] = True,
    as_json: AsJson = False,
    out: OutFile = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with tables and pictures.")] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a JUnit file, for continuous integration.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Judge what a program wrote for the files of npconv cases.")
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="Print a function of --op to fill in: numpy, torch, jax or c.",
            autocompletion=completion("npconv.check.templates:KINDS"),
        ),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Print the known frameworks and their versions.")] = False,
) -> None:
    """Check other implementations of the operators against npconv, each in a process of its own.

    exact: whole numbers, whose sums are the same in any order, must be equal. bound: real numbers may be off by what
    rounding explains: that of --dtype, or of the --arithmetic that is declared, whose factors and results are rounded to its
    format and whose sums are in float32 or better, or whose 3x3 convolutions are by winograd-2x2 or -4x4, or all by fft. adjoint: the gradients must fit to the forward, whatever npconv thinks of either.

    suspect: right, but less so than chance would have it. worst: the largest error in units of the rounding bound. bits:
    those that a result can be relied on for.

    A function of yours is called as that of npconv, forward(x, w, b, stride=..., ...) and backward(dy, x, w, b, ...), on NumPy
    arrays. It is asked only for what it has parameters for; padding comes as ((top, bottom), (left, right)) unless its default
    is a word; what raises NotImplementedError is declined. --template prints one to fill in.

    What was examined is said with each verdict, by feature and level; the page has it as a table.

    The exit status is 0 where all is equal, 1 where anything differs or nothing could be examined of an operator, and 2 where the
    command cannot be carried out.
    """
    console = table_console(quiet=as_json)
    if list_:
        print_adapters(console)
        return
    if template is not None:
        with _bad_usage():
            from npconv.check.templates import template as filled_in

            print(filled_in(template, (op or ["conv2d"])[0]))
        return
    if results is not None:
        with _bad_usage():
            if subjects:
                raise ValueError(f"--results goes without SUBJECT, got {subjects[0]}")
            _judge_files(console, results, as_json, out, html, junit)
        return
    with contextlib.ExitStack() as stack:
        with _bad_usage():
            from npconv.check import MODES

            chosen = some("--modes", modes, MODES)
            one_of("--dtype", dtype, DTYPES)
            if arithmetic is not None:
                from npconv.testing.precision import names

                one_of("--arithmetic", arithmetic, names())
            integer("--cases", cases, minimum=1)
            integer("--seed", seed, minimum=0)
            positive("--timeout", timeout)
            integer("--jobs", jobs, minimum=1)
            files.check_target("--out", out)
            files.check_target("--html", html)
            files.check_target("--junit", junit)
            current_backend()  # which a word in the environment may have made impossible
            found = [stack.enter_context(one) for one in isolated(subjects or [], op or [], backward, timeout, device)]
        settings = {"cases": cases, "seed": seed, "dtype": dtype, "modes": chosen, "declared": arithmetic}
        settings["networks"] = networks
        checking = Checking(console, found, op or [], settings, jobs=jobs, fingerprint=fingerprint)
        try:
            with _bad_usage():
                checking.load()
            checking.run()
        except KeyboardInterrupt:
            checking.interrupted = True
        checking.conclude()
        with _bad_usage():
            write_json(checking.as_dict(), as_json, out)
            if html is not None:
                files.write(html, checking.as_html())
            _write_junit(junit, checking.reports)
    if checking.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not all(report.ok for report in checking.reports):
        raise typer.Exit(FAILED)


def _judge_files(
    console: Console, folder: Path, as_json: bool, out: Path | None, html: Path | None, junit: Path | None
) -> None:
    """Print the report on golden files, and end as the verdict says."""
    from npconv.check.golden import judge
    from npconv.check.html import page

    files.check_target("--out", out)
    files.check_target("--html", html)
    files.check_target("--junit", junit)
    report = judge(folder)
    console.print(str(report), soft_wrap=True, markup=False, highlight=False)
    write_json(json.loads(report.to_json()), as_json, out)
    if html is not None:
        files.write(html, page([report]))
    _write_junit(junit, [report])
    if not report.ok:
        raise typer.Exit(FAILED)


def _write_junit(file: Path | None, reports: Sequence[Report]) -> None:
    if file is not None:
        from npconv.check.junit import junit

        files.write(file, junit(reports))


class Checking:
    """The subjects and operators that were asked for, and the reports so far."""

    def __init__(
        self,
        console: Console,
        subjects: list[Isolated],
        ops: list[str],
        settings: dict[str, Any],
        *,
        jobs: int,
        fingerprint: bool,
    ) -> None:
        self.console = console
        self.settings = settings
        self.jobs = jobs
        self.fingerprint = fingerprint
        self.interrupted = False
        self.reports: list[Report] = []
        self._subjects = subjects
        self._ops = ops
        self._told: list[Description] = []

    def load(self) -> None:
        """Import all subjects, each in its process: what is missing is found before an hour has gone by."""
        for subject in self._subjects:
            with self.console.status(escape(printable(f"loading {subject.name}"))):
                self._told.append(subject.describe())
        for op in self._ops:
            if not any(op in told.directions for told in self._told):
                raise ValueError(f"--op must be an operator that {' or '.join(map(str, self._told))} has, got {op!r}")

    def run(self) -> None:
        """Check one subject after the other, and print each as soon as it is known."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        progress = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        pairs = zip(self._subjects, self._told, strict=True)
        work = [(subject, told, self._wanted(told)) for subject, told in pairs]
        with progress:
            bar = progress.add_task("", total=self.settings["cases"] * sum(len(ops) for _, _, ops in work))
            for subject, told, ops in work:
                self.console.print(f"{told}", style="bold")
                before = len(self.reports)
                try:
                    for op in ops:
                        progress.update(bar, description=printable(f"{told} {op}"))
                        self.reports.append(
                            subject.check(
                                op, jobs=self.jobs, progress=lambda done, _: progress.advance(bar), **self.settings
                            )
                        )
                        if self.reports[-1].interrupted:
                            raise KeyboardInterrupt
                    if self.fingerprint:
                        progress.update(bar, description=printable(f"{told} arithmetic"))
                        self._take_fingerprint(subject, before)
                finally:
                    self._print(told, self.reports[before:])

    def _wanted(self, told: Description) -> list[str]:
        """The operators to check of one subject, which has not all of them."""
        return [op for op in self._ops or told.directions if op in told.directions]

    def _take_fingerprint(self, subject: Isolated, first: int) -> None:
        """Add the arithmetic of its convolution to the report from the one numbered `first` on that is of such an operator."""
        from npconv.check.arithmetic import fingerprint
        from npconv.check.contract import Contract
        from npconv.check.subject import OPERATORS

        for place, report in enumerate(self.reports[first:], first):
            if report.op in OPERATORS:
                forward, by_threads = subject.forward(report.op), subject.by_threads(report.op)
                contract = Contract.of(forward, report.op, "forward")
                arithmetic = fingerprint(
                    contract.called(forward),
                    op=report.op,
                    dtype=self.settings["dtype"],
                    by_threads={count: contract.called(one) for count, one in by_threads.items()},
                )
                self.reports[place] = dataclasses.replace(report, arithmetic=arithmetic)
                return

    def _print(self, told: Description, reports: Sequence[Report]) -> None:
        """What there is to say of one subject."""
        from npconv.check.html import bits_text, verdict, worst_text

        table = Table("operator", "direction", "mode", box=None, pad_edge=False)
        for heading in ("cases", "failed", "suspect", "unsupported", "worst", "bits"):
            table.add_column(heading, justify="right")
        for report in reports:
            for place, result in enumerate(report.results):
                table.add_row(
                    "" if place else report.op,
                    result.direction,
                    result.mode,
                    *map(str, (result.cases, result.failed, result.suspicious, result.unsupported)),
                    worst_text(result),
                    bits_text(result),
                    style="bold red" if result.failed else "",
                )
        if reports:
            print_table(self.console, table, spare=("bits", "suspect", "unsupported"))
        for report in reports:
            if report.coverage is not None:
                self._line(
                    f"{report.op} {report.verdict} in {report.coverage.cases} cases; {report.coverage.sentence()}"
                )
            for message, count in report.unsupported.items():
                self._line(f"{report.op} declined, {count} times: {message}")
            for sentence, count in report.choices.items():
                self._line(f"{report.op} choice, {count} times: {sentence}")
        for report in reports:
            if report.arithmetic is not None:
                self._line(f"{report.op} arithmetic: {report.arithmetic}")
        for failure in (failure for report in reports for failure in report.failures):
            self.console.print()
            self._line(
                f"{failure.case.op} {failure.direction}, {failure.mode}, {failure.kind}: {failure.message}", "red"
            )
            self._line(f"in {failure.occurrences} cases, such as {failure.case}")
            for other in failure.also:
                self._line(f"it also shows {other}")
            self._line(failure.reproduction.rstrip())
        for op in self._ops:
            if op not in told.directions:
                self._line(f"{told} has no {op}")
        self.console.print(f"{told}: {verdict(reports)}\n", style="bold")

    def _line(self, text: str, style: str = "") -> None:
        self.console.print(text, style=style, soft_wrap=True)

    def conclude(self) -> None:
        """Say in a line how it went."""
        cases, found = sum(report.cases for report in self.reports), []
        for verdict in ("different", "nothing examined"):
            named = [f"{report.subject} {report.op}" for report in self.reports if report.verdict == verdict]
            found += [f"{verdict}: {', '.join(named)}"] if named else []
        ended = "interrupted; " if self.interrupted else ""
        self._line(f"{ended}{cases} cases, {'; '.join(found) or 'nothing differs'}")

    def as_dict(self) -> dict[str, Any]:
        """Everything, for other programs."""
        return {
            "npconv": __version__,
            **self.settings,
            "interrupted": self.interrupted,
            "ok": not self.interrupted and bool(self.reports) and all(report.ok for report in self.reports),
            "subjects": [
                {
                    "name": told.name,
                    "version": told.version,
                    "settings": told.settings,
                    "reports": [json.loads(report.to_json()) for report in self.reports if report.subject == str(told)],
                }
                for told in self._told
            ],
        }

    def as_html(self) -> str:
        """The page."""
        from npconv.check.html import page

        settings = [
            f"{told}: {', '.join(f'{name} {value}' for name, value in told.settings.items())}"
            for told in self._told
            if told.settings
        ]
        python = ".".join(map(str, sys.version_info[:3]))
        notes = [shlex.join(["npconv", *sys.argv[1:]]), f"npconv {__version__}, Python {python}", *settings]
        return page(self.reports, notes=notes)


def _bad_usage() -> contextlib.AbstractContextManager[None]:
    """What the command cannot do is not what it finds: that has an exit status of its own."""
    return one_line(ValueError, TypeError, ImportError, OSError)
