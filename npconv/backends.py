"""Which arithmetic runs: "numpy" is `npconv.reference`, "numba" is `npconv.kernels`, each imported on first use.

Operators call `primitives`; who wants to see, or to stand in for, what is computed, does it here. Nothing here knows what a
convolution is.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from npconv.geometry import SURE, check_fits, is_word, shown
from npconv.memory import is_channels_last

BACKENDS = {"numpy": "npconv.reference", "numba": "npconv.kernels"}
WINOGRAD = ("off", "2x2")

_chosen: ContextVar[str | None] = ContextVar("npconv_backend", default=None)
_diverted: ContextVar[Callable[..., Any] | None] = ContextVar("npconv_diverted", default=None)
_stands_in: ContextVar[bool] = ContextVar("npconv_stands_in", default=False)


def _checked(name: str, source: str) -> str:
    """`name`, once it is known to be a backend that can run here; `source` says who asked for it."""
    if not is_word(name, BACKENDS):
        raise ValueError(f"{source} must be one of {', '.join(map(repr, BACKENDS))}, got {shown(name)}")
    if name == "numba" and not _numba_is_installed():
        raise ImportError(f"{source}='numba' needs Numba, which is not installed: pip install numba")
    if name == "numba" and _compiler_is_off():
        raise ImportError(f"{source}='numba' needs Numba's compiler, which the variable NUMBA_DISABLE_JIT turns off")
    return name


@functools.cache
def _numba_is_installed() -> bool:
    return importlib.util.find_spec("numba") is not None


def _compiler_is_off() -> bool:
    """Whether the environment asks Numba to run Python instead of what it compiles, which kernels are not made for."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0").strip() not in ("", "0")


@functools.cache
def _default() -> str:
    from_environment = os.environ.get("NPCONV_BACKEND")
    if from_environment:
        return _checked(from_environment, "NPCONV_BACKEND")
    if _numba_is_installed() and _compiler_is_off():
        warnings.warn(
            "npconv computes with NumPy: the variable NUMBA_DISABLE_JIT turns Numba's compiler off", stacklevel=3
        )
        return "numpy"
    return "numba" if _numba_is_installed() else "numpy"


def current_backend() -> str:
    """The name of the backend that the next operator of this thread will use: "numba" or "numpy".

    It is, in this order: the innermost ``with npconv.backend(...)``, the environment variable ``NPCONV_BACKEND``,
    "numba" where Numba is installed and its compiler is not turned off, "numpy".

    Returns
    -------
    "numba" or "numpy"

    Examples
    --------
    >>> import npconv
    >>> with npconv.backend("numpy"):
    ...     npconv.current_backend()
    'numpy'
    """
    return _chosen.get() or _default()


@contextlib.contextmanager
def backend(name: str) -> Iterator[None]:
    """Run the operators of this block, in this thread, on a backend; there is no silent fall-back.

    Parameters
    ----------
    name : "numpy" or "numba"

    Returns
    -------
    context manager

    Raises
    ------
    ValueError
        Another name.
    ImportError
        The backend is not installed.

    Examples
    --------
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


@contextlib.contextmanager
def winograd(tiles: str) -> Iterator[None]:
    """Let the Numba kernels of this block, in this thread, compute 3x3 convolutions by Winograd's transforms for `tiles`.

    They are used where they are faster: at stride 1, with many channels. The choice is about rounding:

    - "off": never. Each result is the sum of its products, within `npconv.testing.rigorous_bound`.
    - "2x2", F(2x2, 3x3), the default: up to 1.7x as fast. On noise the error is half to once that of the sum itself, but what
      bounds it is the magnitude of a 4x4 patch, where the sum's own bound has nine pixels.

    The environment variable ``NPCONV_WINOGRAD`` changes the default. The NumPy backend sums products and knows no other way.

    Parameters
    ----------
    tiles : "off" or "2x2"

    Returns
    -------
    context manager

    Raises
    ------
    ValueError
        Another name.

    Notes
    -----
    Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (arXiv 1509.09308).

    Examples
    --------
    >>> import numpy as np, npconv
    >>> x, w = np.ones((1, 16, 32, 32)), np.ones((32, 16, 3, 3))
    >>> with npconv.winograd("off"):
    ...     print(npconv.conv2d(x, w).max())
    144.0
    """
    if not is_word(tiles, WINOGRAD):
        raise ValueError(f"winograd must be one of {', '.join(map(repr, WINOGRAD))}, got {shown(tiles)}")
    if not _numba_is_installed() or _compiler_is_off():
        yield
        return
    token = _winograd_tiles().set(tiles)
    try:
        yield
    finally:
        _winograd_tiles().reset(token)


def _winograd_tiles() -> ContextVar[str]:
    chosen: ContextVar[str] = importlib.import_module(f"{BACKENDS['numba']}.winograd").chosen
    return chosen


@functools.cache
def _package(name: str) -> ModuleType:
    return importlib.import_module(BACKENDS[name])


class _Primitives:
    """Every primitive by its name, which runs on the backend that is chosen at the moment of the call."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in _package("numpy").__all__:
            raise AttributeError(f"{name!r} is no primitive: npconv.reference has none of that name")

        def primitive(*arguments: Any) -> Any:
            run = _diverted.get()
            return _run(name, *arguments) if run is None else run(name, *arguments)

        setattr(self, name, primitive)
        return primitive


# What operators call, as `primitives.conv2d(x, w, b, activation, geometry)`: to editors and type checkers it is the reference. The
# arguments are right, for whoever calls has checked them, and are never modified, but by an optimiser's update.
if TYPE_CHECKING:
    from npconv import reference

    primitives = reference
