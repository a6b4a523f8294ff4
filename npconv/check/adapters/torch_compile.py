"""The PyTorch adapter's functions through `torch.compile`, with its default backend, Inductor, which compiles C++.

Every call is compiled for its own sizes and options, which takes seconds: ask for tens of cases, not for hundreds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from npconv.check.adapters import torch as eager
from npconv.check.adapters.torch import DIRECTIONS, OPERATORS, on_threads, use_device, version
from npconv.testing.gradients import Tree

__all__ = [
    "DIRECTIONS",
    "NAME",
    "OPERATORS",
    "arithmetic_settings",
    "backward",
    "forward",
    "on_threads",
    "source",
    "use_device",
    "version",
]

NAME = "PyTorch (torch.compile)"


def arithmetic_settings() -> dict[str, str]:
    return eager.arithmetic_settings() | {"torch.compile": "inductor, fullgraph=True"}


def forward(op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
    return eager.evaluate(_compiled(op), args, options)


def backward(op: str, dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[Tree, ...]:
    return eager.differentiate(_compiled(op), dy, args, options)


def source(op: str, options: dict[str, Any], direction: str) -> str:
    return eager.source(op, options, direction, compiled=True)


def _compiled(op: str) -> Callable[..., Any]:
    """Compiled anew: of a function that it has met in some ten forms, torch.compile compiles no more of them."""
    torch.compiler.reset()
    return torch.compile(eager.FUNCTIONS[op], fullgraph=True)
