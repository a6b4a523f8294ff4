"""The implementation that is checked, in a process of its own: whatever it does there, the check goes on.

    with Isolated("torch") as subject:
        report = subject.check("conv2d", cases=300)

To the caller it is as if the functions ran here: their values, their exceptions, and what they do to the arrays that they
are given.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from npconv.check.adapters import ADAPTERS, Unsupported, load
from npconv.check.report import Report
from npconv.check.running import run
from npconv.geometry import Array
from npconv.testing import Tree, named_arrays
from npconv.workers import Worker, WorkerError, find

LOADING_TIMEOUT = 300.0  # seconds: TensorFlow's import alone may take half a minute on a busy machine
PATIENCE = {"hang": 3, "death": 10}  # of an operator and direction: each costs a timeout, or another import


class Description(NamedTuple):
    """What a subject says of itself."""

    name: str
    directions: dict[str, tuple[str, ...]]
    """Operator -> those of "forward" and "backward" that it has."""
    version: str = ""
    settings: dict[str, str] = {}  # noqa: RUF012 (a tuple's fields are not shared)
    """Of its arithmetic, such as the number of threads."""
    threads: tuple[int, ...] = ()
    """Numbers of threads that it can be told to use; none where it cannot be told."""

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


class Isolated:
    """An adapter, by its name, or a user's function, as "module:function", whose calls run in another process.

    The process is started by the first call, and a new one where it was lost. Where an operator's forward or backward
    has exhausted `PATIENCE`, it is called no more: that is Unsupported.

    Parameters
    ----------
    name : str
        One of `npconv.check.adapters.ADAPTERS`, or "module:function", which is looked for in the current folder too.
    op : str, optional
        The operator that a user's function is; it is called as npconv's own is. Adapters know theirs.
    backward : str, optional
        "module:function" of its gradients, called as npconv's own backward is.
    timeout : float
        Seconds that a call may take. Importing the framework or the user's module does not count.

    Raises
    ------
    ValueError
        `name` is neither, or `op` and `backward` do not fit to what it is.
    """

    def __init__(self, name: str, *, op: str | None = None, backward: str | None = None, timeout: float = 30.0) -> None:
        self.is_adapter = ":" not in name
        if self.is_adapter:
            if name not in ADAPTERS:
                raise ValueError(f"a subject must be one of {', '.join(ADAPTERS)}, or module:function, got {name!r}")
            if backward is not None:
                raise ValueError(f"backward goes with a function of yours, got {backward!r} for {name}")
        else:
            from npconv.testing.strategies import OPERATORS  # here: the other process needs no Hypothesis

            if op not in OPERATORS:
                raise ValueError(f"op must say which of {', '.join(OPERATORS)} {name} is, got {op!r}")
            for function in (name, backward or name):
                if not all(function.partition(":")):
                    raise ValueError(f"a function is named as module:function, got {function!r}")
        self.name = name
        self._op = op
        self._functions = {"forward": name, "backward": name if self.is_adapter else backward}
        self._worker = Worker(timeout=timeout)
        self._description: Description | None = None
        self._lost: Counter[tuple[str, str, str]] = Counter()

    def describe(self) -> Description:
        """Its name and version and what it can do; imports it, in its process, where that is not done yet.

        Raises ImportError where it cannot be imported, whatever the reason.
        """
        if self._description is None:
            functions = [function for function in self._functions.values() if function is not None]
            try:
                told = self._worker.call(f"{__name__}:described", functions, self._op, timeout=LOADING_TIMEOUT)
            except WorkerError as error:
                reason = str(error).partition("\n")[0]
                raise ImportError(f"{self.name} cannot be loaded: {error.name or error.kind}: {reason}") from None
            self._description = Description(*told)
        return self._description

    def forward(self, op: str) -> Callable[..., Tree]:
        """``forward(*args, **options)``, as `npconv.ops` has it, in the other process."""
        return self._caller(op, "forward")

    def backward(self, op: str) -> Callable[..., Tree]:
        """``backward(dy, *args, **options)``, likewise."""
        return self._caller(op, "backward")

    def by_threads(self, op: str) -> dict[int, Callable[..., Tree]]:
        """`forward` on several numbers of threads; empty where the number cannot be set."""
        return {count: self._caller(op, "forward", count) for count in self.describe().threads}

    def source(self, op: str, options: dict[str, Any], direction: str) -> str:
        """An adapter's own lines of code that make the same call without npconv."""
        self.describe()
        return str(self._worker.call(f"{__name__}:sourced", self.name, op, options, direction))

    def check(self, op: str, **settings: Any) -> Report:
        """The report of `npconv.check.run` on what it has of the operator `op`; `settings` are as there.

        Raises ImportError as `describe`, and ValueError where it has nothing of `op`.
        """
        told = self.describe()
        if op not in told.directions:
            raise ValueError(f"op must be one of {', '.join(told.directions)}, which {told} has, got {op!r}")
        forward, backward = (
            self._caller(op, direction) if direction in told.directions[op] else None
            for direction in ("forward", "backward")
        )
        source = self.source if self.is_adapter else None
        return run(op, forward=forward, backward=backward, subject=str(told), source=source, **settings)

    def close(self) -> None:
        """End the process."""
        self._worker.close()
        self._description = None

    def __enter__(self) -> Isolated:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _caller(self, op: str, direction: str, threads: int | None = None) -> Callable[..., Tree]:
        function = self._functions[direction]
        assert function is not None

        def call(*args: Tree, **options: Any) -> Tree:
            for kind, most in PATIENCE.items():
                if self._lost[op, direction, kind] >= most:
                    raise Unsupported(f"not called any more: {most} calls ended in a {kind}")
            self.describe()
            try:
                asked = function, op, direction, args, options, threads
                value, changes = self._worker.call(f"{__name__}:called", *asked)
            except WorkerError as error:
                if error.name == Unsupported.__name__:
                    raise Unsupported(str(error)) from None
                if error.kind == "exception":
                    raise
                self._description = None
                self._lost[op, direction, error.kind] += 1
                message = str(error).replace(f"{__name__}:called", function)
                raise WorkerError(error.kind, message, details=error.details) from None
            for array, change in zip(_arrays(args, options), changes, strict=True):
                if change is not None:
                    array[...] = change
            return value

        # For reproductions: it is to be imported from where the user's function is.
        call.__module__, _, call.__qualname__ = function.partition(":")
        return call


