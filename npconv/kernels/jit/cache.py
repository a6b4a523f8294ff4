"""Compiled loops on disk: made once per machine, read back in milliseconds, and never older than their sources.

Of Numba's inner workings this file extends `FunctionCache`, whose implementation finds the folder, packs code and unpacks it, and
starts the runtime that allocates inside loops, which Numba does only when it compiles.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

FOLDER = "npconv-kernels"  # below the one that Numba chooses, which a group may share
DIGEST_BYTES = hashlib.sha256().digest_size


def _sources() -> bytes:
    """A hash of all that a loop can be made of: the kernels, the geometries, whose fields they take, and memory's constants."""
    package = Path(__file__).parents[2]
    files = [package / "memory.py", *sorted(package.glob("kernels/**/*.py")), *sorted(package.glob("geometry/**/*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).digest()


# When they are imported: what is compiled later is made of these, even if they are edited
# meanwhile.
SOURCES = _sources()


class LoopCache(FunctionCache):  # type: ignore[misc]  # Numba has no types
    """Numba's cache of one function, which finds the folder and packs the code, but for four things.

    - A loop has functions of other files compiled into it, of which Numba's own cache would not notice an edit: here code
      is as old as the oldest of all kernels' sources.
    - What is read is unpickled, so that whoever writes it can run any code: it lies in a folder of its own, to which nobody but
      the user (and root) can write. Otherwise nothing is read or kept there.
    - Each signature has a file of its own, named after it and written whole. Numba numbers them in an index, where two
      processes that compile at once can take the same number for different code.
    - Numba fills its tables for compiling before it reads back code that needs none of them: 0.25 s of a first call's 0.3.

    An edit is compiled into the same file again, so the folder does not grow with the history of the sources.
    """

    def __init__(self, loop: Callable[..., None], variant: str) -> None:
        super().__init__(loop)
        self._stem = f"{loop.__module__}.{loop.__qualname__}-{variant}"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled loop, or None where there is none, or one of other sources, or half of one."""
        try:
            stored = _read(self._path(sig, target_context.codegen()))
        except OSError:
            return None
        code = stored[DIGEST_BYTES:]
        if stored[:DIGEST_BYTES] != _digest(code):
            return None
        rtsys.initialize(target_context)  # allocation inside loops
        return self._impl.rebuild(target_context, pickle.loads(code))

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled loop, if that is possible: to go without it costs time and nothing else."""
        if not self._impl.check_cachable(data):
            return
        path, code = self._path(sig, data.codegen), dumps(self._impl.reduce(data))
        unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            if _nobody_else_writes(path.parent.stat()):
                with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
                    file.write(_digest(code) + code)
                unfinished.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                unfinished.unlink()

    def flush(self) -> None:
        """Forget what is kept of this loop."""
        for path in Path(self.cache_path, FOLDER).glob(f"{self._stem}-*"):
            path.unlink(missing_ok=True)

    def _path(self, sig: Any, codegen: Any) -> Path:
        """One file for each signature, processor, Numba, LLVM and Python."""
        versions = numba.__version__, llvmlite.__version__, sys.implementation.cache_tag
        name = hashlib.sha256(repr((self._index_key(sig, codegen), versions)).encode()).hexdigest()[:16]
        return Path(self.cache_path, FOLDER, f"{self._stem}-{name}.nbc")


def keep_on_disk(dispatcher: Any, variant: str) -> None:
    """Let a compiled loop outlive the process, if any folder can be written: $NUMBA_CACHE_DIR, the sources' __pycache__, the user's."""
    with contextlib.suppress(RuntimeError):  # no such folder
        dispatcher._cache = LoopCache(dispatcher.py_func, variant)


def _read(path: Path) -> bytes:
    """The contents of a file; OSError where somebody else may have written them."""
    with path.open("rb") as file:
        if not (_nobody_else_writes(os.fstat(file.fileno())) and _nobody_else_writes(path.parent.stat())):
            raise PermissionError(f"others can write {path}")
        return file.read()


def _nobody_else_writes(status: os.stat_result) -> bool:
    """Whether a file or folder is the user's own, or root's, and neither its group nor others may write it."""
    if not hasattr(os, "geteuid"):  # Windows, where each user's own folder is closed to others
        return True
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022


def _digest(code: bytes) -> bytes:
    return hashlib.sha256(SOURCES + code).digest()
