"""The implementation that is checked, in a process of its own: whatever it does there, the check goes on.

    with Isolated("torch") as subject:
        report = subject.check("conv2d", cases=300)

To the caller it is as if the functions ran here: their values, their exceptions, and what they do to the arrays that they
are given.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from npconv.check.adapters import Unsupported, known, load
from npconv.check.arrays import library_of, use_device
from npconv.check.bfloat16 import NAME
from npconv.check.contract import Contract
from npconv.check.hard import OPERATORS
from npconv.check.memory import Packed
from npconv.check.observation import Observed, observe
from npconv.check.patience import Patience
from npconv.check.report import Report
from npconv.check.running import run
from npconv.testing import Tree, map_arrays, named_arrays
from npconv.workers import Worker, WorkerError, find

LOADING_TIMEOUT = 300.0  # seconds: TensorFlow's import alone may take half a minute on a busy machine


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
    contracts: dict[str, Contract] = {}  # noqa: RUF012
    """Direction -> what a user's function takes."""

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


class Isolated:
    """An adapter, by its name, or a user's function, as "module:function", whose calls run in another process.

    The process is started by the first call, and a new one where it was lost. Where an operator's forward or backward
    has exhausted `npconv.check.patience.PATIENCE`, it is called no more: that is Unsupported.

    Parameters
    ----------
    name : str
        One of `npconv.check.adapters.known`, or "module:function", which is looked for in the current folder too.
    op : str, optional
        The operator that a user's function is; it is called as npconv's own is. Adapters know theirs.
    backward : str, optional
        "module:function" of its gradients, called as npconv's own backward is.
    timeout : float
        Seconds that a call may take. Importing the framework or the user's module does not count.
    device : str, optional
        Where an adapter computes, or where a function that asks for another library's arrays gets them: "cuda:0".

    Raises
    ------
    ValueError
        `name` is neither, or `op` and `backward` do not fit to what it is.
    """

    def __init__(
        self,
        name: str,
        *,
        op: str | None = None,
        backward: str | None = None,
        timeout: float = 30.0,
        device: str | None = None,
    ) -> None:
        self.is_adapter = ":" not in name
        if self.is_adapter:
            if name not in known():
                raise ValueError(f"a subject must be one of {', '.join(known())}, or module:function, got {name!r}")
            if backward is not None:
                raise ValueError(f"backward goes with a function of yours, got {backward!r} for {name}")
        else:
            if op not in OPERATORS:
                raise ValueError(f"op must say which of {', '.join(OPERATORS)} {name} is, got {op!r}")
            for function in (name, backward or name):
                if not all(function.partition(":")):
                    raise ValueError(f"a function is named as module:function, got {function!r}")
        self.name = name
        self._op, self._device = op, device
        self._functions = {"forward": name, "backward": name if self.is_adapter else backward}
        self._worker = Worker(timeout=timeout)
        self._description: Description | None = None
        self._patience = Patience()

    def describe(self) -> Description:
        """Its name and version and what it can do; imports it, in its process, where that is not done yet.

        Raises ImportError where it cannot be imported, whatever the reason.
        """
        if self._description is None:
            functions = [function for function in self._functions.values() if function is not None]
            try:
                told = self._worker.call(
                    f"{__name__}:described", functions, self._op, self._device, timeout=LOADING_TIMEOUT
                )
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

    def source(self, op: str, args: tuple[Tree, ...], options: dict[str, Any], direction: str) -> str:
        """An adapter's own lines of code that make the same call without npconv."""
        self.describe()
        return str(self._worker.call(f"{__name__}:sourced", self.name, op, args, options, direction))

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

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process it is one that starts its own; the same one for all who ask there."""
        return _remade, (self.name, self._op, self._functions["backward"], self._worker.timeout, self._device)

    def __enter__(self) -> Isolated:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _caller(self, op: str, direction: str, threads: int | None = None) -> _Caller:
        function = self._functions[direction]
        assert function is not None
        return _Caller(self, function, op, direction, threads)

    def _observed(self, asked: tuple[Any, ...], *, again: bool) -> Observed:
        """What the function named by the first three of `asked` does in the other process."""
        function, op, direction = asked[:3]
        self._patience.check(op, direction)
        self.describe()
        try:
            seen: Observed = self._worker.call(f"{__name__}:called", *asked, again=again)
        except WorkerError as error:
            if error.name in (Unsupported.__name__, NotImplementedError.__name__):
                raise Unsupported(str(error)) from None
            if error.kind == "exception":
                raise
            self._description = None
            self._patience.lost[op, direction, error.kind] += 1
            message = str(error).replace(f"{__name__}:called", function)
            raise WorkerError(error.kind, message, details=error.details) from None
        return seen


@functools.cache
def _remade(name: str, op: str | None, backward: str | None, timeout: float, device: str | None) -> Isolated:
    return Isolated(name, op=op, backward=None if ":" not in name else backward, timeout=timeout, device=device)


class _Caller:
    """A function in the other process: to call, or to observe as `npconv.check.observation.observe` does."""

    def __init__(self, subject: Isolated, function: str, op: str, direction: str, threads: int | None) -> None:
        self._subject, self._asked = subject, (function, op, direction)
        self._threads = threads
        # For reproductions: it is to be imported from where the user's function is.
        self.__module__, _, self.__qualname__ = function.partition(":")

    @property
    def patience(self) -> Patience:
        """What is lost of it counts in, with the other functions of its subject."""
        return self._subject._patience

    @property
    def contract(self) -> Contract:
        """What it takes; an adapter takes everything."""
        return self._subject.describe().contracts.get(self._asked[2], Contract())

    def __call__(self, *args: Tree, **options: Any) -> Tree:
        return self.observe(args, options).value

    def observe(self, args: tuple[Tree, ...], options: dict[str, Any], *, again: bool = False) -> Observed:
        packed = map_arrays(Packed.of, args)
        return self._subject._observed((*self._asked, packed, options, self._threads), again=again)


# --- in the other process ----------------------------------------------------------------------------------------


def described(functions: list[str], op: str, device: str | None = None) -> tuple[Any, ...]:
    """The fields of a `Description`; what they are of is imported, and told its device."""
    first = functions[0]
    if ":" in first:
        for function in functions:
            if not callable(find(function)):
                raise TypeError(f"{function} is not callable")
            _place(function, device)
        both = ("forward", "backward")[: len(functions)]
        contracts = {
            direction: Contract.of(find(function), op, direction)
            for direction, function in zip(both, functions, strict=True)
        }
        return first, {op: both}, "", {}, (), contracts
    adapter = load(first)
    if device is not None:
        if not hasattr(adapter, "use_device"):
            raise ValueError(f"--device goes with what has devices, got {device} for {first}")
        adapter.use_device(device)
    settings = adapter.arithmetic_settings() if hasattr(adapter, "arithmetic_settings") else {}
    most = getattr(adapter, "most_threads", _cores)() if hasattr(adapter, "on_threads") else 1
    threads = sorted({1, 2, most}) if most > 1 else ()
    directions = {name: adapter.DIRECTIONS[name] for name in adapter.OPERATORS}
    return adapter.NAME, directions, adapter.version(), settings, tuple(threads)


def _place(function: str, device: str | None) -> None:
    """Give `function` its arrays on that device."""
    if device is None:
        return
    library = library_of(find(function))
    if library is None:
        raise ValueError(f"--device goes with a function that asks for tensors, got {device} for {function}")
    use_device(library, device)


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def called(
    function: str,
    op: str,
    direction: str,
    packed: tuple[Tree, ...],
    options: dict[str, Any],
    threads: int | None = None,
    *,
    again: bool = False,
) -> Observed:
    """One call, observed, of arrays that lie in memory as they do in the checking process."""
    args = _unpacked(packed)
    if ":" in function:
        seen = observe(find(function), args, options, again=again)
    else:
        adapter = load(function)
        dtypes = {array.dtype.name for _, array in named_arrays(args)}
        if NAME in dtypes and not getattr(adapter, "BFLOAT16", False):
            raise Unsupported(f"{adapter.NAME} is not asked for {NAME}")

        def call(*args: Tree, **options: Any) -> Tree:
            if direction == "forward":
                return adapter.forward(op, args, options)
            return adapter.backward(op, args[0], args[1:], options)

        with contextlib.nullcontext() if threads is None else adapter.on_threads(threads):
            seen = observe(call, args, options, again=again)
    return seen._replace(value=_sendable(seen.value))


def _unpacked(tree: Any) -> Tree:
    """The arrays of a tree of `Packed`."""
    if isinstance(tree, Packed):
        return tree.array()
    if isinstance(tree, tuple):
        parts = map(_unpacked, tree)
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return tree


def sourced(adapter: str, op: str, args: tuple[Tree, ...], options: dict[str, Any], direction: str) -> str:
    """See `Isolated.source`."""
    return str(load(adapter).source(op, args, options, direction))


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
