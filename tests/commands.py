"""The command line, called: in this process, or as a process of its own."""

from __future__ import annotations

import contextlib
import io
import sys

import pytest

from npconv.cli.app import app


def call(*words: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the command, in this process."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr), pytest.raises(SystemExit) as end:
        app([str(word) for word in words], prog_name="npconv")
    assert isinstance(end.value.code, int)
    return end.value.code, stdout.getvalue(), stderr.getvalue()


def command(*arguments: object) -> list[str]:
    """The command as a process of its own, which takes SIGINT whatever started it thinks of that."""
    start = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import npconv.cli; npconv.cli.main()"
    )
    return [sys.executable, "-c", start, *map(str, arguments)]
