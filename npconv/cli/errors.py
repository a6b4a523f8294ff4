"""What a user sees when something is wrong: one line on stderr and a non-zero exit status, never a traceback."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import typer


@contextlib.contextmanager
def one_line(*kinds: type[Exception], status: int = 1) -> Iterator[None]:
    """End the command with this exit status and the error's own sentence if the block raises one of `kinds`."""
    try:
        yield
    except kinds as error:
        print(f"npconv: {error}", file=sys.stderr)
        raise typer.Exit(status) from None
