"""Which arithmetic runs: "numpy" is `npconv.reference`, "numba" is `npconv.kernels`, each imported on first use.

Operators name a primitive; this file finds it. Nothing here knows what a convolution is.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import ModuleType
from typing import Any

BACKENDS = {"numpy": "npconv.reference", "numba": "npconv.kernels"}

_chosen: ContextVar[str | None] = ContextVar("npconv_backend", default=None)
_diverted: ContextVar[Callable[..., Any] | None] = ContextVar("npconv_diverted", default=None)


def _checked(name: str, source: str) -> str:
    """`name`, once it is known to be a backend that can run here; `source` says who asked for it."""
    if name not in BACKENDS:
        raise ValueError(f"{source} must be one of {', '.join(map(repr, BACKENDS))}, got {name!r}")
    if name == "numba" and not _numba_is_installed():
        raise ImportError(f"{source}='numba' needs Numba, which is not installed: pip install numba")
    return name


@functools.cache
def _numba_is_installed() -> bool:
    return importlib.util.find_spec("numba") is not None


@functools.cache
def _default() -> str:
    from_environment = os.environ.get("NPCONV_BACKEND")
    if from_environment:
        return _checked(from_environment, "NPCONV_BACKEND")
    return "numba" if _numba_is_installed() else "numpy"


def current_backend() -> str:
    """The name of the backend that the next operator of this thread will use: "numba" or "numpy".

    It is, in this order: the innermost ``with npconv.backend(...)``, the environment variable ``NPCONV_BACKEND``,
    "numba" where Numba is installed, "numpy".
    """
    return _chosen.get() or _default()


@contextlib.contextmanager
def backend(name: str) -> Iterator[None]:
    """Run the operators of this block, in this thread, on the backend `name`: "numpy" or "numba".

    Raises ValueError for another name and ImportError for a backend that is not installed; there is no fall-back.

    >>> import npconv
    >>> with npconv.backend("numpy"):
    ...     npconv.current_backend()
    'numpy'
    """
    token = _chosen.set(_checked(name, "backend"))
    try:
        yield
    finally:
        _chosen.reset(token)


@functools.cache
def _package(name: str) -> ModuleType:
    return importlib.import_module(BACKENDS[name])


def call(primitive: str, *arguments: Any, out: Any = None, add: bool = False) -> Any:
    """Run `primitive` on the current backend. The arguments are right: whoever calls has checked them.

    Some primitives can write their result into the array `out`, which overlaps no argument, or add it to what is there;
    then the caller goes on with what is returned, which is `out` unless the call is diverted.
    """
    run = _diverted.get()
    if out is None:
        return (run or _run)(primitive, *arguments)
    if run is None:
        return getattr(_package(current_backend()), primitive)(*arguments, out, add)
    result = run(primitive, *arguments)
    if add:
        return out + result
    out[...] = result
    return out


def _run(primitive: str, *arguments: Any) -> Any:
    return getattr(_package(current_backend()), primitive)(*arguments)


@contextlib.contextmanager
def divert(run: Callable[..., Any]) -> Iterator[None]:
    """Let ``run(primitive, *arguments)`` stand in for the backend in every call that this thread makes inside the block.

    What it returns goes to the operator: it has the shapes and the dtype of the primitive's result, and may have other
    numbers. So `npconv.costs` walks a network without computing it.
    """
    token = _diverted.set(run)
    try:
        yield
    finally:
        _diverted.reset(token)


@contextlib.contextmanager
def record() -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """Collect (primitive, arguments) of every call that this thread makes inside the block, and run it."""
    calls: list[tuple[str, tuple[Any, ...]]] = []

    def run(primitive: str, *arguments: Any) -> Any:
        calls.append((primitive, arguments))
        return _run(primitive, *arguments)

    with divert(run):
        yield calls


def show_config() -> None:
    """Print versions, backend, threads, threading layer, cache folder and vector width."""
    import platform

    import numpy as np

    from npconv import __version__

    rows = {
        "npconv": __version__,
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "backend": current_backend(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
    }
    if _numba_is_installed():
        rows |= _package("numba").configuration()
    for label, value in rows.items():
        print(f"{label:<16} {value}")
