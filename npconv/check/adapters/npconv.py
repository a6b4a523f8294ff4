"""npconv's own kernels, in Numba: what the check judges by its reference in NumPy when it judges npconv itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numba

import npconv
from npconv import ops
from npconv.check.adapters.definitions import arguments, call
from npconv.check.adapters.framework import Framework
from npconv.testing.gradients import Tree

NAME = "npconv"
OPERATORS = Framework.OPERATORS
DIRECTIONS = dict.fromkeys(OPERATORS, ("forward", "backward"))


def version() -> str:
    return npconv.__version__


def arithmetic_settings() -> dict[str, str]:
    return {"threads": str(numba.get_num_threads())}


def most_threads() -> int:
    return int(numba.config.NUMBA_NUM_THREADS)


@contextlib.contextmanager
def on_threads(count: int) -> Iterator[None]:
    before = numba.get_num_threads()
    numba.set_num_threads(count)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def forward(op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
    with npconv.backend("numba"):
        return getattr(ops, op)(*args, **options)


def backward(op: str, dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[Tree, ...]:
    with npconv.backend("numba"):
        gradients = getattr(ops, f"{op}_backward")(dy, *args, **options)
    return gradients if len(args) > 1 else (gradients,)


def source(op: str, args: tuple[Tree, ...], options: dict[str, Any], direction: str) -> str:
    names = tuple("npconv.OctaveWeight(*w)" if op.startswith("octave") and a == "w" else a for a in arguments(op))
    if direction == "forward":
        result = call(f"npconv.{op}", names, options)
    else:
        result = call(f"npconv.{op}_backward", ("dy", *names), options)
        result = result if len(names) > 1 else f"({result},)"
    return f'import npconv\nwith npconv.backend("numba"):\n    got = {result}'
