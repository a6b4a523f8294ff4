"""What a user sees when something is wrong: one line on stderr and a non-zero exit status, never a traceback.

The status is 2 where a command cannot be carried out as it was given, whether a word is misspelt, a value is out of range, or
a file or a package is missing; and 1 where it was carried out, and failed or found a difference.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import typer

BAD_USAGE, FAILED, INTERRUPTED = 2, 1, 130  # exit statuses


@contextlib.contextmanager
def one_line(*kinds: type[Exception], status: int = BAD_USAGE) -> Iterator[None]:
    """End the command with this exit status and the error's own sentence if the block raises one of `kinds`."""
    try:
        yield
    except kinds as error:
        print(f"npconv: {error}", file=sys.stderr)
        raise typer.Exit(status) from None


def check_output(option: str, path: Path | None) -> None:
    """Raise, before minutes of work and not after them, unless `path` may become a file; None is no file at all."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise ValueError(f"{option} must be a file in a folder that exists, got {path}")
