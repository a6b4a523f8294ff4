"""Signals that end a process, put off until there is something whole to keep."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

ENDING = signal.SIGINT, signal.SIGTERM


@contextlib.contextmanager
def signals_deferred() -> Iterator[Callable[[], int | None]]:
    """Give a function that says which of `ENDING` has come, or None; a second one of its kind is not put off.

    A batch is over soon, half of one leaves no network worth keeping, and Numba loses an interrupt while it compiles.
    """
    before: dict[int, Any] = {number: signal.getsignal(number) for number in ENDING}
    came: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        came.append(number)
        signal.signal(number, before[number])

    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:  # as for a job in the background
                signal.signal(number, remember)
        yield lambda: came[0] if came else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
