"""Who waits while loops are compiled is told why, once it has taken a second: a first call may take half a minute.

Of Numba's inner workings this file reads the dispatcher's compiler, as `linking` does.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

PATIENCE = 1.0  # seconds of compiling in this process, all loops together, before anything is said
QUIET = "NPCONV_QUIET"  # the variable that turns it off

_spent = 0.0
_told = threading.Event()


def _tell() -> None:
    if not _told.is_set():
        _told.set()
        print("npconv: compiling kernels, once per machine; `npconv compile` does all of them ahead", file=sys.stderr, flush=True)  # fmt: skip


@contextlib.contextmanager
def announced() -> Iterator[None]:
    """Tell on stderr, once in a process, that loops are being compiled, when they have taken longer than PATIENCE."""
    global _spent
    if _told.is_set() or os.environ.get(QUIET, "0").strip() not in ("", "0"):
        yield
        return
    timer = threading.Timer(max(PATIENCE - _spent, 0), _tell)
    timer.daemon = True
    started = time.perf_counter()
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        _spent += time.perf_counter() - started


def announce(dispatcher: Any) -> None:
    """Let it be told when this loop is compiled, and not read from disk."""
    compiler = dispatcher._compiler
    plain_compile = compiler.compile

    def compile_announced(arguments: Any, return_type: Any) -> Any:
        with announced():
            return plain_compile(arguments, return_type)

    compiler.compile = compile_announced
