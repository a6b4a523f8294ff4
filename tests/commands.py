"""The command line, called: in this process, or as a process of its own."""

from __future__ import annotations

import contextlib
import functools
import io
import sys

import pytest
import typer

from npconv.cli.app import app


@functools.cache
def _commands() -> typer.core.TyperGroup:
    """All commands as `app` makes them from its functions at every call, which takes longer than most calls."""
    return typer.main.get_command(app)


def call(*words: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the command, in this process."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr), pytest.raises(SystemExit) as end:
        _commands()([str(word) for word in words], prog_name="npconv")
    assert isinstance(end.value.code, int)
    return end.value.code, stdout.getvalue(), stderr.getvalue()


def command(*arguments: object) -> list[str]:
    """The command as a process of its own, which takes SIGINT whatever started it thinks of that."""
    start = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import npconv.cli; npconv.cli.main()"
    )
    return [sys.executable, "-c", start, *map(str, arguments)]
