"""The same convolutions in SciPy by fast Fourier transforms."""

from __future__ import annotations

from typing import Any

from npconv.check.adapters import scipy
from npconv.check.adapters.scipy import backward, version
from npconv.testing.gradients import Tree

__all__ = ["DIRECTIONS", "NAME", "OPERATORS", "backward", "forward", "source", "version"]

NAME = "SciPy (FFT)"
OPERATORS = tuple(scipy.CONVOLUTIONS)
DIRECTIONS = dict.fromkeys(OPERATORS, ("forward",))


def forward(op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
    return scipy.forward(op, args, options | {"method": "fft"})


def source(op: str, options: dict[str, Any], direction: str) -> str:
    return scipy.source(op, options | {"method": "fft"}, direction)