# --- in the other process ----------------------------------------------------------------------------------------


def described(functions: list[str], op: str) -> tuple[Any, ...]:
    """The fields of a `Description`; what they are of is imported."""
    first = functions[0]
    if ":" in first:
        for function in functions:
            if not callable(find(function)):
                raise TypeError(f"{function} is not callable")
        return first, {op: ("forward", "backward")[: len(functions)]}
    adapter = load(first)
    settings = adapter.arithmetic_settings() if hasattr(adapter, "arithmetic_settings") else {}
    threads = sorted({1, 2, _cores()}) if hasattr(adapter, "on_threads") and _cores() > 1 else ()
    directions = {name: adapter.DIRECTIONS[name] for name in adapter.OPERATORS}
    return adapter.NAME, directions, adapter.version(), settings, tuple(threads)


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def called(
    function: str,
    op: str,
    direction: str,
    args: tuple[Tree, ...],
    options: dict[str, Any],
    threads: int | None = None,
) -> tuple[Tree, list[Array | None]]:
    """The value of one call, and for each array that it was given the new numbers, or None where they are as before."""
    arrays = [array.view() for array in _arrays(args, options)]  # keep their shape whatever is done to the originals'
    before = [array.copy() for array in arrays]
    if ":" in function:
        value = find(function)(*args, **options)
    else:
        adapter = load(function)
        with contextlib.nullcontext() if threads is None else adapter.on_threads(threads):
            if direction == "forward":
                value = adapter.forward(op, args, options)
            else:
                value = adapter.backward(op, args[0], args[1:], options)
    changes = [None if now.tobytes() == old.tobytes() else now for now, old in zip(arrays, before, strict=True)]
    return _sendable(value), changes


def sourced(adapter: str, op: str, options: dict[str, Any], direction: str) -> str:
    """See `Isolated.source`."""
    return str(load(adapter).source(op, options, direction))


def _sendable(value: Tree) -> Tree:
    """`value` in classes that the checking process knows without importing anything of the subject's."""
    if value is None or type(value) in (bool, int, float, complex, str):
        return value
    if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        return np.asarray(value)
    if isinstance(value, tuple):
        return tuple(map(_sendable, value))
    if isinstance(value, list):
        return list(map(_sendable, value))
    raise TypeError(f"the result must be of NumPy arrays, got {type(value).__module__}.{type(value).__qualname__}")


def _arrays(args: tuple[Tree, ...], options: dict[str, Any]) -> list[Array]:
    return [array for _, array in named_arrays((args, tuple(options.values())))]