else:
    primitives = _Primitives()


def _run(primitive: str, *arguments: Any) -> Any:
    """Neither backend warns of an invalid value: NumPy's matrix products would beside an infinity, where BLAS fills up with zeros."""
    name = current_backend()
    first, last = arguments[0], arguments[-1]
    if isinstance(first, tuple):  # an octave map
        first = next(part for part in first if part is not None)
    numbers = _numbers(last, name == "numpy") if isinstance(last, tuple) else first.size
    if numbers * first.itemsize > SURE:
        check_fits(f"what {primitive} works on", numbers, first.itemsize)
    function = getattr(_package(name), primitive)
    if name == "numba":
        return function(*arguments)
    with np.errstate(invalid="ignore"):
        return function(*arguments)


@functools.lru_cache(maxsize=4096)
def _numbers(geometry: Any, laid_out: bool) -> int:
    """How many numbers the largest array has that a geometry, or one of those that it is made of, is about."""
    if hasattr(geometry, "numbers"):
        return int(geometry.numbers(laid_out))
    return max((_numbers(part, laid_out) for part in geometry), default=0) if isinstance(geometry, tuple) else 0


def in_order(array: Any, channels_last: bool) -> Any:
    """A map (N, C, H, W) in channels-last or in C order: itself where it is, else a copy. No primitive: its numbers are the same."""
    if channels_last and array.flags.aligned and is_channels_last(array):
        return array
    if array.nbytes > SURE and 0 in array.strides:  # numbers that are not there yet
        check_fits("a map", array.size, array.itemsize)
    if current_backend() == "numba":
        package = _package("numba")
        return package.channels_last(array) if channels_last else package.c_order(array)
    if not channels_last:
        return np.ascontiguousarray(array)
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def computes_channels_last() -> bool:
    """Whether the current backend computes maps in channels-last order; the other one does in C order."""
    return current_backend() == "numba"


def diverts_numbers() -> bool:
    """Whether something stands in the backend's place that may have its own idea of numbers, and of memory orders."""
    return _stands_in.get()


@contextlib.contextmanager
def divert(run: Callable[..., Any], *, stands_in: bool = True) -> Iterator[None]:
    """Let ``run(primitive, *arguments)`` stand in for the backend in every call that this thread makes inside the block.

    What it returns goes to the operator: it has the shapes and the dtype of the primitive's result, and may have other
    numbers. So `npconv.costs` walks a network without computing it. What only watches the backend does not stand in.
    """
    token, also = _diverted.set(run), _stands_in.set(stands_in)
    try:
        yield
    finally:
        _diverted.reset(token)
        _stands_in.reset(also)


@contextlib.contextmanager
def record() -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """Collect (primitive, arguments) of every call that this thread makes inside the block, and run it."""
    calls: list[tuple[str, tuple[Any, ...]]] = []

    def run(primitive: str, *arguments: Any) -> Any:
        calls.append((primitive, arguments))
        return _run(primitive, *arguments)

    with divert(run, stands_in=False):
        yield calls


Forward: TypeAlias = "Callable[[Any], Any]"

_watcher: ContextVar[Callable[[Any, Forward, Any], Any] | None] = ContextVar("npconv_layer_watcher", default=None)


@contextlib.contextmanager
def watch_layers(run: Callable[[Any, Forward, Any], Any]) -> Iterator[None]:
    """Let ``run(layer, forward, x)`` stand for ``forward(x)`` of every layer that this thread calls inside the block.

    It sees layers inside others, too, the outer ones first. A layer that another one runs along in the same sweep, such as the
    ReLU after a batch norm in training, is not called.

    Parameters
    ----------
    run : function (layer, forward, x) -> y
        Called for every layer; ``forward(x)`` is what the layer itself would give.

    Returns
    -------
    context manager

    Raises
    ------
    TypeError
        Where the block is entered, `run` is no function.

    Examples
    --------
    >>> import numpy as np
    >>> from npconv import nn
    >>> seen = []
    >>> with nn.watch_layers(lambda layer, forward, x: seen.append(type(layer).__name__) or forward(x)):
    ...     y = nn.Sequential(nn.Identity(), nn.Flatten())(np.ones((1, 2, 1, 1)))
    >>> seen
    ['Sequential', 'Identity', 'Flatten']
    """
    token = _watcher.set(run)
    try:
        yield
    finally:
        _watcher.reset(token)


def call_layer(layer: Any, forward: Forward, x: Any) -> Any:
    """``forward(x)``, by whoever watches the layers of this thread, if anyone does."""
    run = _watcher.get()
    return forward(x) if run is None else run(layer, forward, x)


def show_config() -> None:
    """Print versions, backend, threads, threading layer, cache folder, vector width and Winograd's tiles.

    Examples
    --------
    >>> show_config()  # doctest: +ELLIPSIS
    npconv           ...
    """
    for label, value in configuration().items():
        print(f"{label:<16} {value}")


def configuration() -> dict[str, str | int]:
    """What `show_config` prints, by its labels.

    >>> configuration()["backend"] in BACKENDS
    True
    """
    import platform

    from npconv.version import __version__

    rows: dict[str, str | int] = {
        "npconv": __version__,
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "backend": current_backend(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
    }
    if _numba_is_installed() and not _compiler_is_off():
        rows |= _package("numba").configuration() | {"Winograd": _winograd_tiles().get()}
    return rows
