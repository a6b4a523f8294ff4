"""The PyTorch adapter's functions on maps and kernels in the memory order `torch.channels_last`.

PyTorch has kernels of its own for that order. Results come back in the order that these give them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from npconv.check.adapters import torch as contiguous
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

NAME = "PyTorch (channels_last)"


def arithmetic_settings() -> dict[str, str]:
    return contiguous.arithmetic_settings() | {"memory": "torch.channels_last"}


def forward(op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
    return contiguous.evaluate(_reordered(op), args, options)


def backward(op: str, dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[Tree, ...]:
    return contiguous.differentiate(_reordered(op), dy, args, options)


def source(op: str, options: dict[str, Any], direction: str) -> str:
    return contiguous.source(op, options, direction, channels_last=True)


def _reordered(op: str) -> Callable[..., Any]:
    """The operator on tensors in that order; autograd takes the gradients through the change of order."""
    function = contiguous.FUNCTIONS[op]

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        return function(*contiguous.each(_channels_last, args), **options)

    return call


def _channels_last(tensor: Any) -> Any:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
