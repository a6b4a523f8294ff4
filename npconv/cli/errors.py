"""What a user sees when something is wrong: one line on stderr and a non-zero exit status, never a traceback.

The status is 2 where a command cannot be carried out as it was given, whether a word is misspelt, a value is out of range, or
a file or a package is missing; and 1 where it was carried out, and failed or found a difference.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import typer

from npconv.printable import printable

BAD_USAGE, FAILED, INTERRUPTED = 2, 1, 130  # exit statuses


@contextlib.contextmanager
def one_line(*kinds: type[Exception], status: int = BAD_USAGE) -> Iterator[None]:
    """End the command with this exit status and the error's own sentence if the block raises one of `kinds`.

    Too little memory may show itself anywhere, so MemoryError is always one of them.
    """
    caught: tuple[type[Exception], ...] = (*kinds, MemoryError)
    try:
        yield
    except caught as error:
        sentence = str(error) or "there is too little memory"  # Python's own MemoryError says nothing
        print(f"npconv: {printable(sentence)}", file=sys.stderr)
        raise typer.Exit(status) from None
