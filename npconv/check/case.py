"""One case of the cross-check: a call of an operator, forward and backward, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from npconv.geometry import Array, octave_paths, pair
from npconv.testing import Problem, Tree, map_arrays, named_arrays
from npconv.testing.rounding import INEXACT


class Case(NamedTuple):
    """A call ``op(*args, **options)`` and an output gradient `dy` for it.

    Attributes
    ----------
    op : str
        The operator's name in `npconv.ops`.
    args : tuple
        Its arrays, in its order: arrays, None, or tuples of those.
    options : dict
        Everything else, by name.
    dy : array or tuple of arrays
        Like the forward's result.
    label : str
        Where the case comes from: "random", "hard: floor case", "mobilenet_v1: block1.depthwise".
    unit : int
        What the numbers of a case of whole numbers are multiples of, where the operator divides.
    """

    op: str
    args: tuple[Tree, ...]
    options: dict[str, Any]
    dy: Tree
    label: str
    unit: int = 1

    @classmethod
    def of(cls, problem: Problem, dy: Tree, label: str) -> Case:
        """The case of a problem."""
        return cls(problem.op, problem.args, problem.options, dy, label, problem.unit)

    @property
    def problem(self) -> Problem:
        """The call alone."""
        return Problem(self.op, self.args, self.options, self.unit)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all arrays."""
        return next(array.dtype for _, array in named_arrays((self.args, self.dy)))

    @property
    def arrays(self) -> dict[str, Tree]:
        """The arguments by name, and dy."""
        return dict(zip(self.problem.names, self.args, strict=True)) | {"dy": self.dy}

    @property
    def size(self) -> int:
        """How many numbers its arrays hold: the smaller of two cases that show the same is the better one."""
        return sum(array.size for _, array in named_arrays((self.args, self.dy)))

    @property
    def divisor(self) -> int:
        """What the operator divides sums by, at most: their numerators have to be representable, too."""
        if self.op == "avg_pool2d":
            return prod(pair("kernel", self.options["kernel"], minimum=1))
        if self.op == "global_avg_pool2d":
            return prod(self.args[0].shape[2:])
        return 16 if self.op.startswith("octave") else 1

    @property
    def rounds(self) -> bool:
        """Whether it divides by what is no power of two: as a product with the reciprocal, that rounds a whole quotient, too."""
        if self.op == "avg_pool2d":  # at a border by any number up to the kernel's
            return max(pair("kernel", self.options["kernel"], minimum=1)) > 2
        return self.divisor & (self.divisor - 1) != 0

    @property
    def has_exact_result(self) -> bool:
        """Whether whole numbers can have an exact result here at all."""
        return self.op not in INEXACT

    def real(self) -> Case:
        """The same case with real numbers near the whole ones, which need all digits that the dtype has."""
        rng = np.random.default_rng(0)

        def near(array: Array) -> Array:
            return np.asarray(array / self.unit + rng.uniform(-0.4, 0.4, array.shape), array.dtype)

        return self._replace(args=map_arrays(near, self.args), dy=map_arrays(near, self.dy))

    def __str__(self) -> str:
        shapes = [f"{name} {array.shape}" for name, array in named_trees(self.arrays)]
        options = [f"{name}={describe(value)}" for name, value in self.options.items()]
        return f"{self.op} of {', '.join([*shapes, *options])} [{self.label}]"


def divisible(problem: Problem) -> Problem:
    """The problem with the unit that makes the quotients of its operator exact."""
    op, options, unit = problem.op, problem.options, 1
    if op == "global_avg_pool2d":
        unit = prod(problem.args[0].shape[2:])
    elif op == "avg_pool2d":  # a window of 3 or 4 rows may hold 3 of them, and so for columns
        unit = prod(3 if side >= 3 else 1 for side in pair("kernel", options["kernel"], minimum=1))
    elif op == "octave_conv2d":  # an average over 4 x 4 pixels may have 3 x 3 at the border
        factors = {
            path.name: path.pool
            for path in octave_paths(options.get("stride", 1), options.get("stride_mode", "pool"))[0]
        }
        unit = 9 if problem.args[1].hl is not None and factors["hl"] == 4 else 1
    return problem._replace(unit=unit)


def named_trees(trees: Mapping[str, Tree]) -> list[tuple[str, Array]]:
    """The arrays of all `trees`, each with its name."""
    return [row for name, tree in trees.items() for row in named_arrays(tree, name)]


def describe(value: Any) -> str:
    """An option's value on one line."""
    return f"array({value.tolist()})" if isinstance(value, np.ndarray) else repr(value)
